//! Rows of `events` and `instances`, written and read.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, Row, params};
use xcomponent_core::{
    call::{Deployment, Event},
    definition::{MachineIdx, StateIdx},
    id::{EventId, EventName, InstanceId, MachineName, StateName, TenantId},
    json::Json,
    record::{Body, Cause, Departed, Disposition, Extra, Handled, Record, Snapshot, Status, Timer},
    time::Timestamp,
};

use super::deployments::Deployments;
use crate::store::{
    Entry, Position, Result,
    query::{InstanceCount, Kind},
    stored::{
        Read, StoredCause, StoredDiscarded, StoredExtra, StoredHandled, StoredLetter, StoredLog,
        StoredOutgoing, StoredParent, StoredReason, StoredSelected, StoredTimer, Unreadable,
        of_text, to_text, word,
    },
};

/// Adds a row to `events`.
pub(super) const INSERT_EVENT: &str = "INSERT INTO events VALUES
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
     ?21, ?22, ?23, ?24, ?25, ?26)";

/// Reads rows of `events`: first the instance as it was then, as [`SELECT_INSTANCES`] does.
pub(super) const SELECT_EVENTS: &str =
    "SELECT i.id, e.version, i.machine, e.to_state, e.status, e.context, e.seq, e.entry, i.created,
       e.updated, e.entered, i.origin, i.entry_point, i.parent_json, e.timers_json, e.extra_json,
       e.position, e.at, e.kind, e.instance, e.before, e.event_id, e.event, e.payload, e.event_at,
       e.from_state, e.fuel, e.attempts, e.cause_json, e.detail_json, t.name
     FROM events e JOIN tenants t ON t.tenant = e.tenant
       LEFT JOIN instances i ON i.instance = e.instance";

/// Adds a row to `instances`.
pub(super) const INSERT_INSTANCE: &str = "INSERT INTO instances
    (tenant, id, version, machine, state, status, context, seq, entry, created, updated, entered,
     origin, entry_point, parent_json, timers_json, extra_json, last) VALUES
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

/// Brings a row of `instances` up to date.
pub(super) const UPDATE_INSTANCE: &str = "UPDATE instances SET
    version = ?2, machine = ?3, state = ?4, status = ?5, context = ?6, seq = ?7, entry = ?8,
    updated = ?9, entered = ?10, timers_json = ?11, extra_json = ?12, last = ?13
    WHERE instance = ?1";

/// Reads rows of `instances`: how the instance is, and its number in [`NUMBER`].
pub(super) const SELECT_INSTANCES: &str =
    "SELECT i.id, i.version, i.machine, i.state, i.status, i.context, i.seq, i.entry, i.created,
       i.updated, i.entered, i.origin, i.entry_point, i.parent_json, i.timers_json, i.extra_json,
       i.instance
     FROM instances i";

/// Column of the id in what [`SELECT_INSTANCES`] reads.
pub(super) const ID: usize = 0;

/// Column of the instance's number there.
pub(super) const NUMBER: usize = 16;

/// What a row of `events` says besides its record.
pub(super) struct Links {
    pub(super) position: u64,
    pub(super) tenant: i64,
    /// The instance's number and the position of its row before.
    pub(super) instance: Option<(i64, u64)>,
    pub(super) version: Option<i64>,
}

/// Adds a record to `events`.
pub(super) fn insert_event(
    statement: &mut CachedStatement<'_>,
    links: &Links,
    record: &Record,
) -> rusqlite::Result<()> {
    let after = record.body.snapshot();
    let handled = match &record.body {
        Body::Handled(handled) => Some(&**handled),
        _ => None,
    };
    let event = handled.map(|handled| &handled.event);
    let from = handled.and_then(|handled| handled.from_name());
    let event_id = event.map(|event| event.id.to_string());
    let (root, cause) = match handled {
        Some(handled) => {
            let plain = handled.cause == Cause::outside(&handled.event.id, None);
            let root = (handled.cause.root != handled.event.id).then_some(&handled.cause.root);
            (root, (!plain).then_some(&handled.cause))
        }
        None => (other_root(&record.body), None),
    };
    statement.execute(params![
        signed(links.position),
        links.tenant,
        signed(record.at.0),
        Kind::of(record).as_str(),
        links.instance.map(|(number, _)| number),
        links
            .instance
            .map(|(_, before)| signed(before))
            .filter(|before| *before != 0),
        links.version,
        after.map(|after| signed(after.seq)),
        event_id,
        event.map(|event| event.name.as_str()),
        event.map(|event| event.payload.as_str()),
        event.map(|event| signed(event.at.0)),
        from.map(|name| name.as_str()),
        after.map(|after| after.state().name.as_str()),
        after.map(|after| after.status.as_str()),
        after.map(|after| after.context.as_str()),
        after.map(|after| signed(after.entry)),
        after.map(|after| signed(after.entered.0)),
        after.map(|after| signed(after.updated.0)),
        handled.map(|handled| signed(handled.fuel)),
        handled.map(|handled| handled.attempts),
        root.map(ToString::to_string),
        after.and_then(|after| timers_text(&after.timers)),
        after.and_then(|after| extra_text(after.extra.as_deref())),
        cause.map(|cause| to_text(&StoredCause::of(cause))),
        detail_text(&record.body),
    ])?;
    Ok(())
}

fn other_root(body: &Body) -> Option<&EventId> {
    match body {
        Body::Selected(selected) => Some(&selected.cause.root),
        Body::Departed(departed) => Some(&departed.outgoing.cause.root),
        Body::Parked(letter) => Some(&letter.cause.root),
        Body::Handled(_) | Body::Moved(_) | Body::Discarded(_) => None,
    }
}

fn detail_text(body: &Body) -> Option<String> {
    Some(match body {
        Body::Handled(handled) => to_text(&StoredHandled::of(handled)?),
        Body::Selected(selected) => to_text(&StoredSelected::of(selected)),
        Body::Departed(departed) => to_text(&StoredOutgoing::of(&departed.outgoing)),
        Body::Parked(letter) => to_text(&StoredLetter::of(letter)),
        Body::Discarded(discarded) => to_text(&StoredDiscarded::of(discarded)),
        Body::Moved(_) => return None,
    })
}

fn timers_text(timers: &[Timer]) -> Option<String> {
    let stored = || timers.iter().map(StoredTimer::of).collect::<Vec<_>>();
    (!timers.is_empty()).then(|| to_text(&stored()))
}

fn extra_text(extra: Option<&Extra>) -> Option<String> {
    extra.map(|extra| to_text(&StoredExtra::of(extra)))
}

/// A row of `events` that [`SELECT_EVENTS`] read.
pub(super) struct EventRow {
    pub(super) entry: Entry,
    /// The instance's number.
    pub(super) instance: Option<i64>,
    /// The position of the same instance's row before.
    pub(super) before: Option<u64>,
}

/// Reads a row of `events`.
pub(super) fn read_event(
    row: &Row<'_>,
    connection: &Connection,
    deployments: &Deployments,
) -> Result<EventRow> {
    let tenant = TenantId::new(text(row, 30)?);
    let kind = text(row, 18)?;
    let detail: Option<&str> = optional_text(row, 29)?;
    let instance: Option<i64> = row.get(19)?;
    let body = match instance {
        None => read_body_of_none(kind, detail, &tenant)?,
        Some(_) => {
            let after = read_instance(row, connection, deployments)?;
            match kind {
                "departed" => Body::Departed(Arc::new(Departed {
                    after,
                    outgoing: of_text::<StoredOutgoing>(detail.unwrap_or_default())?.read()?,
                })),
                "moved" => Body::Moved(Arc::new(after)),
                _ => Body::Handled(Arc::new(read_handled(row, after, &tenant, kind, detail)?)),
            }
        }
    };
    Ok(EventRow {
        entry: Entry {
            position: Position(unsigned(row.get(16)?)),
            record: Record {
                tenant,
                at: Timestamp(unsigned(row.get(17)?)),
                body,
            },
        },
        instance,
        before: row.get::<_, Option<i64>>(20)?.map(unsigned),
    })
}

fn read_body_of_none(kind: &str, detail: Option<&str>, tenant: &TenantId) -> Read<Body> {
    let detail = detail.unwrap_or_default();
    Ok(match kind {
        "selected" => Body::Selected(Arc::new(of_text::<StoredSelected>(detail)?.read()?)),
        "dead-lettered" => Body::Parked(Arc::new(of_text::<StoredLetter>(detail)?.read(tenant)?)),
        "discarded" => Body::Discarded(Arc::new(of_text::<StoredDiscarded>(detail)?.read()?)),
        _ => return Err(Unreadable::Word(kind.to_owned(), "kind of record")),
    })
}

fn read_handled(
    row: &Row<'_>,
    after: Snapshot,
    tenant: &TenantId,
    kind: &str,
    detail: Option<&str>,
) -> Result<Handled> {
    let event = Event {
        id: EventId::from_stored(text(row, 21)?),
        name: EventName::new(text(row, 22)?),
        payload: Json::from_trusted(text(row, 23)?),
        at: Timestamp(unsigned(row.get(24)?)),
    };
    let disposition = match kind {
        "created" => Disposition::Transitioned,
        kind => word(kind, Disposition::parse, "disposition")?,
    };
    let from = optional_text(row, 25)?;
    let from = from.map(|name| state_of(&after.deployment, after.machine, name));
    let cause = match optional_text(row, 28)? {
        Some(stored) => of_text::<StoredCause>(stored)?.read(),
        None => Cause::outside(&event.id, None),
    };
    let detail = match detail {
        Some(detail) => of_text::<StoredHandled>(detail)?,
        None => StoredHandled::default(),
    };
    let deliveries = detail.deliveries.into_iter().map(StoredOutgoing::read);
    let logs = detail.logs.into_iter().map(StoredLog::read);
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
        fault: detail
            .fault
            .map(|fault| fault.read())
            .transpose()?
            .map(Box::new),
        logs: logs.collect::<Read<Vec<_>>>()?.into(),
        fuel: unsigned(row.get(26)?),
        attempts: row.get(27)?,
        parked: parked.map(Arc::new),
        settles: detail.settles.as_deref().map(EventId::from_stored),
        cancels: (detail.cancels.iter())
            .map(|id| EventId::from_stored(id))
            .collect(),
        after,
    })
}

/// Reads how an instance is, from the columns that both kinds of rows begin with.
pub(super) fn read_instance(
    row: &Row<'_>,
    connection: &Connection,
    deployments: &Deployments,
) -> Result<Snapshot> {
    let deployment = deployments.get(connection, row.get(1)?)?;
    let machine = machine_of(&deployment, text(row, 2)?)?;
    Ok(Snapshot {
        id: InstanceId::from_stored(text(row, ID)?),
        machine,
        state: state_of(&deployment, machine, text(row, 3)?)?,
        status: word(text(row, 4)?, Status::parse, "status")?,
        context: Json::from_trusted(text(row, 5)?),
        seq: unsigned(row.get(6)?),
        entry: unsigned(row.get(7)?),
        created: Timestamp(unsigned(row.get(8)?)),
        updated: Timestamp(unsigned(row.get(9)?)),
        entered: Timestamp(unsigned(row.get(10)?)),
        origin: unsigned(row.get(11)?),
        entry_point: row.get(12)?,
        parent: read_parent(optional_text(row, 13)?)?,
        timers: read_timers(optional_text(row, 14)?)?.into(),
        extra: read_extra(optional_text(row, 15)?)?,
        deployment,
    })
}

/// Adds an instance and says its number.
pub(super) fn insert_instance(
    connection: &Connection,
    tenant: i64,
    version: i64,
    snapshot: &Snapshot,
    last: u64,
) -> rusqlite::Result<i64> {
    let parent = snapshot.parent.as_deref().map(StoredParent::of);
    connection.prepare_cached(INSERT_INSTANCE)?.insert(params![
        tenant,
        snapshot.id.to_string(),
        version,
        snapshot.machine().name.as_str(),
        snapshot.state().name.as_str(),
        snapshot.status.as_str(),
        snapshot.context.as_str(),
        signed(snapshot.seq),
        signed(snapshot.entry),
        signed(snapshot.created.0),
        signed(snapshot.updated.0),
        signed(snapshot.entered.0),
        signed(snapshot.origin),
        snapshot.entry_point,
        parent.as_ref().map(to_text),
        timers_text(&snapshot.timers),
        extra_text(snapshot.extra.as_deref()),
        signed(last),
    ])
}

/// Brings an instance's row up to date.
pub(super) fn update_instance(
    connection: &Connection,
    number: i64,
    version: i64,
    snapshot: &Snapshot,
    last: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(UPDATE_INSTANCE)?
        .execute(params![
            number,
            version,
            snapshot.machine().name.as_str(),
            snapshot.state().name.as_str(),
            snapshot.status.as_str(),
            snapshot.context.as_str(),
            signed(snapshot.seq),
            signed(snapshot.entry),
            signed(snapshot.updated.0),
            signed(snapshot.entered.0),
            timers_text(&snapshot.timers),
            extra_text(snapshot.extra.as_deref()),
            signed(last),
        ])?;
    Ok(())
}

/// Reads a kind of instances.
pub(super) fn read_kind(
    deployment: &Deployment,
    machine: &str,
    state: &str,
    status: &str,
) -> Read<InstanceCount> {
    Ok(InstanceCount {
        component: deployment.definition.name.clone(),
        version: deployment.definition.version.clone(),
        machine: MachineName::new(machine),
        state: StateName::new(state),
        status: word(status, Status::parse, "status")?,
        instances: 0,
    })
}

fn read_parent(stored: Option<&str>) -> Read<Option<Box<xcomponent_core::record::Parent>>> {
    let parent = stored.map(of_text::<StoredParent>).transpose()?;
    Ok(parent.map(|parent| Box::new(parent.read())))
}

fn read_timers(stored: Option<&str>) -> Read<Vec<Timer>> {
    let timers = stored.map(of_text::<Vec<StoredTimer>>).transpose()?;
    let timers = timers.unwrap_or_default().into_iter();
    timers.map(StoredTimer::read).collect()
}

fn read_extra(stored: Option<&str>) -> Read<Option<Box<Extra>>> {
    let extra = stored.map(of_text::<StoredExtra>).transpose()?;
    Ok(extra.map(|extra| Box::new(extra.read())))
}

fn machine_of(deployment: &Deployment, name: &str) -> Read<MachineIdx> {
    let found = deployment.definition.find(name).map(|(machine, _)| machine);
    found.ok_or_else(|| missing(deployment, "machine", name))
}

fn state_of(deployment: &Deployment, machine: MachineIdx, name: &str) -> Read<StateIdx> {
    let found = deployment.definition.machine(machine).find_state(name);
    found.ok_or_else(|| missing(deployment, "state", name))
}

fn missing(deployment: &Deployment, what: &'static str, name: &str) -> Unreadable {
    Unreadable::Name {
        version: deployment.definition.version.to_string(),
        what,
        name: name.to_owned(),
    }
}

/// A text, without a copy.
pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r str> {
    Ok(optional_text(row, column)?.unwrap_or_default())
}

fn optional_text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<Option<&'r str>> {
    Ok(row.get_ref(column)?.as_str_or_null()?)
}

/// The 64 bits as SQLite has them.
#[expect(clippy::cast_possible_wrap, reason = "the bits are what is kept")]
pub(super) fn signed(number: u64) -> i64 {
    number as i64
}

/// The 64 bits as they were.
#[expect(clippy::cast_sign_loss, reason = "the bits are what was kept")]
pub(super) fn unsigned(number: i64) -> u64 {
    number as u64
}
