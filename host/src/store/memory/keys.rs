//! Finds the record that answers a repeated id.
//!
//! Only events from outside may have a caller's id, and the replays that settle them: 24 bytes for
//! each of their records.

use std::{hash::BuildHasher, sync::Arc};

use hashbrown::HashTable;
use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    record::{Body, Handled, Record},
};

use super::journal::Journal;

/// Hashes of ids, with the position of the last record of each.
#[derive(Debug, Default)]
pub(super) struct Keys {
    positions: HashTable<(u64, u64)>,
    hasher: foldhash::fast::RandomState,
}

impl Keys {
    /// Takes a record in that is in the journal already.
    pub(super) fn note(&mut self, journal: &Journal, position: u64, record: &Record) {
        let Some(handled) = keyed(record) else { return };
        for id in ids(handled) {
            let hash = self.hasher.hash_one(id);
            let same = |(_, other): &(u64, u64)| {
                let other = about(journal, *other, &record.tenant, &handled.after.id, id);
                other.is_some()
            };
            match self.positions.find_mut(hash, same) {
                Some(known) => known.1 = position,
                None => {
                    self.positions
                        .insert_unique(hash, (hash, position), |(hash, _)| *hash);
                }
            }
        }
    }

    /// A record leaves the journal.
    pub(super) fn forget(&mut self, position: u64, record: &Record) {
        let Some(handled) = keyed(record) else { return };
        for id in ids(handled) {
            let hash = self.hasher.hash_one(id);
            let known = self.positions.find_entry(hash, |known| known.1 == position);
            if let Ok(known) = known {
                known.remove();
            }
        }
    }

    /// What became of an event, as far as that is kept.
    pub(super) fn find<'j>(
        &self,
        journal: &'j Journal,
        tenant: &TenantId,
        instance: &InstanceId,
        id: &EventId,
    ) -> Option<&'j Arc<Handled>> {
        let same =
            |(_, position): &(u64, u64)| about(journal, *position, tenant, instance, id).is_some();
        let (_, position) = self.positions.find(self.hasher.hash_one(id), same)?;
        about(journal, *position, tenant, instance, id)
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
