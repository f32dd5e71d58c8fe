//! Rows as SQLite binds and reads them.

use rusqlite::{
    CachedStatement, Connection, Row, ToSql, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use xcomponent_core::record::{Record, Snapshot};

use crate::store::{
    Result,
    table::{Cell, Columns, Links, event_cells, instance_cells, state_cells},
};

/// Adds a row to `events`.
pub(super) const INSERT_EVENT: &str = "INSERT INTO events VALUES
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
     ?21, ?22, ?23, ?24, ?25, ?26)";

/// Adds a row to `instances`.
const INSERT_INSTANCE: &str = "INSERT INTO instances
    (instance, tenant, id, created, origin, entry_point, parent_json, version, machine, state,
     status, context, seq, entry, updated, entered, timers_json, extra_json, last) VALUES
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

/// Brings a row of `instances` up to date.
const UPDATE_INSTANCE: &str = "UPDATE instances SET
    version = ?2, machine = ?3, state = ?4, status = ?5, context = ?6, seq = ?7, entry = ?8,
    updated = ?9, entered = ?10, timers_json = ?11, extra_json = ?12, last = ?13
    WHERE instance = ?1";

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Cell::Empty => ValueRef::Null,
            Cell::Number(number) => ValueRef::Integer(*number),
            Cell::Flag(flag) => ValueRef::Integer((*flag).into()),
            Cell::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl Columns for Row<'_> {
    fn number(&self, column: usize) -> Result<Option<i64>> {
        Ok(self.get(column)?)
    }

    fn flag(&self, column: usize) -> Result<bool> {
        Ok(self.get(column)?)
    }

    fn optional_text(&self, column: usize) -> Result<Option<&str>> {
        let text = self.get_ref(column)?.as_str_or_null();
        Ok(text.map_err(rusqlite::Error::from)?)
    }
}

/// Adds a record to `events`.
pub(super) fn insert_event(
    statement: &mut CachedStatement<'_>,
    links: &Links,
    record: &Record,
) -> rusqlite::Result<()> {
    statement.execute(params_from_iter(event_cells(links, record)))?;
    Ok(())
}

/// Adds an instance with its number.
pub(super) fn insert_instance(
    connection: &Connection,
    number: i64,
    tenant: i64,
    version: i64,
    snapshot: &Snapshot,
    last: u64,
) -> rusqlite::Result<()> {
    let cells = instance_cells(tenant, version, snapshot, last);
    connection
        .prepare_cached(INSERT_INSTANCE)?
        .execute(params_from_iter([number.into()].into_iter().chain(cells)))?;
    Ok(())
}

/// Brings an instance's row up to date.
pub(super) fn update_instance(
    connection: &Connection,
    number: i64,
    version: i64,
    snapshot: &Snapshot,
    last: u64,
) -> rusqlite::Result<()> {
    let cells = state_cells(version, snapshot, last);
    connection
        .prepare_cached(UPDATE_INSTANCE)?
        .execute(params_from_iter([number.into()].into_iter().chain(cells)))?;
    Ok(())
}
