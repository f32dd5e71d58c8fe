//! Removes deleted instances, and history that is not kept any longer, a little at a time between two
//! batches.

use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::store::retention::Retention;

/// How long the store rests after a step, in times of what the step took: so much of its time is
/// left to events however much there is to remove.
const REST: u32 = 7;

/// How long after everything was removed it is looked whether there is more.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// What is kept, and when the next step is due.
pub(super) struct Shortening {
    retention: Retention,
    due: Instant,
}

impl Shortening {
    /// A first step is due at once.
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            due: Instant::now(),
        }
    }

    /// Takes a step if it is due, and says how long to wait for the next.
    pub(super) fn step(&mut self, shared: &Shared) -> Duration {
        let began = Instant::now();
        if began < self.due {
            return self.due - began;
        }
        let now = shared.clock.now();
        let removable = self.retention.at(now, shared.limits.dedup_retention);
        let rest = match shared.store.shorten(&removable) {
            Ok(true) => began.elapsed() * REST,
            Ok(false) => LOOK_AFTER,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "history that is not kept any longer was not removed"
                );
                LOOK_AFTER
            }
        };
        self.due = Instant::now() + rest;
        rest
    }
}
