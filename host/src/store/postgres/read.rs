//! Questions about instances and the journal.

use std::sync::{Arc, PoisonError, RwLockReadGuard};

use hashbrown::HashMap;
use tokio_postgres::Row;
use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    owed::Owed,
    record::{Body, Handled, Record, Snapshot},
    time::Timestamp,
};

use super::{
    Postgres,
    retention::{EXTENT, extent},
    row::NONE,
    session::Values,
    waiting::BYTES_AT_ONCE,
};
use crate::store::{
    Entry, EventAt, Position, Result,
    ledger::Stale,
    query::{
        Counts, Cursor, Found, InstanceCount, InstanceFilter, Page, PageRequest, RecordFilter,
        Slices, Tail, gather_trace,
    },
    table::{
        self, Columns, ID, LAST_TIME, NUMBER, SELECT_EVENTS, SELECT_INSTANCES, read_instance,
        read_kind, read_taken_in, signed, unsigned,
    },
};

/// Rows that one question is answered with.
const SLICE: usize = 1_024;

/// How many rows the next question of a start is answered with: as many as have about
/// [`BYTES_AT_ONCE`], if they are as large as the last.
struct Slice {
    rows: usize,
}

impl Slice {
    /// Little is known of the first rows.
    fn first() -> Self {
        Self { rows: 16 }
    }

    /// As a limit.
    fn limit(&self) -> i64 {
        i64::try_from(self.rows).unwrap_or(i64::MAX)
    }

    /// Whether these are all that are left; else the next may be more or fewer.
    fn is_last(&mut self, rows: &[Row]) -> bool {
        let is_last = rows.len() < self.rows;
        let bytes: usize = rows.iter().map(Row::raw_size_bytes).sum();
        let each = bytes / rows.len().max(1) + 1;
        self.rows = (BYTES_AT_ONCE / each).clamp(1, SLICE);
        is_last
    }
}

impl Postgres {
    /// Reads the end of the journal as if it were written now: which instances are newer than
    /// their rows, and what is owed.
    pub(super) fn recover(&self) -> Result<()> {
        let mut writer = self.writer();
        let question = "SELECT partitions, rows_json FROM taken_in";
        let taken_in = self.readers.row(question, NONE)?;
        let taken_in = taken_in.map(|row| read_taken_in(&row)).transpose()?;
        if let Some(taken_in) = &taken_in {
            writer.ledger.owed = Owed::new(taken_in.clone());
        }
        let marks = "SELECT min(position + CASE name WHEN 'covered' THEN 1 ELSE 0 END) FROM marks";
        let from = self.readers.row(marks, NONE)?;
        let mut from: i64 = from.map(|row| row.try_get(0)).transpose()?.unwrap_or(1);
        let last = self.last_read()?.0;
        let question = format!(
            "{SELECT_EVENTS} WHERE e.position >= $1 AND e.position <= $2
             ORDER BY e.position LIMIT $3"
        );
        let mut slice = Slice::first();
        loop {
            let values: Values<'_> = &[&from, &signed(last), &slice.limit()];
            let rows = self.readers.rows(&question, values)?;
            let events = rows.iter().map(|row| self.event(row));
            let events = events.collect::<Result<Vec<_>>>()?;
            let numbers = events.iter().filter_map(|event| event.instance).collect();
            let written = self.last_of(numbers)?;
            let mut stale = self.stale.write().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                let position = event.entry.position.0;
                from = signed(position) + 1;
                writer.ledger.owed.note(position, &event.entry.record);
                if let Some(number) = event.instance
                    && written.get(&number).is_some_and(|last| position > *last)
                {
                    stale.note(number, position, position, event.entry.record.body);
                }
            }
            if slice.is_last(&rows) {
                break;
            }
        }
        if let Some(taken_in) = &taken_in {
            writer.ledger.owed.taken_in(taken_in);
        }
        let question = "SELECT max(instance) FROM instances";
        let highest = self.readers.row(question, NONE)?;
        let highest: Option<i64> = highest.and_then(|row| row.get(0));
        writer.ledger.begin(last, highest.unwrap_or_default());
        Ok(())
    }

    /// The records that rows of instances are the results of.
    fn last_of(&self, numbers: Vec<i64>) -> Result<HashMap<i64, u64>> {
        let question = "SELECT instance, last FROM instances WHERE instance = ANY($1)";
        let rows = self.readers.rows(question, &[&numbers])?;
        let last = |row: Row| Ok((row.integer(0)?, row.bits(1)?));
        rows.into_iter().map(last).collect()
    }

    /// The position of the last record that a reader sees.
    fn last_read(&self) -> Result<Position> {
        let row = self.readers.row("SELECT max(position) FROM events", NONE)?;
        let last: Option<i64> = row.and_then(|row| row.get(0));
        Ok(Position(last.map_or(0, unsigned)))
    }

    /// The latest time among the last records.
    pub(super) fn time_of_last(&self) -> Result<Timestamp> {
        let row = self.readers.row(LAST_TIME, NONE)?;
        let last: Option<i64> = row.and_then(|row| row.get(0));
        Ok(Timestamp(last.map_or(0, unsigned)))
    }

    /// Reads a row of `events`.
    pub(super) fn event(&self, row: &Row) -> Result<table::Found> {
        table::read_event(row, |number| self.deployment(number))
    }

    fn stale(&self) -> RwLockReadGuard<'_, Stale> {
        self.stale.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for rows of `instances`, and for what is newer than they are: nothing may be noted
    /// between the two.
    fn instance_rows(
        &self,
        question: &str,
        values: Values<'_>,
    ) -> Result<(Vec<Row>, RwLockReadGuard<'_, Stale>)> {
        let stale = self.stale();
        Ok((self.readers.rows(question, values)?, stale))
    }

    /// The same for people. A replica is behind in any case, and the one who writes does not wait
    /// for it.
    fn instance_rows_for_people(
        &self,
        question: &str,
        values: Values<'_>,
    ) -> Result<(Vec<Row>, RwLockReadGuard<'_, Stale>)> {
        if self.replica.is_none() {
            return self.instance_rows(question, values);
        }
        Ok((self.rows_for_people(question, values)?, self.stale()))
    }

    /// Asks the replica if there is one; of what it does not have (yet), or if it does not answer,
    /// the server that writes.
    pub(super) fn rows_for_people(&self, question: &str, values: Values<'_>) -> Result<Vec<Row>> {
        let answer = self
            .replica
            .as_ref()
            .map(|pool| pool.rows(question, values));
        match answer {
            Some(Ok(rows)) if !rows.is_empty() => return Ok(rows),
            Some(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the replica of the database did not answer"
            ),
            _ => {}
        }
        self.readers.rows(question, values)
    }

    /// An instance as it is: what is newer than its row, else the row. What waits at it is kept
    /// apart.
    fn newest(&self, stale: &Stale, row: &Row) -> Result<Snapshot> {
        match stale.get(row.integer(NUMBER)?) {
            Some(newest) => Ok(newest.snapshot().clone()),
            None => read_instance(row, |number| self.deployment(number)),
        }
    }

    /// What goes on, or is an entry point.
    pub(super) fn load_live(
        &self,
        wanted: &dyn Fn(&InstanceId) -> bool,
        take: &mut dyn FnMut(Snapshot),
    ) -> Result<()> {
        let question = format!(
            "{SELECT_INSTANCES}
             WHERE (i.status = 'active' OR i.entry_point OR i.timers_json IS NOT NULL
                    OR i.extra_json IS NOT NULL)
               AND i.instance > $1
             ORDER BY i.instance LIMIT $2"
        );
        let mut after = 0;
        let mut slice = Slice::first();
        loop {
            let values: Values<'_> = &[&after, &slice.limit()];
            let (rows, stale) = self.instance_rows(&question, values)?;
            let mut live = Vec::new();
            for row in &rows {
                after = row.integer(NUMBER)?;
                if !wanted(&InstanceId::from_stored(row.text(ID)?)) {
                    continue;
                }
                let snapshot = self.newest(&stale, row)?;
                if snapshot.is_live() {
                    live.push((after, snapshot));
                }
            }
            self.attach(live, &mut *take)?;
            if slice.is_last(&rows) {
                return Ok(());
            }
        }
    }

    /// These instances, as far as they exist.
    pub(super) fn find(&self, asked: &[(TenantId, InstanceId)]) -> Result<Vec<Snapshot>> {
        let question = format!(
            "{SELECT_INSTANCES}
             JOIN unnest($1::text[], $2::text[]) AS asked (tenant, id) ON asked.id = i.id
             JOIN tenants t ON t.name = asked.tenant AND t.tenant = i.tenant"
        );
        let mut found = Vec::with_capacity(asked.len());
        for some in asked.chunks(SLICE) {
            let tenants: Vec<&str> = some.iter().map(|(tenant, _)| tenant.as_str()).collect();
            let ids: Vec<String> = some.iter().map(|(_, id)| id.to_string()).collect();
            let values: Values<'_> = &[&tenants, &ids];
            let (rows, stale) = self.instance_rows(&question, values)?;
            let row = |row| Ok((Columns::integer(row, NUMBER)?, self.newest(&stale, row)?));
            let rows = rows.iter().map(row).collect::<Result<Vec<_>>>()?;
            self.attach(rows, |snapshot| found.push(snapshot))?;
        }
        Ok(found)
    }

    /// Walks a tenant's instances, the last created first, while `visit` says so.
    fn walk(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
        from: Option<Cursor>,
        mut visit: impl FnMut(i64, Snapshot) -> bool,
    ) -> Result<()> {
        let machine = filter.machine.as_ref().map(ToString::to_string);
        let question = format!(
            "{SELECT_INSTANCES}
             WHERE i.tenant = (SELECT tenant FROM tenants WHERE name = $1) AND i.instance < $2
               AND ($3::text IS NULL OR i.machine = $3)
             ORDER BY i.instance DESC LIMIT $4"
        );
        let mut below = from.map_or(i64::MAX, |cursor| signed(cursor.0));
        let mut slices = Slices::up_to(SLICE);
        loop {
            let limit = count(slices.rows());
            let values: Values<'_> = &[&tenant.as_str(), &below, &machine, &limit];
            let (rows, stale) = self.instance_rows_for_people(&question, values)?;
            for row in &rows {
                below = row.integer(NUMBER)?;
                let snapshot = self.newest(&stale, row)?;
                if filter.passes(&snapshot) && !visit(below, snapshot) {
                    return Ok(());
                }
            }
            if rows.len() < slices.rows() {
                return Ok(());
            }
            slices.note(bytes_of(&rows));
        }
    }

    /// A page of instances.
    pub(super) fn list(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
        page: PageRequest,
    ) -> Result<Page<Snapshot>> {
        let mut found = Found::new(page);
        self.walk(tenant, filter, page.after, |number, snapshot| {
            found.take(unsigned(number), || (number, snapshot))
        })?;
        let Page { items, next } = found.into_page();
        let items = self.attach_names(items)?;
        Ok(Page { items, next })
    }

    /// How many instances there are of each kind.
    pub(super) fn count(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
    ) -> Result<Vec<InstanceCount>> {
        let mut counts = Counts::default();
        if filter.is_about_kinds() {
            self.count_kinds(tenant, &mut counts)?;
        } else {
            self.walk(tenant, filter, None, |_, snapshot| {
                counts.add(InstanceCount::none_like(&snapshot), 1);
                true
            })?;
        }
        Ok(counts.passing(filter))
    }

    /// Counts rows, and puts those right that are behind.
    fn count_kinds(&self, tenant: &TenantId, counts: &mut Counts) -> Result<()> {
        let stale = self.stale();
        let of_tenant = stale
            .iter()
            .filter(|(_, newest)| newest.snapshot().tenant() == tenant);
        let mut numbers = Vec::new();
        for (number, newest) in of_tenant {
            numbers.push(number);
            counts.add(InstanceCount::none_like(newest.snapshot()), 1);
        }
        let rows = self.readers.rows(
            "SELECT i.version, i.machine, i.state, i.status, count(*) FROM instances i
             WHERE i.tenant = (SELECT tenant FROM tenants WHERE name = $1)
               AND NOT EXISTS (SELECT FROM unnest($2::bigint[]) AS behind (instance)
                               WHERE behind.instance = i.instance)
             GROUP BY 1, 2, 3, 4",
            &[&tenant.as_str(), &numbers],
        )?;
        drop(stale);
        for row in rows {
            let deployment = self.deployment(row.integer(0)?)?;
            let kind = read_kind(&deployment, row.text(1)?, row.text(2)?, row.text(3)?)?;
            counts.add(kind, row.bits(4)?);
        }
        Ok(())
    }

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
                let event = self.event(&row)?;
                next = event.before.map(signed);
                let position = event.entry.position.0;
                let is_event = matches!(event.entry.record.body, Body::Handled(_));
                if is_event && !found.take(position, || event.entry) {
                    return Ok(found.into_page());
                }
            }
        }
        Ok(found.into_page())
    }

    /// An instance's number and the position of its last record.
    fn end_of_journal(&self, tenant: &TenantId, id: &InstanceId) -> Result<Option<(i64, i64)>> {
        let question = "SELECT i.instance, i.last FROM instances i JOIN tenants t USING (tenant)
            WHERE t.name = $1 AND i.id = $2";
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
                next = self.event(last)?.entry.position;
            }
            Ok(rows)
        });
        let entries = rows.map(|row| Ok(self.event(&row?)?.entry));
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
               AND (e.event_id = $3 OR e.event_id > $3 || '.r' AND e.event_id < $3 || '.s')
             ORDER BY e.position DESC"
        );
        let (instance, id) = (instance.to_string(), event.to_string());
        let values: Values<'_> = &[&tenant.as_str(), &instance, &id];
        for row in self.readers.rows(&question, values)? {
            if let Body::Handled(handled) = self.event(&row)?.entry.record.body
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
        rows.iter()
            .map(|row| self.event(row).map(|event| event.entry.record))
            .collect()
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
               AND e.position > $3
             ORDER BY e.position LIMIT $4"
        );
        let mut after = Position(0);
        let rows = Self::in_slices(move |limit| {
            let values: Values<'_> = &[&roots, &tenant.as_str(), &signed(after.0), &limit];
            let rows = self.rows_for_people(&question, values)?;
            if let Some(last) = rows.last() {
                after = self.event(last)?.entry.position;
            }
            Ok(rows)
        });
        gather_trace(rows.map(|row| Ok(self.event(&row?)?.entry)), limit)
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

/// Bytes that rows occupy.
fn bytes_of(rows: &[Row]) -> usize {
    rows.iter().map(Row::raw_size_bytes).sum()
}

/// A number of rows, for a `LIMIT`.
fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
