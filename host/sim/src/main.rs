//! Runs the simulator over many seeds; a failing one is made smaller and printed.

#![expect(clippy::print_stdout, reason = "it is a command line tool")]

use std::process::ExitCode;

use xcomponent_sim::{Plan, run, shrink};

fn main() -> ExitCode {
    let (seeds, from, steps) = (
        number("--seeds", 1_000),
        number("--from", 0),
        number("--steps", 500),
    );
    let mut records = 0;
    for seed in from..from + seeds {
        match run(&Plan::new(seed, steps)) {
            Ok(report) => records += report.records,
            Err(failure) => {
                println!("{failure}\nmaking it smaller\n");
                println!("{}", shrink(*failure));
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{seeds} seeds of {steps} steps from {from}: {records} records, all as they should be"
    );
    ExitCode::SUCCESS
}

/// The number after a flag.
fn number(flag: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != flag);
    let value = arguments.nth(1);
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}
