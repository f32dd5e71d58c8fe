//! Parked events.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    record::{Body, DeadLetter, Record},
};

use super::{
    row::{signed, text, unsigned},
    writer::tenant_number,
};
use crate::store::{
    Position, Result,
    query::{Found, Letter, LetterFilter, Page, PageRequest},
    stored::{StoredLetter, of_text, to_text},
};

/// Takes over what a record parks, settles or gives up.
pub(super) fn note(
    connection: &Connection,
    tenant: i64,
    position: u64,
    record: &Record,
) -> Result<()> {
    match &record.body {
        Body::Handled(handled) => {
            if let Some(id) = &handled.settles {
                settle(connection, tenant, id, Some(&handled.after.id))?;
            }
            if let Some(letter) = &handled.parked {
                park(connection, tenant, position, letter)?;
            }
        }
        Body::Parked(letter) => park(connection, tenant, position, letter)?,
        Body::Discarded(discarded) => {
            settle(
                connection,
                tenant,
                &discarded.id,
                discarded.instance.as_ref(),
            )?;
        }
        Body::Selected(_) | Body::Departed(_) | Body::Moved(_) => {}
    }
    Ok(())
}

fn park(connection: &Connection, tenant: i64, position: u64, letter: &DeadLetter) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO dead_letters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            signed(position),
            tenant,
            letter.event.id.to_string(),
            place(letter.instance.as_ref()),
            letter.component.as_str(),
            letter.machine.as_ref().map(|machine| machine.as_str()),
            letter.why.code(),
            to_text(&StoredLetter::of(letter)),
        ])?;
    Ok(())
}

/// Removes a parked event; one that was parked before an instance was chosen is found under any.
fn settle(
    connection: &Connection,
    tenant: i64,
    id: &EventId,
    instance: Option<&InstanceId>,
) -> Result<()> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM dead_letters WHERE tenant = ?1 AND event_id = ?2 AND instance = ?3",
    )?;
    let id = id.to_string();
    if delete.execute(params![tenant, id, place(instance)])? == 0 && instance.is_some() {
        delete.execute(params![tenant, id, place(None)])?;
    }
    Ok(())
}

/// The parked event with this id: at this instance, or the first.
pub(super) fn find(
    connection: &Connection,
    tenant: &TenantId,
    id: &EventId,
    instance: Option<&InstanceId>,
) -> Result<Option<Letter>> {
    let Some(number) = tenant_number(connection, tenant)? else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached(
        "SELECT position, letter_json FROM dead_letters
         WHERE tenant = ?1 AND event_id = ?2 AND (?3 IS NULL OR instance = ?3)
         ORDER BY instance LIMIT 1",
    )?;
    let instance = instance.map(|instance| place(Some(instance)));
    let mut rows = statement.query(params![number, id.to_string(), instance])?;
    rows.next()?.map(|row| read(row, tenant)).transpose()
}

/// A page of parked events, the last first.
pub(super) fn list(
    connection: &Connection,
    tenant: &TenantId,
    filter: &LetterFilter,
    page: PageRequest,
) -> Result<Page<Letter>> {
    let mut found = Found::new(page);
    let below = page.after.map_or(i64::MAX, |cursor| signed(cursor.0));
    if let Some(number) = tenant_number(connection, tenant)? {
        let question = format!(
            "SELECT position, letter_json {MATCHING} AND position < ?6
            ORDER BY position DESC LIMIT ?7"
        );
        let mut statement = connection.prepare_cached(&question)?;
        let wanted = Wanted::of(filter);
        let mut rows = statement.query(params![
            number,
            wanted.component,
            wanted.machine,
            wanted.instance,
            wanted.code,
            below,
            i64::try_from(page.bounded())
                .unwrap_or(i64::MAX)
                .saturating_add(1),
        ])?;
        while let Some(row) = rows.next()? {
            let letter = read(row, tenant)?;
            found.take(letter.position.0, || letter);
        }
    }
    Ok(found.into_page())
}

/// How many parked events pass.
pub(super) fn count(
    connection: &Connection,
    tenant: &TenantId,
    filter: &LetterFilter,
) -> Result<u64> {
    let Some(number) = tenant_number(connection, tenant)? else {
        return Ok(0);
    };
    let wanted = Wanted::of(filter);
    let count: i64 = connection
        .prepare_cached(&format!("SELECT count(*) {MATCHING}"))?
        .query_row(
            params![
                number,
                wanted.component,
                wanted.machine,
                wanted.instance,
                wanted.code
            ],
            |row| row.get(0),
        )?;
    Ok(unsigned(count))
}

const MATCHING: &str = "FROM dead_letters
    WHERE tenant = ?1 AND (?2 IS NULL OR component = ?2) AND (?3 IS NULL OR machine = ?3)
      AND (?4 IS NULL OR instance = ?4) AND (?5 IS NULL OR code = ?5)";

/// A filter as SQL has it.
struct Wanted<'f> {
    component: Option<&'f str>,
    machine: Option<&'f str>,
    instance: Option<String>,
    code: Option<&'f str>,
}

impl<'f> Wanted<'f> {
    fn of(filter: &'f LetterFilter) -> Self {
        Self {
            component: filter.component.as_ref().map(|name| name.as_str()),
            machine: filter.machine.as_ref().map(|name| name.as_str()),
            instance: filter.instance.as_ref().map(ToString::to_string),
            code: filter.code.as_deref(),
        }
    }
}

fn read(row: &Row<'_>, tenant: &TenantId) -> Result<Letter> {
    let letter = of_text::<StoredLetter>(text(row, 1)?)?.read(tenant)?;
    Ok(Letter {
        position: Position(unsigned(row.get(0)?)),
        letter: Arc::new(letter),
    })
}

/// What stands for an instance; empty where none was chosen.
fn place(instance: Option<&InstanceId>) -> String {
    instance.map(ToString::to_string).unwrap_or_default()
}
