//! The instances: found by tenant and id, listed by age.
//!
//! An instance's newest state is not copied out of its last record while the log has that; it is
//! copied when the log drops it. The table holds 32-bit places only, so that its growth moves
//! little.

use std::{collections::BTreeMap, hash::BuildHasher};

use hashbrown::{HashMap, HashSet, HashTable};
use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    record::{Body, Record, Snapshot, Waiting, WaitingKind},
};

use super::journal::Owner;

/// All instances.
#[derive(Debug, Default)]
pub(super) struct Instances {
    known: Vec<Option<Known>>,
    free: Vec<u32>,
    places: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    /// By tenant: places by the position of the creation.
    by_age: Vec<BTreeMap<u64, u32>>,
    numbers: HashMap<TenantId, u32, foldhash::fast::RandomState>,
}

/// What is known of one instance.
#[derive(Debug)]
pub(super) struct Known {
    id: InstanceId,
    tenant: u32,
    latest: Latest,
    /// What waits at it, which its records do not repeat.
    waiting: Vec<Waiting>,
    /// Position of its first record.
    pub(super) created: u64,
    /// Position of its last record.
    pub(super) last: u64,
}

/// Where an instance's newest state is.
#[derive(Debug)]
enum Latest {
    /// In its last record.
    Record(Body),
    /// Here, since the log dropped that.
    Snapshot(Box<Snapshot>),
}

impl Known {
    /// The instance as it is.
    pub(super) fn snapshot(&self) -> &Snapshot {
        match &self.latest {
            Latest::Record(body) => body
                .snapshot()
                .expect("only records about an instance are its latest"),
            Latest::Snapshot(snapshot) => snapshot,
        }
    }

    /// The same with what waits at it.
    pub(super) fn whole(&self) -> Snapshot {
        let snapshot = self.snapshot().clone();
        match self.waiting.is_empty() {
            true => snapshot,
            false => snapshot.with_waiting(self.waiting.iter().cloned()),
        }
    }

    /// Takes over what a record changes of what waits.
    fn wait(&mut self, body: &Body) {
        let began = body.began();
        let mut names = body
            .ended()
            .chain(began.iter().map(|new| (new.kind, &new.id)))
            .peekable();
        if names.peek().is_none() {
            return;
        }
        let gone: HashSet<(WaitingKind, &EventId)> = names.collect();
        self.waiting
            .retain(|waiting| !gone.contains(&(waiting.kind(), &waiting.event().id)));
        let new = began.iter().filter_map(|began| began.what.clone());
        self.waiting.extend(new);
    }

    /// Keeps the newest state without the record it stands in.
    pub(super) fn detach(&mut self) {
        if let Latest::Record(_) = &self.latest {
            self.latest = Latest::Snapshot(Box::new(self.snapshot().clone()));
        }
    }
}

/// Whether an instance is of interest to its history only.
pub(super) fn is_over(snapshot: &Snapshot) -> bool {
    !snapshot.is_live()
}

/// What a record changed.
pub(super) struct Noted {
    /// Whose place.
    pub(super) owner: Owner,
    /// Position of the instance's record before; 0 = none.
    pub(super) before: u64,
    /// Whether this record ended the instance.
    pub(super) ended: bool,
    /// Whether the instance is deleted and owes nothing since this record.
    pub(super) deleted: bool,
}

impl Instances {
    /// Takes over the instance that a record is about, as it is kept and as it was told; none if it
    /// is about none.
    pub(super) fn note(&mut self, position: u64, record: &Record, told: &Body) -> Option<Noted> {
        let snapshot = record.body.snapshot()?;
        let tenant = self.number(&record.tenant);
        let hash = self.hash(tenant, &snapshot.id);
        let same = |place: &u32| is_at(&self.known, *place, tenant, &snapshot.id);
        let over = is_over(snapshot);
        let deleted = over && snapshot.is_deleted();
        if let Some(place) = self.places.find(hash, same).copied() {
            let known = self.occupied(place);
            // The record before is looked at only if it must: it has left the processor's cache.
            let was_over = over && is_over(known.snapshot());
            let was_deleted = was_over && known.snapshot().is_deleted();
            let before = std::mem::replace(&mut known.last, position);
            known.latest = Latest::Record(record.body.clone());
            known.wait(told);
            return Some(Noted {
                owner: Owner(place),
                before,
                ended: over && !was_over,
                deleted: deleted && !was_deleted,
            });
        }
        let mut known = Known {
            id: snapshot.id.clone(),
            tenant,
            latest: Latest::Record(record.body.clone()),
            waiting: Vec::new(),
            created: position,
            last: position,
        };
        known.wait(told);
        let place = self.occupy(known);
        let (hasher, known) = (&self.hasher, &self.known);
        self.places.insert_unique(hash, place, |place| {
            let known = known[*place as usize]
                .as_ref()
                .expect("the table names occupied places only");
            hasher.hash_one((known.tenant, &known.id))
        });
        self.by_age[tenant as usize].insert(position, place);
        Some(Noted {
            owner: Owner(place),
            before: 0,
            ended: over,
            deleted,
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.known.len() - self.free.len()
    }

    /// The instance with this id.
    pub(super) fn find(&self, tenant: &TenantId, id: &InstanceId) -> Option<&Known> {
        let tenant = *self.numbers.get(tenant)?;
        let place = self.places.find(self.hash(tenant, id), |place| {
            is_at(&self.known, *place, tenant, id)
        })?;
        self.known[*place as usize].as_ref()
    }

    /// The same, unless it is deleted.
    pub(super) fn shown(&self, tenant: &TenantId, id: &InstanceId) -> Option<&Known> {
        let found = self.find(tenant, id);
        found.filter(|known| !known.snapshot().is_deleted())
    }

    /// The instance at a place.
    pub(super) fn at(&self, owner: Owner) -> Option<&Known> {
        self.known.get(owner.0 as usize)?.as_ref()
    }

    /// The instance at a place, to be changed.
    pub(super) fn at_mut(&mut self, owner: Owner) -> Option<&mut Known> {
        self.known.get_mut(owner.0 as usize)?.as_mut()
    }

    /// Removes the instance at a place.
    pub(super) fn remove(&mut self, owner: Owner) {
        let Some(known) = self.known.get_mut(owner.0 as usize).and_then(Option::take) else {
            return;
        };
        let hash = self.hash(known.tenant, &known.id);
        if let Ok(entry) = self.places.find_entry(hash, |place| *place == owner.0) {
            entry.remove();
        }
        self.by_age[known.tenant as usize].remove(&known.created);
        self.free.push(owner.0);
    }

    /// Those of a tenant that were created before a position, the last first.
    pub(super) fn older(&self, tenant: &TenantId, than: u64) -> impl Iterator<Item = &Known> {
        let places = self
            .numbers
            .get(tenant)
            .map(|number| &self.by_age[*number as usize]);
        let places = places
            .into_iter()
            .flat_map(move |places| places.range(..than).rev());
        places.filter_map(|(_, place)| self.known[*place as usize].as_ref())
    }

    /// All, of every tenant.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().flatten()
    }

    fn occupied(&mut self, place: u32) -> &mut Known {
        self.known[place as usize]
            .as_mut()
            .expect("the table names occupied places only")
    }

    fn occupy(&mut self, known: Known) -> u32 {
        if let Some(place) = self.free.pop() {
            self.known[place as usize] = Some(known);
            return place;
        }
        self.known.push(Some(known));
        u32::try_from(self.known.len() - 1)
            .expect("fewer instances than 32 bits count fit the memory")
    }

    fn number(&mut self, tenant: &TenantId) -> u32 {
        if let Some(number) = self.numbers.get(tenant) {
            return *number;
        }
        let number = u32::try_from(self.by_age.len()).expect("fewer tenants than 32 bits count");
        self.by_age.push(BTreeMap::new());
        self.numbers.insert(tenant.clone(), number);
        number
    }

    fn hash(&self, tenant: u32, id: &InstanceId) -> u64 {
        self.hasher.hash_one((tenant, id))
    }
}

fn is_at(known: &[Option<Known>], place: u32, tenant: u32, id: &InstanceId) -> bool {
    known[place as usize]
        .as_ref()
        .is_some_and(|known| known.tenant == tenant && known.id == *id)
}
