//! The one log of all shards: it commits late, fails, and is the store that instances are read
//! again from.

use std::collections::BTreeMap;

use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    record::{AppendSeq, Body, DeadLetter, Discarded, Record, Snapshot},
};

/// A record in the log.
#[derive(Debug)]
pub struct Entry {
    /// Which shard appended it.
    pub shard: usize,
    /// As which of its records.
    pub seq: AppendSeq,
    /// What happened.
    pub record: Record,
}

/// The log, and what its durable part says.
#[derive(Debug, Default)]
pub struct Log {
    /// Everything that was appended and not taken back.
    pub entries: Vec<Entry>,
    /// How many of these are durable.
    pub durable: usize,
    instances: BTreeMap<(TenantId, InstanceId), Snapshot>,
    letters: BTreeMap<(TenantId, EventId, Option<InstanceId>), DeadLetter>,
}

impl Log {
    /// Appends a record; its position, counted from 1.
    pub fn append(&mut self, shard: usize, seq: AppendSeq, record: Record) -> u64 {
        self.entries.push(Entry { shard, seq, record });
        self.entries.len() as u64
    }

    /// How many records wait.
    pub fn waiting(&self) -> usize {
        self.entries.len() - self.durable
    }

    /// Makes the next record durable.
    pub fn commit(&mut self) -> Option<&Entry> {
        let entry = self.entries.get(self.durable)?;
        self.durable += 1;
        let tenant = entry.record.tenant.clone();
        match &entry.record.body {
            Body::Handled(handled) => {
                if let Some(letter) = &handled.parked {
                    park(&mut self.letters, letter);
                }
                if let Some(of) = &handled.settles {
                    let instance = Some(handled.after.id.clone());
                    self.letters.remove(&(tenant.clone(), of.clone(), instance));
                }
            }
            Body::Parked(letter) => park(&mut self.letters, letter),
            Body::Discarded(discarded) => {
                let Discarded { id, instance } = &**discarded;
                self.letters
                    .remove(&(tenant.clone(), id.clone(), instance.clone()));
            }
            Body::Departed(_) | Body::Moved(_) | Body::Selected(_) => {}
        }
        if let Some(snapshot) = entry.record.body.snapshot() {
            let key = (tenant, snapshot.id.clone());
            self.instances.insert(key, snapshot.clone());
        }
        Some(entry)
    }

    /// Takes back what is not durable.
    pub fn truncate(&mut self) {
        self.entries.truncate(self.durable);
    }

    /// An instance as the durable part has it.
    pub fn instance(&self, tenant: &TenantId, id: &InstanceId) -> Option<&Snapshot> {
        self.instances.get(&(tenant.clone(), id.clone()))
    }

    /// All parked events of the durable part.
    pub fn letters(&self) -> Vec<&DeadLetter> {
        self.letters.values().collect()
    }

    /// The last durable record of a shard.
    pub fn last_of(&self, shard: usize) -> AppendSeq {
        let durable = self.entries[..self.durable].iter().rev();
        let mut own = durable.filter(|entry| entry.shard == shard);
        own.next().map_or(AppendSeq(0), |entry| entry.seq)
    }
}

fn park(
    letters: &mut BTreeMap<(TenantId, EventId, Option<InstanceId>), DeadLetter>,
    letter: &DeadLetter,
) {
    let key = (
        letter.tenant.clone(),
        letter.event.id.clone(),
        letter.instance.clone(),
    );
    letters.insert(key, letter.clone());
}
