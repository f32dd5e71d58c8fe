//! Questions about instances and the journal.

use std::sync::{Arc, PoisonError, RwLockReadGuard};

use hashbrown::HashMap;
use rusqlite::{Connection, OptionalExtension, Row, Rows, params, params_from_iter, types::Value};
use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    owed::Owed,
    record::{Body, Handled, Record, Snapshot},
    time::Timestamp,
};

use super::{
    Sqlite, crossing, owed, retention, versions::deployment, waiting, writer::tenant_number,
};
use crate::store::{
    Entry, Error, EventAt, Position, Result,
    ledger::{Ledger, Recovered, Stale},
    query::{
        Counts, Cursor, Found, InstanceCount, InstanceFilter, Page, PageRequest, RecordFilter,
        Search, Tail, gather_trace, is_shown,
    },
    table::{
        self, BEFORE, Columns, ID, INSTANCE, LAST_TIME, NUMBER, POSITION, SELECT_EVENTS,
        SELECT_INSTANCES, SHOWN, read_instance, read_kind, signed, unsigned,
    },
    unreadable::UnreadableInstance,
};

/// Rows that are looked at while nothing can be noted.
const SLICE: usize = 1_024;

/// The position of the last record.
pub(super) fn last_position(connection: &Connection) -> Result<Position> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(position) FROM events")?
        .query_row([], |row| row.get(0))?;
    Ok(Position(last.map_or(0, unsigned)))
}

/// The latest time among the last records.
pub(super) fn last_time(connection: &Connection) -> Result<Timestamp> {
    let last: Option<i64> = connection.query_row(LAST_TIME, [], |row| row.get(0))?;
    Ok(Timestamp(last.map_or(0, unsigned)))
}

impl Sqlite {
    /// Reads the end of the journal as if it were written now: which instances are newer than
    /// their rows, and what is owed. An instance is suspended of which a record cannot be read.
    pub(super) fn recover(&self) -> Result<()> {
        let mut writer = self.writer();
        writer.change(crossing::name_log)?;
        self.ask(|connection| {
            let last = last_position(connection)?;
            let taken_in = owed::read(connection, &self.unreadable, last)?;
            if let Some(taken_in) = &taken_in {
                writer.ledger.owed = Owed::new(taken_in.clone());
            }
            let question = format!("{SELECT_EVENTS} WHERE e.position >= ?1 ORDER BY e.position");
            let mut last_of =
                connection.prepare_cached("SELECT last FROM instances WHERE instance = ?1")?;
            let mut statement = connection.prepare(&question)?;
            let mut rows = statement.query([Self::begin_at(connection, last)?])?;
            let mut stale = self.stale.write().unwrap_or_else(PoisonError::into_inner);
            while let Some(row) = rows.next()? {
                let mut last_of = |number: i64| last_of.query_row([number], |row| row.get(0));
                self.recover_row(
                    row,
                    connection,
                    &mut writer.ledger,
                    &mut stale,
                    &mut last_of,
                )?;
            }
            if let Some(taken_in) = &taken_in {
                writer.ledger.owed.taken_in(taken_in);
            }
            let highest: Option<i64> = connection
                .prepare_cached("SELECT max(instance) FROM instances")?
                .query_row([], |row| row.get(0))?;
            writer.ledger.begin(last.0, highest.unwrap_or_default());
            Ok(())
        })
    }

    fn recover_row(
        &self,
        row: &Row<'_>,
        connection: &Connection,
        ledger: &mut Ledger,
        stale: &mut Stale,
        last_of: &mut dyn FnMut(i64) -> rusqlite::Result<i64>,
    ) -> Result<()> {
        let found = Recovered {
            position: row.bits(POSITION)?,
            instance: row.number(INSTANCE)?,
            event: self.event(row, connection),
        };
        let last = found.instance.map(|number| last_of(number).optional());
        let last = last.transpose()?.flatten().map(unsigned);
        found.note(last, &self.unreadable, ledger, stale)
    }

    /// Reads a row of `events`.
    fn event(&self, row: &Row<'_>, connection: &Connection) -> Result<Entry> {
        table::read_event(row, |number| {
            deployment(connection, &self.deployments, number)
        })
    }

    /// The same where others are read too: one that cannot be read is left out.
    fn entry(&self, row: &Row<'_>, connection: &Connection) -> Result<Option<Entry>> {
        let position: i64 = row.get(POSITION)?;
        let event = self.event(row, connection);
        self.unreadable
            .leave_out(event, || format!("record {position}"))
    }

    /// Rows of `events` as far as they can be read, one by one.
    fn readable(
        &self,
        rows: &mut Rows<'_>,
        connection: &Connection,
    ) -> impl Iterator<Item = Result<Entry>> {
        std::iter::from_fn(move || {
            loop {
                let row = match rows.next() {
                    Ok(row) => row?,
                    Err(error) => return Some(Err(error.into())),
                };
                if let Some(entry) = self.entry(row, connection).transpose() {
                    return Some(entry);
                }
            }
        })
    }

    /// All of them.
    pub(super) fn entries(
        &self,
        mut rows: Rows<'_>,
        connection: &Connection,
    ) -> Result<Vec<Entry>> {
        self.readable(&mut rows, connection).collect()
    }

    /// A stretch of the log.
    pub(super) fn stretch(
        &self,
        connection: &Connection,
        tenant: &TenantId,
        filter: &RecordFilter,
        after: Position,
        limit: usize,
    ) -> Result<Tail> {
        let through = last_position(connection)?.0.min(after.0 + SLICE as u64);
        let question = format!(
            "{SELECT_EVENTS} WHERE e.position > ?1 AND e.position <= ?2 AND t.name = ?3
             ORDER BY e.position"
        );
        let mut statement = connection.prepare_cached(&question)?;
        let mut rows =
            statement.query(params![signed(after.0), signed(through), tenant.as_str()])?;
        let entries = self.readable(&mut rows, connection);
        let tail = Tail::gather(entries, filter, (after, Position(through)), limit)?;
        // What was removed by now may have been missing before.
        retention::extent(connection)?.reaches(after)?;
        Ok(tail)
    }

    /// What became of an event.
    pub(super) fn recall_one(
        &self,
        connection: &Connection,
        (tenant, instance, event): &EventAt,
    ) -> Result<Option<Arc<Handled>>> {
        let (instance, id) = (instance.to_string(), event.to_string());
        let [from, below] = event.replays();
        let question = format!(
            "{SELECT_EVENTS} WHERE t.name = ?1 AND i.id = ?2
               AND (e.event_id = ?3 OR e.event_id > ?4 AND e.event_id < ?5)
             ORDER BY e.position DESC"
        );
        let mut statement = connection.prepare_cached(&question)?;
        let mut rows = statement.query([tenant.as_str(), &instance, &id, &from, &below])?;
        while let Some(row) = rows.next()? {
            if let Some(entry) = self.entry(row, connection)?
                && let Body::Handled(handled) = entry.record.body
                && (handled.event.id == *event || handled.settles.as_ref() == Some(event))
            {
                return Ok(Some(handled));
            }
        }
        Ok(None)
    }

    /// Whom the selections of an event from outside chose, and what of it was parked.
    pub(super) fn selections_of(
        &self,
        connection: &Connection,
        tenant: &TenantId,
        root: &EventId,
    ) -> Result<Vec<Record>> {
        let question = format!(
            "{SELECT_EVENTS} WHERE e.root = ?1 AND t.name = ?2 AND e.instance IS NULL
             ORDER BY e.position"
        );
        let mut statement = connection.prepare_cached(&question)?;
        let rows = statement.query([&root.to_string(), tenant.as_str()])?;
        let entries = self.entries(rows, connection)?.into_iter();
        Ok(entries.map(|entry| entry.record).collect())
    }

    /// What these events from outside led to.
    pub(super) fn trace_of(
        &self,
        connection: &Connection,
        tenant: &TenantId,
        roots: &[EventId],
        limit: usize,
    ) -> Result<Vec<Entry>> {
        let Some(number) = tenant_number(connection, tenant)? else {
            return Ok(Vec::new());
        };
        let marks = vec!["?"; roots.len()].join(", ");
        let question = format!(
            "{SELECT_EVENTS} WHERE e.position IN
               (SELECT position FROM events WHERE root IN ({marks})
                UNION SELECT position FROM events WHERE event_id IN ({marks}))
             AND e.tenant = ? AND {SHOWN} ORDER BY e.position LIMIT ?"
        );
        let texts = || roots.iter().map(|root| Value::Text(root.to_string()));
        let bounds = [
            Value::Integer(number),
            Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)),
        ];
        let mut statement = connection.prepare(&question)?;
        let mut rows = statement.query(params_from_iter(texts().chain(texts()).chain(bounds)))?;
        gather_trace(self.readable(&mut rows, connection), limit)
    }

    /// The end of the log that a host that starts looks at. What says where that begins is looked at
    /// as well: where it is missing or beyond the end, that is the whole log.
    fn begin_at(connection: &Connection, last: Position) -> Result<i64> {
        let (marks, from): (i64, Option<i64>) = connection
            .prepare_cached(
                "SELECT count(*), min(position + (name = 'covered')) FROM marks
                 WHERE name IN ('covered', 'settled_below') AND position BETWEEN 0 AND ?1",
            )?
            .query_row([signed(last.0 + 1)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(from.filter(|_| marks == 2).unwrap_or_else(|| {
            tracing::error!("what says where the end of the log begins cannot be read");
            0
        }))
    }

    fn stale(&self) -> RwLockReadGuard<'_, Stale> {
        self.stale.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// An instance as it is: what is newer than its row, else the row. Or why it cannot be read.
    /// `attach` gives it what waits at it, which is kept apart.
    fn newest(
        &self,
        stale: &Stale,
        row: &Row<'_>,
        connection: &Connection,
        attach: impl FnOnce(&Connection, i64, Snapshot) -> Result<Snapshot>,
    ) -> Result<Result<Snapshot, Arc<str>>> {
        let number = row.get(NUMBER)?;
        self.unreadable.instance(number, || {
            let newest = match stale.get(number) {
                Some(newest) => newest.snapshot().clone(),
                None => read_instance(row, |number| {
                    deployment(connection, &self.deployments, number)
                })?,
            };
            attach(connection, number, newest)
        })
    }

    /// What goes on, or is an entry point.
    pub(super) fn load_live(
        &self,
        wanted: &dyn Fn(&InstanceId) -> bool,
        take: &mut dyn FnMut(Snapshot),
    ) -> Result<()> {
        self.ask(|connection| {
            let question = format!(
                "{SELECT_INSTANCES} INDEXED BY instances_live
                 WHERE i.status = 'active' OR i.entry_point = 1 OR i.timers_json IS NOT NULL
                    OR i.extra_json IS NOT NULL"
            );
            let mut statement = connection.prepare(&question)?;
            let stale = self.stale();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let id = row.text(ID).map(InstanceId::from_stored);
                if id.is_ok_and(|id| !wanted(&id)) {
                    continue;
                }
                let snapshot = self.newest(&stale, row, connection, waiting::attach)?;
                if let Some(snapshot) = snapshot.ok().filter(Snapshot::is_live) {
                    take(snapshot);
                }
            }
            Ok(())
        })
    }

    /// One instance.
    pub(super) fn find(&self, tenant: &TenantId, id: &InstanceId) -> Result<Option<Snapshot>> {
        self.ask(|connection| {
            let Some(number) = tenant_number(connection, tenant)? else {
                return Ok(None);
            };
            let question = format!("{SELECT_INSTANCES} WHERE i.tenant = ?1 AND i.id = ?2");
            let mut statement = connection.prepare_cached(&question)?;
            // Held while the row is read, so that nothing is forgotten in between.
            let stale = self.stale();
            let mut rows = statement.query(params![number, id.to_string()])?;
            let Some(row) = rows.next()? else {
                return Ok(None);
            };
            let newest = self.newest(&stale, row, connection, waiting::attach)?;
            let id = id.clone();
            let unreadable = |why| Error::Unreadable(UnreadableInstance { id, why });
            newest.map(Some).map_err(unreadable)
        })
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
        // The plus keeps SQLite from sorting all of a tenant's instances for each page.
        let question = format!(
            "{SELECT_INSTANCES} WHERE +i.tenant = ?1 AND i.instance < ?2
               AND (?3 IS NULL OR i.machine = ?3)
             ORDER BY i.instance DESC LIMIT {SLICE}"
        );
        let mut below = from.map_or(i64::MAX, |cursor| signed(cursor.0));
        self.ask(|connection| {
            let Some(number) = tenant_number(connection, tenant)? else {
                return Ok(None);
            };
            let mut statement = connection.prepare_cached(&question)?;
            loop {
                let stale = self.stale();
                let mut rows = statement.query(params![number, below, machine])?;
                let mut seen = 0;
                while let Some(row) = rows.next()? {
                    below = row.get(NUMBER)?;
                    seen += 1;
                    let attach = waiting::attach_names;
                    let instance = self.newest(&stale, row, connection, attach)?;
                    let instance = instance.map_err(|why| UnreadableInstance {
                        id: InstanceId::from_stored(row.text(ID).unwrap_or_default()),
                        why,
                    });
                    search.looked_at(instance.as_ref().map_or(0, |known| known.context.len()));
                    let passes = instance.as_ref().map_or(true, |known| filter.passes(known));
                    if passes && !visit(below, instance) {
                        return Ok(None);
                    }
                    if search.is_over() {
                        return Ok(Some(unsigned(below)));
                    }
                }
                if seen < SLICE {
                    return Ok(None);
                }
            }
        })
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
        self.ask(|connection| {
            // It sees the rows as they are now, also when it is with the last of them: no commit
            // waits for that.
            let _ends_with_this = connection.unchecked_transaction()?;
            let stale = self.stale();
            let Some(number) = tenant_number(connection, tenant)? else {
                return Ok(());
            };
            let mut behind: HashMap<(i64, String, String, String), u64> = HashMap::new();
            let kind = |row: &Row<'_>| {
                rusqlite::Result::Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            };
            let mut one = connection.prepare_cached(
                "SELECT version, machine, state, status FROM instances WHERE instance = ?1",
            )?;
            for (instance, newest) in stale.iter() {
                if newest.snapshot().tenant() == tenant {
                    *behind.entry(one.query_row([instance], kind)?).or_default() += 1;
                    counts.add(InstanceCount::none_like(newest.snapshot()), 1);
                }
            }
            drop(stale);
            let mut all = connection.prepare_cached(
                "SELECT version, machine, state, status, count(*) FROM instances
                 WHERE tenant = ?1 GROUP BY 1, 2, 3, 4",
            )?;
            let mut rows = all.query([number])?;
            while let Some(row) = rows.next()? {
                let stored = kind(row)?;
                let behind = behind.get(&stored).copied().unwrap_or_default();
                let kind = deployment(connection, &self.deployments, stored.0)
                    .and_then(|known| Ok(read_kind(&known, &stored.1, &stored.2, &stored.3)?));
                let kind = self
                    .unreadable
                    .leave_out(kind, || format!("instances like {stored:?}"));
                if let Some(kind) = kind? {
                    counts.add(kind, unsigned(row.get(4)?).saturating_sub(behind));
                }
            }
            Ok(())
        })
    }

    /// A page of an instance's history.
    pub(super) fn history_of(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
        page: PageRequest,
    ) -> Result<Page<Entry>> {
        let mut found = Found::new(page);
        self.ask(|connection| {
            let Some(tenant) = tenant_number(connection, tenant)? else {
                return Ok(());
            };
            let Some((number, last)) = self.end_of_journal(connection, tenant, instance)? else {
                return Ok(());
            };
            let mut next = Some(last);
            if let Some(Cursor(after)) = page.after {
                next = connection
                    .prepare_cached(
                        "SELECT before FROM events WHERE position = ?1 AND instance = ?2",
                    )?
                    .query_row([signed(after), number], |row| row.get::<_, Option<i64>>(0))
                    .optional()?
                    .flatten()
                    .map(unsigned);
            }
            let question = format!("{SELECT_EVENTS} WHERE e.position = ?1");
            let mut statement = connection.prepare_cached(&question)?;
            while let Some(position) = next {
                let mut rows = statement.query([signed(position)])?;
                // The rest may have been removed.
                let Some(row) = rows.next()? else { break };
                next = row
                    .number(BEFORE)?
                    .map(unsigned)
                    .filter(|before| *before < position);
                let Some(entry) = self.entry(row, connection)? else {
                    continue;
                };
                if is_shown(&entry.record.body) && !found.take(position, || entry) {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(found.into_page())
    }

    /// An instance's number and the position of its last record.
    fn end_of_journal(
        &self,
        connection: &Connection,
        tenant: i64,
        id: &InstanceId,
    ) -> Result<Option<(i64, u64)>> {
        let stale = self.stale();
        let found: Option<(i64, i64)> = connection
            .prepare_cached(
                "SELECT instance, last FROM instances
                 WHERE tenant = ?1 AND id = ?2 AND status <> 'deleted'",
            )?
            .query_row(params![tenant, id.to_string()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        Ok(found.map(|(number, last)| {
            let newest = stale.get(number).map(|newest| newest.last);
            (number, newest.unwrap_or_else(|| unsigned(last)))
        }))
    }
}
