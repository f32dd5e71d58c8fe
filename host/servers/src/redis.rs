//! Redis, as Debian packages it or as it stands on the `PATH`.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use rustix::process::Signal;

use crate::{
    Certificate, PASSWORD, PASSWORD_IN_URL, USER, free_port, package::Package, program::Program,
    user::User, wait_for,
};

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
        Self::begin(None)
    }

    /// Starts one that lets in only who speaks encrypted and knows the password, which is in its URL.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn start_encrypted(certificate: &Certificate) -> Result<Self> {
        Self::begin(Some(certificate))
    }

    fn begin(certificate: Option<&Certificate>) -> Result<Self> {
        let program = Program::new("redis", free_port()?)?;
        let mut server = Self(program.proving(certificate)?);
        server.restart()?;
        Ok(server)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let port = self.0.port;
        match self.0.proof {
            None => format!("redis://127.0.0.1:{port}"),
            Some(_) => format!("rediss://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}"),
        }
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
        match self.0.proof {
            None => wait_for("Redis reading its file", LOAD_MAX, || self.is_loaded()),
            // Who is let in asks again until it has.
            Some(_) => Ok(()),
        }
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
        command.args(["--bind", "127.0.0.1", "--save", ""]);
        match &self.0.proof {
            None => {
                command.args(["--port", &port]);
            }
            Some([certificate, key]) => {
                command.args(["--port", "0", "--tls-port", &port]);
                command.arg("--tls-cert-file").arg(certificate);
                command.arg("--tls-key-file").arg(key);
                command.args(["--tls-auth-clients", "no", "--user", "default", "off"]);
                let password = format!(">{PASSWORD}");
                command.args(["--user", USER, "on", &password, "~*", "&*", "+@all"]);
            }
        }
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--dir").arg(self.0.path());
        Ok(command)
    }
}
