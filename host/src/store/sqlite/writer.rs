//! The one connection that writes.

use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use xcomponent_core::{
    call::Deployment,
    id::TenantId,
    owed::{TakenIn, sends_selection},
    record::Snapshot,
};

use super::{
    Config, Sqlite, checkpoint, crossing, letters, owed,
    retention::{self, Shortened},
    room::Room,
    row::{self, INSERT_EVENT},
    waiting,
};
use crate::store::{
    Entry, Error, Position, Result,
    crossing::Channel,
    ledger::{Draft, DueRow, Key, Known, Ledger, Stale},
    retention::{Removable, Shorten, shorten},
    table::{Links, WaitingChanges, signed, unsigned},
};

/// The connection that writes, and what it knows by heart.
pub(super) struct Writer {
    pub(super) connection: Connection,
    checkpoint: Arc<checkpoint::State>,
    /// Transactions may be lost with the machine.
    is_lax: bool,
    room: Room,
    pub(super) ledger: Ledger,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        checkpoint: Arc<checkpoint::State>,
        room: Room,
        config: Config,
    ) -> Self {
        Self {
            connection,
            checkpoint,
            is_lax: false,
            room,
            ledger: Ledger::new(config.snapshot_interval),
        }
    }

    /// Appends all of these, or none.
    pub(super) fn commit(
        &mut self,
        entries: &[Entry],
        taken_in: &TakenIn,
        store: &Sqlite,
    ) -> Result<()> {
        self.be_strict()?;
        self.checkpoint.finish(&self.connection);
        let committed = self.try_commit(entries, taken_in, &store.stale);
        if committed.is_err() {
            self.roll_back();
        }
        committed
    }

    fn try_commit(
        &mut self,
        entries: &[Entry],
        taken_in: &TakenIn,
        stale: &RwLock<Stale>,
    ) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let behind = stale.read().unwrap_or_else(PoisonError::into_inner);
        let mut draft = self.append(entries, &behind)?;
        for row in self.ledger.due(&mut draft, entries, &behind) {
            self.write_row(&row)?;
        }
        drop(behind);
        // What this transaction settles is noted when it is committed: the mark is a little behind.
        let settled_below = self.ledger.owed.settled_below();
        mark(&self.connection, "covered", draft.covered)?;
        mark(&self.connection, "settled_below", settled_below)?;
        let skipped = self.ledger.skipped(entries);
        if skipped > 0 {
            retention::skipped(&self.connection, skipped)?;
        }
        // How far the shards are decides about selections only.
        let selects = |entry: &Entry| sends_selection(&entry.record.body);
        if self.ledger.owed.has_selections() || entries.iter().any(selects) {
            owed::write(&self.connection, taken_in)?;
        }
        self.connection.execute_batch("COMMIT")?;
        let mut stale = stale.write().unwrap_or_else(PoisonError::into_inner);
        self.ledger.committed(&draft, entries, taken_in, &mut stale);
        Ok(())
    }

    /// Adds the records to the journal.
    fn append(&mut self, entries: &[Entry], stale: &Stale) -> Result<Draft> {
        let mut draft = Draft::default();
        let links = self.link_up(entries, &mut draft, stale)?;
        let mut insert = self.connection.prepare_cached(INSERT_EVENT)?;
        for (links, entry) in links.iter().zip(entries) {
            row::insert_event(&mut insert, links, &entry.record)?;
            letters::note(
                &self.connection,
                links.tenant,
                links.position,
                &entry.record,
            )?;
            crossing::note(
                &self.connection,
                links.tenant,
                links.position,
                &entry.record,
            )?;
        }
        waiting::note(&self.connection, &WaitingChanges::of(&links, entries))?;
        Ok(draft)
    }

    /// Links each record to the one before it of the same instance.
    fn link_up(
        &mut self,
        entries: &[Entry],
        draft: &mut Draft,
        stale: &Stale,
    ) -> Result<Vec<Links>> {
        let mut all = Vec::with_capacity(entries.len());
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
                links.version = Some(version);
                links.instance = self.ledger.add(draft, &key, at, position);
                if links.instance.is_none() {
                    self.meet(&key, version, snapshot, position, stale)?;
                    links.instance = self.ledger.add(draft, &key, at, position);
                }
            }
            all.push(links);
        }
        Ok(all)
    }

    /// Looks up an instance; a new one gets its row.
    fn meet(
        &mut self,
        key: &Key,
        version: i64,
        snapshot: &Snapshot,
        position: u64,
        stale: &Stale,
    ) -> Result<()> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT instance, last, seq FROM instances WHERE tenant = ?1 AND id = ?2",
            )?
            .query_row(params![key.0, key.1.to_string()], |row| {
                Ok(Known {
                    number: row.get(0)?,
                    last: unsigned(row.get(1)?),
                    seq: unsigned(row.get(2)?),
                })
            })
            .optional()?;
        if let Some(known) = found {
            self.ledger.learn(key.clone(), known, stale);
            return Ok(());
        }
        let number = self.ledger.introduce(key.clone());
        row::insert_instance(&self.connection, number, key.0, version, snapshot, position)?;
        self.ledger.has_row(key, snapshot.seq);
        Ok(())
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
        let Some(overdue) = self.ledger.overdue(&behind) else {
            return Ok(false);
        };
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        for number in &overdue.numbers {
            if let Some(row) = behind.row(*number) {
                self.write_row(&row)?;
            }
        }
        drop(behind);
        mark(&self.connection, "covered", overdue.covered)?;
        self.connection.execute_batch("COMMIT")?;
        let mut stale = stale.write().unwrap_or_else(PoisonError::into_inner);
        self.ledger.wrote(&overdue.numbers, &mut stale);
        Ok(overdue.more)
    }

    /// Makes room for what comes next; whether there is more to make.
    pub(super) fn make_room(&mut self) -> Result<bool> {
        if !self.room.is_wanted() {
            return Ok(false);
        }
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        self.room.make();
        self.abandon();
        Ok(self.room.is_wanted())
    }

    /// Removes a little of the history; whether there is more of it.
    pub(super) fn shorten(&mut self, removable: &Removable) -> Result<bool> {
        if self.ledger.has_nothing_of(removable) {
            return Ok(false);
        }
        self.be_lax()?;
        let shortened = self.try_shorten(removable);
        self.abandon();
        self.be_strict()?;
        shortened
    }

    /// Notes that another host has something.
    pub(super) fn relayed(
        &mut self,
        channel: &Channel,
        after: Position,
        through: Position,
    ) -> Result<()> {
        let tenant = self.tenant(&channel.tenant)?;
        self.be_lax()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        crossing::relayed(&transaction, tenant, &channel.component, after, through)?;
        Ok(transaction.commit()?)
    }

    /// Has transactions committed that the machine may lose: then they are done once more.
    fn be_lax(&mut self) -> Result<()> {
        self.is_lax = true;
        self.connection
            .pragma_update(None, "synchronous", "NORMAL")?;
        Ok(())
    }

    /// Has transactions on the disk when they are committed.
    fn be_strict(&mut self) -> Result<()> {
        if self.is_lax {
            self.connection.pragma_update(None, "synchronous", "FULL")?;
            self.is_lax = false;
        }
        Ok(())
    }

    fn try_shorten(&mut self, removable: &Removable) -> Result<bool> {
        self.ledger.has_deleted = retention::has_deleted(&self.connection)?;
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut log = Shortened::new(&self.connection, self.ledger.reach())?;
        let before = log.records();
        let more = shorten(&mut log, removable)?;
        if log.records() < before {
            log.finish()?;
            self.connection.execute_batch("COMMIT")?;
        }
        Ok(more)
    }

    fn write_row(&mut self, due: &DueRow<'_>) -> Result<()> {
        let tenant = self.tenant(due.snapshot.tenant())?;
        let version = self.version(tenant, &due.snapshot.deployment)?;
        row::update_instance(
            &self.connection,
            due.number,
            version,
            due.snapshot,
            due.last,
        )?;
        Ok(())
    }

    /// Undoes what was begun.
    fn roll_back(&mut self) {
        self.ledger.forget();
        self.abandon();
    }

    /// Ends a transaction that was not committed.
    fn abandon(&self) {
        if !self.connection.is_autocommit() {
            // If it fails there is no transaction any more, which is what it was to bring about.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// The number of a tenant.
    fn tenant(&mut self, tenant: &TenantId) -> Result<i64> {
        if let Some(number) = self.ledger.tenant(tenant) {
            return Ok(number);
        }
        let number = match tenant_number(&self.connection, tenant)? {
            Some(number) => number,
            None => self
                .connection
                .prepare_cached("INSERT INTO tenants (name) VALUES (?1)")?
                .insert([tenant.as_str()])?,
        };
        self.ledger.learn_tenant(tenant, number);
        Ok(number)
    }

    /// The number of a version.
    fn version(&mut self, tenant: i64, deployment: &Arc<Deployment>) -> Result<i64> {
        if let Some(number) = self.ledger.version(deployment) {
            return Ok(number);
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
        self.ledger.learn_version(deployment, number);
        Ok(number)
    }

    /// Does something that is no part of the journal, all or nothing.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.be_strict()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let changed = change(&transaction)?;
        transaction.commit()?;
        Ok(changed)
    }
}

/// Moves a mark.
pub(super) fn mark(connection: &Connection, name: &str, position: u64) -> Result<()> {
    let moved = connection
        .prepare_cached("UPDATE marks SET position = ?2 WHERE name = ?1")?
        .execute(params![name, signed(position)])?;
    if moved == 0 {
        // Somebody has removed the row.
        connection
            .prepare_cached("INSERT INTO marks VALUES (?1, ?2)")?
            .execute(params![name, signed(position)])?;
    }
    Ok(())
}

/// The number of a tenant, if there is one.
pub(super) fn tenant_number(connection: &Connection, tenant: &TenantId) -> Result<Option<i64>> {
    let number = connection
        .prepare_cached("SELECT tenant FROM tenants WHERE name = ?1")?
        .query_row([tenant.as_str()], |row| row.get(0))
        .optional()?;
    Ok(number)
}
