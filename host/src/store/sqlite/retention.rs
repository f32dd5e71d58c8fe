//! What of the history goes.

use rusqlite::{Connection, OptionalExtension, params};
use xcomponent_core::time::Timestamp;

use super::{crossing::first_waiting, writer::mark};
use crate::store::{
    Result,
    retention::{Extent, Reach, STEP, Shorten},
    table::{signed, unsigned},
};

/// What makes an instance one that is over, as the index on them says it; and not one of which
/// nobody knows what it is.
const IS_OVER: &str =
    "status <> 'active' AND entry_point = 0 AND timers_json IS NULL AND extra_json IS NULL
     AND status IN ('completed', 'error', 'terminated', 'deleted')";

/// What makes an instance one that is deleted and owes nothing, as the index on them says it.
const IS_DELETED: &str = "status = 'deleted' AND timers_json IS NULL AND extra_json IS NULL";

/// Whether there are deleted instances to be removed, now or later.
pub(super) fn has_deleted(connection: &Connection) -> Result<bool> {
    let question = format!("SELECT EXISTS (SELECT 1 FROM instances WHERE {IS_DELETED})");
    let mut statement = connection.prepare_cached(&question)?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// Reads how much of the log there is.
pub(super) fn extent(connection: &Connection) -> Result<Extent> {
    let extent = connection
        .prepare_cached(
            "SELECT max(0, min(complete_after, last)), max(0, min(absent, last))
             FROM retention, (SELECT coalesce(max(position), 0) AS last FROM events)",
        )?
        .query_row([], |row| {
            Ok(Extent {
                complete_after: unsigned(row.get(0)?),
                absent: unsigned(row.get(1)?),
            })
        })
        .optional()?;
    Ok(extent.unwrap_or_default())
}

/// Notes that positions have no record.
pub(super) fn skipped(connection: &Connection, positions: u64) -> Result<()> {
    connection
        .prepare_cached("UPDATE retention SET absent = absent + ?1")?
        .execute([signed(positions)])?;
    Ok(())
}

/// The log while it is shortened, within a transaction.
pub(super) struct Shortened<'c> {
    connection: &'c Connection,
    /// From here on everything stays.
    end: i64,
    reach: Reach,
    extent: Extent,
}

impl<'c> Shortened<'c> {
    /// The log as far as it is.
    pub(super) fn new(connection: &'c Connection, reach: Reach) -> Result<Self> {
        let covered: i64 = connection
            .prepare_cached("SELECT position FROM marks WHERE name = 'covered'")?
            .query_row([], |row| row.get(0))?;
        Ok(Self {
            connection,
            end: signed(reach.needed_from(unsigned(covered), first_waiting(connection)?)),
            reach,
            extent: extent(connection)?,
        })
    }

    /// Notes what was done.
    pub(super) fn finish(self) -> Result<()> {
        // Together with what is removed, so that nothing seems to be owed that was settled by it.
        mark(self.connection, "settled_below", self.reach.settled_below)?;
        let Extent {
            complete_after,
            absent,
        } = self.extent;
        self.connection
            .prepare_cached("UPDATE retention SET complete_after = ?1, absent = ?2")?
            .execute([signed(complete_after), signed(absent)])?;
        Ok(())
    }

    /// Removes an instance's records from the last one on; where the rest of them ends, if that is
    /// left for another time.
    fn remove_history(&mut self, last: i64) -> Result<Option<i64>> {
        let mut remove = self
            .connection
            .prepare_cached("DELETE FROM events WHERE position = ?1 RETURNING before")?;
        let mut next = Some(last);
        for _ in 0..STEP {
            let Some(position) = next else { break };
            let removed: Option<Option<i64>> =
                remove.query_row([position], |row| row.get(0)).optional()?;
            let Some(before) = removed else {
                // What is older has gone before.
                return Ok(None);
            };
            self.extent.lost(unsigned(position));
            next = before;
        }
        Ok(next)
    }
}

impl Shorten for Shortened<'_> {
    fn records(&self) -> u64 {
        self.extent.records(self.reach.last)
    }

    fn remove_oldest(&mut self, before: Timestamp, most: u64) -> Result<u64> {
        let connection = self.connection;
        let mut remove = connection.prepare_cached(
            "DELETE FROM events WHERE position IN
               (SELECT position FROM
                  (SELECT position, at FROM events WHERE position < ?1 ORDER BY position LIMIT ?2)
                WHERE at < ?3)
             RETURNING position, instance",
        )?;
        // One whose last record this was, and that is over, has no other.
        let mut forget = connection.prepare_cached(&format!(
            "DELETE FROM instances WHERE instance = ?1 AND last = ?2 AND {IS_OVER}"
        ))?;
        let removed = remove
            .query_map(params![self.end, signed(most), signed(before.0)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<Vec<(i64, Option<i64>)>>>()?;
        for (position, instance) in &removed {
            self.extent.lost(unsigned(*position));
            if let Some(instance) = instance {
                forget.execute([instance, position])?;
            }
        }
        Ok(removed.len() as u64)
    }

    fn remove_deleted(&mut self, before: Timestamp, most: u64) -> Result<u64> {
        self.remove_instances(IS_DELETED, before, most)
    }

    fn remove_finished(&mut self, before: Timestamp, most: u64) -> Result<u64> {
        self.remove_instances(IS_OVER, before, most)
    }
}

impl Shortened<'_> {
    /// Removes instances of a kind with all their records, the one with the oldest end first.
    fn remove_instances(&mut self, which: &str, before: Timestamp, most: u64) -> Result<u64> {
        let connection = self.connection;
        let mut first = connection.prepare_cached(&format!(
            "SELECT instance, last, (SELECT at FROM events WHERE position = last) FROM instances
             WHERE {which} AND last < ?1 ORDER BY last LIMIT 1"
        ))?;
        let mut forget = connection.prepare_cached("DELETE FROM instances WHERE instance = ?1")?;
        let mut shorten =
            connection.prepare_cached("UPDATE instances SET last = ?2 WHERE instance = ?1")?;
        let start = self.extent.absent;
        while self.extent.absent - start < most {
            let found: Option<(i64, i64, Option<i64>)> = first
                .query_row([self.end], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let Some((instance, last, at)) = found else {
                break;
            };
            if at.is_some_and(|at| unsigned(at) >= before.0) {
                break;
            }
            match self.remove_history(last)? {
                None => forget.execute([instance])?,
                Some(rest) => shorten.execute([instance, rest])?,
            };
        }
        Ok(self.extent.absent - start)
    }
}
