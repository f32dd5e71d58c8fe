//! Runs the simulator over many seeds; a failing one is made smaller and printed.
//!
//! `xcomponent-sim --seeds N --from N --steps N [--without Kind,Kind] [--trace] [--fleet]`

#![expect(clippy::print_stdout, reason = "it is a command line tool")]

use std::process::ExitCode;

use xcomponent_sim::{Plan, fleet, plan::Kind, run, shrink};

fn main() -> ExitCode {
    let (seeds, from) = (number("--seeds", 1_000), number("--from", 0));
    let steps = number("--steps", 500);
    let shows_all = std::env::args().any(|argument| argument == "--trace");
    if std::env::args().any(|argument| argument == "--fleet") {
        return fleets(from, seeds, steps);
    }
    let mut records = 0;
    for seed in from..from.saturating_add(seeds) {
        let plan = Plan {
            without: left_out(),
            ..Plan::new(seed, steps)
        };
        match run(&plan) {
            Ok(report) => {
                records += report.records;
                show(&report.trace, shows_all);
            }
            Err(failure) => {
                show(&failure.trace, shows_all);
                println!("{failure}\n\nmaking it smaller\n");
                println!("{}", shrink(*failure));
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{seeds} seeds of {steps} steps from {from}: {records} records, as they should be");
    ExitCode::SUCCESS
}

/// The same for several hosts.
fn fleets(from: u64, seeds: u64, steps: u64) -> ExitCode {
    let mut crossed = 0;
    for seed in from..from.saturating_add(seeds) {
        match fleet::run(seed, steps) {
            Ok(tally) => crossed += tally.crossed,
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{seeds} fleets of {steps} steps from {from}: {crossed} events crossed, once each");
    ExitCode::SUCCESS
}

fn show(trace: &[String], shows_all: bool) {
    for line in trace.iter().filter(|_| shows_all) {
        println!("{line}");
    }
}

/// What follows a flag.
fn value(flag: &str) -> Option<String> {
    std::env::args()
        .skip_while(|argument| argument != flag)
        .nth(1)
}

fn number(flag: &str, default: u64) -> u64 {
    value(flag)
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn left_out() -> std::collections::BTreeSet<Kind> {
    let names = value("--without").unwrap_or_default();
    let named = |kind: &Kind| names.split(',').any(|name| name == kind.to_string());
    Kind::ALL.into_iter().filter(named).collect()
}
