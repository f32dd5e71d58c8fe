//! A host that is killed.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::pause;

/// Wait between two looks whether it has ended.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// A running host; dropped, it is killed.
pub(super) struct Host {
    process: Child,
    url: String,
}

impl Host {
    /// Starts a host in a folder and waits until it serves; port 0 is any that is free.
    pub(super) fn start(program: &Path, folder: &Path, store: &str, port: u16) -> Result<Self> {
        let arguments = [
            "ledger.yaml",
            "mirrors.yaml",
            "--data",
            "data",
            "--store",
            store,
        ];
        Self::start_with(program, folder, &arguments, port)
    }

    /// The same, told more.
    pub(super) fn start_with(
        program: &Path,
        folder: &Path,
        arguments: &[&str],
        port: u16,
    ) -> Result<Self> {
        let mut host = Self::spawn(program, folder, arguments, port)?;
        let output = host.process.stdout.take();
        let output = output.context("the host has an output")?;
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        read.context("reading what the host says")?;
        ensure!(!line.is_empty(), "the host ended at its start");
        let ready: Value = serde_json::from_str(&line)
            .with_context(|| format!("the host's first line is no JSON: {line}"))?;
        let url = ready["url"].as_str();
        let url = url.with_context(|| format!("the host does not serve: {line}"))?;
        host.url = url.to_owned();
        Ok(host)
    }

    /// The same, without waiting for anything: at this port it is expected to serve some time.
    pub(super) fn spawn(
        program: &Path,
        folder: &Path,
        arguments: &[&str],
        port: u16,
    ) -> Result<Self> {
        let process = Command::new(program)
            .args(["serve", "--json", "--port", &port.to_string()])
            .args(arguments)
            // What goes wrong is what is wanted here.
            .env("RUST_LOG", "off")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn port(&self) -> u16 {
        let port = self.url.rsplit(':').next();
        port.and_then(|port| port.parse().ok()).unwrap_or_default()
    }

    /// Stops it, as a debugger or a machine without time for it would.
    pub(super) fn stop(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Has it go on.
    pub(super) fn wake_up(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = Pid::from_child(&self.process);
        kill_process(process, signal).context("sending the host a signal")
    }

    /// Waits until it has ended by itself.
    pub(super) fn wait_for_end(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.process.try_wait().context("looking for its end")? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "the host goes on");
            pause(AGAIN_AFTER);
        }
    }

    /// Kills it with SIGKILL.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.kill().context("killing the host")?;
        self.process.wait().context("waiting for its end")?;
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
