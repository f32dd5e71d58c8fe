//! The command line: `xcomponent`. One file per subcommand, doc comments are the help text.
//!
//! A command is a struct of its arguments with one function `run`. It prints through a
//! [`Printer`] and gives back how it ended; exit codes are decided here and
//! nowhere else: 0 = done, 1 = there were findings or something failed, 2 = misuse.

mod activate;
mod broadcast;
mod build;
mod completions;
mod components;
mod create;
mod dead_letters;
mod delete;
mod deploy;
mod diagram;
mod health;
mod history;
mod inspect;
mod instances;
mod migrate;
mod new;
mod registry;
mod rollback;
mod run;
mod send;
mod serve;
mod simulate;
mod tail;
mod terminate;
mod trace;
mod unblock;
mod validate;

#[cfg(test)]
mod examples;
mod findings;
mod loading;
mod log;
mod printer;
mod remote;
mod span;
mod table;
mod trust;
mod upload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::printer::Printer;

/// Runs state machines, written in YAML and Rust, as sandboxed WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "xcomponent", version, max_term_width = 100)]
struct Arguments {
    /// Prints JSON, one value a line, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Serve>),
    New(new::New),
    Build(build::Build),
    Validate(validate::Validate),
    Inspect(inspect::Inspect),
    Diagram(diagram::Diagram),
    Run(run::Run),
    Simulate(simulate::Simulate),
    Deploy(deploy::Deploy),
    Activate(activate::Activate),
    Rollback(rollback::Rollback),
    Migrate(migrate::Migrate),
    Components(components::Components),
    Versions(components::Versions),
    Create(create::Create),
    Instances(instances::Instances),
    Send(send::Send),
    Broadcast(broadcast::Broadcast),
    Terminate(terminate::Terminate),
    Delete(delete::Delete),
    Unblock(unblock::Unblock),
    History(history::History),
    Trace(trace::Trace),
    Tail(tail::Tail),
    DeadLetters(dead_letters::DeadLetters),
    Registry(registry::Registry),
    Health(health::Health),
    Completions(completions::Completions),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It did what it was asked.
    Done,
    /// It did, and has shown what is wrong with what it looked at.
    Findings,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
enum Failure {
    /// It was asked for something that makes no sense.
    Misuse(anyhow::Error),
    /// It could not.
    Failed(anyhow::Error),
    /// A host said no.
    Refused(Box<remote::Problem>),
}

/// The result of a command.
type Result<T = Verdict, E = Failure> = std::result::Result<T, E>;

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Reads the arguments, runs the command, decides the exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to be told if this fails too.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let printer = Printer::new(arguments.json);
    match arguments.command.run(&printer) {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::Findings) => ExitCode::from(1),
        Err(failure) => {
            printer.failure(&failure);
            match failure {
                Failure::Failed(_) | Failure::Refused(_) => ExitCode::from(1),
                Failure::Misuse(_) => ExitCode::from(2),
            }
        }
    }
}

impl Command {
    fn run(self, printer: &Printer) -> Result {
        match self {
            Self::Serve(serve) => serve.run(printer),
            Self::New(new) => new.run(printer),
            Self::Build(build) => build.run(printer),
            Self::Validate(validate) => validate.run(printer),
            Self::Inspect(inspect) => inspect.run(printer),
            Self::Diagram(diagram) => diagram.run(printer),
            Self::Run(run) => run.run(printer),
            Self::Simulate(simulate) => simulate.run(printer),
            Self::Deploy(deploy) => deploy.run(printer),
            Self::Activate(activate) => activate.run(printer),
            Self::Rollback(rollback) => rollback.run(printer),
            Self::Migrate(migrate) => migrate.run(printer),
            Self::Components(components) => components.run(printer),
            Self::Versions(versions) => versions.run(printer),
            Self::Create(create) => create.run(printer),
            Self::Instances(instances) => instances.run(printer),
            Self::Send(send) => send.run(printer),
            Self::Broadcast(broadcast) => broadcast.run(printer),
            Self::Terminate(terminate) => terminate.run(printer),
            Self::Delete(delete) => delete.run(printer),
            Self::Unblock(unblock) => unblock.run(printer),
            Self::History(history) => history.run(printer),
            Self::Trace(trace) => trace.run(printer),
            Self::Tail(tail) => tail.run(printer),
            Self::DeadLetters(dead_letters) => dead_letters.run(printer),
            Self::Registry(registry) => registry.run(printer),
            Self::Health(health) => health.run(printer),
            Self::Completions(completions) => completions.run(printer),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }
}
