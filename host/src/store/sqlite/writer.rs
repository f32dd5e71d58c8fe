//! The one connection that writes.

use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::{HashMap, HashSet};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use xcomponent_core::{
    call::Deployment,
    id::{InstanceId, TenantId},
    owed::{Owed, TakenIn, sends_selection},
    record::{Snapshot, Status},
};

use super::{
    Config, Sqlite, letters, owed,
    row::{self, INSERT_EVENT, Links, signed, unsigned},
    stale::Stale,
};
use crate::store::{Entry, Error, Result};

/// Instances whose rows may be behind.
const STALE_MAX: usize = 65_536;

/// Positions that a row may be behind: what a host that starts looks at.
const LAG_MAX: u64 = 500_000;

/// Rows that are written before their turn with a transaction of events.
const CATCH_UP_MAX: usize = 4_096;

/// Rows that are written at once while there is nothing else to do: an event that comes meanwhile
/// waits for no more.
const TIDY_MAX: usize = 256;

/// Instances whose numbers are known without a look into the database.
const TIPS_MAX: usize = 2_000_000;

/// Numbers of instances.
type Numbers = HashSet<i64, foldhash::fast::RandomState>;

/// The connection that writes, and what it knows by heart.
pub(super) struct Writer {
    pub(super) connection: Connection,
    config: Config,
    tenants: HashMap<TenantId, i64>,
    /// By address; the reference keeps the address taken.
    versions: HashMap<usize, (Arc<Deployment>, i64)>,
    tips: HashMap<(i64, InstanceId), Tip, foldhash::fast::RandomState>,
    pub(super) owed: Owed,
    /// The last record that was committed.
    pub(super) last: u64,
}

/// Where an instance's journal ends.
#[derive(Clone, Copy, Debug)]
struct Tip {
    number: i64,
    /// Position of its last record.
    last: u64,
    /// Its `seq` as the row has it.
    written: u64,
}

/// An instance that a transaction changes.
struct Touched {
    key: (i64, InstanceId),
    number: i64,
    /// The first record of the transaction.
    first: u64,
    /// Which entry is the last one.
    latest: usize,
    /// Its `seq` as the row has it.
    written: u64,
    /// Whether the first record made it: then the row is the result of that.
    is_new: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection, config: Config) -> Self {
        Self {
            connection,
            config,
            tenants: HashMap::default(),
            versions: HashMap::default(),
            tips: HashMap::default(),
            owed: Owed::nothing(),
            last: 0,
        }
    }

    /// Appends all of these, or none.
    pub(super) fn commit(
        &mut self,
        entries: &[Entry],
        taken_in: &TakenIn,
        store: &Sqlite,
    ) -> Result<()> {
        let committed = self.try_commit(entries, taken_in, store);
        if committed.is_err() {
            self.roll_back();
        }
        committed
    }

    fn try_commit(&mut self, entries: &[Entry], taken_in: &TakenIn, store: &Sqlite) -> Result<()> {
        let Some(last) = entries.last().map(|entry| entry.position.0) else {
            return Ok(());
        };
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let touched = self.append(entries, &store.stale)?;
        let (written, covered) = self.write_rows(entries, &touched, last, &store.stale)?;
        // What this transaction settles is noted when it is committed: the mark is a little behind.
        let settled_below = self.owed.settled_below();
        self.mark("covered", covered)?;
        self.mark("settled_below", settled_below)?;
        // How far the shards are decides about selections only.
        let selects = |entry: &Entry| sends_selection(&entry.record.body);
        if self.owed.has_selections() || entries.iter().any(selects) {
            owed::write(&self.connection, taken_in)?;
        }
        self.connection.execute_batch("COMMIT")?;
        for entry in entries {
            self.owed.note(entry.position.0, &entry.record);
        }
        self.owed.taken_in(taken_in);
        self.last = last;
        let mut stale = store.stale.write().unwrap_or_else(PoisonError::into_inner);
        for touched in &touched {
            let entry = &entries[touched.latest];
            stale.note(
                touched.number,
                touched.first,
                entry.position.0,
                entry.record.body.clone(),
            );
        }
        for number in written {
            stale.written(number);
        }
        drop(stale);
        if self.tips.len() > TIPS_MAX {
            self.tips.clear();
        }
        Ok(())
    }

    /// Adds the records to the journal and says which instances they change.
    fn append(&mut self, entries: &[Entry], stale: &RwLock<Stale>) -> Result<Vec<Touched>> {
        let mut touched: Vec<Touched> = Vec::new();
        let mut places: HashMap<i64, usize, foldhash::fast::RandomState> = HashMap::default();
        for (at, entry) in entries.iter().enumerate() {
            let position = entry.position.0;
            let tenant = self.tenant(&entry.record.tenant)?;
            let mut links = Links {
                position,
                tenant,
                instance: None,
                version: None,
            };
            if let Some(snapshot) = entry.record.body.snapshot() {
                let version = self.version(tenant, &snapshot.deployment)?;
                let key = (tenant, snapshot.id.clone());
                let (tip, before) = self.tip(&key, version, snapshot, position, stale)?;
                links.version = Some(version);
                links.instance = Some((tip.number, before));
                let place = *places.entry(tip.number).or_insert_with(|| {
                    touched.push(Touched {
                        key,
                        number: tip.number,
                        first: position,
                        latest: at,
                        written: tip.written,
                        is_new: before == 0,
                    });
                    touched.len() - 1
                });
                touched[place].latest = at;
            }
            let mut insert = self.connection.prepare_cached(INSERT_EVENT)?;
            row::insert_event(&mut insert, &links, &entry.record)?;
            drop(insert);
            letters::note(&self.connection, tenant, position, &entry.record)?;
        }
        Ok(touched)
    }

    /// Where an instance's journal ends, this record included, and where it ended before; a new
    /// instance gets its row.
    fn tip(
        &mut self,
        key: &(i64, InstanceId),
        version: i64,
        snapshot: &Snapshot,
        position: u64,
        stale: &RwLock<Stale>,
    ) -> Result<(Tip, u64)> {
        if let Some(tip) = self.tips.get_mut(key) {
            let before = std::mem::replace(&mut tip.last, position);
            return Ok((*tip, before));
        }
        let found = self
            .connection
            .prepare_cached(
                "SELECT instance, last, seq FROM instances WHERE tenant = ?1 AND id = ?2",
            )?
            .query_row(params![key.0, key.1.to_string()], |row| {
                Ok((row.get(0)?, unsigned(row.get(1)?), unsigned(row.get(2)?)))
            })
            .optional()?;
        let (tip, before) = match found {
            Some((number, last, written)) => {
                let stale = stale.read().unwrap_or_else(PoisonError::into_inner);
                let before = stale.get(number).map_or(last, |newest| newest.last);
                (
                    Tip {
                        number,
                        last: position,
                        written,
                    },
                    before,
                )
            }
            None => {
                let number =
                    row::insert_instance(&self.connection, key.0, version, snapshot, position)?;
                let tip = Tip {
                    number,
                    last: position,
                    written: snapshot.seq,
                };
                (tip, 0)
            }
        };
        self.tips.insert(key.clone(), tip);
        Ok((tip, before))
    }

    /// Writes the rows whose turn it is. Says which they are, and up to where no row misses
    /// anything then.
    fn write_rows(
        &mut self,
        entries: &[Entry],
        touched: &[Touched],
        last: u64,
        stale: &RwLock<Stale>,
    ) -> Result<(Numbers, u64)> {
        let mut written = Numbers::default();
        let mut covered = last;
        for touched in touched {
            let entry = &entries[touched.latest];
            let Some(snapshot) = entry.record.body.snapshot() else {
                continue;
            };
            if touched.is_new && touched.first == entry.position.0 {
                written.insert(touched.number);
                continue;
            }
            let ended = snapshot.status != Status::Active;
            if ended || snapshot.seq >= touched.written + self.config.snapshot_interval {
                self.write_row(touched.number, snapshot, entry.position.0)?;
                written.insert(touched.number);
                if !snapshot.is_live() {
                    self.tips.remove(&touched.key);
                }
            } else {
                covered = covered.min(touched.first - 1);
            }
        }
        let stale = stale.read().unwrap_or_else(PoisonError::into_inner);
        let mut excess = (stale.len() + touched.len()).saturating_sub(STALE_MAX);
        let changed: Numbers = touched.iter().map(|touched| touched.number).collect();
        let mut late = stale
            .oldest()
            .filter(|(_, number)| !changed.contains(number));
        for (room, (since, number)) in (0..CATCH_UP_MAX).rev().zip(late.by_ref()) {
            let is_late = excess > 0 || since + LAG_MAX < last;
            if !is_late || room == 0 {
                covered = covered.min(since - 1);
                break;
            }
            excess = excess.saturating_sub(1);
            self.write_stale(number, &stale)?;
            written.insert(number);
        }
        let behind =
            |(_, number): &(u64, i64)| changed.contains(number) && !written.contains(number);
        let mut oldest = stale.oldest().take_while(|(since, _)| *since <= covered);
        if let Some((since, _)) = oldest.find(behind) {
            covered = covered.min(since - 1);
        }
        Ok((written, covered))
    }

    /// Writes some of the rows that are behind; whether there are more.
    pub(super) fn tidy(&mut self, stale: &RwLock<Stale>) -> Result<bool> {
        let tidied = self.try_tidy(stale);
        if tidied.is_err() {
            self.roll_back();
        }
        tidied
    }

    fn try_tidy(&mut self, stale: &RwLock<Stale>) -> Result<bool> {
        let behind = stale.read().unwrap_or_else(PoisonError::into_inner);
        let some: Vec<i64> = behind
            .oldest()
            .take(TIDY_MAX)
            .map(|(_, number)| number)
            .collect();
        let next = behind.oldest().nth(TIDY_MAX);
        if some.is_empty() {
            return Ok(false);
        }
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        for number in &some {
            self.write_stale(*number, &behind)?;
        }
        drop(behind);
        self.mark("covered", next.map_or(self.last, |(since, _)| since - 1))?;
        self.connection.execute_batch("COMMIT")?;
        let mut stale = stale.write().unwrap_or_else(PoisonError::into_inner);
        some.iter().for_each(|number| stale.written(*number));
        Ok(next.is_some())
    }

    /// Writes the row of an instance that is behind.
    fn write_stale(&mut self, number: i64, stale: &Stale) -> Result<()> {
        match stale.get(number) {
            Some(newest) => self.write_row(number, newest.snapshot(), newest.last),
            None => Ok(()),
        }
    }

    fn write_row(&mut self, number: i64, snapshot: &Snapshot, last: u64) -> Result<()> {
        let tenant = self.tenant(snapshot.tenant())?;
        let version = self.version(tenant, &snapshot.deployment)?;
        row::update_instance(&self.connection, number, version, snapshot, last)?;
        if let Some(tip) = self.tips.get_mut(&(tenant, snapshot.id.clone())) {
            tip.written = snapshot.seq;
        }
        Ok(())
    }

    fn mark(&self, name: &str, position: u64) -> Result<()> {
        self.connection
            .prepare_cached("UPDATE marks SET position = ?2 WHERE name = ?1")?
            .execute(params![name, signed(position)])?;
        Ok(())
    }

    /// Undoes what was begun.
    fn roll_back(&mut self) {
        // What is known by heart may be of what was not committed.
        self.tenants.clear();
        self.tips.clear();
        if !self.connection.is_autocommit() {
            // If it fails there is no transaction any more, which is what it was to bring about.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// The number of a tenant.
    pub(super) fn tenant(&mut self, tenant: &TenantId) -> Result<i64> {
        if let Some(number) = self.tenants.get(tenant) {
            return Ok(*number);
        }
        let number = tenant_number(&self.connection, tenant)?;
        let number = match number {
            Some(number) => number,
            None => self
                .connection
                .prepare_cached("INSERT INTO tenants (name) VALUES (?1)")?
                .insert([tenant.as_str()])?,
        };
        self.tenants.insert(tenant.clone(), number);
        Ok(number)
    }

    /// The number of a version.
    fn version(&mut self, tenant: i64, deployment: &Arc<Deployment>) -> Result<i64> {
        let address = Arc::as_ptr(deployment) as usize;
        if let Some((_, number)) = self.versions.get(&address) {
            return Ok(*number);
        }
        let definition = &deployment.definition;
        let found = self
            .connection
            .prepare_cached(
                "SELECT version FROM versions
                 WHERE tenant = ?1 AND component = ?2 AND label = ?3 AND digest = ?4
                 ORDER BY version DESC",
            )?
            .query_row(
                params![
                    tenant,
                    definition.name.as_str(),
                    definition.version.as_str(),
                    deployment.artifact.0
                ],
                |row| row.get(0),
            )
            .optional()?;
        let number = found.ok_or_else(|| Error::UnknownVersion {
            component: definition.name.clone(),
            version: definition.version.clone(),
        })?;
        self.versions
            .insert(address, (Arc::clone(deployment), number));
        Ok(number)
    }

    /// Forgets by heart what versions are called, so that those that are gone can go.
    pub(super) fn forget_versions(&mut self) {
        self.versions.clear();
    }

    /// Does something that is no part of the journal, all or nothing.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let changed = change(&transaction)?;
        transaction.commit()?;
        Ok(changed)
    }
}

/// The number of a tenant, if there is one.
pub(super) fn tenant_number(connection: &Connection, tenant: &TenantId) -> Result<Option<i64>> {
    let number = connection
        .prepare_cached("SELECT tenant FROM tenants WHERE name = ?1")?
        .query_row([tenant.as_str()], |row| row.get(0))
        .optional()?;
    Ok(number)
}
