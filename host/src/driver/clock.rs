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

    /// Goes on from `last`, the time of the last record, if that is later than now; what is
    /// remarkable about it.
    fn go_on_from(&self, last: Timestamp) -> Option<Notice> {
        let _ = last;
        None
    }

    /// Compares the time with the machine's, which is to be done every second; what is remarkable.
    fn look(&self) -> Vec<Notice> {
        Vec::new()
    }
}

/// Something about the time that an operator should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// The machine's clock is behind the last record.
    #[error(
        "the clock of this machine is {0:?} behind the last record; the host's time goes on from \
         that record until the machine's clock has caught up"
    )]
    Behind(Duration),
    /// The machine's clock was set forward.
    #[error("the clock of this machine was set forward by {0:?}; the host's time follows")]
    Forward(Duration),
    /// The machine's clock was set back.
    #[error(
        "the clock of this machine was set back by {0:?}; the host's time goes on until the \
         machine's clock has caught up"
    )]
    Back(Duration),
    /// The machine slept.
    #[error("this machine was suspended for {0:?}; deadlines that passed meanwhile are met now")]
    Suspended(Duration),
    /// The process did not run.
    #[error("this process was stopped, or got no processor, for {0:?}")]
    Stopped(Duration),
}

/// A jump of the machine's clock that is reported.
const JUMP: Duration = Duration::from_secs(60 * 60);

/// A gap between two looks, which are a second apart, that is reported.
const GAP: Duration = Duration::from_secs(10);

/// A step forward that shards are woken for.
const STEP: Duration = Duration::from_millis(100);

/// What the clocks of a machine show.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Since 1970, by the clock that people set.
    pub wall: Duration,
    /// By the clock that nobody sets. It stands still while the machine is suspended.
    pub monotonic: Duration,
    /// The same, with the time in which the machine was suspended.
    pub boot: Duration,
}

/// The clocks of a machine.
pub trait Machine: Send + Sync + 'static {
    /// All of them.
    fn read(&self) -> Reading;

    /// The monotonic one.
    fn monotonic(&self) -> Duration;
}

/// The clocks of this machine.
#[derive(Debug)]
struct ThisMachine {
    started: Instant,
}

impl Machine for ThisMachine {
    fn read(&self) -> Reading {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Reading {
            wall: wall.unwrap_or_default(),
            monotonic: self.monotonic(),
            boot: boot.try_into().unwrap_or_default(),
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The machine's time as long as that goes forward. It runs with the monotonic clock; where the
/// machine's clock is ahead it follows, and where that is behind it goes on until that has caught up.
pub struct SystemClock {
    machine: Box<dyn Machine>,
    /// Milliseconds by which the time is ahead of the monotonic clock. Only grows.
    ahead_ms: AtomicU64,
    /// What the clocks showed at the last look.
    seen: Mutex<Reading>,
    wakes: Mutex<Vec<Wake>>,
}

impl SystemClock {
    /// Starts at the machine's time.
    pub fn start() -> Self {
        Self::of(ThisMachine {
            started: Instant::now(),
        })
    }

    /// Starts at the time of a machine.
    pub fn of(machine: impl Machine) -> Self {
        let seen = machine.read();
        Self {
            machine: Box::new(machine),
            ahead_ms: AtomicU64::new(whole_ms(seen.wall.saturating_sub(seen.monotonic))),
            seen: Mutex::new(seen),
            wakes: Mutex::default(),
        }
    }

    /// Moves the time on to a point in it, if that is later; by how much.
    fn move_to(&self, time_ms: u64) -> Duration {
        let ahead = time_ms.saturating_sub(whole_ms(self.machine.monotonic()));
        let before = self.ahead_ms.fetch_max(ahead, Ordering::AcqRel);
        let step = Duration::from_millis(ahead.saturating_sub(before));
        if step >= STEP {
            let wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
            let wakes = wakes.clone();
            wakes.iter().for_each(|wake| wake());
        }
        step
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead_ms.load(Ordering::Acquire);
        Timestamp(ahead + whole_ms(self.machine.monotonic()))
    }

    fn until(&self, deadline: Timestamp) -> Option<Duration> {
        Some(Duration::from_millis(deadline.since(self.now()).0))
    }

    fn on_jump(&self, wake: Wake) {
        self.wakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(wake);
    }

    fn go_on_from(&self, last: Timestamp) -> Option<Notice> {
        let behind = self.move_to(last.0);
        (behind >= JUMP).then_some(Notice::Behind(behind))
    }

    fn look(&self) -> Vec<Notice> {
        let now = self.machine.read();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *seen, now);
        drop(seen);
        self.move_to(whole_ms(now.wall));
        let ran = now.monotonic.saturating_sub(before.monotonic);
        let passed = now.boot.saturating_sub(before.boot);
        let slept = passed.saturating_sub(ran);
        let expected = before.wall + ran + slept;
        let forward = now.wall.saturating_sub(expected);
        let back = expected.saturating_sub(now.wall);
        let notices = [
            (ran >= GAP).then_some(Notice::Stopped(ran)),
            (slept >= GAP).then_some(Notice::Suspended(slept)),
            (forward >= JUMP).then_some(Notice::Forward(forward)),
            (back >= JUMP).then_some(Notice::Back(back)),
        ];
        notices.into_iter().flatten().collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Clocks that are set by hand.
    #[derive(Clone)]
    struct ByHand(Arc<Mutex<Reading>>);

    impl ByHand {
        fn new() -> Self {
            Self(Arc::new(Mutex::new(Reading {
                wall: DAY * 20_000,
                monotonic: Duration::from_secs(5),
                boot: Duration::from_secs(7),
            })))
        }

        fn change(&self, change: impl FnOnce(&mut Reading)) {
            change(&mut self.0.lock().unwrap());
        }

        fn runs(&self, span: Duration) {
            self.change(|reading| {
                reading.wall += span;
                reading.monotonic += span;
                reading.boot += span;
            });
        }
    }

    impl Machine for ByHand {
        fn read(&self) -> Reading {
            *self.0.lock().unwrap()
        }

        fn monotonic(&self) -> Duration {
            self.read().monotonic
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn ms(span: Duration) -> u64 {
        whole_ms(span)
    }

    #[test]
    fn time_goes_on_from_the_last_record_until_the_wall_clock_has_caught_up() {
        let machine = ByHand::new();
        let clock = SystemClock::of(machine.clone());
        let last = Timestamp(clock.now().0 + ms(3 * DAY));
        assert_eq!(clock.go_on_from(last), Some(Notice::Behind(3 * DAY)));
        assert_eq!(clock.now(), last);
        machine.runs(8 * SECOND);
        assert_eq!(clock.look(), []);
        assert_eq!(clock.now().since(last).0, 8_000, "a timer of 8 s is due");
        machine.change(|reading| reading.wall += 3 * DAY + 2 * SECOND);
        assert_eq!(clock.look(), [Notice::Forward(3 * DAY + 2 * SECOND)]);
        assert_eq!(clock.now().since(last).0, 10_000);
    }

    #[test]
    fn a_clock_that_is_set_back_is_reported_and_not_followed() {
        let machine = ByHand::new();
        let clock = SystemClock::of(machine.clone());
        let before = clock.now();
        machine.change(|reading| reading.wall -= DAY);
        machine.runs(SECOND);
        assert_eq!(clock.look(), [Notice::Back(DAY)]);
        assert_eq!(clock.now().since(before).0, 1_000);
    }

    #[test]
    fn a_suspended_machine_is_noticed_and_its_deadlines_are_met() {
        let machine = ByHand::new();
        let clock = SystemClock::of(machine.clone());
        let woken = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&woken);
        clock.on_jump(Arc::new(move || {
            told.fetch_add(1, Ordering::Relaxed);
        }));
        let before = clock.now();
        machine.change(|reading| {
            reading.wall += DAY;
            reading.boot += DAY;
        });
        assert_eq!(clock.look(), [Notice::Suspended(DAY)]);
        assert_eq!(clock.now().since(before).0, ms(DAY));
        assert_eq!(woken.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_process_that_stood_still_is_noticed() {
        let machine = ByHand::new();
        let clock = SystemClock::of(machine.clone());
        machine.runs(60 * SECOND);
        assert_eq!(clock.look(), [Notice::Stopped(60 * SECOND)]);
        machine.runs(SECOND);
        assert_eq!(clock.look(), []);
    }
}
