//! The embedded store: one SQLite database in a file.
//!
//! One connection writes, a few read (write-ahead log, so that they do not wait for each other). A
//! transaction holds what all shards appended meanwhile and is on the disk when it is committed
//! (`synchronous=FULL`).
//!
//! An event costs one row at the end of `events`. Its instance's row in `instances` is written
//! every [`Config::snapshot_interval`] events only; what is newer is kept here as well, since
//! readers want to know how an instance is, not how it was ([`Stale`]). What a host that starts
//! must look at of `events` is bounded: rows that lag far behind are written before their turn.

mod checkpoint;
mod crossing;
mod file;
mod files;
mod letters;
mod owed;
mod read;
mod retention;
mod room;
mod row;
mod versions;
mod waiting;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::Connection;
use xcomponent_core::{
    definition::OnLive,
    id::{ComponentName, Digest, EventId, InstanceId, StreamId, TenantId, Version},
    input::Found,
    owed::{Owed, TakenIn},
    record::{Handled, Record, Snapshot},
    time::Timestamp,
};

use self::{
    checkpoint::Checkpointer,
    file::Lock,
    files::{Files, Look},
    room::Room,
    writer::Writer,
};
use super::{
    Entry, Error, EventAt, Position, Result, Store,
    crossing::{Channel, Outlet},
    deployments::Deployments,
    ledger::Stale,
    query::{
        ComponentVersion, InstanceCount, InstanceFilter, Letter, LetterFilter, Page, PageRequest,
        RecordFilter, Tail,
    },
    retention::Removable,
    unreadable::{UnreadableInstance, Unreadables},
};
use crate::private;

/// Connections that wait for readers at most; more are closed after use.
const READERS_IDLE_MAX: usize = 4;

/// How a database is used.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Records of an instance after which its row is written.
    pub snapshot_interval: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            snapshot_interval: 10,
        }
    }
}

/// Why a database was not opened. It is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or file cannot be used.
    #[error("`{path}` cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another user could read or change it.
    #[error(transparent)]
    NotPrivate(#[from] private::Error),
    /// Another process has it.
    #[error("`{0}` is in use by another host")]
    InUse(PathBuf),
    /// It is no database of this program, or a damaged one.
    #[error("`{path}` cannot be read as a database of this program: {source}")]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A newer program wrote it.
    #[error(
        "`{path}` was written by a newer version of this program (schema {found}, this one knows \
         schemas up to {known}): use that version, or another folder"
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest known one.
        known: i64,
    },
    /// The end of its journal cannot be read.
    #[error("the journal in `{path}` cannot be read")]
    Journal {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Error,
    },
}

/// Keeps everything in one file.
pub struct Sqlite {
    path: PathBuf,
    /// Before the one that writes: the last to be closed tidies up, and these may not.
    readers: Mutex<Vec<Connection>>,
    _checkpointer: Checkpointer,
    writer: Mutex<Writer>,
    stale: RwLock<Stale>,
    deployments: Deployments,
    unreadable: Unreadables,
    /// The last position that this process committed.
    last: AtomicU64,
    /// After every connection: see there.
    files: Files,
    _lock: Lock,
}

impl Sqlite {
    /// Opens a database, or makes one; brings one of an older version up to date.
    ///
    /// # Errors
    ///
    /// If it is in use, newer, damaged, or not a database of this program.
    pub fn open(path: &Path, config: Config) -> Result<Self, OpenError> {
        let lock = file::lock(path)?;
        let files = Files::claim(path)?;
        let mut connection = file::open(path)?;
        let checkpointer = Checkpointer::start(path, &mut connection)?;
        let writer = Writer::new(connection, checkpointer.state(), Room::new(path), config);
        let store = Self {
            path: path.to_owned(),
            readers: Mutex::default(),
            _checkpointer: checkpointer,
            writer: Mutex::new(writer),
            stale: RwLock::default(),
            deployments: Deployments::default(),
            unreadable: Unreadables::default(),
            last: AtomicU64::new(0),
            files,
            _lock: lock,
        };
        store.recover().map_err(|source| OpenError::Journal {
            path: path.to_owned(),
            source,
        })?;
        store.files.watch()?;
        Ok(store)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes; what was written is in the files that were opened.
    fn write<T>(&self, write: impl FnOnce(&mut Writer) -> Result<T>) -> Result<T> {
        let mut writer = self.writer();
        if self.files.look_at_log()? == Look::LogIsShorter {
            self.read_back_shorter()?;
        }
        let written = write(&mut writer).and_then(|written| {
            if self.files.look()? == Look::LogIsShorter {
                self.read_back_shorter()?;
            }
            Ok(written)
        });
        drop(writer);
        written.map_err(|error| self.files.judge(error))
    }

    /// The same once the write-ahead log is shorter than it was: whoever shortened it must have
    /// copied it into the database.
    fn read_back_shorter(&self) -> Result<()> {
        self.read_back().map_err(|error| {
            let why = format!("the write-ahead log was cut off: {}", in_full(&error));
            self.files.lose(&why)
        })?;
        self.files.log_was_copied();
        Ok(())
    }

    /// Reads what this process committed last, on a new connection: the pages in memory would hide
    /// what happened to the files.
    fn read_back(&self) -> Result<()> {
        let written = self.last.load(Ordering::Relaxed);
        let connection = file::open_to_read(&self.path)?;
        let found = read::last_position(&connection)?;
        if found.0 < written {
            let why = format!("its journal ends at {found} instead of {written}");
            return Err(Error::Lost(why.into()));
        }
        Ok(())
    }

    /// Asks on a connection that only reads.
    fn ask<T>(&self, question: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.files.are_usable()?;
        let idle = self
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => file::open_to_read(&self.path)?,
        };
        let answer = question(&connection).map_err(|error| self.files.judge(error));
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS_IDLE_MAX {
            readers.push(connection);
        }
        answer
    }
}

/// An error and what caused it.
fn in_full(error: &Error) -> String {
    if let Error::Lost(why) = error {
        return why.to_string();
    }
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    });
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Lost(format!("the database is damaged ({error})").into())
            }
            None if is_about_a_value(&error) => Self::Damaged(Box::new(error)),
            Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => {
                Self::Unstorable(Box::new(error))
            }
            _ => Self::Unavailable(Some(Box::new(error))),
        }
    }
}

/// Whether a column holds something else than it always does.
fn is_about_a_value(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
    };
    matches!(
        error,
        FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | Utf8Error(..)
    )
}

impl Store for Sqlite {
    fn commit(&self, entries: &[Entry], taken_in: &TakenIn) -> Result<()> {
        self.write(|writer| {
            writer.commit(entries, taken_in, self)?;
            if let Some(last) = entries.last() {
                self.last.store(last.position.0, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    fn tidy(&self) -> Result<bool> {
        self.write(|writer| writer.tidy(&self.stale))
    }

    fn make_room(&self) -> Result<bool> {
        self.write(Writer::make_room)
    }

    fn shorten(&self, removable: &Removable) -> Result<bool> {
        self.write(|writer| writer.shorten(removable))
    }

    fn probe(&self) -> Result<()> {
        self.write(|writer| {
            writer.change(|connection| {
                connection.execute("UPDATE marks SET position = position", [])?;
                Ok(())
            })
        })?;
        self.check()
    }

    fn check(&self) -> Result<()> {
        // A log that is shorter is read by what follows, like everything else.
        let looked = {
            let _writer = self.writer();
            self.files.look()?
        };
        match looked {
            Look::LogIsShorter => self.read_back_shorter(),
            Look::Well => self.read_back().map_err(|error| self.files.judge(error)),
        }
    }

    fn owed(&self) -> Result<Owed> {
        Ok(self.writer().ledger.owed.clone())
    }

    fn log_name(&self) -> Result<String> {
        self.ask(crossing::log_name)
    }

    fn streams(&self) -> Result<Vec<(TenantId, StreamId, u64)>> {
        self.ask(crossing::streams)
    }

    fn outlets(&self) -> Result<Vec<Outlet>> {
        self.ask(crossing::outlets)
    }

    fn outbox(&self, channel: &Channel, after: Position, limit: usize) -> Result<Vec<Entry>> {
        self.ask(|connection| self.waiting(connection, channel, after, limit))
    }

    fn relayed(&self, channel: &Channel, after: Position, through: Position) -> Result<()> {
        self.write(|writer| writer.relayed(channel, after, through))
    }

    fn last_position(&self) -> Result<Position> {
        self.ask(read::last_position)
    }

    fn last_time(&self) -> Result<Timestamp> {
        self.ask(read::last_time)
    }

    fn load(
        &self,
        wanted: &dyn Fn(&InstanceId) -> bool,
        take: &mut dyn FnMut(Snapshot),
    ) -> Result<()> {
        self.load_live(wanted, take)
    }

    fn reload(&self, asked: &[(TenantId, InstanceId)]) -> Result<Found> {
        let mut found = Found::default();
        for (tenant, id) in asked {
            match self.find(tenant, id) {
                Ok(instance) => found.instances.extend(instance),
                Err(Error::Unreadable(_)) => found.unreadable.push((tenant.clone(), id.clone())),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn unreadable(&self, tenant: &TenantId, page: PageRequest) -> Result<Page<UnreadableInstance>> {
        self.list_unreadable(tenant, page)
    }

    fn recall(&self, asked: &[EventAt]) -> Result<Vec<Option<Arc<Handled>>>> {
        self.ask(|connection| {
            let recalled = asked.iter();
            let recalled = recalled.map(|at| self.recall_one(connection, at));
            recalled.collect()
        })
    }

    fn selections(&self, tenant: &TenantId, root: &EventId) -> Result<Vec<Record>> {
        self.ask(|connection| self.selections_of(connection, tenant, root))
    }

    fn instance(&self, tenant: &TenantId, id: &InstanceId) -> Result<Option<Snapshot>> {
        let found = self.find(tenant, id)?;
        Ok(found.filter(|instance| !instance.is_deleted()))
    }

    fn instances(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
        page: PageRequest,
    ) -> Result<Page<Snapshot>> {
        self.list(tenant, filter, page)
    }

    fn instance_counts(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
    ) -> Result<Vec<InstanceCount>> {
        self.count(tenant, filter)
    }

    fn history(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
        page: PageRequest,
    ) -> Result<Page<Entry>> {
        self.history_of(tenant, instance, page)
    }

    fn records(
        &self,
        tenant: &TenantId,
        filter: &RecordFilter,
        after: Position,
        limit: usize,
    ) -> Result<Tail> {
        self.ask(|connection| self.stretch(connection, tenant, filter, after, limit))
    }

    fn trace(&self, tenant: &TenantId, roots: &[EventId], limit: usize) -> Result<Vec<Entry>> {
        self.ask(|connection| self.trace_of(connection, tenant, roots, limit))
    }

    fn dead_letter(
        &self,
        tenant: &TenantId,
        id: &EventId,
        instance: Option<&InstanceId>,
    ) -> Result<Option<Letter>> {
        self.ask(|connection| letters::find(connection, &self.unreadable, tenant, id, instance))
    }

    fn dead_letters(
        &self,
        tenant: &TenantId,
        filter: &LetterFilter,
        page: PageRequest,
    ) -> Result<Page<Letter>> {
        self.ask(|connection| letters::list(connection, &self.unreadable, tenant, filter, page))
    }

    fn dead_letter_count(&self, tenant: &TenantId, filter: &LetterFilter) -> Result<u64> {
        self.ask(|connection| letters::count(connection, tenant, filter))
    }

    fn save_version(&self, version: &ComponentVersion, artifact: Arc<[u8]>) -> Result<()> {
        self.write(|writer| writer.save_version(version, &artifact))
    }

    fn activate_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        on_live: OnLive,
        at: Timestamp,
    ) -> Result<()> {
        self.write(|writer| writer.activate_version(tenant, component, version, on_live, at))
    }

    fn delete_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Result<()> {
        self.write(|writer| writer.delete_version(tenant, component, version))
    }

    fn versions(
        &self,
        tenant: &TenantId,
        component: Option<&ComponentName>,
    ) -> Result<Vec<ComponentVersion>> {
        self.ask(|connection| versions::list(connection, &self.unreadable, tenant, component))
    }

    fn artifact(&self, digest: Digest) -> Result<Option<Arc<[u8]>>> {
        self.ask(|connection| versions::artifact(connection, digest))
    }
}
