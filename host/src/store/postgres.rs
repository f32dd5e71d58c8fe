//! The shared store: tables in a schema of a PostgreSQL database, version 15 or later.
//!
//! One session writes, for as long as its host has the lease of the schema ([`lease`]): a second
//! host is kept away, and one that lost the lease cannot commit any more. A few others read. What
//! the tables hold, and which rows of them are behind, is the same as in the embedded store
//! ([`super::sqlite`]).
//!
//! A batch is one transaction: a small one a single statement, a large one copied. A connection that
//! is lost on the way leaves the outcome open; it is settled by the last position, which is asked
//! only by who has taken the lease anew, so that no commit of before can still be on its way.

mod config;
mod connect;
mod crossing;
mod database;
mod journal;
mod lease;
mod letters;
mod link;
mod months;
mod pool;
mod read;
mod retention;
mod row;
mod session;
mod tls;
mod versions;
mod waiting;
mod writer;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use tokio_postgres::types::{WasNull, WrongType};
use xcomponent_core::{
    definition::OnLive,
    id::{ComponentName, Digest, EventId, InstanceId, StreamId, TenantId, Version},
    input::Found,
    owed::{Owed, TakenIn},
    record::{Handled, Record, Snapshot},
    time::Timestamp,
};

pub use self::{
    config::{Config, InvalidTarget, Target},
    connect::{ConnectError, connect},
    lease::SPAN as LEASE,
};
use self::{lease::Keeper, pool::Pool, writer::Writer};
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

/// Why a database was not opened. It is as it was before. Databases are named without passwords.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server cannot be reached, or does not let this host in.
    #[error("`{database}` cannot be reached")]
    Connect {
        /// Which.
        database: String,
        /// Why.
        source: ConnectError,
    },
    /// The server is too old.
    #[error("the server is PostgreSQL {0}; 15 or later is needed")]
    Server(String),
    /// The server follows another, and may not be written to.
    #[error("`{0}` is a replica, which cannot be written to: name the server that it follows")]
    Replica(String),
    /// Another host has it: it may be had when that ends, or when its lease does.
    #[error("`{database}` is in use by another host")]
    InUse {
        /// Which.
        database: String,
        /// How long the other's lease lasts if it is not renewed.
        left: Duration,
    },
    /// Another host has taken it from this one.
    #[error("another host has taken over `{0}`")]
    TakenOver(String),
    /// The schema has tables of somebody else.
    #[error("`{0}` has tables of another program: name another schema with `?schema=NAME`")]
    Foreign(String),
    /// A newer program wrote it.
    #[error(
        "`{database}` was written by a newer version of this program (schema {found}, this one \
         knows schemas up to {known}): use that version, or another database"
    )]
    Newer {
        /// Which.
        database: String,
        /// Its schema.
        found: i64,
        /// The newest known one.
        known: i64,
    },
    /// It cannot be set up or asked.
    #[error("`{database}` cannot be used")]
    Database {
        /// Which.
        database: String,
        /// Why.
        source: tokio_postgres::Error,
    },
    /// The end of its journal cannot be read.
    #[error("the journal in `{database}` cannot be read")]
    Journal {
        /// Which.
        database: String,
        /// Why.
        source: Error,
    },
}

impl OpenError {
    fn database(target: &Target, source: tokio_postgres::Error) -> Self {
        Self::Database {
            database: target.to_string(),
            source,
        }
    }
}

/// Keeps everything in a database.
pub struct Postgres {
    /// Goes first: it lets go of the lease.
    keeper: Keeper,
    readers: Pool,
    replica: Option<Pool>,
    writer: Mutex<Writer>,
    stale: RwLock<Stale>,
    deployments: Deployments,
    unreadable: Unreadables,
}

impl Postgres {
    /// Opens a database, or fills an empty one; brings one of an older version up to date.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, is newer, or not a database of this program; [`OpenError::InUse`]
    /// if another host has it and does not end within `patience`: who wants to stand by asks again.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let writer = Writer::open(config)?;
        let keeper = Keeper::new(Arc::clone(writer.right()), config.primary.clone());
        let keeper = keeper.map_err(|error| OpenError::Connect {
            database: config.primary.to_string(),
            source: ConnectError::Runtime(error),
        })?;
        let pool = |target: &Target| Pool::new(target.clone(), database::reader(target));
        let store = Self {
            keeper,
            readers: pool(&config.primary),
            replica: config.replica.as_ref().map(pool),
            writer: Mutex::new(writer),
            stale: RwLock::default(),
            deployments: Deployments::default(),
            unreadable: Unreadables::default(),
        };
        store.recover().map_err(|source| OpenError::Journal {
            database: config.primary.to_string(),
            source,
        })?;
        Ok(store)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        if lease::is_fenced(&error) {
            return Self::TakenOver;
        }
        let code = error.code().map(tokio_postgres::error::SqlState::code);
        match code.and_then(|code| code.get(..2)) {
            // Data exception, integrity constraint violation, program limit exceeded.
            Some("22" | "23" | "54") => Self::Unstorable(Box::new(error)),
            // A page or an index that is not what was written.
            Some("XX") if matches!(code, Some("XX001" | "XX002")) => Self::Damaged(Box::new(error)),
            // The server did not say that: a column holds something else than it always does.
            None if is_about_a_value(&error) => Self::Damaged(Box::new(error)),
            _ => Self::Unavailable(Some(Box::new(error))),
        }
    }
}

/// Whether a value was not of the kind that was asked for, or empty.
fn is_about_a_value(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    let source = error.source();
    source.is_some_and(|source| {
        source.is::<WasNull>() || source.is::<WrongType>() || source.is::<std::str::Utf8Error>()
    })
}

impl Store for Postgres {
    fn commit(&self, entries: &[Entry], taken_in: &TakenIn) -> Result<()> {
        self.writer().commit(entries, taken_in, &self.stale)
    }

    fn tidy(&self) -> Result<bool> {
        self.writer().tidy(&self.stale)
    }

    fn shorten(&self, removable: &Removable) -> Result<bool> {
        self.writer().shorten(removable, &self.stale)
    }

    fn is_taken_over(&self) -> bool {
        self.keeper.is_lost()
    }

    fn probe(&self) -> Result<()> {
        self.writer().change(&self.stale, |session| {
            Ok(session.batch("UPDATE marks SET position = position")?)
        })?;
        self.check()
    }

    fn check(&self) -> Result<()> {
        self.name_of_log().map(drop)
    }

    fn owed(&self) -> Result<Owed> {
        Ok(self.writer().ledger.owed.clone())
    }

    fn log_name(&self) -> Result<String> {
        self.name_of_log()
    }

    fn streams(&self) -> Result<Vec<(TenantId, StreamId, u64)>> {
        self.all_streams()
    }

    fn outlets(&self) -> Result<Vec<Outlet>> {
        self.all_outlets()
    }

    fn outbox(&self, channel: &Channel, after: Position, limit: usize) -> Result<Vec<Entry>> {
        self.waiting(channel, after, limit)
    }

    fn relayed(&self, channel: &Channel, after: Position, through: Position) -> Result<()> {
        self.writer().change(&self.stale, |session| {
            crossing::relayed(session, channel, after, through)
        })
    }

    fn last_position(&self) -> Result<Position> {
        self.writer().last_position(&self.stale)
    }

    fn last_time(&self) -> Result<Timestamp> {
        self.time_of_last()
    }

    fn load(
        &self,
        wanted: &dyn Fn(&InstanceId) -> bool,
        take: &mut dyn FnMut(Snapshot),
    ) -> Result<()> {
        self.load_live(wanted, take)
    }

    fn reload(&self, asked: &[(TenantId, InstanceId)]) -> Result<Found> {
        self.find(asked)
    }

    fn unreadable(&self, tenant: &TenantId, page: PageRequest) -> Result<Page<UnreadableInstance>> {
        self.list_unreadable(tenant, page)
    }

    fn recall(&self, asked: &[EventAt]) -> Result<Vec<Option<Arc<Handled>>>> {
        asked.iter().map(|at| self.recall_one(at)).collect()
    }

    fn selections(&self, tenant: &TenantId, root: &EventId) -> Result<Vec<Record>> {
        self.selections_of(tenant, root)
    }

    fn instance(&self, tenant: &TenantId, id: &InstanceId) -> Result<Option<Snapshot>> {
        let mut found = self.find(&[(tenant.clone(), id.clone())])?;
        if !found.unreadable.is_empty() {
            return Err(Error::Unreadable(self.why_unreadable(tenant, id)?));
        }
        let instance = found.instances.pop();
        Ok(instance.filter(|instance| !instance.is_deleted()))
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
        self.stretch(tenant, filter, after, limit)
    }

    fn trace(&self, tenant: &TenantId, roots: &[EventId], limit: usize) -> Result<Vec<Entry>> {
        self.trace_of(tenant, roots, limit)
    }

    fn dead_letter(
        &self,
        tenant: &TenantId,
        id: &EventId,
        instance: Option<&InstanceId>,
    ) -> Result<Option<Letter>> {
        self.letter(tenant, id, instance)
    }

    fn dead_letters(
        &self,
        tenant: &TenantId,
        filter: &LetterFilter,
        page: PageRequest,
    ) -> Result<Page<Letter>> {
        self.letters(tenant, filter, page)
    }

    fn dead_letter_count(&self, tenant: &TenantId, filter: &LetterFilter) -> Result<u64> {
        self.count_letters(tenant, filter)
    }

    fn save_version(&self, version: &ComponentVersion, artifact: Arc<[u8]>) -> Result<()> {
        self.writer().change(&self.stale, |session| {
            versions::save(session, version, &artifact)
        })
    }

    fn activate_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        on_live: OnLive,
        at: Timestamp,
    ) -> Result<()> {
        self.writer().change(&self.stale, |session| {
            versions::activate(session, tenant, component, version, on_live, at)
        })
    }

    fn delete_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Result<()> {
        let mut writer = self.writer();
        writer.ledger.forget_versions();
        writer.change(&self.stale, |session| {
            versions::delete(session, tenant, component, version)
        })
    }

    fn versions(
        &self,
        tenant: &TenantId,
        component: Option<&ComponentName>,
    ) -> Result<Vec<ComponentVersion>> {
        self.list_versions(tenant, component)
    }

    fn artifact(&self, digest: Digest) -> Result<Option<Arc<[u8]>>> {
        self.find_artifact(digest)
    }
}
