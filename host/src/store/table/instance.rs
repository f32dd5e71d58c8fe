//! Rows of `instances`.

use std::sync::Arc;

use xcomponent_core::{
    call::Deployment,
    definition::{MachineIdx, StateIdx},
    id::{InstanceId, MachineName, StateName},
    json::Json,
    record::{Extra, Parent, Snapshot, Status, Timer},
};

use super::{Cell, Column, Columns, flag, number, text};
use crate::store::{
    Result,
    query::InstanceCount,
    stored::{
        Malformed, PortableParent, Read, StoredDeadline, StoredExtra, StoredTimer, Unreadable,
        of_text, to_text, word,
    },
};

/// The columns of `instances`, in the order of [`instance_cells`]; the number comes before them.
pub(in crate::store) const INSTANCE_COLUMNS: [Column; 18] = [
    number("tenant"),
    text("id"),
    number("created"),
    number("origin"),
    flag("entry_point"),
    text("parent_json"),
    number("version"),
    text("machine"),
    text("state"),
    text("status"),
    text("context"),
    number("seq"),
    number("entry"),
    number("updated"),
    number("entered"),
    text("timers_json"),
    text("extra_json"),
    number("last"),
];

/// Reads rows of `instances`: how the instance is, and its number in [`NUMBER`].
pub(in crate::store) const SELECT_INSTANCES: &str =
    "SELECT i.id, i.version, i.machine, i.state, i.status, i.context, i.seq, i.entry, i.created,
       i.updated, i.entered, i.origin, i.entry_point, i.parent_json, i.timers_json, i.extra_json,
       i.instance
     FROM instances i";

/// Column of the id in what [`SELECT_INSTANCES`] reads.
pub(in crate::store) const ID: usize = 0;

/// Column of the instance's number there.
pub(in crate::store) const NUMBER: usize = 16;

/// How many of them change with the instance: the last ones, from `version` on.
pub(in crate::store) const STATE_COLUMNS: usize = 12;

/// A new instance as a row.
pub(in crate::store) fn instance_cells(
    tenant: i64,
    version: i64,
    snapshot: &Snapshot,
    last: u64,
) -> [Cell<'_>; INSTANCE_COLUMNS.len()] {
    let parent = snapshot.parent.as_deref().map(PortableParent::of);
    let [
        version,
        machine,
        state,
        status,
        context,
        seq,
        entry,
        updated,
        entered,
        timers,
        extra,
        last,
    ] = state_cells(version, snapshot, last);
    [
        tenant.into(),
        snapshot.id.to_string().into(),
        snapshot.created.0.into(),
        snapshot.origin.into(),
        snapshot.entry_point.into(),
        parent.as_ref().map(to_text).into(),
        version,
        machine,
        state,
        status,
        context,
        seq,
        entry,
        updated,
        entered,
        timers,
        extra,
        last,
    ]
}

/// How an instance is, as the part of its row that changes.
pub(in crate::store) fn state_cells(
    version: i64,
    snapshot: &Snapshot,
    last: u64,
) -> [Cell<'_>; STATE_COLUMNS] {
    [
        version.into(),
        snapshot.machine().name.as_str().into(),
        snapshot.state().name.as_str().into(),
        snapshot.status.as_str().into(),
        snapshot.context.as_str().into(),
        snapshot.seq.into(),
        snapshot.entry.into(),
        snapshot.updated.0.into(),
        snapshot.entered.0.into(),
        timers_text(&snapshot.timers).into(),
        extra_text(snapshot.extra.as_deref()).into(),
        last.into(),
    ]
}

pub(super) fn timers_text(timers: &[Timer]) -> Option<String> {
    let stored = || timers.iter().map(StoredTimer::of).collect::<Vec<_>>();
    (!timers.is_empty()).then(|| to_text(&stored()))
}

pub(super) fn extra_text(extra: Option<&Extra>) -> Option<String> {
    extra.map(|extra| to_text(&StoredExtra::of(extra)))
}

/// Reads how an instance is, from the columns that both kinds of rows begin with; `deployment`
/// finds a version by its number.
pub(in crate::store) fn read_instance(
    row: &impl Columns,
    deployment: impl FnOnce(i64) -> Result<Arc<Deployment>>,
) -> Result<Snapshot> {
    let (timers, extra) = read_waits(row.optional_text(14)?, row.optional_text(15)?)?;
    let deployment = deployment(row.integer(1)?)?;
    let machine = machine_of(&deployment, row.text(2)?)?;
    Ok(Snapshot {
        id: InstanceId::from_stored(row.text(ID)?),
        machine,
        state: state_of(&deployment, machine, row.text(3)?)?,
        status: word(row.text(4)?, Status::parse, "status")?,
        context: Json::of_stored(row.text(5)?).map_err(Malformed::from)?,
        seq: row.count(6)?,
        entry: row.count(7)?,
        created: row.time(8)?,
        updated: row.time(9)?,
        entered: row.time(10)?,
        origin: row.bits(11)?,
        entry_point: row.flag(12)?,
        parent: read_parent(row.optional_text(13)?)?,
        timers: timers.into(),
        extra: extra.map(Arc::new),
        deployment,
    })
}

/// Reads a kind of instances.
pub(in crate::store) fn read_kind(
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

fn read_parent(stored: Option<&str>) -> Read<Option<Box<Parent>>> {
    let parent = stored.map(of_text::<PortableParent>).transpose()?;
    Ok(parent.map(|parent| Box::new(parent.read())))
}

/// Reads `timers_json` and `extra_json`. What was written before schema 6 has all that waits in
/// them.
pub(super) fn read_waits(
    timers: Option<&str>,
    extra: Option<&str>,
) -> Read<(Vec<Timer>, Option<Extra>)> {
    let stored = timers.map(of_text::<Vec<StoredTimer>>).transpose()?;
    let extra = extra.map(of_text::<StoredExtra>).transpose()?;
    let mut extra = extra.map(StoredExtra::read).transpose()?;
    let mut timers = Vec::new();
    for stored in stored.into_iter().flatten() {
        match stored.read()? {
            StoredDeadline::Timer(timer) => timers.push(timer),
            StoredDeadline::Send(send) => extra.get_or_insert_default().sends.push(send),
        }
    }
    Ok((timers, extra))
}

fn machine_of(deployment: &Deployment, name: &str) -> Result<MachineIdx, Unreadable> {
    let found = deployment.definition.find(name).map(|(machine, _)| machine);
    found.ok_or_else(|| missing(deployment, "machine", name))
}

pub(super) fn state_of(
    deployment: &Deployment,
    machine: MachineIdx,
    name: &str,
) -> Result<StateIdx, Unreadable> {
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
