//! Parked events.

use tokio_postgres::{Row, types::ToSql};
use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    record::Record,
};

use super::{Postgres, row::values, session::Session};
use crate::store::{
    Result,
    query::{Found, Letter, LetterFilter, Page, PageRequest, Slices},
    table::{
        Columns as _, LetterChanges, Wanted, letter_cells, place, read_letter, signed, unsigned,
    },
};

/// Takes over what a record parks, settles or gives up.
pub(super) fn note(
    session: &mut Session,
    tenant: i64,
    position: u64,
    record: &Record,
) -> Result<()> {
    let changes = LetterChanges::of(record);
    if let Some((id, instance)) = changes.settled {
        // The greater of the two is the one at the instance, if that is there.
        session.execute(
            "DELETE FROM dead_letters WHERE tenant = $1 AND event_id = $2 AND instance =
               (SELECT max(instance) FROM dead_letters
                WHERE tenant = $1 AND event_id = $2 AND instance IN ($3, ''))",
            &[&tenant, &id.to_string(), &place(instance)],
        )?;
    }
    if let Some(letter) = changes.parked {
        session.execute(
            "INSERT INTO dead_letters VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (tenant, event_id, instance) DO UPDATE
               SET position = excluded.position, component = excluded.component,
                 machine = excluded.machine, code = excluded.code,
                 letter_json = excluded.letter_json",
            &values(&letter_cells(position, tenant, letter)),
        )?;
    }
    Ok(())
}

const MATCHING: &str = "FROM dead_letters
    WHERE tenant = (SELECT tenant FROM tenants WHERE name = $1)
      AND ($2::text IS NULL OR component = $2) AND ($3::text IS NULL OR machine = $3)
      AND ($4::text IS NULL OR instance = $4) AND ($5::text IS NULL OR code = $5)";

impl Postgres {
    /// The parked event with this id: at this instance, or the first.
    pub(super) fn letter(
        &self,
        tenant: &TenantId,
        id: &EventId,
        instance: Option<&InstanceId>,
    ) -> Result<Option<Letter>> {
        let instance = instance.map(|instance| place(Some(instance)));
        let row = self.readers.row(
            "SELECT position, letter_json FROM dead_letters
             WHERE tenant = (SELECT tenant FROM tenants WHERE name = $1) AND event_id = $2
               AND ($3::text IS NULL OR instance = $3)
             ORDER BY instance LIMIT 1",
            &[&tenant.as_str(), &id.to_string(), &instance],
        )?;
        let Some(row) = row else {
            return Ok(None);
        };
        let letter = read_letter(&row, tenant);
        self.unreadable
            .leave_out(letter, || format!("dead letter `{id}`"))
    }

    /// A page of parked events, the last first.
    pub(super) fn letters(
        &self,
        tenant: &TenantId,
        filter: &LetterFilter,
        page: PageRequest,
    ) -> Result<Page<Letter>> {
        let mut found = Found::new(page);
        let mut below = page.after.map_or(i64::MAX, |cursor| signed(cursor.0));
        let mut slices = Slices::up_to(page.bounded().saturating_add(1));
        let name = tenant.as_str();
        let wanted = Wanted::of(filter);
        let question = format!(
            "SELECT position, letter_json {MATCHING} AND position < $6
             ORDER BY position DESC LIMIT $7"
        );
        loop {
            let limit = i64::try_from(slices.rows()).unwrap_or(i64::MAX);
            let mut values = matching(&name, &wanted);
            values.extend([&below as &(dyn ToSql + Sync), &limit]);
            let rows = self.readers.rows(&question, &values)?;
            let is_last = rows.len() < slices.rows();
            slices.note(rows.iter().map(Row::raw_size_bytes).sum());
            for row in rows {
                let position = row.bits(0)?;
                below = signed(position);
                let letter = read_letter(&row, tenant);
                let letter = self
                    .unreadable
                    .leave_out(letter, || format!("dead letter at {position}"))?;
                if !found.take_or_pass(position, letter) {
                    return Ok(found.into_page());
                }
            }
            if is_last {
                return Ok(found.into_page());
            }
        }
    }

    /// How many parked events pass.
    pub(super) fn count_letters(&self, tenant: &TenantId, filter: &LetterFilter) -> Result<u64> {
        let wanted = Wanted::of(filter);
        let question = format!("SELECT count(*) {MATCHING}");
        let row = self
            .readers
            .row(&question, &matching(&tenant.as_str(), &wanted))?;
        Ok(row.map_or(0, |row| unsigned(row.get(0))))
    }
}

/// The values of [`MATCHING`].
fn matching<'v>(tenant: &'v &str, wanted: &'v Wanted<'_>) -> Vec<&'v (dyn ToSql + Sync)> {
    vec![
        tenant,
        &wanted.component,
        &wanted.machine,
        &wanted.instance,
        &wanted.code,
    ]
}
