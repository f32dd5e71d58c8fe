//! `cargo xtask sim`: the simulator over many seeds.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::command::{build, built, step};

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
    /// A million steps.
    pub(crate) fn check() -> Self {
        Self {
            seeds: 2_000,
            from: 0,
            steps: 500,
            without: None,
            trace: false,
        }
    }

    pub(crate) fn run(self) -> Result<()> {
        let program = "xcomponent-sim";
        step("build of the simulator", &mut build(program))?;
        let mut sim = Command::new(built(program));
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
