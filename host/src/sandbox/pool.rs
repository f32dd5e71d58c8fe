//! The global pool of slots, and the idle sandboxes in it.
//!
//! A sandbox belongs to one tenant and one component version from its start to its end. Idle ones
//! are kept in stripes, one for each thread that asks, so that shards rarely meet; the least
//! recently used one gives its slot to whoever needs one.

use std::{
    cell::Cell,
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use xcomponent_core::{
    call::{Fault, FaultCode},
    id::{Digest, TenantId},
};

use super::{checkout::Sandbox, fault};

/// Threads with a stripe of their own; more threads share.
const STRIPES_MAX: usize = 16;

/// Slots, and the idle sandboxes that hold some of them.
pub(super) struct Pool {
    stripes: Vec<Mutex<Stripe>>,
    slots: Arc<Semaphore>,
    waits: AtomicUsize,
    waits_max: usize,
}

/// The right to have a sandbox.
pub(super) type Slot = OwnedSemaphorePermit;

/// Idle sandboxes, in the order in which they came back.
#[derive(Default)]
struct Stripe {
    idle: HashMap<
        TenantId,
        HashMap<Digest, VecDeque<Idle>, foldhash::fast::RandomState>,
        foldhash::fast::RandomState,
    >,
}

struct Idle {
    since: Instant,
    sandbox: Box<Sandbox>,
}

impl Pool {
    /// An empty pool.
    pub(super) fn new(slots_max: usize, waits_max: usize) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            stripes: (0..threads.min(STRIPES_MAX))
                .map(|_| Mutex::default())
                .collect(),
            slots: Arc::new(Semaphore::new(slots_max)),
            waits: AtomicUsize::new(0),
            waits_max,
        }
    }

    /// An idle sandbox of that version, the last one used on this thread if there is one.
    pub(super) fn take(&self, tenant: &TenantId, artifact: &Digest) -> Option<Box<Sandbox>> {
        let own = self.own();
        (0..self.stripes.len()).find_map(|n| self.lock(own + n).take(tenant, artifact))
    }

    /// Keeps a sandbox for its next call, unless somebody waits for its slot.
    pub(super) fn put(&self, sandbox: Box<Sandbox>) {
        self.lock(self.own()).put(sandbox);
        // Whoever waits has counted itself before it looked for an idle one; see `wait`.
        if self.waits.load(Ordering::SeqCst) > 0 {
            drop(self.evict());
        }
    }

    /// A slot, if need be that of the least recently used idle sandbox.
    pub(super) fn slot(&self) -> Option<Slot> {
        loop {
            if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                return Some(slot);
            }
            drop(self.evict()?);
        }
    }

    /// Waits for a slot, first come, first served.
    ///
    /// # Errors
    ///
    /// If too many wait already.
    pub(super) async fn wait(&self) -> Result<Slot, Fault> {
        let waiting = Waiting::new(&self.waits);
        if waiting.n_before >= self.waits_max {
            let message = format!(
                "all sandboxes are in use and {} calls wait for one",
                self.waits_max
            );
            return Err(fault::plain(FaultCode::Unavailable, message));
        }
        drop(self.evict());
        Ok(Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed"))
    }

    /// Drops the idle sandboxes of an artifact.
    pub(super) fn forget(&self, artifact: &Digest) {
        for n in 0..self.stripes.len() {
            let forgotten: Vec<_> = self
                .lock(n)
                .idle
                .values_mut()
                .filter_map(|versions| versions.remove(artifact))
                .collect();
            drop(forgotten);
        }
    }

    /// Drops the sandboxes that have been idle for as long as that.
    pub(super) fn release_idle(&self, idle_min: Duration) {
        let Some(since_max) = Instant::now().checked_sub(idle_min) else {
            return;
        };
        for n in 0..self.stripes.len() {
            loop {
                // Dropped one by one, so that nobody waits for all of them.
                let idle = self.lock(n).take_older(since_max);
                if idle.is_none() {
                    break;
                }
            }
        }
    }

    /// How many sandboxes there are, idle or in use, out of `slots_max`.
    pub(super) fn n_used(&self, slots_max: usize) -> usize {
        slots_max - self.slots.available_permits()
    }

    /// Takes the sandbox that has been idle for longest out of the pool.
    pub(super) fn evict(&self) -> Option<Box<Sandbox>> {
        let oldest = |n: usize| self.lock(n).oldest().map(|since| (since, n));
        let (_, n) = (0..self.stripes.len()).filter_map(oldest).min()?;
        let evicted = self.lock(n).evict();
        // Another thread may have been faster; then there may be another.
        evicted.or_else(|| (0..self.stripes.len()).find_map(|n| self.lock(n).evict()))
    }

    fn lock(&self, n: usize) -> MutexGuard<'_, Stripe> {
        self.stripes[n % self.stripes.len()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The stripe of this thread.
    fn own(&self) -> usize {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static OWN: Cell<Option<usize>> = const { Cell::new(None) });
        let own = OWN
            .get()
            .unwrap_or_else(|| THREADS.fetch_add(1, Ordering::Relaxed));
        OWN.set(Some(own));
        own % self.stripes.len()
    }
}

impl Stripe {
    fn take(&mut self, tenant: &TenantId, artifact: &Digest) -> Option<Box<Sandbox>> {
        Some(
            self.idle
                .get_mut(tenant)?
                .get_mut(artifact)?
                .pop_back()?
                .sandbox,
        )
    }

    fn put(&mut self, sandbox: Box<Sandbox>) {
        let idle = Idle {
            since: Instant::now(),
            sandbox,
        };
        let (tenant, artifact) = idle.sandbox.owner();
        if let Some(same) = self
            .idle
            .get_mut(tenant)
            .and_then(|versions| versions.get_mut(&artifact))
        {
            return same.push_back(idle);
        }
        let tenant = tenant.clone();
        self.idle
            .entry(tenant)
            .or_default()
            .entry(artifact)
            .or_default()
            .push_back(idle);
    }

    fn oldest(&self) -> Option<Instant> {
        let queues = self.idle.values().flat_map(HashMap::values);
        queues
            .filter_map(|queue| queue.front().map(|idle| idle.since))
            .min()
    }

    /// One that has been idle since then, or longer.
    fn take_older(&mut self, since_max: Instant) -> Option<Box<Sandbox>> {
        self.oldest().filter(|oldest| *oldest <= since_max)?;
        self.evict()
    }

    fn evict(&mut self) -> Option<Box<Sandbox>> {
        let oldest = self.oldest()?;
        let is_oldest =
            |queue: &VecDeque<Idle>| queue.front().is_some_and(|idle| idle.since == oldest);
        let versions = self
            .idle
            .values_mut()
            .find(|versions| versions.values().any(is_oldest))?;
        let queue = versions.values_mut().find(|queue| is_oldest(queue))?;
        let evicted = queue.pop_front()?.sandbox;
        versions.retain(|_, queue| !queue.is_empty());
        self.idle.retain(|_, versions| !versions.is_empty());
        Some(evicted)
    }
}

/// One that waits for a slot, counted from its beginning to its end.
struct Waiting<'p> {
    waits: &'p AtomicUsize,
    n_before: usize,
}

impl<'p> Waiting<'p> {
    fn new(waits: &'p AtomicUsize) -> Self {
        Self {
            waits,
            n_before: waits.fetch_add(1, Ordering::SeqCst),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waits.fetch_sub(1, Ordering::SeqCst);
    }
}
