//! What of the history goes.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use xcomponent_core::time::Timestamp;

use super::{crossing::first_waiting, row::NONE, session::Session};
use crate::store::{
    Error, Result,
    retention::{Extent, Reach, STEP, Shorten},
    table::{signed, unsigned},
};

/// What makes an instance one that is over, as the index on them says it; and not one of which
/// nobody knows what it is.
const IS_OVER: &str =
    "status <> 'active' AND NOT entry_point AND timers_json IS NULL AND extra_json IS NULL
     AND status IN ('completed', 'error', 'terminated', 'deleted')";

/// What makes an instance one that is deleted and owes nothing, as the index on them says it.
const IS_DELETED: &str = "status = 'deleted' AND timers_json IS NULL AND extra_json IS NULL";

/// Whether there are deleted instances to be removed, now or later.
pub(super) fn has_deleted(session: &mut Session) -> Result<bool> {
    let question = format!("SELECT EXISTS (SELECT FROM instances WHERE {IS_DELETED})");
    Ok(one(session.ask_one(&question, NONE)?)?.try_get(0)?)
}

/// Instances that one statement removes: each may have a history of as many records as one step
/// removes.
const FINISHED_AT_ONCE: i64 = 16;

/// Asks for the highest position of a removed record, and for how many positions up to the last
/// have none.
pub(super) const EXTENT: &str =
    "SELECT greatest(0, least(complete_after, last)), greatest(0, least(absent, last))
     FROM retention, (SELECT coalesce(max(position), 0) AS last FROM events) log";

/// Reads how much of the log there is.
pub(super) fn extent(row: Option<Row>) -> Result<Extent> {
    let Some(row) = row else {
        return Ok(Extent::default());
    };
    Ok(Extent {
        complete_after: unsigned(row.try_get(0)?),
        absent: unsigned(row.try_get(1)?),
    })
}

fn one(row: Option<Row>) -> Result<Row> {
    row.ok_or_else(|| Error::Unavailable(Some("a row is gone".into())))
}

/// Notes that positions have no record.
pub(super) fn skipped(session: &mut Session, positions: u64) -> Result<()> {
    let statement = "UPDATE retention SET absent = absent + $1";
    session.execute(statement, &[&signed(positions)])?;
    Ok(())
}

/// The log while it is shortened, within a transaction.
pub(super) struct Shortened<'s> {
    session: &'s mut Session,
    /// From here on everything stays.
    end: i64,
    reach: Reach,
    extent: Extent,
}

impl<'s> Shortened<'s> {
    /// The log as far as it is.
    pub(super) fn new(session: &'s mut Session, reach: Reach) -> Result<Self> {
        let covered = session.ask_one("SELECT position FROM marks WHERE name = 'covered'", NONE)?;
        let covered: i64 = one(covered)?.try_get(0)?;
        let awaited = first_waiting(session)?;
        Ok(Self {
            end: signed(reach.needed_from(unsigned(covered), awaited)),
            reach,
            extent: extent(session.ask_one(EXTENT, NONE)?)?,
            session,
        })
    }

    /// Notes what was done.
    pub(super) fn finish(self) -> Result<()> {
        // Together with what is removed, so that nothing seems to be owed that was settled by it.
        let mark = "UPDATE marks SET position = $1 WHERE name = 'settled_below'";
        self.session
            .execute(mark, &[&signed(self.reach.settled_below)])?;
        let statement = "UPDATE retention SET complete_after = $1, absent = $2";
        let (complete_after, absent) = (self.extent.complete_after, self.extent.absent);
        self.session
            .execute(statement, &[&signed(complete_after), &signed(absent)])?;
        Ok(())
    }
}

impl Shorten for Shortened<'_> {
    fn records(&self) -> u64 {
        self.extent.records(self.reach.last)
    }

    fn remove_oldest(&mut self, before: Timestamp, most: u64) -> Result<u64> {
        let removed = self.session.ask(
            "DELETE FROM events e USING
               (SELECT position, at FROM events WHERE position < $1 ORDER BY position LIMIT $2) first
             WHERE e.position = first.position AND e.at = first.at AND first.at < $3
             RETURNING e.position, e.instance",
            &[&self.end, &signed(most), &signed(before.0)],
        )?;
        let (mut instances, mut positions) = (Vec::new(), Vec::new());
        for row in &removed {
            let (position, instance): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
            self.extent.lost(unsigned(position));
            if let Some(instance) = instance {
                instances.push(instance);
                positions.push(position);
            }
        }
        // One whose last record this was, and that is over, has no other.
        let forget = format!(
            "DELETE FROM instances i USING unnest($1::bigint[], $2::bigint[]) AS gone (instance, last)
             WHERE i.instance = gone.instance AND i.last = gone.last AND {IS_OVER}"
        );
        self.session.execute(&forget, &[&instances, &positions])?;
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
        let start = self.extent.absent;
        while self.extent.absent - start < most {
            let first = format!(
                "SELECT i.instance, i.last, i.seq, e.at FROM
                   (SELECT instance, last, seq FROM instances WHERE {which} AND last < $1
                    ORDER BY last LIMIT $2) i
                 LEFT JOIN events e ON e.position = i.last ORDER BY i.last"
            );
            let found = self.session.ask(&first, &[&self.end, &FINISHED_AT_ONCE])?;
            // By instance: where what is left of its history ends.
            let mut rests: BTreeMap<i64, Option<i64>> = BTreeMap::new();
            let mut lasts = Vec::new();
            let mut records = self.extent.absent - start;
            for row in found {
                let at: Option<i64> = row.try_get(3)?;
                if records >= most || at.is_some_and(|at| unsigned(at) >= before.0) {
                    break;
                }
                // About as many as it had events.
                records += unsigned(row.try_get(2)?);
                rests.insert(row.try_get(0)?, None);
                lasts.push(row.try_get::<_, i64>(1)?);
            }
            if lasts.is_empty() {
                break;
            }
            self.remove_histories(&lasts, &mut rests)?;
            let (shorter, gone): (Vec<_>, Vec<_>) =
                rests.into_iter().partition(|(_, rest)| rest.is_some());
            let gone: Vec<i64> = gone.into_iter().map(|(instance, _)| instance).collect();
            let statement = "DELETE FROM instances WHERE instance = ANY($1)";
            self.session.execute(statement, &[&gone])?;
            for (instance, rest) in shorter {
                let statement = "UPDATE instances SET last = $2 WHERE instance = $1";
                self.session.execute(statement, &[&instance, &rest])?;
            }
        }
        Ok(self.extent.absent - start)
    }

    /// Removes histories from these last records on, and says of those that are longer than a step
    /// where the rest ends.
    fn remove_histories(
        &mut self,
        lasts: &[i64],
        rests: &mut BTreeMap<i64, Option<i64>>,
    ) -> Result<()> {
        let removed = self.session.ask(
            "WITH RECURSIVE history AS (
               SELECT position, at, before, instance, 1 AS length FROM events
               WHERE position = ANY($1)
               UNION ALL
               SELECT e.position, e.at, e.before, e.instance, h.length + 1
               FROM history h JOIN events e ON e.position = h.before WHERE h.length < $2)
             DELETE FROM events e USING history h WHERE e.position = h.position AND e.at = h.at
             RETURNING h.position, h.instance, CASE WHEN h.length = $2 THEN h.before END",
            &[&lasts, &i32::try_from(STEP).unwrap_or(i32::MAX)],
        )?;
        for row in removed {
            self.extent.lost(unsigned(row.try_get(0)?));
            let (instance, rest): (i64, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
            if rest.is_some() {
                rests.insert(instance, rest);
            }
        }
        Ok(())
    }
}
