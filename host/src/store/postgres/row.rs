//! Rows as PostgreSQL binds and reads them.

use std::{error::Error, sync::LazyLock};

use bytes::BytesMut;
use tokio_postgres::{
    Row,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use super::{lease::seal, session::Values};
use crate::store::{
    Result,
    table::{
        Cell, Column, Columns, EVENT_COLUMNS, Holds, INSTANCE_COLUMNS, STATE_COLUMNS,
        WAITING_COLUMNS,
    },
};

/// The columns of `instances`, the number first.
pub(super) const N_INSTANCE_COLUMNS: usize = INSTANCE_COLUMNS.len() + 1;

/// Adds rows to `events`, for [`copy`](super::session::Session::copy).
pub(super) static COPY_EVENTS: LazyLock<String> = LazyLock::new(|| {
    let names = names(&EVENT_COLUMNS);
    format!("COPY events ({names}) FROM STDIN BINARY")
});

/// The types of its columns.
pub(super) static EVENT_TYPES: LazyLock<[Type; EVENT_COLUMNS.len()]> =
    LazyLock::new(|| EVENT_COLUMNS.map(|column| column.holds.sql_type()));

/// Adds rows to `instances` or brings them up to date, from one array for each column.
pub(super) static WRITE_INSTANCES: LazyLock<String> = LazyLock::new(|| write_instances(1));

/// A whole batch in one statement: rows of `events`, rows of `instances`, how far the shards are
/// (or null), both marks, and the epoch under which it is written. One statement happens completely
/// or not at all, and takes one round trip.
pub(super) static WRITE_BATCH: LazyLock<String> = LazyLock::new(|| write_batch(false));

/// The same with names of what waits no more, and rows of what waits from now on.
pub(super) static WRITE_BATCH_WAITING: LazyLock<String> = LazyLock::new(|| write_batch(true));

/// Removes rows of `waiting`, from one array for each part of their names.
pub(super) static REMOVE_WAITING: LazyLock<String> = LazyLock::new(|| remove_waiting(1));

/// Adds rows to `waiting` or replaces them, from one array for each column.
pub(super) static PUT_WAITING: LazyLock<String> = LazyLock::new(|| put_waiting(1));

/// Parts of the name of something that waits.
const N_NAME_PARTS: usize = 3;

fn write_batch(has_waiting: bool) -> String {
    let after_events = EVENT_COLUMNS.len() + 1;
    let shards = after_events + N_INSTANCE_COLUMNS;
    let waiting = match has_waiting {
        true => format!(
            "gone AS ({}), waits AS ({}),",
            remove_waiting(shards + 5),
            put_waiting(shards + 5 + N_NAME_PARTS)
        ),
        false => String::new(),
    };
    format!(
        "WITH journal AS (INSERT INTO events ({events}) SELECT * FROM unnest({arrays})),
           behind AS ({instances}),
           shards AS ({taken_in}),
           {waiting}
           lease AS ({seal})
         {marks}",
        events = names(&EVENT_COLUMNS),
        arrays = arrays(&EVENT_COLUMNS, 1),
        instances = write_instances(after_events),
        taken_in = write_taken_in(shards),
        marks = write_marks(shards + 2),
        seal = seal(&format!("${}::bigint", shards + 4)),
    )
}

/// Notes how far the shards are: their partitions and `rows_json`, or nothing if that is null.
pub(super) static WRITE_TAKEN_IN: LazyLock<String> = LazyLock::new(|| write_taken_in(1));

/// Moves both marks.
pub(super) static WRITE_MARKS: LazyLock<String> = LazyLock::new(|| write_marks(1));

fn write_instances(first: usize) -> String {
    let changing = &INSTANCE_COLUMNS[INSTANCE_COLUMNS.len() - STATE_COLUMNS..];
    let changes = changing
        .iter()
        .map(|Column { name, .. }| format!("{name} = excluded.{name}"));
    format!(
        "INSERT INTO instances (instance, {names})
         SELECT * FROM unnest(${first}::bigint[], {arrays})
         ON CONFLICT (instance) DO UPDATE SET {changes}",
        names = names(&INSTANCE_COLUMNS),
        arrays = arrays(&INSTANCE_COLUMNS, first + 1),
        changes = changes.collect::<Vec<_>>().join(", "),
    )
}

fn remove_waiting(first: usize) -> String {
    let (second, third) = (first + 1, first + 2);
    format!(
        "DELETE FROM waiting w
         USING unnest(${first}::bigint[], ${second}::text[], ${third}::text[])
           AS gone (instance, kind, event_id)
         WHERE w.instance = gone.instance AND w.kind = gone.kind AND w.event_id = gone.event_id"
    )
}

fn put_waiting(first: usize) -> String {
    let changes = WAITING_COLUMNS[N_NAME_PARTS..]
        .iter()
        .map(|Column { name, .. }| format!("{name} = excluded.{name}"));
    format!(
        "INSERT INTO waiting ({names}) SELECT * FROM unnest({arrays})
         ON CONFLICT (instance, kind, event_id) DO UPDATE SET {changes}",
        names = names(&WAITING_COLUMNS),
        arrays = arrays(&WAITING_COLUMNS, first),
        changes = changes.collect::<Vec<_>>().join(", "),
    )
}

fn write_taken_in(first: usize) -> String {
    format!(
        "INSERT INTO taken_in SELECT true, ${first}::bigint, ${second}::text
         WHERE ${second}::text IS NOT NULL
         ON CONFLICT (\"only\") DO UPDATE
           SET partitions = excluded.partitions, rows_json = excluded.rows_json",
        second = first + 1,
    )
}

fn write_marks(first: usize) -> String {
    format!(
        "UPDATE marks SET position =
           CASE name WHEN 'covered' THEN ${first}::bigint ELSE ${second}::bigint END",
        second = first + 1,
    )
}

fn names(columns: &[Column]) -> String {
    let names = columns.iter().map(|column| column.name);
    names.collect::<Vec<_>>().join(", ")
}

/// Parameters that are arrays, one for each column.
fn arrays(columns: &[Column], first: usize) -> String {
    let arrays = columns
        .iter()
        .zip(first..)
        .map(|(column, number)| format!("${number}::{}[]", column.holds.sql_type()));
    arrays.collect::<Vec<_>>().join(", ")
}

impl Holds {
    fn sql_type(self) -> Type {
        match self {
            Self::Numbers => Type::INT8,
            Self::Flags => Type::BOOL,
            Self::Texts => Type::TEXT,
        }
    }
}

/// Rows, column by column.
pub(super) struct Table<'r, const N: usize> {
    columns: [Vec<Cell<'r>>; N],
}

impl<'r, const N: usize> Table<'r, N> {
    pub(super) fn new() -> Self {
        Self {
            columns: std::array::from_fn(|_| Vec::new()),
        }
    }

    pub(super) fn push(&mut self, cells: impl IntoIterator<Item = Cell<'r>>) {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
    }

    /// One array for each column.
    pub(super) fn arrays(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        self.columns
            .iter()
            .map(|column| column as &(dyn ToSql + Sync))
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(
        &self,
        as_type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Cell::Empty => Ok(IsNull::Yes),
            Cell::Number(number) => number.to_sql(as_type, out),
            Cell::Flag(flag) => flag.to_sql(as_type, out),
            Cell::Text(text) => (&**text).to_sql(as_type, out),
        }
    }

    fn accepts(as_type: &Type) -> bool {
        [Type::INT8, Type::BOOL, Type::TEXT].contains(as_type)
    }

    to_sql_checked!();
}

/// Cells as the values of a statement.
pub(super) fn values<'v, const N: usize>(cells: &'v [Cell<'_>; N]) -> [&'v (dyn ToSql + Sync); N] {
    cells.each_ref().map(|cell| cell as &(dyn ToSql + Sync))
}

impl Columns for Row {
    fn number(&self, column: usize) -> Result<Option<i64>> {
        Ok(self.try_get(column)?)
    }

    fn flag(&self, column: usize) -> Result<bool> {
        Ok(self.try_get(column)?)
    }

    fn optional_text(&self, column: usize) -> Result<Option<&str>> {
        Ok(self.try_get(column)?)
    }
}

/// No values.
pub(super) const NONE: Values<'static> = &[];
