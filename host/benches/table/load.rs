//! The load generator: a process of its own that speaks HTTP/1.1 over plain sockets and does as
//! little as it can, since it runs on the cores of what it measures.
//!
//! Requests are written once, before the clock runs; of an answer only its status and its length
//! are read.

use std::{
    io::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime, task,
};

use crate::report::{cores, percentile, rate};

/// First argument of the process that makes load.
pub(crate) const COMMAND: &str = "--load";

/// What is to be sent, and how.
#[derive(Deserialize, Serialize)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    /// For so long.
    pub(crate) seconds: f64,
    /// Requests per second, sent at their times whether others are answered or not; none = each
    /// connection sends as soon as it has its answer.
    pub(crate) rate: Option<f64>,
    /// The status that every answer must have.
    pub(crate) status: u16,
    /// Path and body of each request, taken in turns.
    pub(crate) requests: Vec<(String, String)>,
}

/// What came of it.
#[derive(Deserialize, Serialize)]
pub(crate) struct Loaded {
    pub(crate) requests: usize,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Processor time that the generator took for itself.
    pub(crate) cpu_seconds: f64,
}

impl Loaded {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        rate(self.requests, self.seconds)
    }

    /// The generator's share of all cores.
    #[expect(clippy::cast_precision_loss, reason = "there are few cores")]
    pub(crate) fn processor_share(&self) -> f64 {
        self.cpu_seconds / self.seconds / cores() as f64
    }
}

impl Load {
    /// Starts a process that makes this load.
    pub(crate) fn start(&self) -> anyhow::Result<Running> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().context("it was piped")?;
        stdin.write_all(&serde_json::to_vec(self)?)?;
        Ok(Running(child))
    }
}

/// A process that makes load.
pub(crate) struct Running(Child);

impl Running {
    /// Waits for its end. Blocks.
    pub(crate) fn wait(self) -> anyhow::Result<Loaded> {
        let output = self.0.wait_with_output()?;
        ensure!(
            output.status.success(),
            "the load generator ended with {}",
            output.status
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// The whole life of the process that makes load.
pub(crate) fn main() -> anyhow::Result<()> {
    let load: Load = serde_json::from_reader(std::io::stdin())?;
    let requests: Arc<[Vec<u8>]> = load
        .requests
        .iter()
        .map(|(path, body)| request(load.address, path, body))
        .collect();
    let cpu_before = processor_seconds();
    let began = Instant::now();
    let mut latencies = drive(&load, &requests)?;
    let loaded = Loaded {
        requests: latencies.len(),
        seconds: began.elapsed().as_secs_f64(),
        p50_ms: percentile(&mut latencies, 0.5),
        p99_ms: percentile(&mut latencies, 0.99),
        cpu_seconds: processor_seconds() - cpu_before,
    };
    std::io::stdout().write_all(&serde_json::to_vec(&loaded)?)?;
    Ok(())
}

fn request(address: SocketAddr, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a process lives for less than 2^52 ns"
)]
fn processor_seconds() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// One thread for all connections. Without a rate each sends its next request when it has its
/// answer; with one every request has its time, on the tick of a millisecond, and its latency counts
/// from there: a thread for each connection would keep the machine busy with waking them.
#[expect(clippy::cast_precision_loss, reason = "requests are far below 2^52")]
fn drive(load: &Load, requests: &Arc<[Vec<u8>]>) -> anyhow::Result<Vec<f64>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(load.seconds);
    runtime.block_on(async {
        let mut connections = task::JoinSet::new();
        for first in 0..load.connections {
            let (address, step, status) = (load.address, load.connections, load.status);
            let (rate, requests) = (load.rate, Arc::clone(requests));
            connections.spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let mut answer = Answer::default();
                let mut latencies = Vec::new();
                let mut due = began.max(Instant::now());
                for n in (first..).step_by(step) {
                    if let Some(rate) = rate {
                        due = began + whole_millis(n as f64 / rate);
                        tokio::time::sleep_until(due.into()).await;
                    }
                    if due >= until {
                        break;
                    }
                    stream.write_all(&requests[n % requests.len()]).await?;
                    while !answer.is_whole(status)? {
                        let read = stream.read(answer.room()).await?;
                        answer.read(read)?;
                    }
                    let answered = Instant::now();
                    latencies.push(millis(answered - due));
                    due = answered;
                }
                anyhow::Ok(latencies)
            });
        }
        let mut all = Vec::new();
        while let Some(latencies) = connections.join_next().await {
            all.extend(latencies??);
        }
        Ok(all)
    })
}

/// The millisecond that so many seconds are in.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a round takes seconds"
)]
fn whole_millis(seconds: f64) -> Duration {
    Duration::from_millis((seconds * 1e3) as u64)
}

/// Sleeps, more exactly than a runtime does.
pub(crate) fn pause(span: Duration) {
    if let Ok(span) = span.try_into() {
        // Nothing else wakes this thread; woken early, it goes on early.
        let _ = rustix::thread::nanosleep(&span);
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// An answer while it comes in.
struct Answer {
    buffer: Vec<u8>,
    filled: usize,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            buffer: vec![0; 16 << 10],
            filled: 0,
        }
    }
}

impl Answer {
    fn room(&mut self) -> &mut [u8] {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled * 2, 0);
        }
        &mut self.buffer[self.filled..]
    }

    fn read(&mut self, bytes: usize) -> anyhow::Result<()> {
        ensure!(bytes > 0, "the host closed the connection");
        self.filled += bytes;
        Ok(())
    }

    /// Whether all of it is there; then the next may come.
    fn is_whole(&mut self, status: u16) -> anyhow::Result<bool> {
        let filled = &self.buffer[..self.filled];
        let Some(head) = filled.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(false);
        };
        let text = std::str::from_utf8(&filled[..head])?;
        let length: usize = text
            .split("\r\n")
            .find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then_some(value)
            })
            .context("the answer has no length")?
            .parse()?;
        if filled.len() < head + 4 + length {
            return Ok(false);
        }
        if text.get(9..12) != Some(status.to_string().as_str()) {
            let body = String::from_utf8_lossy(&filled[head + 4..]);
            bail!("expected status {status}, the answer is {text}\n\n{body}");
        }
        self.filled = 0;
        Ok(true)
    }
}
