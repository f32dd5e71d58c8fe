//! What waits for other hosts, and how far their streams are taken in.

use rusqlite::{Connection, params};
use xcomponent_core::{
    id::{ComponentName, StreamId, TenantId},
    limits::{STREAM_BYTES_MAX, STREAMS_MAX},
    record::Record,
};

use super::{Sqlite, writer::tenant_number};
use crate::store::{
    Entry, Position, Result,
    crossing::{Channel, LOG_NAME_MAX, Outlet, awaited, taken_in},
    table::{SELECT_EVENTS, signed, unsigned},
};

/// Takes over what a record sends to other hosts, or takes in from them.
pub(super) fn note(
    connection: &Connection,
    tenant: i64,
    position: u64,
    record: &Record,
) -> Result<()> {
    for component in awaited(record) {
        connection
            .prepare_cached("INSERT INTO outbox VALUES (?1, ?2, ?3)")?
            .execute(params![signed(position), tenant, component.as_str()])?;
    }
    if let Some(received) = taken_in(record) {
        let through = signed(received.through);
        connection
            .prepare_cached("INSERT OR REPLACE INTO streams VALUES (?1, ?2, ?3)")?
            .execute(params![tenant, received.stream.as_str(), through])?;
    }
    Ok(())
}

/// Everything of a channel up to a record has arrived; up to `after` that was known.
pub(super) fn relayed(
    connection: &Connection,
    tenant: i64,
    component: &ComponentName,
    after: Position,
    through: Position,
) -> Result<()> {
    let (after, through) = (signed(after.0), signed(through.0));
    connection
        .prepare_cached(
            "DELETE FROM outbox WHERE position > ?1 AND position <= ?2
               AND tenant = ?3 AND component = ?4",
        )?
        .execute(params![after, through, tenant, component.as_str()])?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO relayed VALUES (?1, ?2, ?3)")?
        .execute(params![tenant, component.as_str(), through])?;
    Ok(())
}

/// From where on somebody waits for something, if anybody does.
pub(super) fn first_waiting(connection: &Connection) -> Result<Option<u64>> {
    let first: Option<i64> = connection
        .prepare_cached("SELECT min(position) FROM outbox")?
        .query_row([], |row| row.get(0))?;
    Ok(first.map(unsigned))
}

/// How far every channel is.
pub(super) fn outlets(connection: &Connection) -> Result<Vec<Outlet>> {
    let mut statement = connection.prepare_cached(
        "SELECT t.name, c.component, coalesce(r.through, 0),
           (SELECT count(*) FROM outbox o WHERE o.tenant = c.tenant AND o.component = c.component)
         FROM (SELECT tenant, component FROM outbox
               UNION SELECT tenant, component FROM relayed) c
           JOIN tenants t ON t.tenant = c.tenant
           LEFT JOIN relayed r ON r.tenant = c.tenant AND r.component = c.component",
    )?;
    let outlets = statement.query_map([], |row| {
        let (tenant, component): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(Outlet {
            channel: Channel {
                tenant: TenantId::new(tenant),
                component: ComponentName::new(component),
            },
            through: Position(unsigned(row.get(2)?)),
            waiting: unsigned(row.get(3)?),
        })
    })?;
    Ok(outlets.collect::<Result<_, _>>()?)
}

impl Sqlite {
    /// What waits for a channel after a position, oldest first.
    pub(super) fn waiting(
        &self,
        connection: &Connection,
        channel: &Channel,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Entry>> {
        let Some(tenant) = tenant_number(connection, &channel.tenant)? else {
            return Ok(Vec::new());
        };
        let question = format!(
            "{SELECT_EVENTS} WHERE e.position IN
               (SELECT position FROM outbox WHERE position > ?1 AND tenant = ?2 AND component = ?3
                ORDER BY position LIMIT ?4)
             ORDER BY e.position"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = connection.prepare_cached(&question)?;
        let rows = statement.query(params![
            signed(after.0),
            tenant,
            channel.component.as_str(),
            limit
        ])?;
        self.entries(rows, connection)
    }
}

/// Up to where each stream is taken in.
pub(super) fn streams(connection: &Connection) -> Result<Vec<(TenantId, StreamId, u64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT t.name, s.stream, s.through FROM streams s JOIN tenants t ON t.tenant = s.tenant
         WHERE length(s.stream) <= ?1 AND s.through >= 0 LIMIT ?2",
    )?;
    let streams = statement.query_map([most(STREAM_BYTES_MAX), most(STREAMS_MAX)], |row| {
        let (tenant, stream): (String, String) = (row.get(0)?, row.get(1)?);
        let through = unsigned(row.get(2)?);
        Ok((TenantId::new(tenant), StreamId::new(stream), through))
    })?;
    Ok(streams.collect::<Result<_, _>>()?)
}

/// A bound as a database has it.
fn most(bound: usize) -> i64 {
    i64::try_from(bound).unwrap_or(i64::MAX)
}

/// Sees to it that the journal has a name: under another one, others take it for another journal.
pub(super) fn name_log(connection: &Connection) -> Result<()> {
    let has_name: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM log WHERE length(name) BETWEEN 1 AND ?1)",
        [most(LOG_NAME_MAX)],
        |row| row.get(0),
    )?;
    if !has_name {
        tracing::error!("the log has no name that can be read: it gets another one");
        connection.execute(
            "INSERT OR REPLACE INTO log VALUES (1, lower(hex(randomblob(16))))",
            [],
        )?;
    }
    Ok(())
}

/// The name of the journal.
pub(super) fn log_name(connection: &Connection) -> Result<String> {
    Ok(connection.query_row("SELECT name FROM log", [], |row| row.get(0))?)
}
