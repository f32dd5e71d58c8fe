//! Rows of `dead_letters`.

use std::sync::Arc;

use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    record::{Body, DeadLetter, Record},
};

use super::{Cell, Columns};
use crate::store::{
    Position, Result,
    query::{Letter, LetterFilter},
    stored::{StoredLetter, of_text, to_text},
};

/// What a record does to the parked events: it settles one, then parks one.
pub(in crate::store) struct LetterChanges<'r> {
    /// The parked event with this id at this instance; one that was parked before an instance was
    /// chosen is found under any.
    pub(in crate::store) settled: Option<(&'r EventId, Option<&'r InstanceId>)>,
    pub(in crate::store) parked: Option<&'r DeadLetter>,
}

impl<'r> LetterChanges<'r> {
    pub(in crate::store) fn of(record: &'r Record) -> Self {
        let (settled, parked) = match &record.body {
            Body::Handled(handled) => {
                let settled = handled.settles.as_ref();
                let settled = settled.map(|id| (id, Some(&handled.after.id)));
                (settled, handled.parked.as_deref())
            }
            Body::Parked(letter) => (None, Some(&**letter)),
            Body::Discarded(discarded) => {
                (Some((&discarded.id, discarded.instance.as_ref())), None)
            }
            Body::Selected(_) | Body::Departed(_) | Body::Moved(_) | Body::Received(_) => {
                (None, None)
            }
        };
        Self { settled, parked }
    }
}

/// A parked event as a row: `position`, `tenant`, `event_id`, `instance`, `component`, `machine`,
/// `code`, `letter_json`.
pub(in crate::store) fn letter_cells(
    position: u64,
    tenant: i64,
    letter: &DeadLetter,
) -> [Cell<'_>; 8] {
    [
        position.into(),
        tenant.into(),
        letter.event.id.to_string().into(),
        place(letter.instance.as_ref()).into(),
        letter.component.as_str().into(),
        letter
            .machine
            .as_ref()
            .map(|machine| machine.as_str())
            .into(),
        letter.why.code().into(),
        to_text(&StoredLetter::of(letter)).into(),
    ]
}

/// Reads `position` and `letter_json`.
pub(in crate::store) fn read_letter(row: &impl Columns, tenant: &TenantId) -> Result<Letter> {
    let letter = of_text::<StoredLetter>(row.text(1)?)?.read(tenant)?;
    Ok(Letter {
        position: Position(row.bits(0)?),
        letter: Arc::new(letter),
    })
}

/// A filter as SQL has it.
pub(in crate::store) struct Wanted<'f> {
    pub(in crate::store) component: Option<&'f str>,
    pub(in crate::store) machine: Option<&'f str>,
    pub(in crate::store) instance: Option<String>,
    pub(in crate::store) code: Option<&'f str>,
}

impl<'f> Wanted<'f> {
    pub(in crate::store) fn of(filter: &'f LetterFilter) -> Self {
        Self {
            component: filter.component.as_ref().map(|name| name.as_str()),
            machine: filter.machine.as_ref().map(|name| name.as_str()),
            instance: filter.instance.as_ref().map(ToString::to_string),
            code: filter.code.as_deref(),
        }
    }
}

/// What stands for an instance; empty where none was chosen.
pub(in crate::store) fn place(instance: Option<&InstanceId>) -> String {
    instance.map(ToString::to_string).unwrap_or_default()
}
