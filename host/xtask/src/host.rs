//! A host as a process, and a client of it.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::command::built;

/// How long a host may take to start: it compiles its components.
const START: Duration = Duration::from_secs(120);

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running host. Dropped, it is ended.
pub(crate) struct Host {
    process: Child,
    /// Lines that it prints; closed when it has ended.
    lines: Receiver<String>,
    url: String,
    agent: ureq::Agent,
}

impl Host {
    /// Starts a host that forgets everything when it ends, with these components; port 0 is any that
    /// is free.
    pub(crate) fn start(port: u16, components: &[PathBuf]) -> Result<Self> {
        let mut arguments = vec!["--store".into(), "memory".into()];
        arguments.extend(components.iter().map(|path| path.clone().into_os_string()));
        Self::start_with(port, &arguments)
    }

    /// Starts a host that is told more.
    pub(crate) fn start_with(port: u16, arguments: &[OsString]) -> Result<Self> {
        let program = built("xcomponent");
        let mut process = Command::new(&program)
            .args(["serve", "--json", "--port", &port.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let output = process.stdout.take().context("the host has an output")?;
        let (line, lines) = sync_channel(64);
        thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                if line.send(text).is_err() {
                    break;
                }
            }
        });
        let ready = lines.recv_timeout(START);
        let ready = ready.context("the host ended, or was not ready in time")?;
        let ready: Value = serde_json::from_str(&ready)
            .with_context(|| format!("the host's first line is no JSON: {ready}"))?;
        let url = ready["url"].as_str();
        let url = url
            .with_context(|| format!("the host's first line has no `url`: {ready}"))?
            .to_owned();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE));
        Ok(Self {
            process,
            lines,
            url,
            agent: config.build().new_agent(),
        })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Lets time pass; fails if the host ends meanwhile.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        match self.lines.recv_timeout(time) {
            Ok(_) | Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => bail!("the host has ended"),
        }
    }

    /// What a path below `/v1` answers.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let answer = self.agent.get(self.v1(path)).call();
        read(answer, path, 200)
    }

    /// Sends JSON to a path below `/v1`, and expects this status.
    pub(crate) fn post(&self, path: &str, body: &Value, status: u16) -> Result<Value> {
        let request = self
            .agent
            .post(self.v1(path))
            .header("content-type", "application/json");
        read(request.send(body.to_string()), path, status)
    }

    /// Uploads a component.
    pub(crate) fn put(&self, path: &str, component: &[u8]) -> Result<Value> {
        let request = self
            .agent
            .put(self.v1(path))
            .header("content-type", "application/wasm");
        read(request.send(component), path, 201)
    }

    fn v1(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.url)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    path: &str,
    expected: u16,
) -> Result<Value> {
    let mut answer = answer.with_context(|| format!("asking for {path}"))?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().read_to_string();
    let body = body.with_context(|| format!("reading the answer of {path}"))?;
    ensure!(
        status == expected,
        "{path} answers {status}, expected {expected}: {body}"
    );
    serde_json::from_str(&body).with_context(|| format!("{path} answers no JSON: {body}"))
}
