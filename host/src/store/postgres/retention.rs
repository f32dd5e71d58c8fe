//! What of the history goes.

use std::collections::BTreeMap;

use xcomponent_core::time::Timestamp;

use super::{row::NONE, session::Session};
use crate::store::{
    Error, Result,
    retention::{STEP, Shorten},
    table::{signed, unsigned},
};

/// What makes an instance one that is over, as the index on them says it.
const IS_OVER: &str = "status <> 'active' AND NOT entry_point AND timers_json IS NULL";

/// Instances that one statement removes: each may have a history of as many records as one step
/// removes.
const FINISHED_AT_ONCE: i64 = 16;

/// Asks for the highest position of a removed record, and for how many positions up to the last
/// have none.
pub(super) const EXTENT: &str = "SELECT complete_after, absent FROM retention";

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
    last: u64,
    settled_below: i64,
    complete_after: i64,
    absent: i64,
    removed: u64,
}

impl<'s> Shortened<'s> {
    /// The log up to `last`; of what comes before `settled_below`, that stays which rows of
    /// instances miss.
    pub(super) fn new(session: &'s mut Session, settled_below: u64, last: u64) -> Result<Self> {
        let one = |row: Option<_>| row.ok_or_else(|| Error::Unavailable(Some("no row".into())));
        let covered = session.ask_one("SELECT position FROM marks WHERE name = 'covered'", NONE)?;
        let covered: i64 = one(covered)?.try_get(0)?;
        let extent = one(session.ask_one(EXTENT, NONE)?)?;
        Ok(Self {
            end: signed(last.min(settled_below).min(unsigned(covered) + 1)),
            last,
            settled_below: signed(settled_below),
            complete_after: extent.try_get(0)?,
            absent: extent.try_get(1)?,
            removed: 0,
            session,
        })
    }

    /// Notes what was done.
    pub(super) fn finish(self) -> Result<()> {
        if self.removed == 0 {
            return Ok(());
        }
        // Together with what is removed, so that nothing seems to be owed that was settled by it.
        let mark = "UPDATE marks SET position = $1 WHERE name = 'settled_below'";
        self.session.execute(mark, &[&self.settled_below])?;
        let statement = "UPDATE retention SET complete_after = $1, absent = $2";
        self.session
            .execute(statement, &[&self.complete_after, &self.absent])?;
        Ok(())
    }

    fn is_gone(&mut self, position: i64) {
        self.removed += 1;
        self.absent += 1;
        self.complete_after = self.complete_after.max(position);
    }
}

impl Shorten for Shortened<'_> {
    fn records(&self) -> u64 {
        self.last.saturating_sub(unsigned(self.absent))
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
            self.is_gone(position);
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

    fn remove_finished(&mut self, before: Timestamp, most: u64) -> Result<u64> {
        let start = self.removed;
        while self.removed - start < most {
            let first = format!(
                "SELECT i.instance, i.last, i.seq, e.at FROM
                   (SELECT instance, last, seq FROM instances WHERE {IS_OVER} AND last < $1
                    ORDER BY last LIMIT $2) i
                 LEFT JOIN events e ON e.position = i.last ORDER BY i.last"
            );
            let found = self.session.ask(&first, &[&self.end, &FINISHED_AT_ONCE])?;
            // By instance: where what is left of its history ends.
            let mut rests: BTreeMap<i64, Option<i64>> = BTreeMap::new();
            let mut lasts = Vec::new();
            let mut records = self.removed - start;
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
        Ok(self.removed - start)
    }
}

impl Shortened<'_> {
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
            self.is_gone(row.try_get(0)?);
            let (instance, rest): (i64, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
            if rest.is_some() {
                rests.insert(instance, rest);
            }
        }
        Ok(())
    }
}
