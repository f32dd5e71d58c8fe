//! The row of `taken_in`: what a host that starts must know to tell what is owed.

use std::sync::Arc;

use xcomponent_core::{
    id::PartitionCount,
    owed::{Placement, TakenIn},
};

use super::Columns;
use crate::store::{
    Position, Result,
    stored::{Malformed, of_text, to_text},
};

/// How far the shards are, as `rows_json` has it.
pub(in crate::store) fn taken_in_text(taken_in: &TakenIn) -> String {
    let rows: Vec<&[u64]> = taken_in.rows.iter().map(|row| &**row).collect();
    to_text(&rows)
}

/// What is said where that cannot be read.
pub(in crate::store) fn everything_through(last: Position) -> TakenIn {
    let placement = Placement {
        partitions: PartitionCount::DEFAULT,
        shards: 1,
    };
    TakenIn::all(placement, last.0)
}

/// Reads `partitions` and `rows_json`.
pub(in crate::store) fn read_taken_in(row: &impl Columns) -> Result<TakenIn> {
    let partitions = u32::try_from(row.integer(0)?).ok();
    let partitions = partitions.and_then(PartitionCount::new);
    let rows: Vec<Vec<u64>> = of_text(row.text(1)?)?;
    if rows.is_empty() || rows.iter().any(|row| row.len() != rows.len()) {
        return Err(Malformed::Word(row.text(1)?.to_owned(), "table of shards").into());
    }
    let placement = Placement {
        partitions: partitions.unwrap_or(PartitionCount::DEFAULT),
        shards: rows.len(),
    };
    Ok(TakenIn {
        placement,
        rows: rows.into_iter().map(Arc::from).collect(),
    })
}
