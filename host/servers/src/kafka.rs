//! Kafka, as Tansu speaks it: a broker with the protocol of Apache Kafka that keeps what it has in a
//! SQLite database. Apache Kafka itself is in none of the places that packages come from here.
//!
//! It is built once from crates.io, with the versions of its own lock file, and stays in the user's
//! cache: that takes some ten minutes. The builds that others give away keep everything in memory.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::{free_port, package::run, program::Program, user::User};

/// The crate, and its version.
const CRATE: [&str; 2] = ["tansu", "0.6.0"];

/// A running broker.
pub struct Kafka(Program);

impl Kafka {
    /// Builds Tansu, if it is missing.
    ///
    /// # Errors
    ///
    /// If it is missing and cannot be built.
    pub fn install() -> Result<()> {
        if program().is_file() {
            return Ok(());
        }
        let [name, version] = CRATE;
        let mut build = Command::new("cargo");
        build.args(["install", "--locked", name, "--version", version]);
        build.args(["--features", "libsql", "--root"]).arg(folder());
        build.env("CARGO_TARGET_DIR", folder().join("target"));
        // It is started often and has little to do.
        build.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        build.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        build.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
        build.env_remove("RUSTFLAGS");
        run("building Tansu", build.current_dir(home()))?;
        std::fs::remove_dir_all(folder().join("target"))
            .context("removing what Tansu was built from")
    }

    /// Starts one.
    ///
    /// # Errors
    ///
    /// If there is no Tansu on this machine, or it does not start.
    pub fn start() -> Result<Self> {
        let mut server = Self(Program::new("kafka", free_port()?)?);
        server.restart()?;
        Ok(server)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("kafka://127.0.0.1:{}", self.0.port)
    }

    /// Starts it again, with what it had.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.0.end(Signal::TERM)?;
        let mut command = self.command()?;
        self.0.start(&mut command)
    }

    /// Kills it as the kernel would.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn kill(&mut self) -> Result<()> {
        self.0.end(Signal::KILL)
    }

    fn command(&self) -> Result<Command> {
        let mut command = User::command(None, &find()?, "KILL");
        let here = format!("tcp://127.0.0.1:{}", self.0.port);
        command.args(["broker", "--listener-url", &here]);
        command.args(["--advertised-listener-url", &here, "--storage-engine"]);
        // In the folder that it is started in.
        command.arg("sqlite://tansu.db");
        Ok(command)
    }
}

fn find() -> Result<PathBuf> {
    let program = program();
    let [name, version] = CRATE;
    let folder = folder();
    program
        .is_file()
        .then_some(program)
        .with_context(|| {
            format!(
                "the Kafka broker Tansu is not installed: `cargo xtask crash --over kafka` does it, or `cargo install \
                 --locked {name} --version {version} --features libsql --root {}`",
                folder.display()
            )
        })
}

fn program() -> PathBuf {
    folder().join("bin").join("tansu")
}

/// Where it stays.
fn folder() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.filter(|cache| cache.is_absolute());
    let cache = cache.unwrap_or_else(|| home().join(".cache"));
    let [name, version] = CRATE;
    cache.join("xcomponent").join(format!("{name}-{version}"))
}

fn home() -> PathBuf {
    env::home_dir().unwrap_or_else(|| Path::new("/").to_owned())
}
