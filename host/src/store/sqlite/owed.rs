//! How far the shards were: what a host that starts must know to tell what is owed.

use rusqlite::{Connection, params};
use xcomponent_core::owed::TakenIn;

use crate::store::{
    Position, Result,
    table::{everything_through, read_taken_in, taken_in_text},
    unreadable::Unreadables,
};

/// Keeps how far the shards are.
pub(super) fn write(connection: &Connection, taken_in: &TakenIn) -> Result<()> {
    let partitions = taken_in.placement.partitions.get();
    connection
        .prepare_cached("INSERT OR REPLACE INTO taken_in VALUES (1, ?1, ?2)")?
        .execute(params![partitions, taken_in_text(taken_in)])?;
    Ok(())
}

/// How far the shards were; none if they never began. If that cannot be read, they are said to have
/// taken everything in up to the last record, which is so unless the host before this one was
/// killed: to begin again what was finished would be worse.
pub(super) fn read(
    connection: &Connection,
    unreadable: &Unreadables,
    last: Position,
) -> Result<Option<TakenIn>> {
    let mut statement = connection.prepare_cached("SELECT partitions, rows_json FROM taken_in")?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let read = unreadable.leave_out(read_taken_in(row), || "that of `taken_in`".to_owned())?;
    Ok(Some(read.unwrap_or_else(|| everything_through(last))))
}
