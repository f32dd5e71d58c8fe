//! All instances in memory: a slab, a table of ids, and pools of those that share a machine, each
//! with an index of the properties that rules compare.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use smallvec::SmallVec;

use crate::{
    id::{ComponentName, InstanceId, MachineName, TenantId},
    instance::{Instance, select::hash_raw},
    json::{Json, Path},
    record::{Snapshot, Status},
};

/// Where an instance stands in memory. A slot that was given away is told from its successor by
/// the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot {
    at: u32,
    generation: u32,
}

/// All instances in memory.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    entries: Vec<Entry>,
    free: Vec<u32>,
    ids: HashTable<Slot>,
    pools: Vec<Pool>,
    pool_names: HashMap<PoolName, u32, FixedState>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    instance: Option<Instance>,
}

type PoolName = (TenantId, ComponentName, MachineName);

/// The live instances of one machine, over all versions.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Those that are active, in no particular order.
    pub(crate) members: Vec<Slot>,
    index: Vec<PropertyIndex>,
}

#[derive(Debug)]
struct PropertyIndex {
    path: Path,
    slots: HashMap<u64, SmallVec<[Slot; 1]>, FixedState>,
}

/// An instance that is not a member of its pool: unborn or finished.
const NO_PLACE: u32 = u32::MAX;

impl Instances {
    /// How many there are, finished ones that have not left included.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The slot of an id.
    pub(crate) fn find(&self, tenant: &TenantId, id: &InstanceId) -> Option<Slot> {
        let hash = self.hash(tenant, id);
        let same = |slot: &Slot| {
            let snapshot = &self.expect(*slot).snapshot;
            snapshot.id == *id && snapshot.tenant() == tenant
        };
        self.ids.find(hash, same).copied()
    }

    /// The instance in a slot, unless it has left.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Instance> {
        let entry = self.entries.get(slot.at as usize)?;
        entry
            .instance
            .as_ref()
            .filter(|_| entry.generation == slot.generation)
    }

    /// The same, to change it. Id, tenant and pool must stay.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Instance> {
        let entry = self.entries.get_mut(slot.at as usize)?;
        entry
            .instance
            .as_mut()
            .filter(|_| entry.generation == slot.generation)
    }

    /// The instance in a slot that is known to be taken.
    pub(crate) fn expect(&self, slot: Slot) -> &Instance {
        self.get(slot).expect("a slot in the tables is taken")
    }

    /// The same, to change it.
    pub(crate) fn expect_mut(&mut self, slot: Slot) -> &mut Instance {
        self.get_mut(slot).expect("a slot in the tables is taken")
    }

    /// Takes an instance in, as a member of no pool yet. Its id must be free.
    pub(crate) fn insert(&mut self, snapshot: Snapshot) -> Slot {
        let pool = self.pool_of(&snapshot);
        let hash = self.hash(snapshot.tenant(), &snapshot.id);
        let instance = Instance {
            snapshot,
            pool,
            place: NO_PLACE,
            keys: SmallVec::new(),
            appended: crate::record::AppendSeq(0),
            alarm: None,
            busy: None,
            inherited: false,
        };
        let slot = if let Some(at) = self.free.pop() {
            let entry = &mut self.entries[at as usize];
            entry.instance = Some(instance);
            Slot {
                at,
                generation: entry.generation,
            }
        } else {
            let at = u32::try_from(self.entries.len()).expect("instances per shard are limited");
            self.entries.push(Entry {
                generation: 0,
                instance: Some(instance),
            });
            Slot { at, generation: 0 }
        };
        let Self {
            entries,
            ids,
            hasher,
            ..
        } = self;
        ids.insert_unique(hash, slot, |slot| {
            let snapshot = &entries[slot.at as usize]
                .instance
                .as_ref()
                .expect("a slot in the tables is taken")
                .snapshot;
            hash_key(hasher, snapshot.tenant(), &snapshot.id)
        });
        slot
    }

    /// Lets an instance leave memory.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Instance> {
        self.leave_pool(slot);
        let snapshot = &self.get(slot)?.snapshot;
        let hash = self.hash(snapshot.tenant(), &snapshot.id);
        if let Ok(found) = self.ids.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        let entry = &mut self.entries[slot.at as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot.at);
        entry.instance.take()
    }

    /// Makes the instance a member of its pool if it is active, or brings the index up to date;
    /// lets it leave the pool if it is finished.
    pub(crate) fn refresh(&mut self, slot: Slot) {
        let instance = self.expect(slot);
        if instance.snapshot.status != Status::Active {
            return self.leave_pool(slot);
        }
        let pool_idx = instance.pool as usize;
        let keys = self.pools[pool_idx].keys(&instance.snapshot.context);
        let pool = &mut self.pools[pool_idx];
        let instance = self.entries[slot.at as usize]
            .instance
            .as_mut()
            .expect("a slot in the tables is taken");
        if instance.place == NO_PLACE {
            instance.place =
                u32::try_from(pool.members.len()).expect("instances per shard are limited");
            pool.members.push(slot);
        }
        if instance.keys != keys {
            pool.reindex(slot, &instance.keys, &keys);
            instance.keys = keys;
        }
    }

    /// The pool of a machine, if any instance or rule ever named it.
    pub(crate) fn pool(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        machine: &MachineName,
    ) -> Option<&Pool> {
        let name = (tenant.clone(), component.clone(), machine.clone());
        self.pool_names
            .get(&name)
            .map(|idx| &self.pools[*idx as usize])
    }

    /// Keeps an index of `path` over the live instances of a machine from now on.
    pub(crate) fn require_index(
        &mut self,
        tenant: &TenantId,
        component: &ComponentName,
        machine: &MachineName,
        path: &Path,
    ) {
        let idx = self.pool_named((tenant.clone(), component.clone(), machine.clone()));
        let pool = &mut self.pools[idx as usize];
        if pool.index.iter().any(|index| index.path == *path) {
            return;
        }
        pool.index.push(PropertyIndex {
            path: path.clone(),
            slots: HashMap::default(),
        });
        for slot in pool.members.clone() {
            self.refresh(slot);
        }
    }

    /// Every slot that is taken, in order of slots.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.instance.is_some())
            .map(|(at, entry)| Slot {
                at: u32::try_from(at).expect("instances per shard are limited"),
                generation: entry.generation,
            })
    }

    /// The active instances of a component, over all machines of all versions.
    pub(crate) fn of_component(&self, tenant: &TenantId, component: &ComponentName) -> Vec<Slot> {
        let mut pools: Vec<(&PoolName, &u32)> = Vec::new();
        for (name, idx) in &self.pool_names {
            if name.0 == *tenant && name.1 == *component {
                pools.push((name, idx));
            }
        }
        pools.sort();
        pools
            .into_iter()
            .flat_map(|(_, idx)| self.pools[*idx as usize].members.iter().copied())
            .collect()
    }

    fn leave_pool(&mut self, slot: Slot) {
        let Some(instance) = self.get_mut(slot) else {
            return;
        };
        if instance.place == NO_PLACE {
            return;
        }
        let (pool_idx, place) = (instance.pool as usize, instance.place as usize);
        let keys = std::mem::take(&mut instance.keys);
        instance.place = NO_PLACE;
        let pool = &mut self.pools[pool_idx];
        pool.reindex(slot, &keys, &[]);
        pool.members.swap_remove(place);
        if let Some(moved) = pool.members.get(place).copied() {
            self.expect_mut(moved).place = u32::try_from(place).expect("it was a place before");
        }
    }

    fn pool_of(&mut self, snapshot: &Snapshot) -> u32 {
        self.pool_named((
            snapshot.tenant().clone(),
            snapshot.component().clone(),
            snapshot.machine().name.clone(),
        ))
    }

    fn pool_named(&mut self, name: PoolName) -> u32 {
        let Self {
            pools, pool_names, ..
        } = self;
        *pool_names.entry(name).or_insert_with(|| {
            pools.push(Pool {
                members: Vec::new(),
                index: Vec::new(),
            });
            u32::try_from(pools.len() - 1).expect("machines are limited")
        })
    }

    fn hash(&self, tenant: &TenantId, id: &InstanceId) -> u64 {
        hash_key(&self.hasher, tenant, id)
    }
}

impl Pool {
    /// The members whose property at `path` has this hash, or none where no index of it is kept.
    pub(crate) fn lookup(&self, path: &Path, hash: u64) -> Option<&[Slot]> {
        let index = self.index.iter().find(|index| index.path == *path)?;
        Some(index.slots.get(&hash).map_or(&[], |slots| slots))
    }

    fn keys(&self, context: &Json) -> SmallVec<[u64; 2]> {
        self.index
            .iter()
            .map(|index| context.raw(&index.path).map_or(0, hash_raw))
            .collect()
    }

    fn reindex(&mut self, slot: Slot, old: &[u64], new: &[u64]) {
        for (position, index) in self.index.iter_mut().enumerate() {
            let old = old.get(position).copied().unwrap_or_default();
            let new = new.get(position).copied().unwrap_or_default();
            if old == new {
                continue;
            }
            if let Some(slots) = index.slots.get_mut(&old).filter(|_| old != 0) {
                slots.retain(|other| *other != slot);
                if slots.is_empty() {
                    index.slots.remove(&old);
                }
            }
            if new != 0 {
                index.slots.entry(new).or_default().push(slot);
            }
        }
    }
}

fn hash_key(hasher: &FixedState, tenant: &TenantId, id: &InstanceId) -> u64 {
    hasher.hash_one((tenant, id))
}
