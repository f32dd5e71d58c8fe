//! How far a host that starts has come: whoever loads something adds to it, whoever is asked reads.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

/// Counts what a host that starts has done. Clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    is_standby: AtomicBool,
    components: AtomicUsize,
    components_ready: AtomicUsize,
    instances: AtomicUsize,
    deliveries: AtomicUsize,
}

/// What was done when it was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Whether it waits for the store of another host, and has begun with nothing.
    pub is_standby: bool,
    /// Versions of components that there are; 0 until that is known.
    pub components: usize,
    /// Of these, compiled and known to the shards.
    pub components_ready: usize,
    /// Instances that were read from the store.
    pub instances: usize,
    /// What was on its way when the last host ended, and is sent again.
    pub deliveries: usize,
}

impl Progress {
    /// From now on the host waits for the store of another, or does not.
    pub fn stand_by(&self, is_standby: bool) {
        self.0.is_standby.store(is_standby, Relaxed);
    }

    /// So many versions of components are to be made ready.
    pub fn expect_components(&self, n: usize) {
        self.0.components.fetch_add(n, Relaxed);
    }

    /// One of them is.
    pub fn component_is_ready(&self) {
        self.0.components_ready.fetch_add(1, Relaxed);
    }

    /// So many more instances were read.
    pub fn add_instances(&self, n: usize) {
        self.0.instances.fetch_add(n, Relaxed);
    }

    /// So many more deliveries are to be sent again.
    pub fn add_deliveries(&self, n: usize) {
        self.0.deliveries.fetch_add(n, Relaxed);
    }

    /// How far it is.
    pub fn read(&self) -> Done {
        Done {
            is_standby: self.0.is_standby.load(Relaxed),
            components: self.0.components.load(Relaxed),
            components_ready: self.0.components_ready.load(Relaxed),
            instances: self.0.instances.load(Relaxed),
            deliveries: self.0.deliveries.load(Relaxed),
        }
    }
}
