//! A server that is one program: started, stopped, killed, started again on the same port.

use std::{
    fs,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::{Certificate, wait_for};

/// How long a server may take to begin, after a crash too.
const START: Duration = Duration::from_secs(90);

/// How long it may take to end.
const STOP: Duration = Duration::from_secs(20);

/// How long one look whether it answers may take.
const LOOK: Duration = Duration::from_millis(500);

/// A server's process and its folder, which is gone when it is dropped.
pub(crate) struct Program {
    name: &'static str,
    process: Option<Child>,
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    /// Its certificate and the key of that, if it speaks encrypted.
    pub(crate) proof: Option<[PathBuf; 2]>,
}

impl Program {
    /// Not started yet.
    pub(crate) fn new(name: &'static str, port: u16) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("xcomponent-{name}-"))
            .tempdir()
            .context("making a folder")?;
        Ok(Self {
            name,
            process: None,
            folder,
            port,
            proof: None,
        })
    }

    /// Gives it a certificate, if there is one.
    pub(crate) fn proving(mut self, certificate: Option<&Certificate>) -> Result<Self> {
        let written = certificate.map(|certificate| certificate.write(self.path()));
        self.proof = written.transpose()?;
        Ok(self)
    }

    /// Starts it, and waits until it lets somebody in.
    pub(crate) fn start(&mut self, command: &mut Command) -> Result<()> {
        use std::os::unix::process::CommandExt as _;
        let name = self.name;
        let log = File::create(self.path().join("log")).context("making a log")?;
        let output = log.try_clone().context("making a log")?;
        command
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(log)
            .process_group(0);
        let process = command.spawn();
        self.process = Some(process.with_context(|| format!("starting {name}"))?);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        wait_for(&format!("the start of {name}"), START, || {
            if let Some(process) = &mut self.process
                && let Some(ended) = process.try_wait().context("looking after a server")?
            {
                self.process = None;
                let log = fs::read_to_string(self.folder.path().join("log"));
                bail!("{name} ended with {ended}: {}", log.unwrap_or_default());
            }
            Ok(TcpStream::connect_timeout(&address, LOOK)
                .is_ok()
                .then_some(()))
        })
    }

    /// Ends it and waits until it has: politely, or as the kernel would.
    pub(crate) fn end(&mut self, signal: Signal) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("a server has a process id")?;
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
        if signal == Signal::KILL {
            let _ = kill_process_group(pid, signal);
        }
        let what = format!("the end of {}", self.name);
        wait_for(&what, STOP, || {
            process.try_wait().context("waiting for a server")
        })?;
        // Helpers of it that did not go with it.
        let _ = kill_process_group(pid, Signal::KILL);
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nobody needs what it has not written yet.
        let _ = self.end(Signal::KILL);
    }
}
