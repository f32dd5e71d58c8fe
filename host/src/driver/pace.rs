//! How fast the store is, and how much may therefore wait for it.
//!
//! A batch is cut where writing it would take too long, and components that start work by
//! themselves stop while more waits than is written in a moment. So an answer waits for at most a
//! few short batches, however much another component would like to write.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// How long writing a batch should take at most: long enough that what every batch costs by itself
/// does not matter, short enough for whoever waits behind it.
const BATCH: Duration = Duration::from_millis(150);

/// How long writing everything should take above which no more work starts by itself.
const AHEAD: Duration = Duration::from_millis(20);

/// The fewest bytes of a batch from whose time anything is concluded, of a batch at all, and of
/// what waits before work stops.
const MEASURED_MIN: usize = 64 << 10;
const BATCH_MIN: usize = 1 << 20;
const AHEAD_MIN: usize = 256 << 10;

/// Bytes that a store writes in a second, as long as nothing is known about it.
const RATE: usize = 256 << 20;

/// How many bytes go into a batch, and how many may wait. Written by the committer, read by shards.
#[derive(Debug)]
pub(super) struct Pace {
    rate: AtomicUsize,
    batch_max: usize,
}

impl Pace {
    /// That of a store about which nothing is known; no batch gets more than `batch_max` bytes.
    pub(super) fn new(batch_max: usize) -> Self {
        Self {
            rate: AtomicUsize::new(RATE),
            batch_max: batch_max.max(BATCH_MIN),
        }
    }

    /// Notes that a batch of so many bytes took so long.
    pub(super) fn wrote(&self, bytes: usize, took: Duration) {
        if bytes < MEASURED_MIN {
            return;
        }
        let us = usize::try_from(took.as_micros()).unwrap_or(usize::MAX);
        let rate = bytes.saturating_mul(1_000_000) / us.max(1);
        let before = self.rate.load(Ordering::Relaxed);
        self.rate
            .store(before / 4 * 3 + rate / 4, Ordering::Relaxed);
    }

    /// Bytes of a batch.
    pub(super) fn batch_bytes(&self) -> usize {
        self.within(BATCH).clamp(BATCH_MIN, self.batch_max)
    }

    /// Bytes that may wait to be durable while work starts by itself.
    pub(super) fn ahead_bytes(&self) -> usize {
        self.within(AHEAD).clamp(AHEAD_MIN, self.batch_max)
    }

    fn within(&self, span: Duration) -> usize {
        let ms = usize::try_from(span.as_millis()).unwrap_or(usize::MAX);
        (self.rate.load(Ordering::Relaxed) / 1_000).saturating_mul(ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_store_gets_small_batches_and_a_fast_one_large_ones() {
        let pace = Pace::new(64 << 20);
        for _ in 0..50 {
            pace.wrote(8 << 20, Duration::from_secs(1));
        }
        assert!(pace.batch_bytes() < 2 << 20, "{}", pace.batch_bytes());
        assert_eq!(pace.ahead_bytes(), AHEAD_MIN);
        for _ in 0..50 {
            pace.wrote(16 << 20, Duration::from_millis(10));
        }
        assert_eq!(pace.batch_bytes(), 64 << 20);
        assert!(pace.ahead_bytes() > 16 << 20, "{}", pace.ahead_bytes());
    }

    #[test]
    fn a_lone_record_says_nothing_about_the_store() {
        let pace = Pace::new(64 << 20);
        let before = pace.batch_bytes();
        pace.wrote(700, Duration::from_secs(5));
        assert_eq!(pace.batch_bytes(), before);
    }
}
