//! What the driver counts about itself.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use xcomponent_core::record::Disposition;

/// How many dispositions there are.
pub const DISPOSITIONS: usize = 6;

/// Buckets of [`Histogram`]; the last has no upper bound.
pub const BUCKETS: usize = 24;

/// All numbers at one moment.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// By shard.
    pub shards: Vec<ShardGauges>,
    /// The committer's.
    pub commit: CommitGauges,
}

/// Numbers of one shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardGauges {
    /// Instances in memory.
    pub live: usize,
    /// Queued internal deliveries and unperformed effects.
    pub debt: usize,
    /// Requests and deliveries that were not looked at.
    pub inbox: usize,
    /// Calls that yielded and are not done.
    pub away: usize,
    /// Records by what became of their events, since the start; see [`index_of`].
    pub dispositions: [u64; DISPOSITIONS],
}

/// Numbers of the committer.
#[derive(Clone, Copy, Debug)]
pub struct CommitGauges {
    /// Records that are not durable.
    pub queued: usize,
    /// Records committed since the start.
    pub records: u64,
    /// Batches committed since the start.
    pub batches: u64,
    /// Batches that failed since the start.
    pub failures: u64,
    /// How long batches took.
    pub latency: Histogram,
}

/// How often something took how long: bucket `n` counts what took at most `2^n` microseconds and
/// is in no earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The counts.
    pub buckets: [u64; BUCKETS],
    /// The sum of all, in microseconds.
    pub sum_us: u64,
}

/// The place of a disposition in [`ShardGauges::dispositions`].
pub fn index_of(disposition: Disposition) -> usize {
    match disposition {
        Disposition::Transitioned => 0,
        Disposition::Ignored => 1,
        Disposition::Deferred => 2,
        Disposition::Retrying => 3,
        Disposition::Rejected => 4,
        Disposition::DeadLettered => 5,
    }
}

/// The numbers of one shard while they change.
#[derive(Debug, Default)]
pub(super) struct ShardCounters {
    pub(super) live: AtomicUsize,
    pub(super) debt: AtomicUsize,
    pub(super) away: AtomicUsize,
    pub(super) dispositions: [AtomicU64; DISPOSITIONS],
}

/// The numbers of the committer while they change.
#[derive(Debug, Default)]
pub(super) struct CommitCounters {
    records: AtomicU64,
    batches: AtomicU64,
    failures: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl ShardCounters {
    /// The numbers at this moment.
    pub(super) fn read(&self, inbox: usize) -> ShardGauges {
        ShardGauges {
            live: self.live.load(Ordering::Relaxed),
            debt: self.debt.load(Ordering::Relaxed),
            inbox,
            away: self.away.load(Ordering::Relaxed),
            dispositions: self
                .dispositions
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed)),
        }
    }
}

impl CommitCounters {
    /// Counts a batch that was committed.
    pub(super) fn committed(&self, records: usize, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = took_us.max(1).next_power_of_two().trailing_zeros() as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Counts a batch that failed.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers at this moment.
    pub(super) fn read(&self, queued: usize) -> CommitGauges {
        CommitGauges {
            queued,
            records: self.records.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            latency: Histogram {
                buckets: self
                    .buckets
                    .each_ref()
                    .map(|count| count.load(Ordering::Relaxed)),
                sum_us: self.sum_us.load(Ordering::Relaxed),
            },
        }
    }
}
