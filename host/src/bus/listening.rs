//! How it goes with listening to a broker: counted by whoever listens, read by whoever is asked.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How it goes.
#[derive(Debug, Default)]
pub struct Listening {
    reconnects: AtomicU64,
    /// What is not listened for at the moment: components, or the whole of a broker.
    away: Mutex<HashSet<String>>,
}

impl Listening {
    /// It stopped, and is begun again soon.
    pub fn stopped(&self, what: &str) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
        self.away().insert(what.to_owned());
    }

    /// It goes on, or nobody wants it to.
    pub fn goes_on(&self, what: &str) {
        self.away().remove(what);
    }

    /// How often it was begun again since the start.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Whether it stands still for something.
    pub fn is_away(&self) -> bool {
        !self.away().is_empty()
    }

    fn away(&self) -> MutexGuard<'_, HashSet<String>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
