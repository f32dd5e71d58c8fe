//! Parked events.

use rusqlite::{Connection, params, params_from_iter};
use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    record::Record,
};

use super::writer::tenant_number;
use crate::store::{
    Result,
    query::{Found, Letter, LetterFilter, Page, PageRequest},
    table::{LetterChanges, Wanted, letter_cells, place, read_letter, signed, unsigned},
    unreadable::Unreadables,
};

/// Takes over what a record parks, settles or gives up.
pub(super) fn note(
    connection: &Connection,
    tenant: i64,
    position: u64,
    record: &Record,
) -> Result<()> {
    let changes = LetterChanges::of(record);
    if let Some((id, instance)) = changes.settled {
        settle(connection, tenant, id, instance)?;
    }
    if let Some(letter) = changes.parked {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO dead_letters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params_from_iter(letter_cells(position, tenant, letter)))?;
    }
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
    unreadable: &Unreadables,
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
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    unreadable.leave_out(read_letter(row, tenant), || format!("dead letter `{id}`"))
}

/// A page of parked events, the last first.
pub(super) fn list(
    connection: &Connection,
    unreadable: &Unreadables,
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
            let position: i64 = row.get(0)?;
            let letter = read_letter(row, tenant);
            let letter = unreadable.leave_out(letter, || format!("dead letter at {position}"))?;
            if !found.take_or_pass(unsigned(position), letter) {
                break;
            }
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
