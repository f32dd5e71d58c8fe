//! What the one who writes knows by heart: how tenants and versions are numbered, where each
//! instance's journal ends, which rows of `instances` are behind, what is owed.
//!
//! A batch is written in three steps. [`Ledger::add`] links each record to the one before it;
//! [`Ledger::due`] says which rows of instances are written with it; [`Ledger::committed`] takes
//! over what is then true. A batch that was not committed is forgotten with [`Ledger::forget`],
//! together with everything that may have been of it.

mod recovered;
mod stale;

use std::sync::Arc;

use hashbrown::HashMap;
use xcomponent_core::{
    call::Deployment,
    id::{InstanceId, TenantId},
    owed::{Owed, TakenIn},
    record::{Snapshot, Status},
};

use self::stale::Newest;
pub(super) use self::{recovered::Recovered, stale::Stale};
use super::{
    Entry,
    retention::{Reach, Removable},
};

/// Instances whose rows may be behind.
const STALE_MAX: usize = 65_536;

/// Bytes of their contexts, which are kept in memory meanwhile.
const STALE_BYTES_MAX: usize = 64 << 20;

/// Positions that a row may be behind: what a host that starts looks at.
const LAG_MAX: u64 = 500_000;

/// Rows that are written before their turn with a transaction of events.
const CATCH_UP_MAX: usize = 4_096;

/// Rows that are written at once while there is nothing else to do: an event that comes meanwhile
/// waits for no more.
const TIDY_MAX: usize = 256;

/// Instances whose journal's end is known without a look into the database.
const TIPS_MAX: usize = 2_000_000;

/// An instance, and the number of its tenant.
pub(super) type Key = (i64, InstanceId);

/// What is known by heart.
pub(super) struct Ledger {
    snapshot_interval: u64,
    tenants: HashMap<TenantId, i64>,
    /// By address; the reference keeps the address taken.
    versions: HashMap<usize, (Arc<Deployment>, i64)>,
    tips: HashMap<Key, Tip, foldhash::fast::RandomState>,
    /// The number of the next instance.
    next: i64,
    pub(super) owed: Owed,
    /// The first record that an instance's row may miss whose journal cannot be read: that must stay
    /// to be seen by the next host that starts.
    unread: Option<u64>,
    /// Whether there may be deleted instances whose records can be removed.
    pub(super) has_deleted: bool,
    /// The last record that was committed.
    pub(super) last: u64,
}

/// Where an instance's journal ends.
#[derive(Clone, Copy, Debug)]
struct Tip {
    number: i64,
    /// Position of its last record.
    last: u64,
    /// Its `seq` as the row has it; none without a row.
    written: Option<u64>,
}

/// An instance's row, as far as its journal goes on from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) number: i64,
    pub(super) last: u64,
    pub(super) seq: u64,
}

/// A batch while it is written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    touched: Vec<Touched>,
    /// Places in `touched` by the instance's number.
    places: HashMap<i64, usize, foldhash::fast::RandomState>,
    /// Instances that the batch leaves alone, but whose rows are written with it.
    late: Vec<i64>,
    /// Up to where no row misses anything when it is committed.
    pub(super) covered: u64,
}

/// An instance that a batch changes.
#[derive(Debug)]
struct Touched {
    key: Key,
    number: i64,
    /// Position of its first record in the batch.
    first: u64,
    /// Which entry is its last one.
    latest: usize,
    /// Its `seq` as the row has it; none without a row.
    written: Option<u64>,
    /// Whether the first record made it: then a row that there is is the result of that.
    is_new: bool,
    /// Whether its row is up to date with the batch.
    is_fresh: bool,
}

/// A row of `instances` that is to be written.
pub(super) struct DueRow<'e> {
    pub(super) number: i64,
    pub(super) snapshot: &'e Snapshot,
    pub(super) last: u64,
}

/// Rows that are written while there is nothing else to do.
pub(super) struct Overdue {
    pub(super) numbers: Vec<i64>,
    /// Up to where no row misses anything then.
    pub(super) covered: u64,
    /// Whether there are others.
    pub(super) more: bool,
}

impl Ledger {
    /// One of an empty database.
    pub(super) fn new(snapshot_interval: u64) -> Self {
        Self {
            snapshot_interval,
            tenants: HashMap::default(),
            versions: HashMap::default(),
            tips: HashMap::default(),
            next: 1,
            owed: Owed::nothing(),
            unread: None,
            has_deleted: true,
            last: 0,
        }
    }

    /// Begins where the database ends: with this last record, this highest number of an instance.
    pub(super) fn begin(&mut self, last: u64, number: i64) {
        (self.last, self.next) = (last, number + 1);
        self.owed.ends_at(last);
        self.owed.keep_no_large_ones();
    }

    /// Notes that an instance cannot be read from this record on.
    pub(super) fn cannot_read(&mut self, position: u64) {
        self.unread = Some(self.unread.map_or(position, |unread| unread.min(position)));
    }

    /// Up to where no row misses anything, as far as every journal can be read.
    fn covered(&self, covered: u64) -> u64 {
        self.unread
            .map_or(covered, |unread| covered.min(unread.saturating_sub(1)))
    }

    /// How many positions a batch leaves out.
    pub(super) fn skipped(&self, entries: &[Entry]) -> u64 {
        let end = entries.last().map_or(self.last, |entry| entry.position.0);
        end - self.last - entries.len() as u64
    }

    /// Whether nothing can be there that may be removed.
    pub(super) fn has_nothing_of(&self, removable: &Removable) -> bool {
        removable.is_of_deleted_only() && !self.has_deleted
    }

    /// How far the log is.
    pub(super) fn reach(&self) -> Reach {
        Reach {
            last: self.last,
            settled_below: self.owed.settled_below(),
        }
    }

    /// The number of a tenant.
    pub(super) fn tenant(&self, tenant: &TenantId) -> Option<i64> {
        self.tenants.get(tenant).copied()
    }

    /// Notes the number of a tenant.
    pub(super) fn learn_tenant(&mut self, tenant: &TenantId, number: i64) {
        self.tenants.insert(tenant.clone(), number);
    }

    /// The number of a version.
    pub(super) fn version(&self, deployment: &Arc<Deployment>) -> Option<i64> {
        let address = Arc::as_ptr(deployment) as usize;
        self.versions.get(&address).map(|(_, number)| *number)
    }

    /// Notes the number of a version.
    pub(super) fn learn_version(&mut self, deployment: &Arc<Deployment>, number: i64) {
        let address = Arc::as_ptr(deployment) as usize;
        self.versions
            .insert(address, (Arc::clone(deployment), number));
    }

    /// Forgets how versions are numbered, so that those that are gone can go.
    pub(super) fn forget_versions(&mut self) {
        self.versions.clear();
    }

    /// Whether the end of an instance's journal is known.
    pub(super) fn knows(&self, key: &Key) -> bool {
        self.tips.contains_key(key)
    }

    /// Notes what the database has of an instance.
    pub(super) fn learn(&mut self, key: Key, known: Known, stale: &Stale) {
        let newest = stale.get(known.number);
        let tip = Tip {
            number: known.number,
            last: newest.map_or(known.last, |newest| newest.last),
            written: Some(known.seq),
        };
        self.tips.insert(key, tip);
    }

    /// Numbers an instance that the database does not have.
    pub(super) fn introduce(&mut self, key: Key) -> i64 {
        let number = self.next;
        self.next += 1;
        let tip = Tip {
            number,
            last: 0,
            written: None,
        };
        self.tips.insert(key, tip);
        number
    }

    /// Notes that an instance got its row before its first record did.
    pub(super) fn has_row(&mut self, key: &Key, seq: u64) {
        if let Some(tip) = self.tips.get_mut(key) {
            tip.written = Some(seq);
        }
    }

    /// Adds an entry of a batch to its instance's journal: the instance's number, and the position
    /// of its record before; none if the end of that journal is not known.
    pub(super) fn add(
        &mut self,
        draft: &mut Draft,
        key: &Key,
        at: usize,
        position: u64,
    ) -> Option<(i64, u64)> {
        let tip = self.tips.get_mut(key)?;
        let before = std::mem::replace(&mut tip.last, position);
        let place = *draft.places.entry(tip.number).or_insert_with(|| {
            draft.touched.push(Touched {
                key: key.clone(),
                number: tip.number,
                first: position,
                latest: at,
                written: tip.written,
                is_new: before == 0,
                is_fresh: false,
            });
            draft.touched.len() - 1
        });
        draft.touched[place].latest = at;
        Some((tip.number, before))
    }

    /// The rows whose turn it is.
    pub(super) fn due<'e>(
        &self,
        draft: &mut Draft,
        entries: &'e [Entry],
        stale: &'e Stale,
    ) -> Vec<DueRow<'e>> {
        let last = entries.last().map_or(self.last, |entry| entry.position.0);
        let mut rows = Vec::new();
        let mut covered = last;
        for touched in &mut draft.touched {
            let position = entries[touched.latest].position.0;
            let snapshot = touched.snapshot(entries);
            let has_first = touched.is_new && touched.written.is_some();
            let turn = |written| snapshot.seq >= written + self.snapshot_interval;
            if has_first && touched.first == position {
                touched.is_fresh = true;
            } else if snapshot.status != Status::Active || touched.written.is_none_or(turn) {
                touched.is_fresh = true;
                rows.push(DueRow {
                    number: touched.number,
                    snapshot,
                    last: position,
                });
            } else {
                covered = covered.min(touched.first - 1);
            }
        }
        let place = |number: &i64| draft.places.get(number);
        let mut excess = (stale.len() + draft.touched.len()).saturating_sub(STALE_MAX);
        let mut surplus = stale.bytes().saturating_sub(STALE_BYTES_MAX);
        let mut late = stale.oldest().filter(|(_, number)| place(number).is_none());
        for (room, (since, number)) in (0..CATCH_UP_MAX).rev().zip(late.by_ref()) {
            let is_late = excess > 0 || surplus > 0 || since + LAG_MAX < last;
            if !is_late || room == 0 {
                covered = covered.min(since - 1);
                break;
            }
            excess = excess.saturating_sub(1);
            surplus = surplus.saturating_sub(stale.get(number).map_or(0, Newest::bytes));
            rows.extend(stale.row(number));
            draft.late.push(number);
        }
        let behind = |(_, number): &(u64, i64)| {
            place(number).is_some_and(|place| !draft.touched[*place].is_fresh)
        };
        let mut oldest = stale.oldest().take_while(|(since, _)| *since <= covered);
        if let Some((since, _)) = oldest.find(behind) {
            covered = covered.min(since - 1);
        }
        draft.covered = self.covered(covered);
        rows
    }

    /// Takes over what a batch that was committed says.
    pub(super) fn committed(
        &mut self,
        draft: &Draft,
        entries: &[Entry],
        taken_in: &TakenIn,
        stale: &mut Stale,
    ) {
        for entry in entries {
            self.owed.note(entry.position.0, &entry.record);
        }
        self.owed.taken_in(taken_in);
        self.last = entries.last().map_or(self.last, |entry| entry.position.0);
        for touched in &draft.touched {
            let entry = &entries[touched.latest];
            if !touched.is_fresh {
                let body = entry.record.body.without_waiting();
                stale.note(touched.number, touched.first, entry.position.0, body);
                continue;
            }
            stale.written(touched.number);
            let snapshot = touched.snapshot(entries);
            if !snapshot.is_live() {
                self.has_deleted |= snapshot.is_deleted();
                self.tips.remove(&touched.key);
            } else if let Some(tip) = self.tips.get_mut(&touched.key) {
                tip.written = Some(snapshot.seq);
            }
        }
        self.wrote(&draft.late, stale);
        if self.tips.len() > TIPS_MAX {
            self.tips.clear();
        }
    }

    /// The rows that are the furthest behind; none if none is.
    pub(super) fn overdue(&self, stale: &Stale) -> Option<Overdue> {
        let oldest = stale.oldest().take(TIDY_MAX);
        let numbers: Vec<i64> = oldest.map(|(_, number)| number).collect();
        let next = stale.oldest().nth(TIDY_MAX);
        (!numbers.is_empty()).then_some(Overdue {
            numbers,
            covered: self.covered(next.map_or(self.last, |(since, _)| since - 1)),
            more: next.is_some(),
        })
    }

    /// Notes that the rows of instances that were behind are up to date.
    pub(super) fn wrote(&mut self, numbers: &[i64], stale: &mut Stale) {
        for number in numbers {
            if let Some(newest) = stale.written(*number) {
                let snapshot = newest.snapshot();
                let tenant = self.tenant(snapshot.tenant());
                let key = tenant.map(|tenant| (tenant, snapshot.id.clone()));
                if let Some(tip) = key.and_then(|key| self.tips.get_mut(&key)) {
                    tip.written = Some(snapshot.seq);
                }
            }
        }
    }

    /// Forgets what may be of a batch that was not committed.
    pub(super) fn forget(&mut self) {
        self.tenants.clear();
        self.tips.clear();
    }
}

impl Touched {
    /// The instance as the batch leaves it.
    fn snapshot<'e>(&self, entries: &'e [Entry]) -> &'e Snapshot {
        let body = &entries[self.latest].record.body;
        body.snapshot()
            .expect("only records about an instance touch one")
    }
}
