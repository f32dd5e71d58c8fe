//! The instances of one machine, and the index of the properties that rules compare.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;
use thin_vec::{ThinVec, thin_vec};

use super::Slot;
use crate::{
    engine::figures::Figures,
    id::{ComponentName, MachineName, TenantId},
    instance::select::hash_raw,
    json::{Json, Path},
    limits::INDEXED_MAX,
};

/// What a pool is called.
pub(crate) type PoolName = (TenantId, ComponentName, MachineName);

/// The instances of one machine that go on, over all versions.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(super) name: PoolName,
    /// Those that are active and in memory, in no particular order.
    pub(crate) members: Vec<Slot>,
    /// Those that are active and only in the store.
    pub(crate) passive: Vec<Slot>,
    index: Vec<PropertyIndex>,
    /// What is counted of the machine.
    pub(crate) figures: Arc<Figures>,
}

#[derive(Debug)]
struct PropertyIndex {
    path: Path,
    slots: HashMap<u64, Bucket, FixedState>,
}

/// The key of a property that an instance does not have.
const ABSENT: u64 = 0;

/// The key of a property that nobody looked at: the index came when the instance had left memory.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// Slots in a bucket above which one is not looked for from the first to the last.
const FEW: usize = 32;

/// Instances with the same key. A million of them may have the same, and each leaves alone.
#[derive(Debug)]
enum Bucket {
    One(Slot),
    Few(ThinVec<Slot>),
    Many(Box<HashSet<Slot, FixedState>>),
}

impl Pool {
    /// An empty one.
    pub(super) fn new(name: PoolName, figures: Arc<Figures>) -> Self {
        Self {
            name,
            members: Vec::new(),
            passive: Vec::new(),
            index: Vec::new(),
            figures,
        }
    }

    /// All of them.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.members.iter().chain(&self.passive).copied()
    }

    /// How many may have a property at `path` with this hash; none where no index of it is kept.
    pub(crate) fn count(&self, path: &Path, hash: u64) -> Option<usize> {
        let buckets = self.buckets(path, hash)?.into_iter().flatten();
        Some(buckets.map(Bucket::len).sum())
    }

    /// Those that may have a property at `path` with this hash.
    pub(crate) fn lookup(&self, path: &Path, hash: u64) -> Vec<Slot> {
        let buckets = self.buckets(path, hash).into_iter().flatten().flatten();
        buckets.flat_map(Bucket::slots).collect()
    }

    fn buckets(&self, path: &Path, hash: u64) -> Option<[Option<&Bucket>; 2]> {
        let index = self.index.iter().find(|index| index.path == *path)?;
        Some([hash, UNKNOWN].map(|key| index.slots.get(&key)))
    }

    /// Keeps an index of `path` from now on; false if it does already, or if it keeps
    /// [`INDEXED_MAX`]. Members must be entered by the caller; passive ones are under [`UNKNOWN`].
    pub(super) fn require_index(&mut self, path: &Path) -> bool {
        let known = self.index.iter().any(|index| index.path == *path);
        if known || self.index.len() == INDEXED_MAX {
            return false;
        }
        let mut slots: HashMap<u64, Bucket, FixedState> = HashMap::default();
        for slot in &self.passive {
            enter(&mut slots, UNKNOWN, *slot);
        }
        self.index.push(PropertyIndex {
            path: path.clone(),
            slots,
        });
        true
    }

    /// The keys of a context.
    pub(super) fn keys(&self, context: &Json) -> SmallVec<[u64; 2]> {
        let key = |index: &PropertyIndex| context.raw(&index.path).map_or(ABSENT, hash_raw);
        self.index.iter().map(key).collect()
    }

    /// Enters an instance under other keys than before.
    pub(super) fn reindex(&mut self, slot: Slot, old: &[u64], new: &[u64]) {
        for (position, index) in self.index.iter_mut().enumerate() {
            let old = old.get(position).copied().unwrap_or(ABSENT);
            let new = new.get(position).copied().unwrap_or(ABSENT);
            if old == new {
                continue;
            }
            if old != ABSENT
                && let Some(bucket) = index.slots.get_mut(&old)
                && !bucket.remove(slot)
            {
                index.slots.remove(&old);
            }
            if new != ABSENT {
                enter(&mut index.slots, new, slot);
            }
        }
    }
}

fn enter(slots: &mut HashMap<u64, Bucket, FixedState>, key: u64, slot: Slot) {
    slots
        .entry(key)
        .and_modify(|bucket| bucket.insert(slot))
        .or_insert(Bucket::One(slot));
}

impl Bucket {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(slots) => slots.len(),
            Self::Many(slots) => slots.len(),
        }
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        let (one, few, many) = match self {
            Self::One(slot) => (Some(slot), None, None),
            Self::Few(slots) => (None, Some(slots.iter()), None),
            Self::Many(slots) => (None, None, Some(slots.iter())),
        };
        let several = few.into_iter().flatten().chain(many.into_iter().flatten());
        one.into_iter().chain(several).copied()
    }

    fn insert(&mut self, slot: Slot) {
        match self {
            Self::One(first) => *self = Self::Few(thin_vec![*first, slot]),
            Self::Few(slots) if slots.len() < FEW => slots.push(slot),
            Self::Few(slots) => {
                let mut many: HashSet<Slot, FixedState> = slots.drain(..).collect();
                many.insert(slot);
                *self = Self::Many(Box::new(many));
            }
            Self::Many(slots) => {
                slots.insert(slot);
            }
        }
    }

    /// Removes a slot; false if none is left.
    fn remove(&mut self, slot: Slot) -> bool {
        match self {
            Self::One(only) => *only != slot,
            Self::Few(slots) => {
                slots.retain(|other| *other != slot);
                !slots.is_empty()
            }
            Self::Many(slots) => {
                slots.remove(&slot);
                !slots.is_empty()
            }
        }
    }
}
