//! Where the time comes from. It never goes back.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use xcomponent_core::time::{self, Timestamp};

/// Tells a shard to look at the clock again.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Tells the time and how long to wait for a point in it.
pub trait Clock: Send + Sync + 'static {
    /// The time, never earlier than what it was before.
    fn now(&self) -> Timestamp;

    /// How long a thread may sleep until then; none if only a [`Wake`] can bring that time about.
    fn until(&self, deadline: Timestamp) -> Option<Duration>;

    /// Calls `wake` whenever the time jumps.
    fn on_jump(&self, wake: Wake);
}

/// The machine's time at the start, and from there on its monotone clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    started_ms: u64,
}

impl SystemClock {
    /// Starts at the machine's time.
    pub fn start() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            started: Instant::now(),
            started_ms: whole_ms(since),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.started_ms + whole_ms(self.started.elapsed()))
    }

    fn until(&self, deadline: Timestamp) -> Option<Duration> {
        Some(Duration::from_millis(deadline.since(self.now()).0))
    }

    fn on_jump(&self, _: Wake) {}
}

/// Time that stands still until it is moved by hand.
#[derive(Default)]
pub struct ManualClock {
    now: AtomicU64,
    wakes: Mutex<Vec<Wake>>,
}

impl ManualClock {
    /// Starts at that time.
    pub fn start(now: Timestamp) -> Self {
        Self {
            now: AtomicU64::new(now.0),
            wakes: Mutex::default(),
        }
    }

    /// Moves the time on.
    pub fn advance(&self, span: time::Duration) {
        self.now.fetch_add(span.0, Ordering::AcqRel);
        let wakes = self
            .wakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        wakes.iter().for_each(|wake| wake());
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Acquire))
    }

    fn until(&self, deadline: Timestamp) -> Option<Duration> {
        (deadline <= self.now()).then_some(Duration::ZERO)
    }

    fn on_jump(&self, wake: Wake) {
        self.wakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(wake);
    }
}

fn whole_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).expect("milliseconds fit 64 bits for half a billion years")
}
