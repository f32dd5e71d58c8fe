//! placeholder
use anyhow::Result;
use clap::Args;
#[derive(Debug, Args)]
pub(crate) struct Demo {
    #[arg(long)]
    check: bool,
}
impl Demo {
    pub(crate) fn run(self) -> Result<()> {
        Ok(())
    }
}
