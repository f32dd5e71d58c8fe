//! The program `xcomponent`.

use std::process::ExitCode;

use xcomponent_host::sandbox::compile;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some(compile::COMMAND) => compile::child_main(args),
        _ => ExitCode::FAILURE,
    }
}
