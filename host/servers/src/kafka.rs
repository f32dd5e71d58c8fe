//! Kafka, as noida-db speaks it: one program with the protocol of Apache Kafka and groups, idempotent
//! producers and offsets as the clients of Apache Kafka want them. Apache Kafka itself is in none of
//! the places that packages come from here.
//!
//! It acknowledges a message about a second before it has written it: to kill it is to lose what it
//! had, as with a machine that loses its power under a broker of Apache Kafka without replicas.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::{cache::cached, free_port, package::run, program::Program, user::User};

/// The package on PyPI, which brings the program, and its digests: for x86-64 and for arm64.
const VERSION: &str = "0.2.3";
const DIGESTS: [&str; 2] = [
    "40a2fb15567e3d344e7483df62bb439e7d64ac6fb232f4f223554aed58204f82",
    "2f58d58a5e8ae771097f61046b3d8fc2349ce31da3d9991423f42827da7efc14",
];

/// A running broker.
pub struct Kafka(Program);

impl Kafka {
    /// Installs it, if it is missing, into the user's cache.
    ///
    /// # Errors
    ///
    /// If it is missing and cannot be installed.
    pub fn install() -> Result<()> {
        if program().is_file() {
            return Ok(());
        }
        let folder = folder();
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let wanted = folder.join("requirements.txt");
        let digests = DIGESTS.map(|digest| format!(" --hash=sha256:{digest}"));
        let line = format!("noida-db=={VERSION}{}\n", digests.concat());
        fs::write(&wanted, line).with_context(|| format!("writing {}", wanted.display()))?;
        let mut install = Command::new("python3");
        install.args(["-m", "pip", "install", "--no-deps", "--require-hashes"]);
        install.args(["--disable-pip-version-check", "--root-user-action=ignore"]);
        install.arg("--target").arg(&folder);
        install.arg("--requirement").arg(&wanted);
        run("installing noida-db", &mut install)
    }

    /// Starts one.
    ///
    /// # Errors
    ///
    /// If it is not on this machine, or does not start.
    pub fn start() -> Result<Self> {
        let mut server = Self(Program::new("kafka", free_port()?)?);
        server.restart()?;
        Ok(server)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("kafka://127.0.0.1:{}", self.0.port)
    }

    /// Starts it again, with what it had written.
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
        command.args(["start", "--only", "kafka", "--host", "127.0.0.1"]);
        command.args(["--kafka-port", &self.0.port.to_string()]);
        command.arg("--data-dir").arg(self.0.path().join("data"));
        Ok(command)
    }
}

fn find() -> Result<PathBuf> {
    let program = program();
    program.is_file().then_some(program).with_context(|| {
        format!(
            "a Kafka is not installed: `cargo xtask test` does it, or `pip install --target {} noida-db=={VERSION}`",
            folder().display()
        )
    })
}

fn program() -> PathBuf {
    folder().join("noida_db").join("noida-db")
}

/// Where it stays.
fn folder() -> PathBuf {
    cached(&format!("noida-db-{VERSION}"))
}
