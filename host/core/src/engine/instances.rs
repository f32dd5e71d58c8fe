//! All instances that go on: those in memory in a slab, those that only the store has beside them
//! ([`passive`]), a table of ids over both, and pools of those that share a machine, each with an
//! index of the properties that rules compare.

mod passive;
mod pool;

use std::{hash::BuildHasher, sync::Arc};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use smallvec::SmallVec;

use self::passive::Passive;
pub(crate) use self::{
    passive::Kind,
    pool::{Pool, PoolName},
};
use crate::{
    engine::figures::{Counted, Figures},
    id::{ComponentName, InstanceId, MachineName, TenantId},
    instance::Instance,
    json::Path,
    limits::INSTANCE_BYTES,
    record::{Snapshot, Status},
};

/// Where an instance stands. A slot that was given away is told from its successor by the
/// generation, one of an instance that is not in memory by a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot {
    at: u32,
    generation: u32,
}

/// The bit of a slot's place that says that only the store has the instance.
const PASSIVE: u32 = 1 << 31;

impl Slot {
    /// Whether only the store has the instance.
    pub(crate) fn is_passive(self) -> bool {
        self.at & PASSIVE != 0
    }
}

/// All instances that go on.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    entries: Vec<Entry>,
    free: Vec<u32>,
    passive: Passive,
    /// Bytes of those in memory.
    bytes: usize,
    ids: HashTable<Slot>,
    pools: Vec<Pool>,
    counted: Counted,
    pool_names: HashMap<PoolName, u32, FixedState>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    instance: Option<Instance>,
}

/// An instance that is not a member of its pool: unborn or finished.
const NO_PLACE: u32 = u32::MAX;

impl Instances {
    /// How many there are, finished ones that have not left and passive ones included.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of those in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts an instance as what it is now.
    pub(crate) fn weigh(&mut self, slot: Slot) {
        let instance = self.expect_mut(slot);
        let bytes = bytes_of(&instance.snapshot);
        let before = std::mem::replace(&mut instance.bytes, bytes);
        let timers = timers_of(&instance.snapshot);
        let timers_before = std::mem::replace(&mut instance.timers, timers);
        let pool = instance.pool as usize;
        self.bytes = self.bytes - before + bytes;
        self.pools[pool].figures.time(timers_before, timers);
    }

    /// What is counted of machines.
    pub(crate) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// What is counted of an instance's machine.
    pub(crate) fn figures_of(&self, slot: Slot) -> &Figures {
        &self.pools[self.expect(slot).pool as usize].figures
    }

    /// The same, shared.
    pub(crate) fn shared_figures(&self, slot: Slot) -> Arc<Figures> {
        Arc::clone(&self.pools[self.expect(slot).pool as usize].figures)
    }

    /// How many of them only the store has.
    pub(crate) fn passive_len(&self) -> usize {
        self.passive.len()
    }

    /// The slot of an id, if the instance is in memory.
    pub(crate) fn find(&self, tenant: &TenantId, id: &InstanceId) -> Option<Slot> {
        self.find_any(tenant, id).filter(|slot| !slot.is_passive())
    }

    /// The slot of an id, in memory or not.
    pub(crate) fn find_any(&self, tenant: &TenantId, id: &InstanceId) -> Option<Slot> {
        let hash = self.hash(tenant, id);
        let same = |slot: &Slot| self.name(*slot) == (tenant, id);
        self.ids.find(hash, same).copied()
    }

    /// Whose an instance is, and its id.
    pub(crate) fn name(&self, slot: Slot) -> (&TenantId, &InstanceId) {
        if slot.is_passive() {
            let passivated = self.passive.expect(slot);
            let pool = &self.pools[passivated.pool as usize];
            return (&pool.name.0, &passivated.id);
        }
        let snapshot = &self.expect(slot).snapshot;
        (snapshot.tenant(), &snapshot.id)
    }

    /// The component of an instance, in memory or not.
    pub(crate) fn component(&self, slot: Slot) -> &ComponentName {
        if slot.is_passive() {
            let passivated = self.passive.expect(slot);
            return &self.pools[passivated.pool as usize].name.1;
        }
        self.expect(slot).snapshot.component()
    }

    /// Of which kind a passive instance is, unless it is one no more.
    pub(crate) fn kind(&self, slot: Slot) -> Option<&Kind> {
        self.passive.kind(slot)
    }

    /// How many passive instances there are of each kind.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&Kind, u64)> {
        self.passive.kinds()
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
        let (bytes, timers) = (bytes_of(&snapshot), timers_of(&snapshot));
        self.bytes += bytes;
        self.pools[pool as usize].figures.time(0, timers);
        let instance = Instance {
            recorded: snapshot.extra.clone(),
            bytes,
            snapshot,
            pool,
            place: NO_PLACE,
            keys: SmallVec::new(),
            appended: crate::record::AppendSeq(0),
            alarm: None,
            busy: None,
            inherited: false,
            timers,
            spared: 0,
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
        self.enter_id(hash, slot);
        slot
    }

    fn enter_id(&mut self, hash: u64, slot: Slot) {
        // Taken out, since growing it asks for the names of all that are in it.
        let mut ids = std::mem::take(&mut self.ids);
        ids.insert_unique(hash, slot, |slot| {
            let (tenant, id) = self.name(*slot);
            self.hash(tenant, id)
        });
        self.ids = ids;
    }

    fn leave_id(&mut self, slot: Slot) {
        let (tenant, id) = self.name(slot);
        let hash = self.hash(tenant, id);
        if let Ok(found) = self.ids.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
    }

    /// Lets an instance leave memory.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Instance> {
        self.leave_pool(slot);
        self.get(slot)?;
        self.leave_id(slot);
        let entry = &mut self.entries[slot.at as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot.at);
        let instance = entry.instance.take()?;
        self.bytes -= instance.bytes;
        let figures = &self.pools[instance.pool as usize].figures;
        figures.time(instance.timers, 0);
        Some(instance)
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

    /// Lets an active instance leave memory, that the store has as it is, but stay known.
    pub(crate) fn passivate(&mut self, slot: Slot) -> Option<Slot> {
        let keys = self.get(slot)?.keys.clone();
        let Instance {
            snapshot,
            pool,
            timers,
            ..
        } = self.remove(slot)?;
        let hash = self.hash(snapshot.tenant(), &snapshot.id);
        let members = &mut self.pools[pool as usize];
        let slot = self
            .passive
            .insert(&snapshot, pool, members.passive.len(), &keys);
        members.passive.push(slot);
        members.figures.time(0, timers);
        self.passive.expect_mut(slot).timers = timers;
        members.reindex(slot, &[], &keys);
        self.enter_id(hash, slot);
        Some(slot)
    }

    /// Forgets a passive instance: it comes back to memory, or is gone.
    pub(crate) fn forget(&mut self, slot: Slot) {
        if self.passive.get(slot).is_none() {
            return;
        }
        self.leave_id(slot);
        let Some(passivated) = self.passive.remove(slot) else {
            return;
        };
        let pool = &mut self.pools[passivated.pool as usize];
        pool.reindex(slot, &passivated.keys, &[]);
        pool.figures.time(passivated.timers, 0);
        pool.passive.swap_remove(passivated.place as usize);
        if let Some(moved) = pool.passive.get(passivated.place as usize) {
            self.passive.expect_mut(*moved).place = passivated.place;
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
        if !pool.require_index(path) {
            return;
        }
        let passive = pool.passive.iter();
        passive.for_each(|slot| self.passive.expect_mut(*slot).keys.push(pool::UNKNOWN));
        for slot in pool.members.clone() {
            self.refresh(slot);
        }
    }

    /// Every slot that is taken, in order of slots.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.slots_from(0, self.entries.len())
    }

    /// Those among so many places from a place on.
    pub(crate) fn slots_from(&self, from: usize, count: usize) -> impl Iterator<Item = Slot> {
        let entries = self.entries.iter().enumerate().skip(from).take(count);
        entries
            .filter(|(_, entry)| entry.instance.is_some())
            .map(|(at, entry)| Slot {
                at: u32::try_from(at).expect("instances per shard are limited"),
                generation: entry.generation,
            })
    }

    /// Places for instances in memory, taken or not.
    pub(crate) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Every passive slot, in order of slots.
    pub(crate) fn passive_slots(&self) -> impl Iterator<Item = Slot> {
        self.passive.slots()
    }

    /// The active instances of a component in memory, over all machines of all versions.
    pub(crate) fn of_component(&self, tenant: &TenantId, component: &ComponentName) -> Vec<Slot> {
        let pools = self.pools_of(tenant, component).into_iter();
        pools
            .flat_map(|pool| pool.members.iter().copied())
            .collect()
    }

    /// The same of those that only the store has.
    pub(crate) fn passive_of_component(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
    ) -> impl Iterator<Item = Slot> {
        let pools = self.pools_of(tenant, component).into_iter();
        pools.flat_map(|pool| pool.passive.iter().copied())
    }

    fn pools_of(&self, tenant: &TenantId, component: &ComponentName) -> Vec<&Pool> {
        let ours = |pool: &&Pool| pool.name.0 == *tenant && pool.name.1 == *component;
        let mut pools: Vec<&Pool> = self.pools.iter().filter(ours).collect();
        pools.sort_by(|one, other| one.name.cmp(&other.name));
        pools
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
            pools,
            pool_names,
            counted,
            ..
        } = self;
        *pool_names.entry(name).or_insert_with_key(|name| {
            let figures = counted.begin(&name.1, &name.2);
            pools.push(Pool::new(name.clone(), figures));
            u32::try_from(pools.len() - 1).expect("machines are limited")
        })
    }

    fn hash(&self, tenant: &TenantId, id: &InstanceId) -> u64 {
        hash_key(&self.hasher, tenant, id)
    }
}

fn bytes_of(snapshot: &Snapshot) -> usize {
    let waiting = snapshot.extra.as_ref().map_or(0, |extra| extra.waiting);
    INSTANCE_BYTES + snapshot.context.len() + usize::try_from(waiting).unwrap_or(usize::MAX)
}

fn timers_of(snapshot: &Snapshot) -> u32 {
    let extra = snapshot.extra.as_ref();
    let later = extra.map_or(0, |extra| {
        extra.sends.len() + usize::from(extra.retry.is_some())
    });
    u32::try_from(snapshot.timers.len() + later).unwrap_or(u32::MAX)
}

fn hash_key(hasher: &FixedState, tenant: &TenantId, id: &InstanceId) -> u64 {
    hasher.hash_one((tenant, id))
}
