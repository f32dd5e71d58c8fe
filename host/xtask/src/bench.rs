//! `cargo xtask bench`: a release build measures itself and prints a table.

use anyhow::Result;
use clap::Args;

use crate::{
    command::{cargo, step},
    guests,
};

/// Measures, and prints a table of medians.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Rows to measure; all if none is named.
    names: Vec<String>,
    /// Also writes the rows as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        guests::Guests {}.run()?;
        // The whole workspace, as everywhere, so that no dependency is built a second time.
        let mut bench = cargo(&["bench", "--workspace", "--bench", "table", "--"]);
        bench.args(&self.names);
        if let Some(file) = &self.json {
            bench.args(["--json", file]);
        }
        step("bench", &mut bench)
    }
}
