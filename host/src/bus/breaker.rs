//! A circuit breaker: who does not answer is left alone for a while, then tried once.
//!
//! After the pattern of M. Nygard, "Release It!": closed, open, half-open. Time is an argument.

use std::time::{Duration, Instant};

use super::Status;

/// Failures in a row after which nothing more is tried.
pub const FAILURES_MAX: u32 = 3;

/// How long that is so at first, and at most: doubled with every trial that fails, and up to half of
/// it more or less by chance, so that many hosts do not try at once.
pub const OPEN_FOR: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(10)];

/// Whether something may be tried.
#[derive(Debug)]
pub struct Breaker {
    failures: u32,
    /// Since the last success: how often it opened.
    opened: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// Somebody tries; who does not come back has failed at this time.
    HalfOpen {
        until: Instant,
    },
}

/// How long a trial may take before another may begin.
const TRIAL_MAX: Duration = Duration::from_secs(30);

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 0,
            opened: 0,
            state: State::Closed,
        }
    }
}

impl Breaker {
    /// Whether something may be tried now; else after how long.
    ///
    /// # Errors
    ///
    /// How long to wait.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until } | State::HalfOpen { until } if now >= until => {
                let until = now + TRIAL_MAX;
                self.state = State::HalfOpen { until };
                Ok(())
            }
            State::Open { until } => Err(until - now),
            State::HalfOpen { .. } => Err(OPEN_FOR[0]),
        }
    }

    /// It worked.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It did not; `chance` is in 0..1.
    pub fn failed(&mut self, now: Instant, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        let is_trial = matches!(self.state, State::HalfOpen { .. });
        if is_trial || self.failures >= FAILURES_MAX {
            let doubled = OPEN_FOR[0] * 2_u32.saturating_pow(self.opened.min(16));
            let span = doubled.min(OPEN_FOR[1]).mul_f64(0.5 + chance);
            self.opened += 1;
            self.state = State::Open { until: now + span };
        }
    }

    /// It was reached and did not answer in time, which may be due to what was asked: that says
    /// something only where it was a trial.
    pub fn slow(&mut self, now: Instant, chance: f64) {
        if matches!(self.state, State::HalfOpen { .. }) {
            self.failed(now, chance);
        }
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        match self.state {
            State::Closed => Status::Working,
            State::HalfOpen { .. } => Status::Trying,
            State::Open { .. } => Status::Away,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A breaker that has opened at `now`.
    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            breaker.admit(now).expect("it is closed");
            breaker.failed(now, 0.5);
        }
        breaker
    }

    #[test]
    fn a_few_failures_in_a_row_open_it() {
        let now = Instant::now();
        assert_eq!(open(now).status(), Status::Away);
        assert_eq!(open(now).admit(now), Err(OPEN_FOR[0]));
    }

    #[test]
    fn slow_answers_do_not_open_it_and_do_not_close_it() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..2 * FAILURES_MAX {
            breaker.admit(now).expect("it is closed");
            breaker.slow(now, 0.5);
        }
        assert_eq!(breaker.status(), Status::Working);
        let mut breaker = open(now);
        let later = now + OPEN_FOR[1];
        breaker.admit(later).expect("somebody may try");
        breaker.slow(later, 0.5);
        assert_eq!(breaker.status(), Status::Away);
    }

    #[test]
    fn after_a_while_one_may_try_and_nobody_else() {
        let now = Instant::now();
        let mut breaker = open(now);
        let later = now + OPEN_FOR[0];
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err());
        assert_eq!(breaker.status(), Status::Trying);
    }

    #[test]
    fn a_trial_that_works_closes_it_and_one_that_fails_doubles_the_wait() {
        let now = Instant::now();
        let mut breaker = open(now);
        let later = now + OPEN_FOR[0];
        breaker.admit(later).expect("it is time");
        breaker.failed(later, 0.5);
        assert_eq!(breaker.admit(later), Err(OPEN_FOR[0] * 2));
        let later = later + OPEN_FOR[0] * 2;
        breaker.admit(later).expect("it is time");
        breaker.succeeded();
        assert_eq!(breaker.status(), Status::Working);
    }

    #[test]
    fn it_never_waits_for_longer_than_it_says() {
        let now = Instant::now();
        let mut breaker = open(now);
        let mut at = now;
        for _ in 0..40 {
            let wait = breaker.admit(at).err().unwrap_or_default();
            assert!(wait <= OPEN_FOR[1].mul_f64(1.5));
            at += wait;
            breaker.admit(at).expect("it is time");
            breaker.failed(at, 0.99);
        }
    }
}
