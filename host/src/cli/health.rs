//! `xcomponent health`: whether a host is well, or takes work.

use clap::Args;
use serde_json::Value;

use super::{
    Result, Verdict,
    printer::Printer,
    remote::{Remote, text},
};

/// Asks a host whether its process is well, or with `--ready` whether it takes work.
///
/// Ends with 0 if so, else with 1: what a container is checked with that has nothing else in it.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Asks whether it takes work.
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Health {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let path = if self.ready { "readyz" } else { "healthz" };
        let (is_well, health) = self.remote.probe(path)?;
        if printer.is_json() {
            printer.json(&health);
        } else {
            printer.line(text(&health, "status"));
            for reason in reasons(&health) {
                let (part, detail) = (text(reason, "part"), text(reason, "detail"));
                printer.line(format_args!("  {part}: {detail}"));
            }
        }
        Ok(match is_well {
            true => Verdict::Done,
            false => Verdict::Findings,
        })
    }
}

fn reasons(health: &Value) -> &[Value] {
    health["reasons"].as_array().map_or(&[], Vec::as_slice)
}
