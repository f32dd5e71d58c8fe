//! What is counted of each machine: plain counters in memory that only their engine writes and
//! anybody may read, so that a scrape neither waits for a shard nor holds it up.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    call::{FaultCode, Lease},
    engine::{Engine, instances::Slot},
    id::{ComponentName, MachineName, TenantId},
    record::{DeadLetter, Disposition, Parked, Selector},
};

/// Machines of one engine that are counted by name; all others are counted together. Prometheus
/// copes with some ten thousand series of a target, and each machine has about twenty.
pub const SERIES_MAX: usize = 1_000;

/// Dispositions, in the order in which they are counted.
pub const DISPOSITIONS: [Disposition; 6] = [
    Disposition::Transitioned,
    Disposition::Ignored,
    Disposition::Deferred,
    Disposition::Retrying,
    Disposition::Rejected,
    Disposition::DeadLettered,
];

/// Faults, in the order in which they are counted.
pub const FAULTS: [FaultCode; 14] = [
    FaultCode::Failed,
    FaultCode::Trap,
    FaultCode::Fuel,
    FaultCode::WallTime,
    FaultCode::Memory,
    FaultCode::Stack,
    FaultCode::AnswerTooLarge,
    FaultCode::AnswerMalformed,
    FaultCode::BadSend,
    FaultCode::TooManySends,
    FaultCode::SendInGuard,
    FaultCode::SchemaViolation,
    FaultCode::MissingMethod,
    FaultCode::Unavailable,
];

/// Why events were parked, in the order in which they are counted: the last stands for every code
/// that is not among them.
pub const PARKED: [&str; 12] = [
    "fault",
    "unknown_target",
    "instance_finished",
    "overload",
    "cascade_budget",
    "component_suspended",
    "schema_violation",
    "refused",
    "singleton_exists",
    "unstorable",
    "undeliverable",
    "other",
];

/// What is counted of one machine. Counters never go back; `queued` and `timers` are levels.
#[derive(Debug, Default)]
pub struct Figures {
    /// Events by what they came to: [`DISPOSITIONS`].
    pub events: [AtomicU64; DISPOSITIONS.len()],
    /// Faults by code: [`FAULTS`]. One that is tried again counts each time.
    pub faults: [AtomicU64; FAULTS.len()],
    /// Parked events by reason: [`PARKED`].
    pub parked: [AtomicU64; PARKED.len()],
    /// Fuel that methods used.
    pub fuel: AtomicU64,
    /// Calls of methods that ended.
    pub calls: AtomicU64,
    /// How long these took, in microseconds.
    pub calls_us: AtomicU64,
    /// Events that wait at instances in memory.
    pub queued: AtomicU64,
    /// Timers, delayed sends and retries that are to come, at instances in memory or not.
    pub timers: AtomicU64,
}

/// A machine that is counted by name, over all tenants that have one of that name each apart.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its component.
    pub component: ComponentName,
    /// Its name.
    pub machine: MachineName,
    /// What is counted of it.
    pub figures: Arc<Figures>,
}

/// All that one engine counts of machines.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    named: Vec<Series>,
    others: Arc<Figures>,
}

/// Adds to a counter that nobody else writes.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Figures {
    pub(crate) fn event(&self, disposition: Disposition, count: u64) {
        let at = DISPOSITIONS.iter().position(|one| *one == disposition);
        add(&self.events[at.expect("all are listed")], count);
    }

    pub(crate) fn fault(&self, code: FaultCode) {
        let at = FAULTS.iter().position(|one| *one == code);
        add(&self.faults[at.expect("all are listed")], 1);
    }

    pub(crate) fn park(&self, why: &Parked) {
        let code = if matches!(why, Parked::Fault(_)) {
            PARKED[0]
        } else {
            why.code()
        };
        let at = PARKED.iter().position(|one| *one == code);
        add(&self.parked[at.unwrap_or(PARKED.len() - 1)], 1);
    }

    pub(crate) fn use_fuel(&self, fuel: u64) {
        add(&self.fuel, fuel);
    }

    /// The level of waiting events goes from `before` to `after`.
    pub(crate) fn queue(&self, before: usize, after: usize) {
        add(&self.queued, (after as u64).wrapping_sub(before as u64));
    }

    /// The level of timers goes from `before` to `after`.
    pub(crate) fn time(&self, before: u32, after: u32) {
        let change = u64::from(after).wrapping_sub(u64::from(before));
        add(&self.timers, change);
    }
}

impl Counted {
    /// Where a machine that was not known before is counted.
    pub(crate) fn begin(
        &mut self,
        component: &ComponentName,
        machine: &MachineName,
    ) -> Arc<Figures> {
        if self.named.len() == SERIES_MAX {
            return Arc::clone(&self.others);
        }
        let figures = Arc::<Figures>::default();
        self.named.push(Series {
            component: component.clone(),
            machine: machine.clone(),
            figures: Arc::clone(&figures),
        });
        figures
    }
}

impl Engine {
    /// Machines that are counted by name, in the order in which they became known; at most
    /// [`SERIES_MAX`], and none ever leaves.
    pub fn series(&self) -> &[Series] {
        &self.instances.counted().named
    }

    /// What is counted of all machines that are not among [`Self::series`].
    pub fn other_series(&self) -> &Arc<Figures> {
        &self.instances.counted().others
    }

    /// A call took so many microseconds; nothing is decided by it.
    pub fn count_call(&self, lease: Lease, took_us: u64) {
        if let Some(slot) = self.leases.get(&lease) {
            let figures = self.figures(*slot);
            add(&figures.calls, 1);
            add(&figures.calls_us, took_us);
        }
    }

    pub(crate) fn figures(&self, slot: Slot) -> &Figures {
        self.instances.figures_of(slot)
    }

    /// Events that nobody needs to be asked about are ignored.
    pub(crate) fn count_ignored(&mut self, tenant: &TenantId, selector: &Selector, count: u64) {
        self.counters.add(Disposition::Ignored, count);
        let machine = selector.machine.as_ref();
        let pool = machine.and_then(|name| self.instances.pool(tenant, &selector.component, name));
        let others = self.other_series();
        pool.map_or(others, |pool| &pool.figures)
            .event(Disposition::Ignored, count);
    }

    /// An event is parked that reached no instance.
    pub(crate) fn count_parked(&self, letter: &DeadLetter) {
        let machine = letter.machine.as_ref();
        let named = machine
            .and_then(|name| self.instances.pool(&letter.tenant, &letter.component, name))
            .map(|pool| &*pool.figures);
        let reached = || {
            let id = letter.instance.as_ref()?;
            let slot = self.instances.find(&letter.tenant, id)?;
            Some(self.figures(slot))
        };
        named
            .or_else(reached)
            .unwrap_or(self.other_series())
            .park(&letter.why);
    }
}
