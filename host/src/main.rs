//! The program `xcomponent`.

use std::process::ExitCode;

use xcomponent_host::{cli, sandbox::examiner};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args
        .next()
        .is_some_and(|command| command == examiner::COMMAND)
    {
        return examiner::child_main(args.map(|arg| arg.to_string_lossy().into_owned()));
    }
    cli::main()
}
