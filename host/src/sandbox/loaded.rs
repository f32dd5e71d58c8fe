//! Component versions that are compiled and linked: *warm*, without holding a slot.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use wasmtime::{
    Engine,
    component::{Component, Linker},
};
use xcomponent_core::id::Digest;

use super::{bindings::ComponentPre, state::State};
use crate::memory::Share;

/// One component version, ready to be started.
pub(super) struct Loaded {
    /// The component with its imports resolved.
    pub(super) guest: ComponentPre<State>,
    /// Whether it imports WASI.
    pub(super) with_wasi: bool,
    used: AtomicU64,
    /// What its machine code takes.
    _memory: Share,
}

/// The versions in memory; the least recently used one goes when there are too many.
pub(super) struct Versions {
    loaded: RwLock<HashMap<Digest, Arc<Loaded>, foldhash::fast::RandomState>>,
    uses: AtomicU64,
    loaded_max: usize,
    /// One for each version that somebody brings into memory: the others wait for that one.
    turns: Mutex<HashMap<Digest, Weak<Turn>, foldhash::fast::RandomState>>,
}

/// The right to bring a version into memory.
type Turn = tokio::sync::Mutex<()>;

/// The two sets of host functions that a component may be linked to.
pub(super) struct Linkers {
    /// For those that import nothing but the project's own interfaces.
    pub(super) plain: Linker<State>,
    /// For those that also import WASI.
    pub(super) with_wasi: Linker<State>,
}

impl Loaded {
    /// Links a compiled component, whose code takes this much memory.
    ///
    /// # Errors
    ///
    /// If it imports something that is not there or of another type, does not export what it must,
    /// or does not fit in a slot.
    pub(super) fn link(
        engine: &Engine,
        linkers: &Linkers,
        component: &Component,
        memory: Share,
    ) -> wasmtime::Result<Self> {
        let with_wasi = component
            .component_type()
            .imports(engine)
            .any(|(name, _)| name.starts_with("wasi:"));
        let linker = if with_wasi {
            &linkers.with_wasi
        } else {
            &linkers.plain
        };
        let guest = ComponentPre::new(linker.instantiate_pre(component)?)?;
        Ok(Self {
            guest,
            with_wasi,
            used: AtomicU64::new(0),
            _memory: memory,
        })
    }
}

impl Versions {
    /// No versions, at most so many.
    pub(super) fn new(loaded_max: usize) -> Self {
        Self {
            loaded: RwLock::default(),
            uses: AtomicU64::new(0),
            loaded_max,
            turns: Mutex::default(),
        }
    }

    /// Who holds it is the only one who brings that version into memory.
    pub(super) fn turn(&self, artifact: Digest) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&artifact).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::default());
        turns.insert(artifact, Arc::downgrade(&turn));
        turn
    }

    /// The version, if it is in memory.
    pub(super) fn get(&self, artifact: &Digest) -> Option<Arc<Loaded>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let found = loaded.get(artifact).map(Arc::clone)?;
        found
            .used
            .store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(found)
    }

    /// Keeps a version; gives those that had to go for it.
    pub(super) fn insert(&self, artifact: Digest, version: Arc<Loaded>) -> Vec<Digest> {
        version
            .used
            .store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.insert(artifact, version);
        let mut gone = Vec::new();
        while loaded.len() > self.loaded_max {
            gone.extend(remove_oldest(&mut loaded));
        }
        gone
    }

    /// Drops the version that was not used for longest, if there is any.
    pub(super) fn evict(&self) -> Option<Digest> {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        remove_oldest(&mut loaded)
    }

    /// Drops a version.
    pub(super) fn remove(&self, artifact: &Digest) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.remove(artifact);
    }
}

fn remove_oldest(
    loaded: &mut HashMap<Digest, Arc<Loaded>, foldhash::fast::RandomState>,
) -> Option<Digest> {
    let oldest = loaded
        .iter()
        .min_by_key(|(_, version)| version.used.load(Ordering::Relaxed));
    let oldest = *oldest?.0;
    loaded.remove(&oldest);
    Some(oldest)
}
