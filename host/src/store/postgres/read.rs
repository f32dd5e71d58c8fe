//! Questions about instances and the journal.

use std::sync::{PoisonError, RwLockReadGuard};

use hashbrown::HashMap;
use tokio_postgres::Row;
use xcomponent_core::{
    id::{InstanceId, TenantId},
    input::Found as Asked,
    owed::Owed,
    record::Snapshot,
    time::Timestamp,
};

use super::{Postgres, row::NONE, session::Values, waiting::BYTES_AT_ONCE};
use crate::store::{
    Entry, Error, Position, Result,
    ledger::{Recovered, Stale},
    query::{
        Counts, Cursor, Found, InstanceCount, InstanceFilter, Page, PageRequest, Search, Slices,
    },
    table::{
        self, Columns, ID, INSTANCE, LAST_TIME, NUMBER, POSITION, SELECT_EVENTS, SELECT_INSTANCES,
        everything_through, read_instance, read_kind, read_taken_in, signed, unsigned,
    },
    unreadable::UnreadableInstance,
};

/// Rows that one question is answered with.
pub(super) const SLICE: usize = 1_024;

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
        let last = self.last_read()?.0;
        let taken_in = self.readers.row(question, NONE)?.map(|row| {
            let read = read_taken_in(&row);
            let read = self
                .unreadable
                .leave_out(read, || "that of `taken_in`".to_owned())?;
            Ok::<_, Error>(read.unwrap_or_else(|| everything_through(Position(last))))
        });
        let taken_in = taken_in.transpose()?;
        if let Some(taken_in) = &taken_in {
            writer.ledger.owed = Owed::new(taken_in.clone());
        }
        self.name_log(&mut writer)?;
        let mut from = self.begin_at(last)?;
        let question = format!(
            "{SELECT_EVENTS} WHERE e.position >= $1 AND e.position <= $2
             ORDER BY e.position LIMIT $3"
        );
        let mut slice = Slice::first();
        loop {
            let values: Values<'_> = &[&from, &signed(last), &slice.limit()];
            let rows = self.readers.rows(&question, values)?;
            let found = rows.iter().map(|row| {
                Ok(Recovered {
                    position: row.bits(POSITION)?,
                    instance: row.number(INSTANCE)?,
                    event: self.event(row),
                })
            });
            let found = found.collect::<Result<Vec<_>>>()?;
            let numbers = found.iter().filter_map(|row| row.instance).collect();
            let written = self.last_of(numbers)?;
            let mut stale = self.stale.write().unwrap_or_else(PoisonError::into_inner);
            for row in found {
                from = signed(row.position) + 1;
                let last = row
                    .instance
                    .and_then(|number| written.get(&number).copied());
                row.note(last, &self.unreadable, &mut writer.ledger, &mut stale)?;
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

    /// The end of the log that a host that starts looks at. What says where that begins is looked at
    /// as well: where it is missing or beyond the end, that is the whole log.
    fn begin_at(&self, last: u64) -> Result<i64> {
        let question = "SELECT count(*), min(position + CASE name WHEN 'covered' THEN 1 ELSE 0 END)
            FROM marks WHERE name IN ('covered', 'settled_below') AND position BETWEEN 0 AND $1";
        let row = self.readers.row(question, &[&signed(last + 1)])?;
        let marks = row.map(|row| Ok::<_, Error>((row.integer(0)?, row.number(1)?)));
        Ok(match marks.transpose()? {
            Some((2, Some(from))) => from,
            _ => {
                tracing::error!("what says where the end of the log begins cannot be read");
                0
            }
        })
    }

    /// The records that rows of instances are the results of.
    fn last_of(&self, numbers: Vec<i64>) -> Result<HashMap<i64, u64>> {
        let question = "SELECT instance, last FROM instances WHERE instance = ANY($1)";
        let rows = self.readers.rows(question, &[&numbers])?;
        let last = |row: Row| Ok((row.integer(0)?, row.bits(1)?));
        let last = rows.into_iter().map(last);
        last.collect()
    }

    /// The position of the last record that a reader sees.
    pub(super) fn last_read(&self) -> Result<Position> {
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
    pub(super) fn event(&self, row: &Row) -> Result<Entry> {
        table::read_event(row, |number| self.deployment(number))
    }

    /// The same where others are read too: one that cannot be read is left out.
    pub(super) fn entry(&self, row: &Row) -> Result<Option<Entry>> {
        let position = row.bits(POSITION)?;
        self.unreadable
            .leave_out(self.event(row), || format!("record {position}"))
    }

    /// Rows of `events` as far as they can be read.
    pub(super) fn entries(&self, rows: &[Row]) -> Result<Vec<Entry>> {
        let entries = rows.iter().map(|row| self.entry(row));
        entries.filter_map(Result::transpose).collect()
    }

    fn stale(&self) -> RwLockReadGuard<'_, Stale> {
        self.stale.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for rows of `instances`, and for what is newer than they are: nothing may be noted
    /// between the two.
    pub(super) fn instance_rows(
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

    /// An instance as it is: what is newer than its row, else the row. Or why it cannot be read.
    /// What waits at it is kept apart.
    fn newest(&self, stale: &Stale, row: &Row) -> Result<Result<Snapshot, UnreadableInstance>> {
        let number = row.integer(NUMBER)?;
        let newest = self
            .unreadable
            .instance(number, || match stale.get(number) {
                Some(newest) => Ok(newest.snapshot().clone()),
                None => read_instance(row, |number| self.deployment(number)),
            })?;
        Ok(newest.map_err(|why| UnreadableInstance {
            id: InstanceId::from_stored(row.text(ID).unwrap_or_default()),
            why,
        }))
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
                let id = row.text(ID).map(InstanceId::from_stored);
                if id.is_ok_and(|id| !wanted(&id)) {
                    continue;
                }
                let snapshot = self.newest(&stale, row)?;
                if let Some(snapshot) = snapshot.ok().filter(Snapshot::is_live) {
                    live.push((after, snapshot));
                }
            }
            self.attach(live, |_, instance| {
                instance.into_iter().for_each(&mut *take)
            })?;
            if slice.is_last(&rows) {
                return Ok(());
            }
        }
    }

    /// These instances, as far as they exist.
    pub(super) fn find(&self, asked: &[(TenantId, InstanceId)]) -> Result<Asked> {
        let select = SELECT_INSTANCES.replace("FROM instances i", ", t.name FROM instances i");
        let question = format!(
            "{select}
             JOIN unnest($1::text[], $2::text[]) AS asked (tenant, id) ON asked.id = i.id
             JOIN tenants t ON t.name = asked.tenant AND t.tenant = i.tenant"
        );
        let mut found = Asked::default();
        for some in asked.chunks(SLICE) {
            let tenants: Vec<&str> = some.iter().map(|(tenant, _)| tenant.as_str()).collect();
            let ids: Vec<String> = some.iter().map(|(_, id)| id.to_string()).collect();
            let values: Values<'_> = &[&tenants, &ids];
            let (rows, stale) = self.instance_rows(&question, values)?;
            let mut readable = Vec::new();
            let mut tenants = HashMap::new();
            for row in &rows {
                let (number, tenant) = (row.integer(NUMBER)?, TenantId::new(row.text(NUMBER + 1)?));
                match self.newest(&stale, row)? {
                    Ok(instance) => {
                        readable.push((number, instance));
                        tenants.insert(number, tenant);
                    }
                    Err(unreadable) => found.unreadable.push((tenant, unreadable.id)),
                }
            }
            self.attach(readable, |number, instance| match instance {
                Ok(instance) => found.instances.push(instance),
                Err(unreadable) => {
                    let tenant = tenants.remove(&number);
                    found
                        .unreadable
                        .extend(tenant.map(|tenant| (tenant, unreadable.id)));
                }
            })?;
        }
        Ok(found)
    }

    /// Walks a tenant's instances, the last created first, while `visit` says so, and says where the
    /// search ended, if it did so before that.
    fn walk(
        &self,
        tenant: &TenantId,
        filter: &InstanceFilter,
        from: Option<Cursor>,
        mut search: Search,
        mut visit: impl FnMut(i64, Result<Snapshot, UnreadableInstance>) -> bool,
    ) -> Result<Option<u64>> {
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
            let mut passing = Vec::new();
            for row in &rows {
                below = row.integer(NUMBER)?;
                let instance = self.newest(&stale, row)?;
                search.looked_at(instance.as_ref().map_or(0, |known| known.context.len()));
                if instance.as_ref().map_or(true, |known| filter.passes(known)) {
                    passing.push((below, instance));
                }
            }
            for (number, instance) in self.attach_names(passing)? {
                if !visit(number, instance) {
                    return Ok(None);
                }
            }
            if rows.len() < slices.rows() {
                return Ok(None);
            }
            if search.is_over() {
                return Ok(Some(unsigned(below)));
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
        let search = Search::for_page();
        let ended = self.walk(tenant, filter, page.after, search, |number, instance| {
            instance.map_or(true, |snapshot| found.take(unsigned(number), || snapshot))
        })?;
        ended.into_iter().for_each(|at| found.goes_on_after(at));
        Ok(found.into_page())
    }

    /// Why one instance cannot be read.
    pub(super) fn why_unreadable(
        &self,
        tenant: &TenantId,
        id: &InstanceId,
    ) -> Result<UnreadableInstance> {
        let question = format!(
            "{SELECT_INSTANCES} WHERE i.id = $2
               AND i.tenant = (SELECT tenant FROM tenants WHERE name = $1)"
        );
        let values: Values<'_> = &[&tenant.as_str(), &id.to_string()];
        let (rows, stale) = self.instance_rows(&question, values)?;
        let mut found = Vec::new();
        for row in &rows {
            found.push((row.integer(NUMBER)?, self.newest(&stale, row)?));
        }
        let found = self.attach_names(found)?.pop().map(|(_, found)| found);
        let why = "it was not when it was read".into();
        let gone = UnreadableInstance {
            id: id.clone(),
            why,
        };
        Ok(found.and_then(Result::err).unwrap_or(gone))
    }

    /// A page of instances that cannot be read.
    pub(super) fn list_unreadable(
        &self,
        tenant: &TenantId,
        page: PageRequest,
    ) -> Result<Page<UnreadableInstance>> {
        let mut found = Found::new(page);
        let all = InstanceFilter::default();
        let search = Search::for_page();
        let ended = self.walk(tenant, &all, page.after, search, |number, instance| {
            let unreadable = instance.err();
            unreadable.is_none_or(|unreadable| found.take(unsigned(number), || unreadable))
        })?;
        ended.into_iter().for_each(|at| found.goes_on_after(at));
        Ok(found.into_page())
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
            self.walk(tenant, filter, None, Search::for_all(), |_, instance| {
                if let Ok(snapshot) = instance {
                    counts.add(InstanceCount::none_like(&snapshot), 1);
                }
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
            let kind = self
                .deployment(row.integer(0)?)
                .and_then(|known| Ok(read_kind(&known, row.text(1)?, row.text(2)?, row.text(3)?)?));
            let name = || format!("instances like those of {:?}", row.text(1).ok());
            if let Some(kind) = self.unreadable.leave_out(kind, name)? {
                counts.add(kind, row.bits(4)?);
            }
        }
        Ok(())
    }
}

/// Bytes that rows occupy.
pub(super) fn bytes_of(rows: &[Row]) -> usize {
    rows.iter().map(Row::raw_size_bytes).sum()
}

/// A number of rows, for a `LIMIT`.
pub(super) fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
