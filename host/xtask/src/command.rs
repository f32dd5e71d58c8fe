//! Running other programs from the root of the workspace.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .ancestors()
        .nth(2)
        .expect("the crate stands two folders below the root")
        .to_path_buf()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// `cargo` with arguments, in the root. What the cargo that runs this program says of its package is
/// not passed on: build scripts look at it, and would build for this one anew what is there already.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Builds a program of the workspace. A test is named beside it so that cargo resolves the features
/// that tests have: one build of the dependencies then serves both.
pub(crate) fn build(program: &str) -> Command {
    cargo(&["build", "--workspace", "--bin", program, "--test", "tidy"])
}

/// A program of the workspace that was built.
pub(crate) fn built(program: &str) -> PathBuf {
    target().join("debug").join(program)
}

/// Runs a step to its end and says which it was.
///
/// # Errors
///
/// If it cannot be started or does not succeed.
pub(crate) fn step(name: &str, command: &mut Command) -> Result<()> {
    say(&format!("── {name}"));
    let status = command
        .status()
        .with_context(|| format!("starting {name}"))?;
    ensure!(status.success(), "{name} failed: {status}");
    Ok(())
}

/// Whether a program is there and answers.
pub(crate) fn answers(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// A line for the person who waits.
pub(crate) fn say(line: &str) {
    // Nobody is left to be told if standard error is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}
