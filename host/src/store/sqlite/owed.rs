//! How far the shards were: what a host that starts must know to tell what is owed.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use xcomponent_core::{
    id::PartitionCount,
    owed::{Placement, TakenIn},
};

use super::row::text;
use crate::store::{
    Result,
    stored::{of_text, to_text},
};

/// Keeps how far the shards are.
pub(super) fn write(connection: &Connection, taken_in: &TakenIn) -> Result<()> {
    let rows: Vec<&[u64]> = taken_in.rows.iter().map(|row| &**row).collect();
    connection
        .prepare_cached("INSERT OR REPLACE INTO taken_in VALUES (1, ?1, ?2)")?
        .execute(params![taken_in.placement.partitions.get(), to_text(&rows)])?;
    Ok(())
}

/// How far the shards were; none if they never began.
pub(super) fn read(connection: &Connection) -> Result<Option<TakenIn>> {
    let stored = connection
        .prepare_cached("SELECT partitions, rows_json FROM taken_in")?
        .query_row([], |row| Ok((row.get(0)?, text(row, 1)?.to_owned())))
        .optional()?;
    let Some((partitions, rows)) = stored else {
        return Ok(None);
    };
    let rows: Vec<Vec<u64>> = of_text(&rows)?;
    let placement = Placement {
        partitions: PartitionCount::new(partitions).unwrap_or(PartitionCount::DEFAULT),
        shards: rows.len(),
    };
    Ok(Some(TakenIn {
        placement,
        rows: rows.into_iter().map(Arc::from).collect(),
    }))
}
