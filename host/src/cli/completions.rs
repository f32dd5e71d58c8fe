//! `xcomponent completions`: what a shell needs to complete commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, Result, Verdict, printer::Printer};

/// Prints a script that lets a shell complete commands.
///
/// For bash: `source <(xcomponent completions bash)`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// For which shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    #[expect(clippy::unnecessary_wraps, reason = "commands have one shape")]
    pub(super) fn run(self, printer: &Printer) -> Result {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Arguments::command(),
            "xcomponent",
            &mut script,
        );
        printer.lines(String::from_utf8_lossy(&script).trim_end());
        Ok(Verdict::Done)
    }
}
