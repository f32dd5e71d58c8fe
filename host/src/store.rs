//! Where records are kept: one trait, and what it is asked.
//!
//! The log is a sequence of [`Entry`]s; everything else (instances, history, dead letters) is
//! derived from it. Writing is one atomic batch at a time, by one thread. Methods block; who calls
//! them from an asynchronous task does so on a thread that may wait. Everything but the log's own
//! bookkeeping is asked on behalf of one tenant.

pub mod crossing;
pub mod query;

pub mod memory;
pub mod postgres;
pub mod retention;
pub mod sqlite;
pub mod unreadable;

mod deployments;
mod ledger;
mod stored;
mod table;
mod weight;

use std::{fmt, sync::Arc};

use xcomponent_core::{
    definition::OnLive,
    id::{ComponentName, Digest, EventId, InstanceId, StreamId, TenantId, Version},
    input::Found,
    owed::{Owed, TakenIn},
    record::{Handled, Record, Snapshot},
    time::Timestamp,
};

use crossing::{Channel, Outlet};
use query::{
    ComponentVersion, InstanceCount, InstanceFilter, Letter, LetterFilter, Page, PageRequest,
    RecordFilter, Tail,
};
use retention::Removable;
use unreadable::UnreadableInstance;

/// A place in the log, from 1; 0 is before the first. Places grow, but some stay empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record and its place in the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where.
    pub position: Position,
    /// What.
    pub record: Record,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refused or lost the connection before anything was changed.
    #[error("the store is not available")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// It is not known whether the change was made: ask for the last position.
    #[error("the store did not say whether it committed")]
    Unknown(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// It will never take this, however often it is asked: some of it is too large, or breaks a rule
    /// of the database. Nothing was changed.
    #[error("the store cannot hold this")]
    Unstorable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another host has it, and this one can write no more. Nothing was changed.
    #[error("another host has taken over the store: start this host anew")]
    TakenOver,
    /// What it has cannot be read: somebody else wrote it, or the disk lied.
    #[error("what the store has cannot be read")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It has the instance, and what it has of it cannot be read.
    #[error("what the store has of `{}` cannot be read: {}", .0.id, .0.why)]
    Unreadable(UnreadableInstance),
    /// Its files were removed, replaced, cut off or damaged while this host had them open. Nothing
    /// that is acknowledged from now on would be kept, so this process uses the store no more.
    #[error(
        "the store is lost to this host, which acknowledges nothing any more: {0}; put its files in \
         order and restart the host"
    )]
    Lost(Arc<str>),
    /// Another artifact has this version label already.
    #[error("version `{version}` of `{component}` exists with another artifact")]
    VersionExists {
        /// Of which component.
        component: ComponentName,
        /// Which version.
        version: Version,
    },
    /// There is no such version.
    #[error("`{component}` has no version `{version}`")]
    UnknownVersion {
        /// Of which component.
        component: ComponentName,
        /// Which version.
        version: Version,
    },
    /// Records after the asked position have been removed.
    #[error("the log is complete only after position {complete_after}")]
    Gone {
        /// The earliest position from which on nothing is missing.
        complete_after: Position,
    },
}

impl Error {
    /// Whether the store as a whole could not be used, so that whoever asks next fares no better.
    pub fn is_of_store(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Unknown(_) | Self::TakenOver | Self::Lost(_) => true,
            Self::Unstorable(_)
            | Self::Damaged(_)
            | Self::Unreadable(_)
            | Self::VersionExists { .. }
            | Self::UnknownVersion { .. }
            | Self::Gone { .. } => false,
        }
    }
}

/// The result of asking a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An event at an instance.
pub type EventAt = (TenantId, InstanceId, EventId);

/// Keeps the log and answers questions about it.
pub trait Store: Send + Sync + 'static {
    /// Whether methods that read one thing answer from memory: then a task may call them.
    fn is_immediate(&self) -> bool {
        false
    }

    /// Appends all of these, or none, in order, and with them how far the shards are. Positions
    /// grow from call to call. Never called by two threads at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] if all or none may have been appended; any other: none was.
    fn commit(&self, entries: &[Entry], taken_in: &TakenIn) -> Result<()>;

    /// Does a little of what can wait, while there is nothing to be committed; whether there is
    /// more of it.
    ///
    /// # Errors
    ///
    /// If it could not be done; then it will be later.
    fn tidy(&self) -> Result<bool>;

    /// Makes a little of the room that later records will need, while there is nothing else to do;
    /// whether there is more to make.
    ///
    /// # Errors
    ///
    /// If it was not made; they will find theirs all the same.
    fn make_room(&self) -> Result<bool> {
        Ok(false)
    }

    /// Removes a little of the history that is not kept any longer, deleted instances first; whether
    /// there is more of it. What is owed stays, and so does the last record of all.
    ///
    /// # Errors
    ///
    /// If it could not be done; then it will be later.
    fn shorten(&self, removable: &Removable) -> Result<bool>;

    /// Whether another host has it: then this one never writes again.
    fn is_taken_over(&self) -> bool {
        false
    }

    /// Whether something could be written and read at this moment.
    ///
    /// # Errors
    ///
    /// Why not.
    fn probe(&self) -> Result<()>;

    /// Whether what was written can be read, and is still where it was written. Asked every second
    /// by the thread that commits: cheap.
    ///
    /// # Errors
    ///
    /// Why not.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// What the log owes: what was sent and never received when the host before this one ended.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn owed(&self) -> Result<Owed>;

    /// The log's own name, which it got when it was made: positions mean something together with it
    /// only.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn log_name(&self) -> Result<String>;

    /// Up to which parcel each stream of another host is taken in.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn streams(&self) -> Result<Vec<(TenantId, StreamId, u64)>>;

    /// How far every channel to another host is that anything was ever sent on.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn outlets(&self) -> Result<Vec<Outlet>>;

    /// The entries after a position of which something waits to be relayed on a channel, oldest
    /// first.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn outbox(&self, channel: &Channel, after: Position, limit: usize) -> Result<Vec<Entry>>;

    /// Notes that the other host has everything of a channel up to `through`; up to `after` this was
    /// noted before. May be forgotten with the machine: then it is relayed again.
    ///
    /// # Errors
    ///
    /// If it was not noted.
    fn relayed(&self, channel: &Channel, after: Position, through: Position) -> Result<()>;

    /// The position of the last entry; 0 if there is none.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn last_position(&self) -> Result<Position>;

    /// The latest time among the last records; 0 if there is none.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn last_time(&self) -> Result<Timestamp> {
        Ok(Timestamp(0))
    }

    /// Gives away, one by one, what may belong in memory: instances that go on, and entry points,
    /// each with what waits at it. There may be more of them than fit. Those that cannot be read are left
    /// out.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked; then some may have been given.
    fn load(
        &self,
        wanted: &dyn Fn(&InstanceId) -> bool,
        take: &mut dyn FnMut(Snapshot),
    ) -> Result<()>;

    /// These instances with what waits at them, as far as they exist, finished ones included, and
    /// deleted ones as long as their records are there.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn reload(&self, asked: &[(TenantId, InstanceId)]) -> Result<Found>;

    /// Instances that cannot be read, the last created first.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn unreadable(
        &self,
        _tenant: &TenantId,
        _page: PageRequest,
    ) -> Result<Page<UnreadableInstance>> {
        Ok(Page {
            items: Vec::new(),
            next: None,
        })
    }

    /// What became of these events: of each the last record, or that of the replay which settled it.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn recall(&self, asked: &[EventAt]) -> Result<Vec<Option<Arc<Handled>>>>;

    /// Records about no instance that an event from outside led to, in order of positions: whom
    /// selections chose, what was parked.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn selections(&self, tenant: &TenantId, root: &EventId) -> Result<Vec<Record>>;

    /// One instance with what waits at it, finished or not; none if it was deleted.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn instance(&self, tenant: &TenantId, id: &InstanceId) -> Result<Option<Snapshot>>;

    /// Instances that are not deleted, the last created first. What waits at them may be without its
    /// payloads.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn instances(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
        page: PageRequest,
    ) -> Result<Page<Snapshot>>;

    /// How many instances there are of each kind, without deleted ones.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn instance_counts(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
    ) -> Result<Vec<InstanceCount>>;

    /// What happened to an instance that is not deleted, the last first.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn history(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
        page: PageRequest,
    ) -> Result<Page<Entry>>;

    /// The log after a position, oldest first: at most `limit` entries that pass the filter.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if some of it has been removed.
    fn records(
        &self,
        tenant: &TenantId,
        filter: &RecordFilter,
        after: Position,
        limit: usize,
    ) -> Result<Tail>;

    /// Everything that these events from outside led to at instances that are not deleted, oldest
    /// first, at most `limit` entries.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn trace(&self, tenant: &TenantId, roots: &[EventId], limit: usize) -> Result<Vec<Entry>>;

    /// A parked event by its id; `instance` tells those apart that one broadcast left behind,
    /// without it the first is meant.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn dead_letter(
        &self,
        tenant: &TenantId,
        id: &EventId,
        instance: Option<&InstanceId>,
    ) -> Result<Option<Letter>>;

    /// Parked events, the last first.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn dead_letters(
        &self,
        tenant: &TenantId,
        filter: &LetterFilter,
        page: PageRequest,
    ) -> Result<Page<Letter>>;

    /// How many events are parked.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn dead_letter_count(&self, tenant: &TenantId, filter: &LetterFilter) -> Result<u64>;

    /// Keeps a version and its artifact. The same version with the same digest changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::VersionExists`] if the label names another artifact.
    fn save_version(&self, version: &ComponentVersion, artifact: Arc<[u8]>) -> Result<()>;

    /// Makes a version the active one of its component, at this time.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownVersion`] if it was not saved.
    fn activate_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        on_live: OnLive,
        at: Timestamp,
    ) -> Result<()>;

    /// Removes a version, and its artifact if no other version has it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownVersion`] if there is none.
    fn delete_version(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Result<()>;

    /// The versions of one component, or of all, oldest upload first.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn versions(
        &self,
        tenant: &TenantId,
        component: Option<&ComponentName>,
    ) -> Result<Vec<ComponentVersion>>;

    /// The bytes of an artifact.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    fn artifact(&self, digest: Digest) -> Result<Option<Arc<[u8]>>>;
}
