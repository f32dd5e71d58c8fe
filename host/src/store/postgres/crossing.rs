//! What waits for other hosts, and how far their streams are taken in.

use xcomponent_core::{
    id::{ComponentName, StreamId, TenantId},
    limits::{STREAM_BYTES_MAX, STREAMS_MAX},
};

use super::{
    Postgres,
    row::NONE,
    session::{Session, Values},
    writer::Writer,
};
use crate::store::{
    Entry, Position, Result,
    crossing::{Channel, LOG_NAME_MAX, Outlet, awaited, taken_in},
    table::{Links, SELECT_EVENTS, signed, unsigned},
};

/// Takes over what records send to other hosts, or take in from them.
pub(super) fn note(session: &mut Session, links: &[Links], entries: &[Entry]) -> Result<()> {
    let (mut positions, mut tenants, mut components) = (Vec::new(), Vec::new(), Vec::new());
    for (links, entry) in links.iter().zip(entries) {
        for component in awaited(&entry.record) {
            positions.push(signed(links.position));
            tenants.push(links.tenant);
            components.push(component.as_str());
        }
        if let Some(received) = taken_in(&entry.record) {
            let through = signed(received.through);
            session.execute(
                "INSERT INTO streams VALUES ($1, $2, $3)
                 ON CONFLICT (tenant, stream) DO UPDATE SET through = excluded.through",
                &[&links.tenant, &received.stream.as_str(), &through],
            )?;
        }
    }
    if !positions.is_empty() {
        session.execute(
            "INSERT INTO outbox SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[])",
            &[&positions, &tenants, &components],
        )?;
    }
    Ok(())
}

/// Whether records of a batch send something to other hosts, or take something in.
pub(super) fn concerns(entries: &[Entry]) -> bool {
    let mut records = entries.iter().map(|entry| &entry.record);
    records.any(|record| taken_in(record).is_some() || !awaited(record).is_empty())
}

/// Everything of a channel up to a record has arrived; up to `after` that was known.
pub(super) fn relayed(
    session: &mut Session,
    channel: &Channel,
    after: Position,
    through: Position,
) -> Result<()> {
    let (after, through) = (signed(after.0), signed(through.0));
    let (tenant, component) = (channel.tenant.as_str(), channel.component.as_str());
    // If the machine loses it, it is sent once more, and known again.
    session.batch("SET LOCAL synchronous_commit = off")?;
    session.execute(
        "DELETE FROM outbox WHERE position > $1 AND position <= $2
           AND tenant = (SELECT tenant FROM tenants WHERE name = $3) AND component = $4",
        &[&after, &through, &tenant, &component],
    )?;
    session.execute(
        "INSERT INTO relayed SELECT tenant, $2, $3 FROM tenants WHERE name = $1
         ON CONFLICT (tenant, component) DO UPDATE SET through = excluded.through",
        &[&tenant, &component, &through],
    )?;
    Ok(())
}

/// From where on somebody waits for something, if anybody does.
pub(super) fn first_waiting(session: &mut Session) -> Result<Option<u64>> {
    let row = session.ask_one("SELECT min(position) FROM outbox", NONE)?;
    let first: Option<i64> = row.map(|row| row.try_get(0)).transpose()?.flatten();
    Ok(first.map(unsigned))
}

impl Postgres {
    /// How far every channel is.
    pub(super) fn all_outlets(&self) -> Result<Vec<Outlet>> {
        let rows = self.readers.rows(
            "SELECT t.name, c.component, coalesce(r.through, 0),
               (SELECT count(*) FROM outbox o
                WHERE o.tenant = c.tenant AND o.component = c.component)
             FROM (SELECT tenant, component FROM outbox
                   UNION SELECT tenant, component FROM relayed) c
               JOIN tenants t ON t.tenant = c.tenant
               LEFT JOIN relayed r ON r.tenant = c.tenant AND r.component = c.component",
            NONE,
        )?;
        let outlets = rows.iter().map(|row| {
            Ok(Outlet {
                channel: Channel {
                    tenant: TenantId::new(row.try_get::<_, &str>(0)?),
                    component: ComponentName::new(row.try_get::<_, &str>(1)?),
                },
                through: Position(unsigned(row.try_get(2)?)),
                waiting: unsigned(row.try_get(3)?),
            })
        });
        outlets.collect()
    }

    /// What waits for a channel after a position, oldest first.
    pub(super) fn waiting(
        &self,
        channel: &Channel,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Entry>> {
        let question = format!(
            "{SELECT_EVENTS} WHERE e.position = ANY(ARRAY
               (SELECT position FROM outbox WHERE position > $1 AND component = $3
                  AND tenant = (SELECT tenant FROM tenants WHERE name = $2)
                ORDER BY position LIMIT $4))
             ORDER BY e.position"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (tenant, component) = (channel.tenant.as_str(), channel.component.as_str());
        let values: Values<'_> = &[&signed(after.0), &tenant, &component, &limit];
        let rows = self.readers.rows(&question, values)?;
        self.entries(&rows)
    }

    /// Up to where each stream is taken in.
    pub(super) fn all_streams(&self) -> Result<Vec<(TenantId, StreamId, u64)>> {
        let question = "SELECT t.name, s.stream, s.through
            FROM streams s JOIN tenants t ON t.tenant = s.tenant
            WHERE octet_length(s.stream) <= $1 AND s.through >= 0 LIMIT $2";
        let bytes = i32::try_from(STREAM_BYTES_MAX).unwrap_or(i32::MAX);
        let most = i64::try_from(STREAMS_MAX).unwrap_or(i64::MAX);
        let rows = self.readers.rows(question, &[&bytes, &most])?;
        let streams = rows.iter().map(|row| {
            let (tenant, stream): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
            let through = unsigned(row.try_get(2)?);
            Ok((TenantId::new(tenant), StreamId::new(stream), through))
        });
        streams.collect()
    }

    /// Sees to it that the journal has a name: under another one, others take it for another journal.
    pub(super) fn name_log(&self, writer: &mut Writer) -> Result<()> {
        let most = i32::try_from(LOG_NAME_MAX).unwrap_or(i32::MAX);
        let question = "SELECT FROM log WHERE length(name) BETWEEN 1 AND $1";
        if self.readers.row(question, &[&most])?.is_some() {
            return Ok(());
        }
        tracing::error!("the log has no name that can be read: it gets another one");
        writer.change(&self.stale, |session| {
            session.batch(
                "DELETE FROM log;
                 INSERT INTO log VALUES (true, replace(gen_random_uuid()::text, '-', ''))",
            )?;
            Ok(())
        })
    }

    /// The name of the journal.
    pub(super) fn name_of_log(&self) -> Result<String> {
        let row = self.readers.row("SELECT name FROM log", NONE)?;
        let row = row.ok_or_else(|| crate::store::Error::Damaged("it has no name".into()))?;
        Ok(row.try_get(0)?)
    }
}
