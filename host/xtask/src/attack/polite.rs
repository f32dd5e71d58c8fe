//! The polite client: so many requests a second, each when it is due, whatever became of those
//! before (an open loop). Beside it somebody asks for the host's health again and again.
//!
//! It is a process of its own, so that nothing that the attackers' threads hold, such as a lock of
//! the allocator, makes it wait.

use std::{
    io::{self, Read, Write},
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

use super::pause;

/// Connections, each with a thread and an instance: so many that the next request nearly never
/// waits for an answer.
pub(super) const CONNECTIONS: usize = 200;

/// Connections over which the capacity is measured.
const CAPACITY_CONNECTIONS: usize = 32;

/// How long its capacity is measured, and how often: the lowest counts, since a machine that others
/// use as well is slower at times.
const CAPACITY: Duration = Duration::from_millis(500);
const CAPACITY_ROUNDS: usize = 6;

/// How long it warms up, and how long its p99 without the attack is measured.
const WARM_UP: Duration = Duration::from_secs(1);
const BASELINE: Duration = Duration::from_secs(3);

/// Requests a second in the short form, where capacity is not measured.
const SHORT_RATE: f64 = 50.0;

/// Wait between two looks at `/healthz`.
const HEALTH_EVERY: Duration = Duration::from_millis(100);

/// Sends events to a host until its standard input ends: of `attack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Polite {
    /// The host.
    address: SocketAddr,
    /// A low rate instead of half of what the host can do.
    #[arg(long)]
    short: bool,
}

impl Polite {
    /// Prints a line with the p99 without an attack, and at the end one with everything else.
    pub(crate) fn run(&self) -> Result<()> {
        let rate = if self.short {
            SHORT_RATE
        } else {
            let rounds = (0..CAPACITY_ROUNDS).map(|_| capacity(self.address));
            rounds.fold(f64::INFINITY, f64::min) / 2.0
        };
        let running = Running::start(self.address, rate);
        pause(WARM_UP);
        running.seen.forget();
        pause(BASELINE);
        let baseline = p99(&mut running.seen.forget())?;
        writeln!(io::stdout(), "{}", json!({ "p99_us": micros(baseline) }))?;
        let stop = Arc::clone(&running.stop);
        let address = self.address;
        let health = thread::spawn(move || slowest_health(address, &stop));
        // Whoever started this closes it.
        io::stdin().read_to_end(&mut Vec::new())?;
        let seen = running.end()?;
        let health = health.join().map_err(|_| anyhow!("the prober panicked"))?;
        let mut latencies = seen.forget();
        let p99 = p99(&mut latencies)?;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let told = json!({
            "p99_us": micros(p99),
            "requests": latencies.len(),
            "refused": read(&seen.refused),
            "failed": read(&seen.failed),
            "health_us": micros(health),
        });
        writeln!(io::stdout(), "{told}")?;
        Ok(())
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn p99(latencies: &mut [Duration]) -> Result<Duration> {
    latencies.sort_unstable();
    let p99 = latencies.get(latencies.len().saturating_sub(1) * 99 / 100);
    p99.copied().context("there was no answer at all")
}

/// What became of the requests.
#[derive(Default)]
struct Seen {
    latencies: Mutex<Vec<Duration>>,
    /// How often the answer was 429.
    refused: AtomicU64,
    /// How often there was none, or another that is no success.
    failed: AtomicU64,
}

impl Seen {
    fn note(&self, status: Option<u16>, latency: Duration) {
        match status {
            Some(200) => {}
            Some(429) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
            _ => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
        }
        self.lock().push(latency);
    }

    /// The latencies since the last time.
    fn forget(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Duration>> {
        let latencies = self.latencies.lock();
        latencies.expect("nothing that holds the lock panics")
    }
}

/// The threads at work.
struct Running {
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    fn start(address: SocketAddr, rate: f64) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Seen>::default());
        let began = Instant::now();
        let every = Duration::from_secs_f64(CONNECTIONS as f64 / rate);
        let one = |n: usize| {
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            let mut due = began + every.mul_f64(n as f64 / CONNECTIONS as f64);
            thread::spawn(move || {
                let agent = agent();
                while !stop.load(Ordering::Acquire) {
                    pause(due.saturating_duration_since(Instant::now()));
                    seen.note(count(&agent, address, n), due.elapsed());
                    due += every;
                }
            })
        };
        let threads = (0..CONNECTIONS).map(one).collect();
        Self {
            stop,
            seen,
            threads,
        }
    }

    fn end(self) -> Result<Arc<Seen>> {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            let ended = thread.join();
            ended.map_err(|_| anyhow!("the polite client panicked"))?;
        }
        Ok(self.seen)
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
    let threads: Vec<_> = (0..CAPACITY_CONNECTIONS).map(send).collect();
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
