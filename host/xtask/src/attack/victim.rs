//! The host that is attacked.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::sync_channel,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use ureq::Agent;

use super::cores::Cores;

/// How long a start may take.
const START: Duration = Duration::from_secs(120);

/// How long one request of an attack may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The component that the polite client calls.
const POLITE: &str = "
name: Polite
version: 1.0.0
stateMachines:
  - name: Counter
    initialState: Ready
    states: [{name: Ready}]
    transitions:
      - {from: Ready, to: Ready, event: COUNT, mergePayload: false}
";

/// A running host with a budget. Dropped, it is killed.
pub(super) struct Victim {
    program: PathBuf,
    folder: PathBuf,
    memory_mib: u64,
    cores: Cores,
    process: Child,
    address: SocketAddr,
    agent: Agent,
    /// The attack takes the host away from everybody: nobody is served meanwhile.
    is_away: bool,
    /// The most memory that hosts before this one held, in MiB.
    peak_before: u64,
}

impl Victim {
    /// Starts a host in an empty folder.
    pub(super) fn start(
        program: &Path,
        folder: &Path,
        memory_mib: u64,
        cores: Cores,
    ) -> Result<Self> {
        fs::write(folder.join("polite.yaml"), POLITE).context("writing a definition")?;
        let (process, address) = cores
            .on_those_of_the_host(|| spawn(program, folder, memory_mib, &["polite.yaml"]))??;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_global(Some(PATIENCE));
        Ok(Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            memory_mib,
            cores,
            process,
            address,
            agent: config.build().new_agent(),
            is_away: false,
            peak_before: 0,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Where it keeps its data.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Says that this attack takes the host away: the polite client is not served meanwhile.
    pub(super) fn expect_failures(&mut self) {
        self.is_away = true;
    }

    pub(super) fn is_away(&self) -> bool {
        self.is_away
    }

    /// The most memory that the process has held, in MiB; none if it has ended.
    pub(super) fn peak_mib(&self) -> Option<u64> {
        let now = self.peak_now();
        if self.is_away {
            return Some(now.unwrap_or_default().max(self.peak_before));
        }
        now
    }

    fn peak_now(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = peak.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kib >> 10)
    }

    /// Kills it and starts it on what it left, without naming a component; says how long that took.
    pub(super) fn restart(&mut self) -> Result<Duration> {
        self.kill()?;
        let began = Instant::now();
        let cores = self.cores;
        let started = cores
            .on_those_of_the_host(|| spawn(&self.program, &self.folder, self.memory_mib, &[]))??;
        (self.process, self.address) = started;
        Ok(began.elapsed())
    }

    /// Kills it; the next one must start in its folder.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.peak_before = self.peak_before.max(self.peak_now().unwrap_or_default());
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().context("waiting for its end")?;
        Ok(())
    }

    /// Keeps connections open for a while; the host must answer others meanwhile.
    pub(super) fn hold(&self, open: Vec<TcpStream>, time: Duration) -> Result<()> {
        super::pause(time);
        let health = self.get("/healthz");
        drop(open);
        let health = health?;
        ensure!(health == 200, "/healthz answers {health}");
        Ok(())
    }

    /// The status of what a path answers; the answer itself is not read.
    pub(super) fn get(&self, path: &str) -> Result<u16> {
        let answer = self.agent.get(self.url(path)).call();
        Ok(answer
            .with_context(|| format!("GET {path}"))?
            .status()
            .as_u16())
    }

    /// Uploads something, and gives the status of the answer.
    pub(super) fn put(&self, path: &str, kind: &str, body: &[u8]) -> Result<u16> {
        let request = self.agent.put(self.url(path)).header("content-type", kind);
        let mut answer = request.send(body).with_context(|| format!("PUT {path}"))?;
        let status = answer.status().as_u16();
        // Read to its end, as a client does; how large it may be is checked by its length.
        let text = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_vec();
        text.with_context(|| format!("the answer of PUT {path}"))?;
        Ok(status)
    }

    /// Sends JSON, and gives the status and the answer.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.post_with(path, body, &[])
    }

    /// The same, with headers.
    pub(super) fn post_with(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Result<(u16, Value)> {
        let mut request = self.agent.post(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("content-type", "application/json");
        let answer = request.send(body.to_string());
        let mut answer = answer.with_context(|| format!("POST {path}"))?;
        let status = answer.status().as_u16();
        let text = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string();
        let text = text.with_context(|| format!("the answer of POST {path}"))?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// Sends many lines; the answers to them are not read.
    pub(super) fn post_lines(&self, path: &str, lines: &str) -> Result<()> {
        let request = self.agent.post(self.url(path));
        let request = request.header("content-type", "application/x-ndjson");
        let answer = request.send(lines);
        answer.with_context(|| format!("POST {path}"))?;
        Ok(())
    }

    /// Uploads a definition that must be accepted.
    pub(super) fn deploy(&self, name: &str, yaml: &str) -> Result<()> {
        let path = format!("/v1/components/{name}");
        let status = self.put(&path, "application/yaml", yaml.as_bytes())?;
        ensure!(status == 201, "{name} is answered with {status}");
        Ok(())
    }

    /// Uploads a packed component that must be accepted.
    pub(super) fn deploy_wasm(&self, name: &str, file: &Path) -> Result<()> {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let status = self.put(
            &format!("/v1/components/{name}"),
            "application/wasm",
            &bytes,
        )?;
        ensure!(status == 201, "{name} is answered with {status}");
        Ok(())
    }

    /// Creates an instance; being refused for lack of room is repeated.
    pub(super) fn create(
        &self,
        component: &str,
        machine: &str,
        id: &str,
        context: &Value,
    ) -> Result<()> {
        let path = format!("/v1/components/{component}/machines/{machine}/instances");
        let body = json!({ "id": id, "context": context });
        for _ in 0..TRIES {
            match self.post(&path, &body)? {
                (200 | 201, _) => return Ok(()),
                (429 | 503, _) => super::pause(AGAIN_AFTER),
                (status, answer) => bail!("{path} answers {status}: {answer}"),
            }
        }
        bail!("{path} refuses {TRIES} times")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Largest answer that an attack reads.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// How often something is tried that is refused for lack of room, and the wait between.
const TRIES: usize = 600;
const AGAIN_AFTER: Duration = Duration::from_millis(50);

impl Drop for Victim {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a host and waits until it serves.
fn spawn(
    program: &Path,
    folder: &Path,
    memory_mib: u64,
    components: &[&str],
) -> Result<(Child, SocketAddr)> {
    let log = File::create(folder.join("host.log")).context("making a file for the log")?;
    let mut process = Command::new(program)
        .args(["serve", "--json", "--port", "0", "--data", "data"])
        .arg(format!("--memory-max={memory_mib}MiB"))
        .args(components)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let output = process.stdout.take().context("the host has an output")?;
    let (send, first) = sync_channel(1);
    thread::spawn(move || {
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        // Nobody may be waiting any more; the rest is read so that the host can write it.
        let _ = lines.next().map(|line| send.send(line));
        lines.for_each(drop);
    });
    let ready = first.recv_timeout(START);
    let Ok(ready) = ready else {
        let _ = process.kill();
        let log = fs::read_to_string(folder.join("host.log")).unwrap_or_default();
        let last = log.lines().last().unwrap_or_default().to_owned();
        bail!("the host ended or was not ready in time: {last}");
    };
    let ready: Value = serde_json::from_str(&ready).context("the host's first line is no JSON")?;
    let url = ready["url"].as_str().context("the host says no address")?;
    let address = url.trim_start_matches("http://").parse();
    Ok((process, address.with_context(|| format!("reading {url}"))?))
}
