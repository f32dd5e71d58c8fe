//! What is counted of machines, over all shards: each shard's engine counts alone, and whoever
//! scrapes adds up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use xcomponent_core::engine::{
    Engine,
    figures::{DISPOSITIONS, FAULTS, Figures, PARKED, SERIES_MAX, Series},
};

/// The component and the machine under which those are added up that have no series of their own.
const OTHER: &str = "other";

/// The machines that one shard counts.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// How many of `named` there are: while there are no more, the shard takes no lock.
    known: AtomicUsize,
    named: Mutex<Vec<Series>>,
    others: OnceLock<Arc<Figures>>,
}

impl Counted {
    /// Adds the machines that are new since the last time.
    pub(super) fn publish(&self, engine: &Engine) {
        let (series, known) = (engine.series(), self.known.load(Acquire));
        self.others
            .get_or_init(|| Arc::clone(engine.other_series()));
        if series.len() > known {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            named.extend_from_slice(&series[known..]);
            self.known.store(series.len(), Release);
        }
    }
}

/// Machines that have a series of their own in `/metrics`: the first [`SERIES_MAX`] that were seen.
/// None leaves, so that no counter goes back.
#[derive(Debug, Default)]
pub(super) struct Admitted(Mutex<BTreeSet<Name>>);

/// A component and its machine.
type Name = (String, String);

/// What is counted of one machine, over all shards and tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineGauges {
    /// In the order of [`DISPOSITIONS`].
    pub events: [u64; DISPOSITIONS.len()],
    /// In the order of [`FAULTS`].
    pub faults: [u64; FAULTS.len()],
    /// In the order of [`PARKED`].
    pub parked: [u64; PARKED.len()],
    /// Fuel that methods used.
    pub fuel: u64,
    /// Calls of methods that ended.
    pub calls: u64,
    /// How long these took, in microseconds.
    pub calls_us: u64,
    /// Events that wait.
    pub queued: u64,
    /// Timers, delayed sends and retries that are to come.
    pub timers: u64,
}

impl MachineGauges {
    fn add(&mut self, figures: &Figures) {
        let one = |sum: &mut u64, counter: &AtomicU64| *sum += counter.load(Relaxed);
        let several = |sums: &mut [u64], counters: &[AtomicU64]| {
            for (sum, counter) in sums.iter_mut().zip(counters) {
                *sum += counter.load(Relaxed);
            }
        };
        several(&mut self.events, &figures.events);
        several(&mut self.faults, &figures.faults);
        several(&mut self.parked, &figures.parked);
        one(&mut self.fuel, &figures.fuel);
        one(&mut self.calls, &figures.calls);
        one(&mut self.calls_us, &figures.calls_us);
        one(&mut self.queued, &figures.queued);
        one(&mut self.timers, &figures.timers);
    }
}

/// Adds up by component and machine; those of which nothing was counted are left out.
pub(super) fn sum<'c>(
    admitted: &Admitted,
    shards: impl Iterator<Item = &'c Counted>,
) -> BTreeMap<Name, MachineGauges> {
    let mut admitted = admitted.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sums = BTreeMap::<Name, MachineGauges>::new();
    let other = || (OTHER.to_owned(), OTHER.to_owned());
    for shard in shards {
        let named = shard.named.lock().unwrap_or_else(PoisonError::into_inner);
        for series in named.iter() {
            let name = (series.component.to_string(), series.machine.to_string());
            let is_admitted = admitted.contains(&name)
                || (admitted.len() < SERIES_MAX && admitted.insert(name.clone()));
            let name = if is_admitted { name } else { other() };
            sums.entry(name).or_default().add(&series.figures);
        }
        if let Some(others) = shard.others.get() {
            sums.entry(other()).or_default().add(others);
        }
    }
    sums.retain(|_, gauges| *gauges != MachineGauges::default());
    sums
}
