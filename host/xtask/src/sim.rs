//! `cargo xtask sim`: the simulator over many seeds.

use anyhow::Result;
use clap::Args;

use crate::command::{cargo, step};

/// Runs the simulator over seeds; a failing one is shrunk and printed.
#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Steps of each.
    #[arg(long, default_value_t = 500)]
    steps: u64,
    /// Kinds of things that do not happen, as a failure prints them.
    #[arg(long)]
    without: Option<String>,
    /// Print everything that happens.
    #[arg(long)]
    trace: bool,
}

impl Sim {
    pub(crate) fn run(self) -> Result<()> {
        let mut sim = cargo(&["run", "--quiet", "--package", "xcomponent-sim", "--"]);
        let numbers = [
            ("--seeds", self.seeds),
            ("--from", self.from),
            ("--steps", self.steps),
        ];
        for (flag, number) in numbers {
            sim.args([flag, &number.to_string()]);
        }
        if let Some(kinds) = self.without {
            sim.args(["--without", &kinds]);
        }
        if self.trace {
            sim.arg("--trace");
        }
        step("simulator", &mut sim)
    }
}
