//! The database's file: who may use it, how it is opened, how an older one is brought up to date.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{OpenError, waiting};
use crate::{private, store::Result};

/// `PRAGMA application_id`: what says that a database is one of this program ("xcmp").
const APPLICATION_ID: i64 = 0x7863_6d70;

/// What leads from each schema to the next; the schema's number is `PRAGMA user_version`.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
];

/// The schema since which what waits has rows of its own.
const WAITING_SINCE: usize = 6;

/// How long to wait for somebody else's transaction, such as that of a shell.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a page: what a lone event costs is mostly the pages that it changes.
pub(super) const PAGE_BYTES: i64 = 4_096;

/// KiB of pages that the connection that writes keeps. After a transaction that split a page SQLite
/// goes through all of them.
const WRITER_CACHE_KIB: i64 = 32 << 10;

/// Keeps other hosts away while it lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock ends when the file is closed")] File);

/// Takes the database for this process.
pub(super) fn lock(path: &Path) -> Result<Lock, OpenError> {
    private::folder(path.parent().unwrap_or_else(|| Path::new("")))?;
    let name = beside(path, ".lock");
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true);
    let file = private::open(&name, options)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(OpenError::File { path: name, source }),
    }
}

/// Opens the connection that writes.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| OpenError::Database {
        path: path.to_owned(),
        source,
    };
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let found = schema_of(&connection).map_err(failed)?;
    let known = newest();
    match found {
        None => {
            return Err(failed(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB),
                Some("it is a database of another program".to_owned()),
            )));
        }
        Some(found) if found > known => {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found,
                known,
            });
        }
        Some(found) => {
            set_up(&connection, found == 0).map_err(failed)?;
            migrate(&mut connection, found).map_err(failed)?;
        }
    }
    Ok(connection)
}

/// Opens a connection that neither reads nor writes, and copies the write-ahead log.
pub(super) fn open_beside(path: &Path) -> Result<Connection, OpenError> {
    let opened = Connection::open(path).and_then(|connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(connection)
    });
    opened.map_err(|source| OpenError::Database {
        path: path.to_owned(),
        source,
    })
}

/// Opens a connection that only reads.
pub(super) fn open_to_read(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The schema of a database: 0 = it is empty; none = it is not one of this program.
fn schema_of(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let schema: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_empty = application == 0 && schema == 0 && tables == 0;
    Ok((is_empty || application == APPLICATION_ID).then_some(schema))
}

fn set_up(connection: &Connection, is_new: bool) -> rusqlite::Result<()> {
    if is_new {
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // They say what belongs to what. That it does is for this program to see to: an instance that
    // goes would be looked for in the whole journal.
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Leads from the schema that is there to the newest, all or nothing.
fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    let found = usize::try_from(found).unwrap_or(MIGRATIONS.len());
    if found >= MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    for (step, number) in MIGRATIONS.iter().zip(1..).skip(found) {
        transaction.execute_batch(step)?;
        if number == WAITING_SINCE {
            waiting::move_out(&transaction)?;
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", newest())?;
    transaction.commit()
}

/// The newest schema.
fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("a handful fits")
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
