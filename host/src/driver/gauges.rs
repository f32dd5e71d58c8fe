//! What the driver counts about itself.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use xcomponent_core::{
    engine::{Counters, Parcels},
    time::Timestamp,
};

use super::machines::{Counted, MachineGauges};

/// Buckets of [`Histogram`]; the last has no upper bound.
pub const BUCKETS: usize = 24;

/// All numbers at one moment.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// By shard.
    pub shards: Vec<ShardGauges>,
    /// The committer's.
    pub commit: CommitGauges,
    /// By component and machine.
    pub machines: BTreeMap<(String, String), MachineGauges>,
}

impl Gauges {
    /// No deadline of any instance comes before that; none = there is no deadline.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.shards.iter().filter_map(|shard| shard.next_due).min()
    }
}

/// Numbers of one shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardGauges {
    /// Instances in memory.
    pub live: usize,
    /// Instances that go on and that only the store has.
    pub passive: usize,
    /// Bytes that callers' keys take.
    pub remembered_bytes: usize,
    /// Queued internal deliveries and unperformed effects.
    pub debt: usize,
    /// Requests and deliveries that were not looked at.
    pub inbox: usize,
    /// Bytes of these.
    pub inbox_bytes: usize,
    /// Bytes of events that wait for instances.
    pub waiting_bytes: usize,
    /// Bytes of contexts of instances in memory, and what each costs besides.
    pub instance_bytes: usize,
    /// Components that have work, or records that are not durable.
    pub components: usize,
    /// Calls that yielded and are not done.
    pub away: usize,
    /// What became of events since the start.
    pub events: Counters,
    /// No deadline of an instance comes before that; none = there is no deadline.
    pub next_due: Option<Timestamp>,
    /// What other hosts sent.
    pub parcels: Parcels,
    /// Deliveries dropped after the first dead letter of their root and instance, since the start.
    pub dropped_over_budget: u64,
}

/// Numbers of the committer.
#[derive(Clone, Copy, Debug)]
pub struct CommitGauges {
    /// Records that are not durable.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Bytes at which a batch is cut at the moment.
    pub batch_bytes_max: usize,
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

impl Histogram {
    /// Counts one.
    pub(super) fn count(&mut self, took: Duration) {
        let (bucket, took_us) = place(took);
        self.buckets[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(took_us);
    }
}

/// The bucket for something that took so long, and its microseconds.
fn place(took: Duration) -> (usize, u64) {
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let bucket = took_us
        .clamp(1, 1 << 62)
        .next_power_of_two()
        .trailing_zeros() as usize;
    (bucket.min(BUCKETS - 1), took_us)
}

/// The numbers of one shard while they change.
#[derive(Debug, Default)]
pub(super) struct ShardCounters {
    /// Apart from the others, since every request looks at it.
    pub(super) debt: AtomicUsize,
    pub(super) components: AtomicUsize,
    /// By machine.
    pub(super) machines: Counted,
    rest: Mutex<ShardGauges>,
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
    /// Publishes the shard's numbers.
    pub(super) fn publish(&self, gauges: ShardGauges) {
        self.debt.store(gauges.debt, Ordering::Relaxed);
        self.components.store(gauges.components, Ordering::Relaxed);
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = gauges;
    }

    /// The numbers at this moment.
    pub(super) fn read(&self, inbox: usize) -> ShardGauges {
        let rest = *self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        ShardGauges { inbox, ..rest }
    }
}

impl CommitCounters {
    /// Counts a batch that was committed.
    pub(super) fn committed(&self, records: usize, took: Duration) {
        let (bucket, took_us) = place(took);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
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
            queued_bytes: 0,
            batch_bytes_max: 0,
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
