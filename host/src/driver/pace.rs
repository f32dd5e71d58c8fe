//! How fast the store is, and how much may therefore wait for it.
//!
//! A batch is cut where writing it would take too long, and components that start work by
//! themselves stop while more waits than is written in a moment. So an answer waits for at most a
//! few short batches, however much another component would like to write. Where several components
//! are at work that moment is shorter: large batches are good for whoever fills them, and bad for
//! whoever waits behind them.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// How long writing a batch should take at most: long enough that what every batch costs by itself
/// does not matter, short enough for whoever waits behind it.
const BATCH: Duration = Duration::from_millis(150);

/// How long writing everything should take above which no more work starts by itself, and how many
/// bytes that are at least.
const AHEAD: Ahead = Ahead {
    span: Duration::from_millis(20),
    bytes_min: 256 << 10,
};

/// The same where several components are at work.
const AHEAD_OF_OTHERS: Ahead = Ahead {
    span: Duration::from_millis(3),
    bytes_min: 32 << 10,
};

/// How long that counts after it was last seen.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// The fewest bytes of a batch from whose time anything is concluded, and of a batch at all.
const MEASURED_MIN: usize = 24 << 10;
const BATCH_MIN: usize = 1 << 20;

/// Bytes that a store writes in a second, as long as nothing is known about it.
const RATE: usize = 256 << 20;

/// How many bytes go into a batch, and how many may wait. Written by the committer, read by shards.
#[derive(Debug)]
pub(super) struct Pace {
    rate: AtomicUsize,
    batch_max: usize,
    began: Instant,
    /// When several components were last seen at work, in milliseconds since the beginning.
    shared_at: AtomicU64,
}

/// What may wait to be written.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    span: Duration,
    bytes_min: usize,
}

impl Pace {
    /// That of a store about which nothing is known; no batch gets more than `batch_max` bytes.
    pub(super) fn new(batch_max: usize) -> Self {
        Self {
            rate: AtomicUsize::new(RATE),
            batch_max: batch_max.max(BATCH_MIN),
            began: Instant::now(),
            shared_at: AtomicU64::new(0),
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
        let ahead = if self.is_shared() {
            AHEAD_OF_OTHERS
        } else {
            AHEAD
        };
        self.within(ahead.span)
            .clamp(ahead.bytes_min, self.batch_max)
    }

    /// Notes how many components are at work on a shard.
    pub(super) fn at_work(&self, components: usize) {
        if components > 1 {
            self.shared_at.store(self.since_began(), Ordering::Relaxed);
        }
    }

    fn is_shared(&self) -> bool {
        let at = self.shared_at.load(Ordering::Relaxed);
        at > 0 && self.since_began().saturating_sub(at) < as_millis(SHARED_FOR)
    }

    /// Never nought.
    fn since_began(&self) -> u64 {
        as_millis(self.began.elapsed()) + 1
    }

    fn within(&self, span: Duration) -> usize {
        let ms = usize::try_from(span.as_millis()).unwrap_or(usize::MAX);
        (self.rate.load(Ordering::Relaxed) / 1_000).saturating_mul(ms)
    }
}

fn as_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
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
        assert_eq!(pace.ahead_bytes(), AHEAD.bytes_min);
        for _ in 0..50 {
            pace.wrote(16 << 20, Duration::from_millis(10));
        }
        assert_eq!(pace.batch_bytes(), 64 << 20);
        assert!(pace.ahead_bytes() > 16 << 20, "{}", pace.ahead_bytes());
    }

    #[test]
    fn less_waits_while_several_components_are_at_work() {
        let pace = Pace::new(64 << 20);
        pace.at_work(1);
        let alone = pace.ahead_bytes();
        pace.at_work(2);
        assert!(pace.ahead_bytes() < alone / 4, "{}", pace.ahead_bytes());
    }

    #[test]
    fn a_lone_record_says_nothing_about_the_store() {
        let pace = Pace::new(64 << 20);
        let before = pace.batch_bytes();
        pace.wrote(700, Duration::from_secs(5));
        assert_eq!(pace.batch_bytes(), before);
    }
}
