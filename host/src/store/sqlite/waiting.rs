//! What waits at instances.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params, params_from_iter};
use xcomponent_core::record::Snapshot;

use crate::store::{
    Result,
    table::{Gathered, OLD_ROWS, OldRow, SELECT_NAMES, SELECT_WAITING, WaitingChanges},
};

/// Adds a row to `waiting`; it replaces the one under the same name.
const PUT: &str = "INSERT OR REPLACE INTO waiting VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Does what a batch changes.
pub(super) fn note(connection: &Connection, changes: &WaitingChanges<'_>) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut remove = connection.prepare_cached(
        "DELETE FROM waiting WHERE instance = ?1 AND kind = ?2 AND event_id = ?3",
    )?;
    for (instance, kind, id) in changes.gone() {
        remove.execute(params![instance, kind.as_str(), id.to_string()])?;
    }
    let mut put = connection.prepare_cached(PUT)?;
    for row in changes.rows() {
        put.execute(params_from_iter(row.cells()))?;
    }
    Ok(())
}

/// The instance with this number, with what waits at it.
pub(super) fn attach(connection: &Connection, number: i64, found: Snapshot) -> Result<Snapshot> {
    gather(connection, SELECT_WAITING, number, found)
}

/// The same with the names of what waits only: a page of instances holds no payloads of events.
pub(super) fn attach_names(
    connection: &Connection,
    number: i64,
    found: Snapshot,
) -> Result<Snapshot> {
    gather(connection, SELECT_NAMES, number, found)
}

fn gather(
    connection: &Connection,
    question: &str,
    number: i64,
    found: Snapshot,
) -> Result<Snapshot> {
    if found.waiting_bytes() == 0 {
        return Ok(found);
    }
    let question = format!("{question} WHERE w.instance = ?1");
    let mut statement: CachedStatement<'_> = connection.prepare_cached(&question)?;
    let mut rows = statement.query([number])?;
    let mut gathered = Gathered::default();
    while let Some(row) = rows.next()? {
        gathered.add(row)?;
    }
    Ok(gathered.attach(found))
}

/// Gives what waits rows of its own in a database that has none of them yet. A row that cannot be
/// read stays as it is.
pub(super) fn move_out(connection: &Connection) -> rusqlite::Result<()> {
    let question = format!("{OLD_ROWS} AND i.instance > ?1 ORDER BY i.instance LIMIT 1");
    let mut next = connection.prepare(&question)?;
    let mut put = connection.prepare(PUT)?;
    let mut update = connection
        .prepare("UPDATE instances SET timers_json = ?2, extra_json = ?3 WHERE instance = ?1")?;
    let mut after = 0_i64;
    loop {
        let found = next
            .query_row([after], |row| Ok((row.get(0)?, OldRow::read(row))))
            .optional()?;
        let Some((instance, old)) = found else {
            return Ok(());
        };
        after = instance;
        match old {
            Ok(old) => {
                for row in &old.rows() {
                    put.execute(params_from_iter(row.cells()))?;
                }
                let (timers, extra) = old.texts();
                update.execute(params![instance, timers, extra])?;
            }
            Err(error) => tracing::error!(
                instance,
                error = &error as &dyn std::error::Error,
                "what waits at an instance cannot be read; its row is left as it is"
            ),
        }
    }
}
