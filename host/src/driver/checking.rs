//! Looks every second whether what the store acknowledged can be read, and is still there.

use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::store::Error;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// When the next look is due.
pub(super) struct Checking {
    due: Instant,
}

impl Checking {
    /// A first look is due after a second: the store was read a moment ago.
    pub(super) fn new() -> Self {
        Self {
            due: Instant::now() + EVERY,
        }
    }

    /// Looks if that is due, and says how long to wait for the next look.
    pub(super) fn step(&mut self, shared: &Shared) -> Result<Duration, Error> {
        let now = Instant::now();
        if now < self.due && !shared.is_doubted() {
            return Ok(self.due - now);
        }
        self.due = now + EVERY;
        shared.store.check()?;
        shared.store_can_be_read();
        Ok(EVERY)
    }
}
