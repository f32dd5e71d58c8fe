//! Leaves a component version alone that faults too often. Counted per shard.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::{
    effect::{self, BreakerState},
    engine::instances::Slot,
    id::Version,
    limits::Limits,
    time::{Duration, Timestamp},
};

/// Longest back-off of a breaker, as a multiple of the first.
const BACKOFF_FACTOR_MAX: u64 = 32;

/// How long others wait while one event tries whether the component works again.
const TRIAL: Duration = Duration(1_000);

/// The breakers of all versions here, by the address of the deployment.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    breakers: HashMap<usize, Breaker, FixedState>,
    /// How many are not closed: while none is, nobody asks.
    open: usize,
}

#[derive(Debug, Default)]
struct Breaker {
    window: Timestamp,
    calls: u32,
    faults: u32,
    faulty: SmallVec<[Slot; 8]>,
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Timestamp,
        factor: u64,
    },
    Trying {
        since: Timestamp,
        factor: u64,
    },
}

/// What became of a version's breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It opened.
    Suspended { until: Timestamp },
    /// It closed.
    GoesOn,
}

impl Breakers {
    /// How many versions are suspended or being tried again.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// How long to wait before the version may be asked; none = at once. The first to ask after
    /// the back-off is the trial.
    pub(crate) fn wait(&mut self, version: usize, now: Timestamp) -> Option<Timestamp> {
        if self.open == 0 {
            return None;
        }
        let breaker = self.breakers.get_mut(&version)?;
        match breaker.state {
            State::Closed => None,
            State::Open { until, .. } if now < until => Some(until),
            State::Trying { since, .. } if now < since.after(TRIAL) => Some(since.after(TRIAL)),
            State::Open { factor, .. } | State::Trying { factor, .. } => {
                breaker.state = State::Trying { since: now, factor };
                None
            }
        }
    }

    /// When an open breaker may be asked again, without asking.
    pub(crate) fn open_until(&self, version: usize, now: Timestamp) -> Option<Timestamp> {
        if self.open == 0 {
            return None;
        }
        match self.breakers.get(&version)?.state {
            State::Open { until, .. } => (now < until).then_some(until),
            State::Closed | State::Trying { .. } => None,
        }
    }

    /// How the breaker of a version stands.
    pub(crate) fn stands(
        &self,
        version: usize,
        label: Version,
        now: Timestamp,
        limits: &Limits,
    ) -> effect::Breaker {
        let breaker = self.breakers.get(&version);
        let (state, until) = match breaker.map(|breaker| &breaker.state) {
            None | Some(State::Closed) => (BreakerState::Closed, None),
            Some(State::Open { until, .. }) if now < *until => (BreakerState::Open, Some(*until)),
            Some(State::Open { .. } | State::Trying { .. }) => (BreakerState::HalfOpen, None),
        };
        let counts = breaker.filter(|breaker| now.since(breaker.window) <= limits.breaker_window);
        effect::Breaker {
            version: label,
            state,
            until,
            calls: counts.map_or(0, |breaker| breaker.calls),
            faults: counts.map_or(0, |breaker| breaker.faults),
        }
    }

    /// Counts an event that called methods; says so if the version is suspended now, or is no more.
    pub(crate) fn count(
        &mut self,
        version: usize,
        slot: Slot,
        faulted: bool,
        now: Timestamp,
        limits: &Limits,
    ) -> Option<Change> {
        if !limits.breaker {
            return None;
        }
        let breaker = self.breakers.entry(version).or_default();
        let was_open = breaker.state != State::Closed;
        breaker.count(slot, faulted, now, limits);
        match (was_open, breaker.state != State::Closed) {
            (false, true) => {
                self.open += 1;
                breaker.until().map(|until| Change::Suspended { until })
            }
            (true, false) => {
                self.open -= 1;
                Some(Change::GoesOn)
            }
            _ => None,
        }
    }

    /// Forgets a version that is gone.
    pub(crate) fn forget(&mut self, version: usize) {
        if self
            .breakers
            .remove(&version)
            .is_some_and(|breaker| breaker.state != State::Closed)
        {
            self.open -= 1;
        }
    }
}

impl Breaker {
    fn until(&self) -> Option<Timestamp> {
        match self.state {
            State::Open { until, .. } => Some(until),
            State::Closed | State::Trying { .. } => None,
        }
    }

    fn count(&mut self, slot: Slot, faulted: bool, now: Timestamp, limits: &Limits) {
        if let State::Trying { factor, .. } = self.state {
            self.state = if faulted {
                open(now, (factor * 2).min(BACKOFF_FACTOR_MAX), limits)
            } else {
                State::Closed
            };
            self.restart(now);
            return;
        }
        if now.since(self.window) > limits.breaker_window {
            self.restart(now);
        }
        self.calls += 1;
        if faulted {
            self.faults += 1;
            let wanted = limits.breaker_instances_min as usize;
            if self.faulty.len() < wanted && !self.faulty.contains(&slot) {
                self.faulty.push(slot);
            }
        }
        let enough = self.calls >= limits.breaker_calls_min
            && self.faulty.len() >= limits.breaker_instances_min as usize;
        if self.state == State::Closed && enough && self.faults * 2 > self.calls {
            self.state = open(now, 1, limits);
        }
    }

    fn restart(&mut self, now: Timestamp) {
        self.window = now;
        self.calls = 0;
        self.faults = 0;
        self.faulty.clear();
    }
}

fn open(now: Timestamp, factor: u64, limits: &Limits) -> State {
    State::Open {
        until: now.after(Duration(limits.suspend_for.0 * factor)),
        factor,
    }
}
