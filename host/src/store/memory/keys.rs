//! Finds the record that answers a repeated id.
//!
//! Hardly anybody asks: the engines know the latest answers themselves. So records are taken in
//! when somebody does, all that came since the last time. Only events from outside may have a
//! caller's id, and the replays that settle them: 24 bytes for each of their records. What is known
//! of them stands in tables of so many positions each, and the oldest one goes as a whole once the
//! log has none of its records any more.

use std::{
    collections::VecDeque,
    hash::BuildHasher,
    sync::{Arc, Mutex, PoisonError},
};

use hashbrown::HashTable;
use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    record::{Body, Handled, Record},
};

use super::journal::Journal;

/// The fewest keys of a table that is full, and how many tables there are: beyond that, tables grow.
const TABLE_MIN: usize = 1 << 16;
const TABLES: usize = 16;

/// By id: the position of the last record of each.
#[derive(Debug, Default)]
pub(super) struct Keys(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    /// The oldest first.
    tables: VecDeque<Table>,
    /// Keys in all of them.
    len: usize,
    /// The last position that was taken in.
    through: u64,
    hasher: foldhash::fast::RandomState,
}

#[derive(Debug)]
struct Table {
    /// Hashes of ids, with positions.
    positions: HashTable<(u64, u64)>,
    /// The last of these.
    last: u64,
}

impl Keys {
    /// What became of an event, as far as that is kept.
    pub(super) fn find<'j>(
        &self,
        journal: &'j Journal,
        tenant: &TenantId,
        instance: &InstanceId,
        id: &EventId,
    ) -> Option<&'j Arc<Handled>> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.take_in(journal);
        tables.find(journal, tenant, instance, id)
    }
}

impl Table {
    /// One for so many keys, or for somewhat fewer: as many as it takes without growing.
    fn new(keys: usize) -> Self {
        Self {
            positions: HashTable::with_capacity(keys.next_power_of_two() / 8 * 7),
            last: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.positions.len() == self.positions.capacity()
    }

    fn find(&self, hash: u64, same: impl Fn(u64) -> bool) -> Option<u64> {
        let found = self
            .positions
            .find(hash, |(other, position)| *other == hash && same(*position))?;
        Some(found.1)
    }
}

impl Tables {
    /// Takes in what the journal got since the last time, and forgets what it has no more.
    fn take_in(&mut self, journal: &Journal) {
        let first = journal.first();
        while let Some(oldest) = self.tables.front().filter(|oldest| oldest.last < first) {
            self.len -= oldest.positions.len();
            self.tables.pop_front();
        }
        for position in first.max(self.through + 1)..=journal.last() {
            let slot = journal.slot(position);
            if let Some(record) = slot.and_then(|slot| slot.record.as_ref()) {
                self.note(journal, position, record);
            }
        }
        self.through = journal.last();
    }

    fn note(&mut self, journal: &Journal, position: u64, record: &Record) {
        let Some(handled) = keyed(record) else { return };
        for id in ids(handled) {
            let hash = self.hasher.hash_one(id);
            let same = |(other, at): &(u64, u64)| {
                let known = || about(journal, *at, &record.tenant, &handled.after.id, id);
                *other == hash && known().is_some()
            };
            let table = self.newest();
            table.last = position;
            match table.positions.find_mut(hash, same) {
                Some(known) => known.1 = position,
                None => {
                    let entry = (hash, position);
                    table
                        .positions
                        .insert_unique(hash, entry, |(hash, _)| *hash);
                    self.len += 1;
                }
            }
        }
    }

    fn newest(&mut self) -> &mut Table {
        if self.tables.back().is_none_or(Table::is_full) {
            let keys = (self.len / TABLES).max(TABLE_MIN);
            self.tables.push_back(Table::new(keys));
        }
        self.tables.back_mut().expect("there is one")
    }

    fn find<'j>(
        &self,
        journal: &'j Journal,
        tenant: &TenantId,
        instance: &InstanceId,
        id: &EventId,
    ) -> Option<&'j Arc<Handled>> {
        let hash = self.hasher.hash_one(id);
        let same = |position| about(journal, position, tenant, instance, id).is_some();
        let mut newest_first = self.tables.iter().rev();
        let position = newest_first.find_map(|table| table.find(hash, same))?;
        about(journal, position, tenant, instance, id)
    }
}

fn keyed(record: &Record) -> Option<&Handled> {
    match &record.body {
        Body::Handled(handled) => {
            let may_be_keyed = handled.cause.event.is_none() || handled.settles.is_some();
            may_be_keyed.then_some(&**handled)
        }
        Body::Selected(_)
        | Body::Departed(_)
        | Body::Moved(_)
        | Body::Parked(_)
        | Body::Discarded(_)
        | Body::Received(_) => None,
    }
}

fn ids(handled: &Handled) -> impl Iterator<Item = &EventId> {
    [&handled.event.id].into_iter().chain(&handled.settles)
}

/// The record at a position, if it is about this event.
fn about<'j>(
    journal: &'j Journal,
    position: u64,
    tenant: &TenantId,
    instance: &InstanceId,
    id: &EventId,
) -> Option<&'j Arc<Handled>> {
    let record = journal.slot(position)?.record.as_ref()?;
    let Body::Handled(handled) = &record.body else {
        return None;
    };
    let is_it = record.tenant == *tenant
        && handled.after.id == *instance
        && ids(handled).any(|other| other == id);
    is_it.then_some(handled)
}
