//! Questions about the journal.

use std::sync::Arc;

use tokio_postgres::Row;
use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    record::{Body, Handled, Record},
};

use super::{
    Postgres,
    read::{SLICE, bytes_of, count},
    retention::{EXTENT, extent},
    row::NONE,
    session::Values,
};
use crate::store::{
    Entry, EventAt, Position, Result,
    query::{Cursor, Found, Page, PageRequest, RecordFilter, Slices, Tail, gather_trace, is_shown},
    table::{BEFORE, Columns as _, POSITION, SELECT_EVENTS, SHOWN, signed, unsigned},
};

impl Postgres {
    /// A page of an instance's history.
    pub(super) fn history_of(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
        page: PageRequest,
    ) -> Result<Page<Entry>> {
        let mut found = Found::new(page);
        let Some((number, last)) = self.end_of_journal(tenant, instance)? else {
            return Ok(found.into_page());
        };
        let mut next = Some(last);
        if let Some(Cursor(after)) = page.after {
            let question = "SELECT before FROM events WHERE position = $1 AND instance = $2";
            let rows = self.rows_for_people(question, &[&signed(after), &number])?;
            next = rows.first().and_then(|row| row.get(0));
        }
        // One question for the places and one for what is there: a planner that knows little of
        // the table would join the two by reading all of it. The limit of one is for it, too.
        let places = "WITH RECURSIVE back (position, before, depth) AS (
               SELECT position, before, 0::bigint FROM events WHERE position = $1
               UNION ALL
               SELECT e.position, e.before, back.depth + 1
               FROM back, LATERAL (SELECT position, before FROM events
                                   WHERE position = back.before LIMIT 1) AS e
               WHERE back.depth < $2)
             SELECT position FROM back";
        let question =
            format!("{SELECT_EVENTS} WHERE e.position = ANY($1) ORDER BY e.position DESC");
        let mut slices = Slices::up_to(page.bounded());
        while let Some(position) = next {
            let depth = count(slices.rows());
            let places = self.rows_for_people(places, &[&position, &depth])?;
            let places: Vec<i64> = places.iter().map(|row| row.get(0)).collect();
            // The rest may have been removed.
            next = None;
            let rows = self.rows_for_people(&question, &[&places])?;
            slices.note(bytes_of(&rows));
            for row in rows {
                let position = row.bits(POSITION)?;
                let before = row.number(BEFORE)?;
                next = before.filter(|before| unsigned(*before) < position);
                let Some(entry) = self.entry(&row)? else {
                    continue;
                };
                if is_shown(&entry.record.body) && !found.take(position, || entry) {
                    return Ok(found.into_page());
                }
            }
        }
        Ok(found.into_page())
    }

    /// An instance's number and the position of its last record.
    fn end_of_journal(&self, tenant: &TenantId, id: &InstanceId) -> Result<Option<(i64, i64)>> {
        let question = "SELECT i.instance, i.last FROM instances i JOIN tenants t USING (tenant)
            WHERE t.name = $1 AND i.id = $2 AND i.status <> 'deleted'";
        let values: Values<'_> = &[&tenant.as_str(), &id.to_string()];
        let (rows, stale) = self.instance_rows(question, values)?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let (number, last) = (row.integer(0)?, row.integer(1)?);
        let newest = stale.get(number).map(|newest| signed(newest.last));
        Ok(Some((number, newest.unwrap_or(last))))
    }

    /// A stretch of the log.
    pub(super) fn stretch(
        &self,
        tenant: &TenantId,
        filter: &RecordFilter,
        after: Position,
        limit: usize,
    ) -> Result<Tail> {
        let through = self.last_read()?.0.min(after.0 + SLICE as u64);
        let question = format!(
            "{SELECT_EVENTS} WHERE e.position > $1 AND e.position <= $2 AND t.name = $3
             ORDER BY e.position LIMIT $4"
        );
        let mut next = after;
        let rows = Self::in_slices(move |limit| {
            let values: Values<'_> = &[&signed(next.0), &signed(through), &tenant.as_str(), &limit];
            let rows = self.readers.rows(&question, values)?;
            if let Some(last) = rows.last() {
                next = Position(last.bits(POSITION)?);
            }
            Ok(rows)
        });
        let entries = rows.filter_map(|row| row.and_then(|row| self.entry(&row)).transpose());
        let tail = Tail::gather(entries, filter, (after, Position(through)), limit)?;
        // What was removed by now may have been missing before.
        extent(self.readers.row(EXTENT, NONE)?)?.reaches(after)?;
        Ok(tail)
    }

    /// What became of an event.
    pub(super) fn recall_one(
        &self,
        (tenant, instance, event): &EventAt,
    ) -> Result<Option<Arc<Handled>>> {
        let question = format!(
            "{SELECT_EVENTS} WHERE t.name = $1 AND i.id = $2
               AND (e.event_id = $3 OR e.event_id > $4 AND e.event_id < $5)
             ORDER BY e.position DESC"
        );
        let (instance, id) = (instance.to_string(), event.to_string());
        let [from, below] = event.replays();
        let values: Values<'_> = &[&tenant.as_str(), &instance, &id, &from, &below];
        for row in self.readers.rows(&question, values)? {
            if let Some(entry) = self.entry(&row)?
                && let Body::Handled(handled) = entry.record.body
                && (handled.event.id == *event || handled.settles.as_ref() == Some(event))
            {
                return Ok(Some(handled));
            }
        }
        Ok(None)
    }

    /// Whom the selections of an event from outside chose, and what of it was parked.
    pub(super) fn selections_of(&self, tenant: &TenantId, root: &EventId) -> Result<Vec<Record>> {
        let question = format!(
            "{SELECT_EVENTS} WHERE e.root = $1 AND t.name = $2 AND e.instance IS NULL
             ORDER BY e.position"
        );
        let root = root.to_string();
        let rows = self.readers.rows(&question, &[&root, &tenant.as_str()])?;
        let entries = self.entries(&rows)?.into_iter();
        Ok(entries.map(|entry| entry.record).collect())
    }

    /// What these events from outside led to.
    pub(super) fn trace_of(
        &self,
        tenant: &TenantId,
        roots: &[EventId],
        limit: usize,
    ) -> Result<Vec<Entry>> {
        let roots: Vec<String> = roots.iter().map(ToString::to_string).collect();
        let question = format!(
            "{SELECT_EVENTS} WHERE (e.root = ANY($1) OR e.event_id = ANY($1)) AND t.name = $2
               AND e.position > $3 AND {SHOWN}
             ORDER BY e.position LIMIT $4"
        );
        let mut after = Position(0);
        let rows = Self::in_slices(move |limit| {
            let values: Values<'_> = &[&roots, &tenant.as_str(), &signed(after.0), &limit];
            let rows = self.rows_for_people(&question, values)?;
            if let Some(last) = rows.last() {
                after = Position(last.bits(POSITION)?);
            }
            Ok(rows)
        });
        let entries = rows.filter_map(|row| row.and_then(|row| self.entry(&row)).transpose());
        gather_trace(entries, limit)
    }

    /// Rows that are asked for slice by slice, so that large ones do not all come at once.
    fn in_slices(
        mut ask: impl FnMut(i64) -> Result<Vec<Row>>,
    ) -> impl Iterator<Item = Result<Row>> {
        let mut slices = Slices::up_to(SLICE);
        let mut is_last = false;
        let slices = std::iter::from_fn(move || {
            if is_last {
                return None;
            }
            let asked = slices.rows();
            let rows = ask(count(asked));
            is_last = rows.as_ref().map_or(true, |rows| rows.len() < asked);
            if let Ok(rows) = &rows {
                slices.note(bytes_of(rows));
            }
            Some(rows)
        });
        slices.flat_map(|rows| match rows {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    }
}
