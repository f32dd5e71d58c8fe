//! What of the history goes.

use rusqlite::{Connection, OptionalExtension, params};
use xcomponent_core::time::Timestamp;

use crate::store::{
    Result,
    retention::{STEP, Shorten},
    table::{signed, unsigned},
};

/// What makes an instance one that is over, as the index on them says it.
const IS_OVER: &str = "status <> 'active' AND entry_point = 0 AND timers_json IS NULL";

/// How much of the log there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// The highest position of a removed record.
    pub(super) complete_after: u64,
    /// Positions up to the last that have no record.
    absent: u64,
}

/// Reads how much of the log there is.
pub(super) fn extent(connection: &Connection) -> Result<Extent> {
    let extent = connection
        .prepare_cached("SELECT complete_after, absent FROM retention")?
        .query_row([], |row| {
            Ok(Extent {
                complete_after: unsigned(row.get(0)?),
                absent: unsigned(row.get(1)?),
            })
        })?;
    Ok(extent)
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
    last: u64,
    extent: Extent,
    removed: u64,
}

impl<'c> Shortened<'c> {
    /// The log up to `last`; records from `end` on stay.
    pub(super) fn new(connection: &'c Connection, end: u64, last: u64) -> Result<Self> {
        Ok(Self {
            connection,
            end: signed(end),
            last,
            extent: extent(connection)?,
            removed: 0,
        })
    }

    /// Notes what was done; whether anything was.
    pub(super) fn finish(self) -> Result<bool> {
        let Extent {
            complete_after,
            absent,
        } = self.extent;
        self.connection
            .prepare_cached("UPDATE retention SET complete_after = ?1, absent = ?2")?
            .execute([signed(complete_after), signed(absent)])?;
        Ok(self.removed > 0)
    }

    fn is_gone(&mut self, position: i64) {
        self.removed += 1;
        self.extent.absent += 1;
        self.extent.complete_after = self.extent.complete_after.max(unsigned(position));
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
            self.is_gone(position);
            next = before;
        }
        Ok(next)
    }
}

impl Shorten for Shortened<'_> {
    fn records(&self) -> u64 {
        self.last.saturating_sub(self.extent.absent)
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
            self.is_gone(*position);
            if let Some(instance) = instance {
                forget.execute([instance, position])?;
            }
        }
        Ok(removed.len() as u64)
    }

    fn remove_finished(&mut self, before: Timestamp, most: u64) -> Result<u64> {
        let connection = self.connection;
        let mut first = connection.prepare_cached(&format!(
            "SELECT instance, last, (SELECT at FROM events WHERE position = last) FROM instances
             WHERE {IS_OVER} AND last < ?1 ORDER BY last LIMIT 1"
        ))?;
        let mut forget = connection.prepare_cached("DELETE FROM instances WHERE instance = ?1")?;
        let mut shorten =
            connection.prepare_cached("UPDATE instances SET last = ?2 WHERE instance = ?1")?;
        let start = self.removed;
        while self.removed - start < most {
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
        Ok(self.removed - start)
    }
}
