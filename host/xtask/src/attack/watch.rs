//! Who looks on: a polite client in an open loop, and a prober of `/healthz`.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use ureq::Agent;

use super::{pause, victim::Victim};

/// Connections of the polite client, each with a thread and an instance.
const CONNECTIONS: usize = 8;

/// How long its capacity is measured, and how long its p99 without the attack.
const CAPACITY: Duration = Duration::from_secs(2);
const BASELINE: Duration = Duration::from_secs(3);

/// Requests a second in the short form, where capacity is not measured.
const SHORT_RATE: f64 = 50.0;

/// Wait between two looks at `/healthz`.
const HEALTH_EVERY: Duration = Duration::from_millis(100);

/// What an attack did.
pub(super) struct Report {
    /// The most memory that the host held; none if it ended.
    pub(super) peak_mib: Option<u64>,
    /// The polite client's p99, before and during the attack.
    pub(super) baseline: Duration,
    pub(super) p99: Duration,
    /// Its requests during the attack.
    pub(super) requests: usize,
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

/// Everything that goes on beside an attack.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    baseline: Duration,
    polite: Arc<Polite>,
    threads: Vec<JoinHandle<()>>,
    health: JoinHandle<Duration>,
}

/// What the polite client has seen.
#[derive(Default)]
struct Polite {
    latencies: Mutex<Vec<Duration>>,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Watch {
    /// Measures the host without an attack, and goes on doing so.
    pub(super) fn begin(victim: &Victim, short: bool) -> Result<Self> {
        let address = victim.address();
        for n in 0..CONNECTIONS {
            victim.create("Polite", "Counter", &format!("polite-{n}"), &json!({}))?;
        }
        let rate = if short {
            SHORT_RATE
        } else {
            capacity(address) / 2.0
        };
        let before = Polite::run(address, rate, &Arc::new(AtomicBool::new(false)));
        pause(BASELINE);
        let (baseline, ..) = before.end()?;
        let stop = Arc::new(AtomicBool::new(false));
        let running = Polite::run(address, rate, &stop);
        let health = thread::spawn({
            let stop = Arc::clone(&stop);
            move || slowest_health(address, &stop)
        });
        Ok(Self {
            stop,
            baseline,
            polite: running.polite,
            threads: running.threads,
            health,
        })
    }

    /// Stops, and says what was seen.
    pub(super) fn end(self, victim: &Victim) -> Result<Report> {
        let running = Running {
            stop: self.stop,
            polite: self.polite,
            threads: self.threads,
        };
        let (p99, requests, refused, failed) = running.end()?;
        let health = self.health.join();
        let is_away = victim.is_away();
        Ok(Report {
            peak_mib: victim.peak_mib(),
            baseline: self.baseline,
            p99,
            requests,
            refused,
            failed: if is_away { 0 } else { failed },
            health: if is_away {
                Duration::ZERO
            } else {
                health.map_err(|_| anyhow!("the prober panicked"))?
            },
            start: Ok(Duration::ZERO),
            problem: None,
        })
    }
}

/// A polite client at work.
struct Running {
    stop: Arc<AtomicBool>,
    polite: Arc<Polite>,
    threads: Vec<JoinHandle<()>>,
}

impl Polite {
    /// Sends so many requests a second, each when it is due, whatever became of those before.
    fn run(address: SocketAddr, rate: f64, stop: &Arc<AtomicBool>) -> Running {
        let polite = Arc::new(Self::default());
        let began = Instant::now();
        let every = Duration::from_secs_f64(CONNECTIONS as f64 / rate);
        let one = |n: usize| {
            let (polite, stop) = (Arc::clone(&polite), Arc::clone(stop));
            let mut due = began + every.mul_f64(n as f64 / CONNECTIONS as f64);
            thread::spawn(move || {
                let agent = agent();
                while !stop.load(Ordering::Acquire) {
                    pause(due.saturating_duration_since(Instant::now()));
                    polite.note(count(&agent, address, n), due.elapsed());
                    due += every;
                }
            })
        };
        let threads = (0..CONNECTIONS).map(one).collect();
        Running {
            stop: Arc::clone(stop),
            polite,
            threads,
        }
    }

    fn note(&self, status: Option<u16>, latency: Duration) {
        match status {
            Some(200) => {}
            Some(429) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
            _ => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
        }
        self.lock().push(latency);
    }

    fn latencies(&self) -> Vec<Duration> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Duration>> {
        let latencies = self.latencies.lock();
        latencies.expect("nothing that holds the lock panics")
    }
}

impl Running {
    fn end(self) -> Result<(Duration, usize, u64, u64)> {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            thread
                .join()
                .map_err(|_| anyhow!("the polite client panicked"))?;
        }
        let mut latencies = self.polite.latencies();
        latencies.sort_unstable();
        let p99 = latencies.get(latencies.len().saturating_sub(1) * 99 / 100);
        let p99 = *p99.context("the polite client got no answer at all")?;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok((
            p99,
            latencies.len(),
            read(&self.polite.refused),
            read(&self.polite.failed),
        ))
    }
}

/// Requests a second that the host answers when each connection sends the next at once.
fn capacity(address: SocketAddr) -> f64 {
    let deadline = Instant::now() + CAPACITY;
    let send = |n: usize| {
        thread::spawn(move || {
            let agent = agent();
            let mut answers = 0_u32;
            while Instant::now() < deadline {
                answers += u32::from(count(&agent, address, n) == Some(200));
            }
            answers
        })
    };
    let threads: Vec<_> = (0..CONNECTIONS).map(send).collect();
    let answers = threads.into_iter().filter_map(|thread| thread.join().ok());
    f64::from(answers.sum::<u32>().max(1)) / CAPACITY.as_secs_f64()
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)));
    config.build().new_agent()
}

fn count(agent: &Agent, address: SocketAddr, n: usize) -> Option<u16> {
    let request = agent
        .post(format!("http://{address}/v1/instances/polite-{n}/events"))
        .header("content-type", "application/json");
    let mut answer = request.send(r#"{"event":"COUNT","payload":{}}"#).ok()?;
    // Read to its end, so that the connection can be used again.
    answer.body_mut().read_to_vec().ok()?;
    Some(answer.status().as_u16())
}

/// Asks for the health again and again, over a connection of its own each time.
fn slowest_health(address: SocketAddr, stop: &AtomicBool) -> Duration {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_idle_connections(0)
        .timeout_global(Some(Duration::from_secs(60)));
    let agent = config.build().new_agent();
    let mut slowest = Duration::ZERO;
    while !stop.load(Ordering::Acquire) {
        let asked = Instant::now();
        let answer = agent.get(format!("http://{address}/healthz")).call();
        let took = match answer {
            Ok(_) => asked.elapsed(),
            Err(_) => Duration::from_secs(60),
        };
        slowest = slowest.max(took);
        pause(HEALTH_EVERY);
    }
    slowest
}
