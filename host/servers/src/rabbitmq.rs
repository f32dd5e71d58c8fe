//! RabbitMQ, as Debian packages it.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::{
    Certificate, PASSWORD, PASSWORD_IN_URL, USER, free_port, package::Package, pause,
    program::Program, user::User,
};

const PACKAGE: Package = Package {
    debian: "rabbitmq-server",
    program: "/usr/lib/rabbitmq/bin/rabbitmq-server",
};

/// After that the server has noted which queues there are.
const NOTED_AFTER: Duration = Duration::from_secs(2);

/// A running server: one node, with an Erlang port mapper of its own.
pub struct RabbitMq {
    program: Program,
    /// Ports of the port mapper and of the node's peers.
    ports: [u16; 2],
}

impl RabbitMq {
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
    /// If there is no RabbitMQ on this machine, or it does not start.
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
        let mut server = Self {
            program: Program::new("rabbitmq", free_port()?)?.proving(certificate)?,
            ports: [free_port()?, free_port()?],
        };
        server.restart()?;
        Ok(server)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let port = self.program.port;
        match self.program.proof {
            None => format!("amqp://guest:guest@127.0.0.1:{port}"),
            Some(_) => format!("amqps://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}"),
        }
    }

    /// Starts it again, with what it had.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.program.end(Signal::TERM)?;
        let mut command = self.command()?;
        self.program.start(&mut command)
    }

    /// Kills it as the kernel would, some time after whatever happened last: only half a second after
    /// a quorum queue was made does the server note on its disk that there is one, and a server that
    /// is killed before has a queue that never answers again.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn kill(&mut self) -> Result<()> {
        pause(NOTED_AFTER);
        self.program.end(Signal::KILL)
    }

    fn command(&self) -> Result<Command> {
        let mut command = User::command(None, &PACKAGE.find()?, "KILL");
        let (folder, [mapper, peers]) = (self.program.path(), self.ports);
        command
            .env("HOME", folder)
            .env("RABBITMQ_NODENAME", format!("xcomponent{mapper}@localhost"))
            .env("RABBITMQ_DIST_PORT", peers.to_string())
            .env("ERL_EPMD_PORT", mapper.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
            .env("RABBITMQ_LOG_BASE", folder.join("logs"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
            .env("RABBITMQ_CONFIG_FILE", self.settings()?)
            .env("RABBITMQ_CONF_ENV_FILE", folder.join("none"));
        Ok(command)
    }

    /// Writes where it listens and whom it lets in.
    fn settings(&self) -> Result<PathBuf> {
        let port = self.program.port;
        let settings = match &self.program.proof {
            None => format!("listeners.tcp.1 = 127.0.0.1:{port}\n"),
            Some([certificate, key]) => format!(
                "listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{port}\n\
                 ssl_options.certfile = {}\nssl_options.keyfile = {}\n\
                 default_user = {USER}\ndefault_pass = {PASSWORD}\n",
                certificate.display(),
                key.display()
            ),
        };
        let file = self.program.path().join("rabbitmq.conf");
        fs::write(&file, settings).context("writing the settings of RabbitMQ")?;
        Ok(file)
    }
}
