//! Rows of `events`.

use std::sync::Arc;

use xcomponent_core::{
    call::{Deployment, Event},
    id::{EventId, EventName, TenantId},
    json::Json,
    record::{Body, Cause, Departed, Disposition, Handled, Record, Snapshot},
    time::Timestamp,
};

use super::{
    Cell, Column, Columns,
    instance::{extra_text, read_instance, state_of, timers_text},
    number, text,
};
use crate::store::{
    Entry, Position, Result,
    query::Kind,
    stored::{
        Malformed, PortableCause, PortableOutgoing, Read, StoredDiscarded, StoredHandled,
        StoredLetter, StoredLog, StoredReason, StoredReceived, StoredSelected, StoredWaits,
        of_text, to_text, word,
    },
};

/// The columns of `events`, in the order of [`event_cells`].
pub(in crate::store) const EVENT_COLUMNS: [Column; 26] = [
    number("position"),
    number("tenant"),
    number("at"),
    text("kind"),
    number("instance"),
    number("before"),
    number("version"),
    number("seq"),
    text("event_id"),
    text("event"),
    text("payload"),
    number("event_at"),
    text("from_state"),
    text("to_state"),
    text("status"),
    text("context"),
    number("entry"),
    number("entered"),
    number("updated"),
    number("fuel"),
    number("attempts"),
    text("root"),
    text("timers_json"),
    text("extra_json"),
    text("cause_json"),
    text("detail_json"),
];

/// Reads rows of `events`: first the instance as it was then, as [`super::SELECT_INSTANCES`] does.
pub(in crate::store) const SELECT_EVENTS: &str =
    "SELECT i.id, e.version, i.machine, e.to_state, e.status, e.context, e.seq, e.entry, i.created,
       e.updated, e.entered, i.origin, i.entry_point, i.parent_json, e.timers_json, e.extra_json,
       e.position, e.at, e.kind, e.instance, e.before, e.event_id, e.event, e.payload, e.event_at,
       e.from_state, e.fuel, e.attempts, e.cause_json, e.detail_json, t.name
     FROM events e JOIN tenants t ON t.tenant = e.tenant
       LEFT JOIN instances i ON i.instance = e.instance";

/// Of what [`SELECT_EVENTS`] reads: all but records about deleted instances. The row of a deleted
/// instance is never behind.
pub(in crate::store) const SHOWN: &str = "(i.status IS NULL OR i.status <> 'deleted')";

/// Column of the position in what [`SELECT_EVENTS`] reads.
pub(in crate::store) const POSITION: usize = 16;

/// Column of the instance's number there.
pub(in crate::store) const INSTANCE: usize = 19;

/// Column of the position of the instance's record before.
pub(in crate::store) const BEFORE: usize = 20;

/// What a row of `events` says besides its record.
pub(in crate::store) struct Links {
    pub(in crate::store) position: u64,
    pub(in crate::store) tenant: i64,
    /// The instance's number and the position of its row before.
    pub(in crate::store) instance: Option<(i64, u64)>,
    pub(in crate::store) version: Option<i64>,
}

/// A record as a row.
pub(in crate::store) fn event_cells<'r>(
    links: &Links,
    record: &'r Record,
) -> [Cell<'r>; EVENT_COLUMNS.len()] {
    let after = record.body.snapshot();
    let handled = match &record.body {
        Body::Handled(handled) => Some(&**handled),
        _ => None,
    };
    let event = handled.map(|handled| &handled.event);
    let from = handled.and_then(|handled| handled.from_name());
    let (root, cause) = match handled {
        Some(handled) => {
            let plain = handled.cause == Cause::outside(&handled.event.id, None);
            let root = (handled.cause.root != handled.event.id).then_some(&handled.cause.root);
            (root, (!plain).then_some(&handled.cause))
        }
        None => (other_root(&record.body), None),
    };
    let before = links.instance.map(|(_, before)| before);
    [
        links.position.into(),
        links.tenant.into(),
        record.at.0.into(),
        Kind::of(record).as_str().into(),
        links.instance.map(|(number, _)| number).into(),
        before.filter(|before| *before != 0).into(),
        links.version.into(),
        after.map(|after| after.seq).into(),
        event.map(|event| event.id.to_string()).into(),
        event.map(|event| event.name.as_str()).into(),
        event.map(|event| event.payload.as_str()).into(),
        event.map(|event| event.at.0).into(),
        from.map(|name| name.as_str()).into(),
        after.map(|after| after.state().name.as_str()).into(),
        after.map(|after| after.status.as_str()).into(),
        after.map(|after| after.context.as_str()).into(),
        after.map(|after| after.entry).into(),
        after.map(|after| after.entered.0).into(),
        after.map(|after| after.updated.0).into(),
        handled.map(|handled| handled.fuel).into(),
        handled.map(|handled| handled.attempts).into(),
        root.map(ToString::to_string).into(),
        after.and_then(|after| timers_text(&after.timers)).into(),
        after
            .and_then(|after| extra_text(after.extra.as_deref()))
            .into(),
        cause.map(|cause| to_text(&PortableCause::of(cause))).into(),
        detail_text(&record.body).into(),
    ]
}

fn other_root(body: &Body) -> Option<&EventId> {
    match body {
        Body::Selected(selected) => Some(&selected.cause.root),
        Body::Departed(departed) => Some(&departed.outgoing.cause.root),
        Body::Parked(letter) => Some(&letter.cause.root),
        Body::Handled(_) | Body::Moved(_) | Body::Discarded(_) | Body::Received(_) => None,
    }
}

fn detail_text(body: &Body) -> Option<String> {
    Some(match body {
        Body::Handled(handled) => to_text(&StoredHandled::of(handled)?),
        Body::Selected(selected) => to_text(&StoredSelected::of(selected)),
        Body::Departed(departed) => to_text(&PortableOutgoing::of(&departed.outgoing)),
        Body::Parked(letter) => to_text(&StoredLetter::of(letter)),
        Body::Discarded(discarded) => to_text(&StoredDiscarded::of(discarded)),
        Body::Received(received) => to_text(&StoredReceived::of(received)),
        Body::Moved(_) => return None,
    })
}

/// Reads a row of `events`; `deployment` finds a version by its number.
pub(in crate::store) fn read_event(
    row: &impl Columns,
    deployment: impl FnOnce(i64) -> Result<Arc<Deployment>>,
) -> Result<Entry> {
    let tenant = TenantId::new(row.text(30)?);
    let kind = row.text(18)?;
    let detail = row.optional_text(29)?;
    let body = match row.number(INSTANCE)? {
        None => read_body_of_none(kind, detail, &tenant)?,
        Some(_) => {
            let after = read_instance(row, deployment)?;
            match kind {
                "departed" => Body::Departed(Arc::new(Departed {
                    after,
                    outgoing: of_text::<PortableOutgoing>(detail.unwrap_or_default())?.read()?,
                })),
                "moved" => Body::Moved(Arc::new(after)),
                _ => Body::Handled(Arc::new(read_handled(row, after, &tenant, kind, detail)?)),
            }
        }
    };
    Ok(Entry {
        position: Position(row.bits(POSITION)?),
        record: Record {
            tenant,
            at: row.time(17)?,
            body,
        },
    })
}

fn read_body_of_none(kind: &str, detail: Option<&str>, tenant: &TenantId) -> Read<Body> {
    let detail = detail.unwrap_or_default();
    Ok(match kind {
        "selected" => Body::Selected(Arc::new(of_text::<StoredSelected>(detail)?.read()?)),
        "dead-lettered" => Body::Parked(Arc::new(of_text::<StoredLetter>(detail)?.read(tenant)?)),
        "discarded" => Body::Discarded(Arc::new(of_text::<StoredDiscarded>(detail)?.read()?)),
        "received" => Body::Received(Arc::new(of_text::<StoredReceived>(detail)?.read()?)),
        _ => return Err(Malformed::Word(kind.to_owned(), "kind of record")),
    })
}

fn read_handled(
    row: &impl Columns,
    after: Snapshot,
    tenant: &TenantId,
    kind: &str,
    detail: Option<&str>,
) -> Result<Handled> {
    let event = Event {
        id: EventId::from_stored(row.text(21)?),
        name: EventName::new(row.text(22)?),
        payload: Json::of_stored(row.text(23)?).map_err(Malformed::from)?,
        at: row.time(24)?,
    };
    let disposition = match kind {
        "created" | "terminated" | "deleted" => Disposition::Transitioned,
        kind => word(kind, Disposition::parse, "disposition")?,
    };
    let from = row.optional_text(25)?;
    let from = from.map(|name| state_of(&after.deployment, after.machine, name));
    let cause = match row.optional_text(28)? {
        Some(stored) => of_text::<PortableCause>(stored)?.read(),
        None => Cause::outside(&event.id, None),
    };
    let detail = match detail {
        Some(detail) => of_text::<StoredHandled>(detail)?,
        None => StoredHandled::default(),
    };
    let deliveries = detail.deliveries.into_iter().map(PortableOutgoing::read);
    let logs = detail.logs.into_iter().map(StoredLog::read);
    let waits = detail.waits.map(StoredWaits::read).transpose()?;
    let parked = detail
        .parked
        .map(|letter| letter.read(tenant))
        .transpose()?;
    Ok(Handled {
        event,
        sent_at: detail.sent_at.map(Timestamp),
        disposition,
        reason: detail.reason.map(StoredReason::read).map(Box::new),
        from: from.transpose()?,
        to: after.state,
        cause,
        deliveries: deliveries.collect::<Read<Vec<_>>>()?.into(),
        waits: waits.map(Box::new),
        fault: detail
            .fault
            .map(|fault| fault.read())
            .transpose()?
            .map(Box::new),
        logs: logs.collect::<Read<Vec<_>>>()?.into(),
        fuel: row.bits(26)?,
        attempts: u32::try_from(row.integer(27)?).unwrap_or(u32::MAX),
        parked: parked.map(Arc::new),
        settles: detail.settles.as_deref().map(EventId::from_stored),
        cancels: (detail.cancels.iter())
            .map(|id| EventId::from_stored(id))
            .collect(),
        after,
    })
}
