//! The one log of all shards: it commits late, fails, and is the store that instances are read
//! again from.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    input::Reached,
    record::{
        AppendSeq, Body, DeadLetter, Discarded, Disposition, Handled, Record, Snapshot, Waiting,
        WaitingKind,
    },
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
    /// By shard, as far as that is durable: up to which record of each shard it has what it sent.
    pub taken_in: Vec<Arc<[u64]>>,
    /// The same with what is not durable yet: after how many records, by which shard.
    told: VecDeque<(usize, usize, Arc<[u64]>)>,
    instances: BTreeMap<(TenantId, InstanceId), Snapshot>,
    letters: BTreeMap<(TenantId, EventId, Option<InstanceId>), DeadLetter>,
}

impl Log {
    /// The empty log of so many shards.
    pub fn new(shards: usize) -> Self {
        Self {
            taken_in: vec![Arc::from(vec![0; shards]); shards],
            ..Self::default()
        }
    }

    /// Appends a record; its position, counted from 1.
    pub fn append(&mut self, shard: usize, seq: AppendSeq, record: Record) -> u64 {
        self.entries.push(Entry { shard, seq, record });
        self.entries.len() as u64
    }

    /// How many records wait.
    pub fn waiting(&self) -> usize {
        self.entries.len() - self.durable
    }

    /// Makes the next record durable. What waits at its instance is known from what records say
    /// began and ended, as a store knows it.
    ///
    /// # Errors
    ///
    /// If that is not what the engine has.
    pub fn commit(&mut self) -> Result<Option<&Entry>, String> {
        let Some(entry) = self.entries.get(self.durable) else {
            return Ok(None);
        };
        self.durable += 1;
        let durable = self.durable;
        while let Some((_, shard, row)) =
            self.told.pop_front_if(|(entries, ..)| *entries <= durable)
        {
            self.taken_in[shard] = row;
        }
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
                let Discarded { id, instance, .. } = &**discarded;
                self.letters
                    .remove(&(tenant.clone(), id.clone(), instance.clone()));
            }
            Body::Departed(_) | Body::Moved(_) | Body::Selected(_) | Body::Received(_) => {}
        }
        if let Some(snapshot) = entry.record.body.snapshot() {
            let key = (tenant, snapshot.id.clone());
            let before = self.instances.get(&key).into_iter();
            let waited: Vec<Waiting> = before.flat_map(Snapshot::waiting).collect();
            let mut after = snapshot.without_waiting().with_waiting(waited);
            after.wait(&entry.record.body);
            let (expected, found) = (waits(snapshot), waits(&after));
            if expected != found {
                return Err(format!(
                    "{} waits for {expected:?}\n   its records say {found:?}",
                    snapshot.id
                ));
            }
            self.instances.insert(key, after);
        }
        Ok(Some(entry))
    }

    /// Takes back what is not durable.
    pub fn truncate(&mut self) {
        self.entries.truncate(self.durable);
        self.told.clear();
    }

    /// An instance as the durable part has it.
    pub fn instance(&self, tenant: &TenantId, id: &InstanceId) -> Option<&Snapshot> {
        self.instances.get(&(tenant.clone(), id.clone()))
    }

    /// Instances of the durable part that belong in memory.
    pub fn live(&self) -> impl Iterator<Item = &Snapshot> {
        self.instances.values().filter(|found| found.is_live())
    }

    /// Gives an instance back the timers that it had before its last record.
    pub fn rewind(&self, instance: &mut Snapshot) {
        let durable = self.entries[..self.durable].iter().rev();
        let states = durable.filter_map(|entry| entry.record.body.snapshot());
        let mut own =
            states.filter(|state| state.id == instance.id && state.tenant() == instance.tenant());
        if let Some(before) = own.nth(1) {
            instance.timers = before.timers.clone();
            let sends = before.sends().to_vec();
            if !sends.is_empty() {
                Arc::make_mut(instance.extra.get_or_insert_default()).sends = sends;
            }
        }
    }

    /// A shard has taken in what it received up to these records.
    pub fn take_in(&mut self, shard: usize, received: Arc<[u64]>) {
        self.told.push_back((self.entries.len(), shard, received));
    }

    /// What became of an event, as the durable part has it.
    pub fn recall(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
        event: &EventId,
    ) -> Option<Arc<Handled>> {
        let durable = self.entries[..self.durable].iter().rev();
        let mut of_tenant = durable.filter(|entry| entry.record.tenant == *tenant);
        of_tenant.find_map(|entry| match &entry.record.body {
            Body::Handled(handled)
                if handled.after.id == *instance
                    && (handled.event.id == *event || handled.settles.as_ref() == Some(event)) =>
            {
                Some(Arc::clone(handled))
            }
            _ => None,
        })
    }

    /// Whom a broadcast reached, as the durable part has it.
    pub fn reached(&self, tenant: &TenantId, event: &EventId) -> Reached {
        let durable = self.entries[..self.durable].iter();
        let of_tenant = durable.filter(|entry| entry.record.tenant == *tenant);
        let mut reached = Reached::default();
        for entry in of_tenant {
            match &entry.record.body {
                Body::Selected(selected) if selected.event.id == *event => {
                    reached.selected.push(Arc::clone(selected));
                }
                Body::Handled(handled) if handled.event.id == event.at(&handled.after.id) => {
                    let settled = (handled.after.id.clone(), handled.disposition);
                    reached.settled.push(settled);
                }
                Body::Parked(letter) => {
                    let instance = letter.instance.iter();
                    let own = instance
                        .filter(|id| letter.event.id == event.at(id))
                        .cloned();
                    let settled = own.map(|id| (id, Disposition::DeadLettered));
                    reached.settled.extend(settled);
                }
                _ => {}
            }
        }
        reached
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

/// What waits at an instance, in order.
fn waits(snapshot: &Snapshot) -> (Vec<(WaitingKind, EventId, Option<u64>)>, u64) {
    let waiting = snapshot.waiting().map(|waiting| {
        let id = waiting.event().id.clone();
        (waiting.kind(), id, waiting.due().map(|due| due.0))
    });
    (waiting.collect(), snapshot.waiting_bytes())
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
