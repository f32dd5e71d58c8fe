//! How far the shards were: what a host that starts must know to tell what is owed.

use rusqlite::{Connection, params};
use xcomponent_core::owed::TakenIn;

use crate::store::{
    Result,
    table::{read_taken_in, taken_in_text},
};

/// Keeps how far the shards are.
pub(super) fn write(connection: &Connection, taken_in: &TakenIn) -> Result<()> {
    let partitions = taken_in.placement.partitions.get();
    connection
        .prepare_cached("INSERT OR REPLACE INTO taken_in VALUES (1, ?1, ?2)")?
        .execute(params![partitions, taken_in_text(taken_in)])?;
    Ok(())
}

/// How far the shards were; none if they never began.
pub(super) fn read(connection: &Connection) -> Result<Option<TakenIn>> {
    let mut statement = connection.prepare_cached("SELECT partitions, rows_json FROM taken_in")?;
    let mut rows = statement.query([])?;
    rows.next()?.map(read_taken_in).transpose()
}
