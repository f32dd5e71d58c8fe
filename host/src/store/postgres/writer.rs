//! The one who writes.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use tokio_postgres::types::ToSql;
use xcomponent_core::{
    call::Deployment,
    id::TenantId,
    owed::{TakenIn, sends_selection},
};

use super::{
    OpenError,
    config::Config,
    crossing, database,
    lease::Right,
    letters,
    link::Link,
    months::Months,
    retention::{Shortened, has_deleted, skipped},
    row::{
        COPY_EVENTS, EVENT_TYPES, N_INSTANCE_COLUMNS, NONE, Table, WRITE_BATCH,
        WRITE_BATCH_WAITING, WRITE_INSTANCES, WRITE_MARKS, WRITE_TAKEN_IN,
    },
    session::{Session, is_certain},
    waiting,
};
use crate::store::{
    Entry, Error, Position, Result,
    ledger::{Draft, DueRow, Key, Known, Ledger, Stale},
    retention::{Removable, Shorten, shorten},
    table::{
        EVENT_COLUMNS, LetterChanges, Links, WaitingChanges, WaitingRow, event_cells,
        instance_cells, signed, taken_in_text, unsigned,
    },
};

/// Entries up to which a batch is written by one statement; beyond it copying is worth its round
/// trips.
const ONE_STATEMENT_MAX: usize = 64;

/// Rows of `instances` that one statement writes: with contexts of the largest size still far below
/// what a message may have.
const ROWS_MAX: usize = 256;

/// The one who writes: the session, and what is known by heart.
pub(super) struct Writer {
    link: Link,
    months: Months,
    pub(super) ledger: Ledger,
    /// A batch of which the server did not say whether it was committed.
    pending: Option<Pending>,
    /// Where the journal ended when somebody else had written to it.
    taken_over: Option<Position>,
}

struct Pending {
    entries: Vec<Entry>,
    taken_in: TakenIn,
    draft: Draft,
}

/// What is written besides the records.
struct Batch<'b> {
    entries: &'b [Entry],
    links: Vec<Links>,
    due: Vec<DueRow<'b>>,
    waiting: WaitingChanges<'b>,
    covered: u64,
    settled_below: u64,
    /// How far the shards are, if that matters.
    taken_in: Option<&'b TakenIn>,
    /// Positions that it leaves out.
    skipped: u64,
}

/// Why a batch was not committed.
enum Failure {
    /// Nothing of it was.
    Certain(Error),
    /// Perhaps it was.
    Unknown(tokio_postgres::Error),
}

impl Failure {
    /// Of the statement that commits.
    fn of(error: tokio_postgres::Error) -> Self {
        if is_certain(&error) {
            Self::Certain(error.into())
        } else {
            Self::Unknown(error)
        }
    }

    /// As an error.
    fn known(self) -> Error {
        match self {
            Self::Certain(error) => error,
            Self::Unknown(error) => Error::Unknown(Some(Box::new(error))),
        }
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Certain(error.into())
    }
}

impl Writer {
    /// Takes the database and brings it up to date.
    pub(super) fn open(config: &Config) -> Result<Self, OpenError> {
        let holder = format!("{:032x}", fastrand::u128(..));
        let (mut session, epoch) = database::take(config, &holder, false)?;
        let right = Arc::new(Right::new(holder, epoch));
        database::show(&mut session, &config.primary);
        Ok(Self {
            link: Link::new(config.clone(), right, session),
            months: Months::default(),
            ledger: Ledger::new(config.snapshot_interval),
            pending: None,
            taken_over: None,
        })
    }

    /// The right to write.
    pub(super) fn right(&self) -> &Arc<Right> {
        &self.link.right
    }

    /// The session, with everything settled that a lost one left open.
    pub(super) fn session(&mut self, stale: &RwLock<Stale>) -> Result<&mut Session> {
        if let Some(last) = self.taken_over {
            return Err(taken_over(self.ledger.last, last));
        }
        if self.pending.is_some() || self.link.session().is_none() {
            let session = self.link.restore()?;
            let last = last_position(session)?;
            self.settle(last, stale)?;
        }
        self.link.open()
    }

    /// Decides what became of the batch that was open when the connection was lost.
    fn settle(&mut self, last: Position, stale: &RwLock<Stale>) -> Result<()> {
        let pending = self.pending.take();
        let end = |pending: &Pending| pending.entries.last().map(|entry| entry.position);
        match pending {
            Some(pending) if end(&pending) == Some(last) => {
                let mut stale = stale.write().unwrap_or_else(PoisonError::into_inner);
                let Pending {
                    entries,
                    taken_in,
                    draft,
                } = &pending;
                self.ledger.committed(draft, entries, taken_in, &mut stale);
            }
            _ if last.0 == self.ledger.last => self.ledger.forget(),
            _ => {
                self.link.cut();
                self.taken_over = Some(last);
                return Err(taken_over(self.ledger.last, last));
            }
        }
        Ok(())
    }

    /// Where the journal ends, asked of the server by who has the lock: nobody else's commit can be
    /// on its way.
    pub(super) fn last_position(&mut self, stale: &RwLock<Stale>) -> Result<Position> {
        last_position(self.session(stale)?)
    }

    /// Appends all of these, or none.
    pub(super) fn commit(
        &mut self,
        entries: &[Entry],
        taken_in: &TakenIn,
        stale: &RwLock<Stale>,
    ) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        self.session(stale)?;
        let mut draft = Draft::default();
        let committed = {
            let behind = stale.read().unwrap_or_else(PoisonError::into_inner);
            self.try_commit(entries, taken_in, &mut draft, &behind)
        };
        match committed {
            Ok(()) => {
                let mut stale = stale.write().unwrap_or_else(PoisonError::into_inner);
                self.ledger.committed(&draft, entries, taken_in, &mut stale);
                Ok(())
            }
            Err(Failure::Certain(error)) => {
                self.ledger.forget();
                Err(self.noted(error))
            }
            Err(Failure::Unknown(error)) => {
                self.link.cut();
                self.pending = Some(Pending {
                    entries: entries.to_vec(),
                    taken_in: taken_in.clone(),
                    draft,
                });
                Err(Error::Unknown(Some(Box::new(error))))
            }
        }
    }

    fn try_commit(
        &mut self,
        entries: &[Entry],
        taken_in: &TakenIn,
        draft: &mut Draft,
        stale: &Stale,
    ) -> Result<(), Failure> {
        let right = Arc::clone(&self.link.right);
        let session = self.link.open()?;
        self.months.prepare(session, &right, entries)?;
        let links = self.link_up(entries, draft, stale)?;
        let due = self.ledger.due(draft, entries, stale);
        // How far the shards are decides about selections only.
        let selects = |entry: &Entry| sends_selection(&entry.record.body);
        let matters = self.ledger.owed.has_selections() || entries.iter().any(selects);
        let batch = Batch {
            entries,
            waiting: WaitingChanges::of(&links, entries),
            links,
            due,
            covered: draft.covered,
            // What this batch settles is noted when it is committed: the mark is a little behind.
            settled_below: self.ledger.owed.settled_below(),
            taken_in: matters.then_some(taken_in),
            skipped: self.ledger.skipped(entries),
        };
        self.write(&batch)
    }

    /// Links each record to the one before it of the same instance.
    fn link_up(
        &mut self,
        entries: &[Entry],
        draft: &mut Draft,
        stale: &Stale,
    ) -> Result<Vec<Links>> {
        let mut keys: Vec<Option<(Key, i64)>> = Vec::with_capacity(entries.len());
        for entry in entries {
            let tenant = self.tenant(&entry.record.tenant)?;
            let key = match entry.record.body.snapshot() {
                Some(snapshot) => {
                    let version = self.version(tenant, &snapshot.deployment)?;
                    Some(((tenant, snapshot.id.clone()), version))
                }
                None => None,
            };
            keys.push(key);
        }
        self.meet(keys.iter().flatten().map(|(key, _)| key), stale)?;
        let mut links = Vec::with_capacity(entries.len());
        for (at, (entry, key)) in entries.iter().zip(keys).enumerate() {
            let position = entry.position.0;
            let tenant = self.tenant(&entry.record.tenant)?;
            let mut instance = None;
            if let Some((key, _)) = &key {
                instance = self.ledger.add(draft, key, at, position);
                if instance.is_none() {
                    self.ledger.introduce(key.clone());
                    instance = self.ledger.add(draft, key, at, position);
                }
            }
            links.push(Links {
                position,
                tenant,
                instance,
                version: key.map(|(_, version)| version),
            });
        }
        Ok(links)
    }

    /// Looks up the instances of a batch that are not known by heart, all at once.
    fn meet<'k>(&mut self, keys: impl Iterator<Item = &'k Key>, stale: &Stale) -> Result<()> {
        let unknown: Vec<&Key> = keys.filter(|key| !self.ledger.knows(key)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let tenants: Vec<i64> = unknown.iter().map(|key| key.0).collect();
        let ids: Vec<String> = unknown.iter().map(|key| key.1.to_string()).collect();
        let rows = self.link.open()?.ask(
            "SELECT asked.n, i.instance, i.last, i.seq
             FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS asked (tenant, id, n)
             JOIN instances i ON i.tenant = asked.tenant AND i.id = asked.id",
            &[&tenants, &ids],
        )?;
        for row in rows {
            let n: i64 = row.try_get(0)?;
            let known = Known {
                number: row.try_get(1)?,
                last: unsigned(row.try_get(2)?),
                seq: unsigned(row.try_get(3)?),
            };
            let key = usize::try_from(n - 1).ok().and_then(|n| unknown.get(n));
            if let Some(key) = key {
                self.ledger.learn((*key).clone(), known, stale);
            }
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let changes_letters = batch.entries.iter().any(|entry| {
            let changes = LetterChanges::of(&entry.record);
            changes.settled.is_some() || changes.parked.is_some()
        });
        let crosses = crossing::concerns(batch.entries);
        let waiting: usize = batch.waiting.rows().map(WaitingRow::bytes).sum();
        let is_small = batch.entries.len() <= ONE_STATEMENT_MAX
            && batch.due.len() <= ROWS_MAX
            && waiting <= waiting::BYTES_AT_ONCE;
        if is_small && !changes_letters && !crosses && batch.skipped == 0 {
            return self.write_at_once(batch);
        }
        self.link.open()?.begin()?;
        let written = self.write_in_steps(batch).map_err(Failure::Certain);
        let written = written.and_then(|()| self.seal());
        if let Err(Failure::Certain(_)) = &written {
            self.link.roll_back();
        }
        written
    }

    /// Commits what was begun, if the lease is still this host's.
    fn seal(&mut self) -> Result<(), Failure> {
        let (begun, seal) = (Instant::now(), self.link.right.seal());
        self.link.open()?.commit(&seal).map_err(Failure::of)?;
        self.link.right.renewed(begun);
        Ok(())
    }

    /// Notes what an error means for what comes.
    fn noted(&mut self, error: Error) -> Error {
        match error {
            Error::TakenOver => {
                self.link.cut();
                self.link.right.lose()
            }
            other => other,
        }
    }

    /// By one statement, in one round trip.
    fn write_at_once(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let mut events = Table::<{ EVENT_COLUMNS.len() }>::new();
        for (links, entry) in batch.links.iter().zip(batch.entries) {
            events.push(event_cells(links, &entry.record));
        }
        let instances = self.instances(&batch.due)?;
        let partitions = batch.partitions();
        let shards = batch.taken_in.map(taken_in_text);
        let marks = [signed(batch.covered), signed(batch.settled_below)];
        let mut values: Vec<&(dyn ToSql + Sync)> =
            events.arrays().chain(instances.arrays()).collect();
        values.push(&partitions);
        values.push(&shards);
        values.extend(marks.iter().map(|mark| mark as &(dyn ToSql + Sync)));
        let epoch = self.link.right.epoch();
        values.push(&epoch);
        let gone = waiting::Gone::of(&batch.waiting);
        let waits = waiting::table(batch.waiting.rows());
        let mut statement: &str = &WRITE_BATCH;
        if !batch.waiting.is_empty() {
            statement = &WRITE_BATCH_WAITING;
            values.extend(gone.arrays());
            values.extend(waits.arrays());
        }
        let session = self.link.open()?;
        // Until it is prepared nothing can have been changed.
        session.prepare(statement)?;
        let begun = Instant::now();
        session.execute(statement, &values).map_err(Failure::of)?;
        self.link.right.renewed(begun);
        Ok(())
    }

    /// Within a transaction.
    fn write_in_steps(&mut self, batch: &Batch<'_>) -> Result<()> {
        let rows = batch.links.iter().zip(batch.entries);
        let cells = rows.map(|(links, entry)| event_cells(links, &entry.record));
        let session = self.link.open()?;
        session.copy(&COPY_EVENTS, &EVENT_TYPES, cells)?;
        for (links, entry) in batch.links.iter().zip(batch.entries) {
            letters::note(session, links.tenant, links.position, &entry.record)?;
        }
        crossing::note(session, &batch.links, batch.entries)?;
        waiting::note(session, &batch.waiting)?;
        for some in batch.due.chunks(ROWS_MAX) {
            let instances = self.instances(some)?;
            let values: Vec<&(dyn ToSql + Sync)> = instances.arrays().collect();
            self.link.open()?.execute(&WRITE_INSTANCES, &values)?;
        }
        if let Some(shards) = batch.taken_in.map(taken_in_text) {
            let partitions = batch.partitions();
            self.link
                .open()?
                .execute(&WRITE_TAKEN_IN, &[&partitions, &shards])?;
        }
        if batch.skipped > 0 {
            skipped(self.link.open()?, batch.skipped)?;
        }
        let marks = [signed(batch.covered), signed(batch.settled_below)];
        self.link
            .open()?
            .execute(&WRITE_MARKS, &[&marks[0], &marks[1]])?;
        Ok(())
    }

    /// Rows of `instances` as they should be.
    fn instances<'r>(&mut self, due: &[DueRow<'r>]) -> Result<Table<'r, N_INSTANCE_COLUMNS>> {
        let mut table = Table::new();
        for row in due {
            let tenant = self.tenant(row.snapshot.tenant())?;
            let version = self.version(tenant, &row.snapshot.deployment)?;
            let cells = instance_cells(tenant, version, row.snapshot, row.last);
            table.push([row.number.into()].into_iter().chain(cells));
        }
        Ok(table)
    }

    /// Writes some of the rows that are behind; whether there are more.
    pub(super) fn tidy(&mut self, stale: &RwLock<Stale>) -> Result<bool> {
        self.session(stale)?;
        let behind = stale.read().unwrap_or_else(PoisonError::into_inner);
        let Some(overdue) = self.ledger.overdue(&behind) else {
            return Ok(false);
        };
        let rows = overdue.numbers.iter();
        let batch = Batch {
            entries: &[],
            links: Vec::new(),
            due: rows.filter_map(|number| behind.row(*number)).collect(),
            waiting: WaitingChanges::default(),
            covered: overdue.covered,
            settled_below: self.ledger.owed.settled_below(),
            taken_in: None,
            skipped: 0,
        };
        let written = self.write_at_once(&batch).map_err(Failure::known);
        drop(batch);
        drop(behind);
        written.map_err(|error| self.noted(error))?;
        let mut stale = stale.write().unwrap_or_else(PoisonError::into_inner);
        self.ledger.wrote(&overdue.numbers, &mut stale);
        Ok(overdue.more)
    }

    /// Removes a little of the history; whether there is more of it.
    pub(super) fn shorten(&mut self, removable: &Removable, stale: &RwLock<Stale>) -> Result<bool> {
        if self.ledger.has_nothing_of(removable) {
            return Ok(false);
        }
        let reach = self.ledger.reach();
        let (more, has_deleted) = self.change(stale, |session| {
            // If the machine loses it, it is done once more.
            session.batch("SET LOCAL synchronous_commit = off")?;
            let mut log = Shortened::new(session, reach)?;
            let before = log.records();
            let more = shorten(&mut log, removable)?;
            if log.records() < before {
                log.finish()?;
            }
            Ok((more, has_deleted(session)?))
        })?;
        self.ledger.has_deleted = has_deleted;
        Ok(more)
    }

    /// The number of a tenant.
    fn tenant(&mut self, tenant: &TenantId) -> Result<i64> {
        if let Some(number) = self.ledger.tenant(tenant) {
            return Ok(number);
        }
        let number = self.transact(|session| introduce_tenant(session, tenant))?;
        self.ledger.learn_tenant(tenant, number);
        Ok(number)
    }

    /// The number of a version.
    fn version(&mut self, tenant: i64, deployment: &Arc<Deployment>) -> Result<i64> {
        if let Some(number) = self.ledger.version(deployment) {
            return Ok(number);
        }
        let definition = &deployment.definition;
        let found = self.link.open()?.ask(
            "SELECT version FROM versions
             WHERE tenant = $1 AND component = $2 AND label = $3 AND digest = $4
             ORDER BY version DESC LIMIT 1",
            &[
                &tenant,
                &definition.name.as_str(),
                &definition.version.as_str(),
                &deployment.artifact.0.as_slice(),
            ],
        )?;
        let row = found.first().ok_or_else(|| Error::UnknownVersion {
            component: definition.name.clone(),
            version: definition.version.clone(),
        })?;
        let number = row.try_get(0)?;
        self.ledger.learn_version(deployment, number);
        Ok(number)
    }

    /// Does something that is no part of the journal, all or nothing.
    pub(super) fn change<T>(
        &mut self,
        stale: &RwLock<Stale>,
        change: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Result<T> {
        self.session(stale)?;
        self.transact(change)
    }

    fn transact<T>(&mut self, change: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let session = self.link.open()?;
        session.begin()?;
        let changed = match change(session) {
            Ok(changed) => changed,
            Err(error) => {
                self.link.roll_back();
                return Err(error);
            }
        };
        match self.seal() {
            Ok(()) => Ok(changed),
            Err(failure) => {
                self.link.cut();
                Err(self.noted(failure.known()))
            }
        }
    }
}

impl Batch<'_> {
    /// How many partitions there are, if it matters how far the shards are.
    fn partitions(&self) -> Option<i64> {
        let taken_in = self.taken_in?;
        Some(taken_in.placement.partitions.get().into())
    }
}

/// The number of a tenant, who may be new.
pub(super) fn introduce_tenant(session: &mut Session, tenant: &TenantId) -> Result<i64> {
    session.execute(
        "INSERT INTO tenants (name) VALUES ($1) ON CONFLICT DO NOTHING",
        &[&tenant.as_str()],
    )?;
    let question = "SELECT tenant FROM tenants WHERE name = $1";
    let row = session.ask_one(question, &[&tenant.as_str()])?;
    let row = row.ok_or_else(|| Error::Unavailable(Some("a tenant is gone".into())))?;
    Ok(row.try_get(0)?)
}

/// The position of the last record.
fn last_position(session: &mut Session) -> Result<Position> {
    let row = session.ask_one("SELECT max(position) FROM events", NONE)?;
    let last: Option<i64> = row.and_then(|row| row.get(0));
    Ok(Position(last.map_or(0, unsigned)))
}

fn taken_over(known: u64, found: Position) -> Error {
    let why = format!(
        "another host wrote to the database meanwhile: its journal ends at {found} instead of \
         {known}; start this host anew"
    );
    Error::Unavailable(Some(why.into()))
}
