//! Redis, as Debian packages it or as it stands on the `PATH`.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use rustix::process::Signal;

use crate::{free_port, package::Package, program::Program, user::User, wait_for};

/// How long it may take to read its file.
const LOAD_MAX: Duration = Duration::from_secs(60);

const PACKAGE: Package = Package {
    debian: "redis-server",
    program: "redis-server",
};

/// A running server that writes every change to its file before it answers.
pub struct Redis(Program);

impl Redis {
    /// Installs it, if it is missing and this process is root's.
    ///
    /// # Errors
    ///
    /// If it is missing and cannot be installed.
    pub fn install() -> Result<()> {
        PACKAGE.install()
    }

    /// Starts one.
    ///
    /// # Errors
    ///
    /// If there is no Redis on this machine, or it does not start.
    pub fn start() -> Result<Self> {
        let mut server = Self(Program::new("redis", free_port()?)?);
        server.restart()?;
        Ok(server)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.0.port)
    }

    /// Starts it again, with what it had.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.0.end(Signal::TERM)?;
        let mut command = self.command()?;
        self.0.start(&mut command)?;
        wait_for("Redis reading its file", LOAD_MAX, || self.is_loaded())
    }

    /// Whether it has read what it had: before, it answers that it has not.
    fn is_loaded(&self) -> Result<Option<()>> {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.0.port))?;
        connection.write_all(b"PING\r\n")?;
        let mut answer = String::new();
        BufReader::new(connection).read_line(&mut answer)?;
        Ok(answer.starts_with("+PONG").then_some(()))
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
        let mut command = User::command(None, &PACKAGE.find()?, "KILL");
        let port = self.0.port.to_string();
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--dir").arg(self.0.path());
        Ok(command)
    }
}
