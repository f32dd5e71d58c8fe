//! What waits at instances.

use std::collections::BTreeMap;

use tokio_postgres::{Error, types::ToSql};
use xcomponent_core::record::Snapshot;

use super::{
    Postgres,
    row::{PUT_WAITING, REMOVE_WAITING, Table},
    session::{Session, Values},
};
use crate::store::{
    Result,
    table::{
        Columns, Gathered, OLD_ROWS, OldRow, SELECT_NAMES, SELECT_WAITING, WAITING_COLUMNS,
        WaitingChanges, WaitingRow,
    },
    unreadable::UnreadableInstance,
};

/// An instance with what waits at it, or why it cannot be read.
type Attached = std::result::Result<Snapshot, UnreadableInstance>;

/// Bytes of what waits that one statement writes or one question is answered with, as long as it is
/// more than a single thing.
pub(super) const BYTES_AT_ONCE: usize = 8 << 20;

/// Names of what waits no more, one array for each part.
#[derive(Default)]
pub(super) struct Gone {
    instances: Vec<i64>,
    kinds: Vec<&'static str>,
    ids: Vec<String>,
}

impl Gone {
    pub(super) fn of(changes: &WaitingChanges<'_>) -> Self {
        let mut gone = Self::default();
        for (instance, kind, id) in changes.gone() {
            gone.instances.push(instance);
            gone.kinds.push(kind.as_str());
            gone.ids.push(id.to_string());
        }
        gone
    }

    pub(super) fn arrays(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.instances, &self.kinds, &self.ids]
    }
}

/// Rows as they are to be there.
pub(super) fn table<'r>(
    rows: impl IntoIterator<Item = &'r WaitingRow<'r>>,
) -> Table<'r, { WAITING_COLUMNS.len() }> {
    let mut table = Table::new();
    rows.into_iter().for_each(|row| table.push(row.cells()));
    table
}

/// Does what a batch changes, within a transaction.
pub(super) fn note(session: &mut Session, changes: &WaitingChanges<'_>) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    session.execute(&REMOVE_WAITING, &Gone::of(changes).arrays())?;
    Ok(put(session, &changes.rows().collect::<Vec<_>>())?)
}

/// Writes rows, so many at once as their bytes allow.
fn put(session: &mut Session, rows: &[&WaitingRow<'_>]) -> Result<(), Error> {
    let mut rest = rows;
    while !rest.is_empty() {
        let some = prefix(rest.iter().map(|row| row.bytes()));
        let (some, others) = rest.split_at(some);
        let table = table(some.iter().copied());
        let values: Vec<&(dyn ToSql + Sync)> = table.arrays().collect();
        session.execute(&PUT_WAITING, &values)?;
        rest = others;
    }
    Ok(())
}

/// How many of the first have about as many bytes as are handled at once; at least one.
fn prefix(bytes: impl Iterator<Item = usize>) -> usize {
    let mut sum = 0;
    let fits = |bytes: &usize| {
        sum += bytes;
        sum <= BYTES_AT_ONCE
    };
    bytes.take_while(fits).count().max(1)
}

/// Gives what waits rows of its own in a database that has none of them yet. A row that cannot be
/// read stays as it is.
pub(super) fn move_out(session: &mut Session) -> Result<(), Error> {
    let question = format!("{OLD_ROWS} AND i.instance > $1 ORDER BY i.instance LIMIT 1");
    let mut after = 0_i64;
    while let Some(row) = session.ask_one(&question, &[&after])? {
        after = row.try_get(0)?;
        match OldRow::read(&row) {
            Ok(old) => {
                put(session, &old.rows().iter().collect::<Vec<_>>())?;
                let (timers, extra) = old.texts();
                session.execute(
                    "UPDATE instances SET timers_json = $2, extra_json = $3 WHERE instance = $1",
                    &[&after, &timers, &extra],
                )?;
            }
            Err(error) => tracing::error!(
                instance = after,
                error = &error as &dyn std::error::Error,
                "what waits at an instance cannot be read; its row is left as it is"
            ),
        }
    }
    Ok(())
}

impl Postgres {
    /// Gives instances away with what waits at them, by their numbers: so many at once as their bytes
    /// allow.
    pub(super) fn attach(
        &self,
        found: Vec<(i64, Snapshot)>,
        mut take: impl FnMut(i64, Attached),
    ) -> Result<()> {
        let mut rest = found.into_iter().peekable();
        while rest.peek().is_some() {
            let mut some: Vec<(i64, Attached)> = Vec::new();
            let mut bytes = 0;
            while let Some((number, next)) = rest.next_if(|(_, snapshot)| {
                bytes += usize::try_from(snapshot.waiting_bytes()).unwrap_or(usize::MAX);
                bytes <= BYTES_AT_ONCE || some.is_empty()
            }) {
                some.push((number, Ok(next)));
            }
            let attached = self.gather(SELECT_WAITING, some, |question, values| {
                self.readers.rows(question, values)
            })?;
            let attached = attached.into_iter();
            attached.for_each(|(number, instance)| take(number, instance));
        }
        Ok(())
    }

    /// The same with the names of what waits only: a page of instances holds no payloads of events.
    pub(super) fn attach_names(&self, found: Vec<(i64, Attached)>) -> Result<Vec<(i64, Attached)>> {
        self.gather(SELECT_NAMES, found, |question, values| {
            self.rows_for_people(question, values)
        })
    }

    /// An instance of which something that waits cannot be read cannot be read itself.
    fn gather(
        &self,
        question: &str,
        found: Vec<(i64, Attached)>,
        ask: impl FnOnce(&str, Values<'_>) -> Result<Vec<tokio_postgres::Row>>,
    ) -> Result<Vec<(i64, Attached)>> {
        let waits = |instance: &Attached| {
            instance
                .as_ref()
                .is_ok_and(|snapshot| snapshot.waiting_bytes() > 0)
        };
        let waiting = found.iter().filter(|(_, instance)| waits(instance));
        let numbers: Vec<i64> = waiting.map(|(number, _)| *number).collect();
        let mut gathered: BTreeMap<i64, Result<Gathered>> = BTreeMap::new();
        if !numbers.is_empty() {
            let question = format!("{question} WHERE w.instance = ANY($1)");
            for row in ask(&question, &[&numbers])? {
                let all = gathered.entry(row.integer(0)?);
                let all = all.or_insert_with(|| Ok(Gathered::default()));
                if let Ok(known) = all
                    && let Err(error) = known.add(&row)
                {
                    *all = Err(error);
                }
            }
        }
        let attach = |(number, instance): (i64, Attached)| {
            let (Some(all), Ok(snapshot)) = (gathered.remove(&number), &instance) else {
                return Ok((number, instance));
            };
            let id = snapshot.id.clone();
            let all = self.unreadable.instance(number, || all)?;
            let unreadable = |why| UnreadableInstance { id, why };
            let attached = all.map_err(unreadable);
            Ok((number, attached.and_then(|all| Ok(all.attach(instance?)))))
        };
        found.into_iter().map(attach).collect()
    }
}
