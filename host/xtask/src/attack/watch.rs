//! Who looks on: a polite client, and somebody who asks for the host's health.

use std::{
    env,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{polite::CONNECTIONS, victim::Victim};

/// What an attack did.
pub(super) struct Report {
    /// The most memory that the host held; none if it ended.
    pub(super) peak_mib: Option<u64>,
    /// The polite client's p99, before and during the attack.
    pub(super) baseline: Duration,
    pub(super) p99: Duration,
    /// Its requests during the attack.
    pub(super) requests: u64,
    /// How often it was answered 429.
    pub(super) refused: u64,
    /// How often it got no answer, or another that is no success.
    pub(super) failed: u64,
    /// The slowest answer of `/healthz`.
    pub(super) health: Duration,
    /// How long the start afterwards took.
    pub(super) start: Result<Duration>,
    /// Why the attack did not go as it should.
    pub(super) problem: Option<String>,
}

impl Report {
    pub(super) fn heading() -> String {
        format!(
            "   {:32} {:>8} {:>10} {:>10} {:>9} {:>8} {:>10} {:>9}",
            "attack", "peak", "p99 before", "p99", "requests", "429", "health", "start"
        )
    }

    pub(super) fn row(&self, name: &str) -> String {
        let start = match &self.start {
            Ok(start) => millis(*start),
            Err(_) => "fails".to_owned(),
        };
        format!(
            "   {name:32} {:>4} MiB {:>10} {:>10} {:>9} {:>8} {:>10} {start:>9}",
            self.peak_mib.unwrap_or_default(),
            millis(self.baseline),
            millis(self.p99),
            self.requests,
            self.refused,
            millis(self.health),
        )
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

/// A polite client at work, beside an attack. Dropped, it is killed.
pub(super) struct Watch {
    client: Child,
    lines: Lines<BufReader<ChildStdout>>,
    baseline: Duration,
}

impl Watch {
    /// Starts one, and waits until it knows the host without an attack.
    pub(super) fn begin(victim: &Victim, short: bool) -> Result<Self> {
        for n in 0..CONNECTIONS {
            victim.create("Polite", "Counter", &format!("polite-{n}"), &json!({}))?;
        }
        let program = env::current_exe().context("asking for this program")?;
        let mut client = Command::new(program)
            .args(["polite", &victim.address().to_string()])
            .args(short.then_some("--short"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the polite client")?;
        let output = client.stdout.take().context("it has an output")?;
        let mut watch = Self {
            client,
            lines: BufReader::new(output).lines(),
            baseline: Duration::ZERO,
        };
        watch.baseline = micros(&watch.told()?["p99_us"]);
        Ok(watch)
    }

    /// Ends it, and says what was seen.
    pub(super) fn end(mut self, victim: &Victim) -> Result<Report> {
        drop(self.client.stdin.take());
        let told = self.told()?;
        let count = |name: &str| told[name].as_u64().unwrap_or_default();
        let is_away = victim.is_away();
        Ok(Report {
            peak_mib: victim.peak_mib(),
            baseline: self.baseline,
            p99: micros(&told["p99_us"]),
            requests: count("requests"),
            refused: count("refused"),
            failed: if is_away { 0 } else { count("failed") },
            health: if is_away {
                Duration::ZERO
            } else {
                micros(&told["health_us"])
            },
            start: Ok(Duration::ZERO),
            problem: None,
        })
    }

    /// Its next line.
    fn told(&mut self) -> Result<Value> {
        let line = self.lines.next();
        let line = line.context("the polite client ended before its time")??;
        let told: Value = serde_json::from_str(&line).context("the polite client says no JSON")?;
        ensure!(told["p99_us"].is_u64(), "the polite client says {line}");
        Ok(told)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

fn micros(number: &Value) -> Duration {
    Duration::from_micros(number.as_u64().unwrap_or_default())
}
