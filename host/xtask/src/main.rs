//! The project's own chores: `cargo xtask <chore>`.

mod attack;
mod bench;
mod clients;
mod command;
mod crash;
mod demo;
mod example;
mod fuzz;
mod guests;
mod host;
mod sim;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Builds what is needed, starts the host with the demo components and feeds it orders.
    Demo(demo::Demo),
    /// Shows an order and its payment on two hosts: `cargo xtask example NAME`.
    Example(example::Example),
    /// Everything CI checks: formatting, lints, guests, tests, docs, dependencies, the demo.
    Test(test::Test),
    /// Compiles and packs the guests.
    Guests(guests::Guests),
    /// Measures, and prints a table: `cargo xtask bench [NAME…] [--json FILE]`.
    Bench(bench::Bench),
    /// Makes clients from the description of the API, compiles and runs them, and compares what the
    /// host answers with the description.
    Clients(clients::Clients),
    /// Runs the simulator over seeds.
    Sim(sim::Sim),
    /// Kills a working host again and again, and compares what it kept with what it acknowledged.
    Crash(crash::Crash),
    /// Attacks a host with hostile input of every kind, next to a polite client.
    Attack(attack::Attack),
    /// The polite client beside an attack.
    #[command(hide = true)]
    Polite(attack::Polite),
    /// Feeds random input to everything that reads what strangers send.
    Fuzz(fuzz::Fuzz),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Demo(demo) => demo.run(),
        Chore::Example(example) => example.run(),
        Chore::Test(test) => test.run(),
        Chore::Guests(guests) => guests.run(),
        Chore::Bench(bench) => bench.run(),
        Chore::Clients(clients) => clients.run(),
        Chore::Sim(sim) => sim.run(),
        Chore::Crash(crash) => crash.run(),
        Chore::Attack(attack) => attack.run(),
        Chore::Polite(polite) => polite.run(),
        Chore::Fuzz(fuzz) => fuzz.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            command::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
