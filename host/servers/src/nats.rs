//! NATS with JetStream, as Debian packages it or as it stands on the `PATH`.

use std::process::Command;

use anyhow::Result;
use rustix::process::Signal;

use crate::{
    Certificate, PASSWORD, PASSWORD_IN_URL, USER, free_port, package::Package, program::Program,
    user::User,
};

const PACKAGE: Package = Package {
    debian: "nats-server",
    program: "nats-server",
};

/// A running server with JetStream on its disk.
pub struct Nats(Program);

impl Nats {
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
    /// If there is no NATS on this machine, or it does not start.
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
        let program = Program::new("nats", free_port()?)?;
        let mut server = Self(program.proving(certificate)?);
        server.restart()?;
        Ok(server)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let port = self.0.port;
        match self.0.proof {
            None => format!("nats://127.0.0.1:{port}"),
            Some(_) => format!("tls://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}"),
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
        let mut command = User::command(None, &PACKAGE.find()?, "KILL");
        let port = self.0.port.to_string();
        command.args(["--addr", "127.0.0.1", "--port", &port, "--jetstream"]);
        if let Some([certificate, key]) = &self.0.proof {
            command.args(["--tls", "--user", USER, "--pass", PASSWORD]);
            command.arg("--tlscert").arg(certificate);
            command.arg("--tlskey").arg(key);
        }
        command.arg("--store_dir").arg(self.0.path());
        Ok(command)
    }
}
