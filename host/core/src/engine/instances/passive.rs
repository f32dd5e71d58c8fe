//! What stays in memory of instances that only the store has: who they are, of which kind, and
//! under which keys the index knows them. Ten million of them must fit where a hundred thousand
//! are at work.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{PASSIVE, Slot};
use crate::{
    call::Deployment,
    definition::{Machine, MachineIdx, State, StateIdx},
    id::InstanceId,
    record::Snapshot,
};

/// Instances that only the store has.
#[derive(Debug, Default)]
pub(super) struct Passive {
    entries: Vec<Entry>,
    free: Vec<u32>,
    kinds: Vec<Kind>,
    known: HashMap<KindName, u32, FixedState>,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    passivated: Option<Passivated>,
}

/// What stays of one.
#[derive(Debug)]
pub(super) struct Passivated {
    pub(super) id: InstanceId,
    pub(super) pool: u32,
    /// Its place among the pool's passive members.
    pub(super) place: u32,
    kind: u32,
    /// Timers, delayed sends and retries it is counted with.
    pub(super) timers: u32,
    /// As in an instance that is in memory.
    pub(super) keys: SmallVec<[u64; 2]>,
}

/// What many have in common.
#[derive(Debug)]
pub(crate) struct Kind {
    /// On which version they are.
    pub(crate) deployment: Arc<Deployment>,
    machine: MachineIdx,
    state: StateIdx,
    count: u64,
}

/// A version by its address, which the kind keeps taken.
type KindName = (usize, MachineIdx, StateIdx);

impl Kind {
    /// Their machine.
    pub(crate) fn machine(&self) -> &Machine {
        self.deployment.definition.machine(self.machine)
    }

    /// The state they are in.
    pub(crate) fn state(&self) -> &State {
        self.machine().state(self.state)
    }

    fn name(&self) -> KindName {
        let address = Arc::as_ptr(&self.deployment) as usize;
        (address, self.machine, self.state)
    }
}

impl Passive {
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Takes in what stays of an instance.
    pub(super) fn insert(
        &mut self,
        snapshot: &Snapshot,
        pool: u32,
        place: usize,
        keys: &[u64],
    ) -> Slot {
        let kind = self.kind_of(snapshot);
        self.kinds[kind as usize].count += 1;
        let passivated = Passivated {
            id: snapshot.id.clone(),
            pool,
            place: u32::try_from(place).expect("instances per shard are limited"),
            kind,
            timers: 0,
            keys: keys.into(),
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                generation: 0,
                passivated: None,
            });
            u32::try_from(self.entries.len() - 1).expect("instances per shard are limited")
        });
        let entry = &mut self.entries[at as usize];
        entry.passivated = Some(passivated);
        slot_of(at, entry)
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Passivated> {
        self.get(slot)?;
        let at = slot.at & !PASSIVE;
        let entry = &mut self.entries[at as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(at);
        let passivated = entry.passivated.take()?;
        self.kinds[passivated.kind as usize].count -= 1;
        Some(passivated)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Passivated> {
        let entry = self.entries.get((slot.at & !PASSIVE) as usize)?;
        let passivated = entry.passivated.as_ref();
        passivated.filter(|_| slot.is_passive() && entry.generation == slot.generation)
    }

    pub(super) fn expect(&self, slot: Slot) -> &Passivated {
        self.get(slot).expect("a slot in the tables is taken")
    }

    pub(super) fn expect_mut(&mut self, slot: Slot) -> &mut Passivated {
        let entry = self.entries.get_mut((slot.at & !PASSIVE) as usize);
        entry
            .and_then(|entry| entry.passivated.as_mut())
            .expect("a slot in the tables is taken")
    }

    /// Of which kind one is.
    pub(super) fn kind(&self, slot: Slot) -> Option<&Kind> {
        Some(&self.kinds[self.get(slot)?.kind as usize])
    }

    /// How many there are of each kind.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&Kind, u64)> {
        let kinds = self.kinds.iter().map(|kind| (kind, kind.count));
        kinds.filter(|(_, count)| *count > 0)
    }

    /// All of them, in order of slots.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        let taken = (0..).zip(&self.entries);
        taken
            .filter(|(_, entry)| entry.passivated.is_some())
            .map(|(at, entry)| slot_of(at, entry))
    }

    /// A kind of which there are none may make room for another; so versions that are gone are
    /// not kept for ever.
    fn kind_of(&mut self, snapshot: &Snapshot) -> u32 {
        let kind = Kind {
            deployment: Arc::clone(&snapshot.deployment),
            machine: snapshot.machine,
            state: snapshot.state,
            count: 0,
        };
        let name = kind.name();
        if let Some(known) = self.known.get(&name) {
            return *known;
        }
        let at = match self.kinds.iter().position(|kind| kind.count == 0) {
            Some(at) => {
                self.known.remove(&self.kinds[at].name());
                self.kinds[at] = kind;
                at
            }
            None => {
                self.kinds.push(kind);
                self.kinds.len() - 1
            }
        };
        let at = u32::try_from(at).expect("states are limited");
        self.known.insert(name, at);
        at
    }
}

fn slot_of(at: u32, entry: &Entry) -> Slot {
    Slot {
        at: at | PASSIVE,
        generation: entry.generation,
    }
}
