//! Records as callers see them: in an instance's history, and in streams.

use serde::Serialize;
use utoipa::ToSchema;
use xcomponent_core::{
    call::{Event, Fault, LogLine, Refusal},
    definition::StateIdx,
    id::TenantId,
    json::Json,
    record::{Body, Cause, Departed, Disposition, Reason, Selected, Snapshot},
};

use super::{
    dead_letters::DeadLetter,
    mismatch::MismatchView,
    openapi::words,
    seal::Seal,
    wire::{self, Instance, Raw, Time},
};
use crate::driver::{Entry, Kind};

/// Something that happened to an instance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HistoryRecord {
    /// `created`, `terminated`, `deleted`, or the disposition.
    #[schema(value_type = words::HistoryKind)]
    kind: &'static str,
    /// Its own name: the instance's id and the number.
    id: String,
    /// Where it stands in the log; opaque.
    position: String,
    /// Its number in the instance's history, from 1.
    seq: u64,
    /// The instance.
    instance_id: String,
    /// Its component.
    component: String,
    /// The version it ran on.
    version: String,
    /// The version that the instance was on before, where this record moved it to another.
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_from: Option<String>,
    /// Its machine.
    machine: String,
    /// The event; `$moved` where the instance was moved by request.
    event: EventView,
    /// What became of it.
    #[schema(value_type = words::Disposition)]
    disposition: &'static str,
    /// Why, where it was ignored or rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What the first transition that was tried failed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatch: Option<Box<MismatchView>>,
    /// What a method said when it refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<RefusalView>,
    /// The state before; absent for a creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The state after.
    to: String,
    /// The context, or public member, after it.
    #[schema(value_type = HashMap<String, serde_json::Value>)]
    context_after: Raw,
    /// The event whose transition sent this one; absent for one from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    caused_by: Option<String>,
    /// The instance whose transition that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    caused_by_instance: Option<String>,
    /// The event from outside that everything began with.
    root: String,
    /// What went wrong, if something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultView>,
    /// The dead letter that it left.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_id: Option<String>,
    /// Lines its methods wrote.
    logs: Vec<LogView>,
    /// Work its methods did.
    fuel: u64,
    /// Attempts it took.
    attempts: u32,
    /// When.
    #[schema(value_type = String)]
    at: Time,
}

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventView {
    /// Its id.
    id: String,
    /// Its name.
    name: String,
    /// What it carries.
    #[schema(value_type = HashMap<String, serde_json::Value>)]
    payload: Raw,
    /// When the host accepted it.
    #[schema(value_type = String)]
    timestamp: Time,
}

/// What went wrong in a method.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FaultView {
    /// Stable, for programs.
    code: &'static str,
    /// For people.
    message: String,
    /// Frames of the guest, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace: Option<String>,
}

/// A business "no".
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RefusalView {
    /// The guest's code.
    code: String,
    /// The guest's words.
    message: String,
}

/// A line that a method wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogView {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    level: &'static str,
    /// The line.
    message: String,
}

impl HistoryRecord {
    /// The wire form of a record about an instance; none for others.
    pub(super) fn of(seal: &Seal, tenant: &TenantId, entry: &Entry) -> Option<Self> {
        let handled = match &entry.record.body {
            Body::Handled(handled) => handled,
            Body::Moved(after) => return Some(Self::of_move(seal, tenant, entry, after)),
            _ => return None,
        };
        let after = &handled.after;
        let cause = &handled.cause;
        let refusal = match handled.reason.as_deref() {
            Some(Reason::Refused(refusal)) => Some(RefusalView::of(refusal)),
            _ => None,
        };
        Some(Self {
            kind: Kind::of(&entry.record).as_str(),
            id: format!("{}:{}", after.id, after.seq),
            position: seal.position(tenant, entry.position),
            seq: after.seq,
            instance_id: after.id.to_string(),
            component: after.component().to_string(),
            version: after.deployment.definition.version.to_string(),
            moved_from: None,
            machine: after.machine().name.to_string(),
            event: EventView::of(&handled.event),
            disposition: handled.disposition.as_str(),
            reason: handled.reason.as_deref().map(wire::reason),
            mismatch: MismatchView::of(handled.reason.as_deref()),
            refusal,
            from: handled.from.map(|state| state_name(after, state)),
            to: state_name(after, handled.to),
            context_after: Raw(after.context.clone()),
            caused_by: caused_by(cause),
            caused_by_instance: cause.instance.as_ref().map(ToString::to_string),
            root: cause.root.to_string(),
            fault: handled.fault.as_deref().map(FaultView::of),
            dead_letter_id: handled
                .parked
                .as_ref()
                .map(|letter| letter.event.id.to_string()),
            logs: handled.logs.iter().map(LogView::of).collect(),
            fuel: handled.fuel,
            attempts: handled.attempts,
            at: Time(entry.record.at),
        })
    }
}

impl HistoryRecord {
    /// An instance was moved to another version by request, without an event of its own.
    fn of_move(seal: &Seal, tenant: &TenantId, entry: &Entry, after: &Snapshot) -> Self {
        let state = state_name(after, after.state);
        let version = after.deployment.definition.version.to_string();
        let id = format!("{}:{}@{version}", after.id, after.seq);
        Self {
            kind: Kind::of(&entry.record).as_str(),
            position: seal.position(tenant, entry.position),
            seq: after.seq,
            instance_id: after.id.to_string(),
            component: after.component().to_string(),
            version,
            moved_from: None,
            machine: after.machine().name.to_string(),
            event: EventView {
                id: id.clone(),
                name: "$moved".to_owned(),
                payload: Raw(Json::empty()),
                timestamp: Time(entry.record.at),
            },
            disposition: Disposition::Transitioned.as_str(),
            reason: None,
            mismatch: None,
            refusal: None,
            from: Some(state.clone()),
            to: state,
            context_after: Raw(after.context.clone()),
            caused_by: None,
            caused_by_instance: None,
            root: id.clone(),
            id,
            fault: None,
            dead_letter_id: None,
            logs: Vec::new(),
            fuel: 0,
            attempts: 0,
            at: Time(entry.record.at),
        }
    }

    /// Notes which version the instance was on before, as the record before this one has it.
    pub(super) fn follow(&mut self, before: &str) {
        if self.version != before {
            self.moved_from = Some(before.to_owned());
        }
    }

    /// The version that it ran on.
    pub(super) fn version(&self) -> &str {
        &self.version
    }
}

/// The name of a state of an instance's machine.
pub(super) fn state_name(instance: &Snapshot, state: StateIdx) -> String {
    instance.machine().state(state).name.to_string()
}

impl EventView {
    /// The wire form of an event.
    pub(super) fn of(event: &Event) -> Self {
        Self {
            id: event.id.to_string(),
            name: event.name.to_string(),
            payload: Raw(event.payload.clone()),
            timestamp: Time(event.at),
        }
    }
}

impl FaultView {
    /// A reason without a backtrace.
    pub(super) fn plain(code: &'static str, message: String) -> Self {
        Self {
            code,
            message,
            backtrace: None,
        }
    }

    /// The wire form of a fault.
    pub(super) fn of(fault: &Fault) -> Self {
        Self {
            code: fault.code.as_str(),
            message: fault.message.to_string(),
            backtrace: fault.backtrace.as_ref().map(ToString::to_string),
        }
    }
}

impl RefusalView {
    fn of(refusal: &Refusal) -> Self {
        Self {
            code: refusal.code.to_string(),
            message: refusal.message.to_string(),
        }
    }
}

impl LogView {
    fn of(line: &LogLine) -> Self {
        Self {
            level: line.level.as_str(),
            message: line.message.to_string(),
        }
    }
}

/// A record as a stream shows it, told apart by `kind`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum StreamRecord {
    /// `created`, `transitioned`, `ignored`, `deferred`, `retrying`, `rejected`, `dead-lettered`:
    /// an instance looked at an event. `terminated`, `deleted`: an operator did that with it.
    Handled(Box<HistoryRecord>),
    /// `dead-lettered`: an event that no instance took was parked.
    Parked(Box<ParkedRecord>),
    /// `selected`, `departed`, `moved`, `discarded`.
    Other(Box<OtherRecord>),
}

/// An event that no instance took was parked.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ParkedRecord {
    /// `dead-lettered`.
    #[schema(value_type = words::ParkedKind)]
    kind: &'static str,
    /// Where it stands in the log; opaque.
    position: String,
    /// When.
    #[schema(value_type = String)]
    at: Time,
    /// What was parked, and why.
    dead_letter: DeadLetter,
}

/// Something that is no part of an instance's history.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct OtherRecord {
    /// `selected`, `departed`, `moved`, `discarded` or `received`.
    #[schema(value_type = words::OtherKind)]
    kind: &'static str,
    /// Where it stands in the log; opaque.
    position: String,
    /// When.
    #[schema(value_type = String)]
    at: Time,
    /// The component it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    /// The machine it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    /// The instance it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<String>,
    /// `selected`, `departed`: the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<EventView>,
    /// `selected`, `departed`: the event whose transition sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    caused_by: Option<String>,
    /// `selected`: instances chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<usize>,
    /// `moved`: the instance as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Instance>,
    /// `discarded`: which dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_id: Option<String>,
    /// `received`: from which stream of another host.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// `received`: the number of the last parcel of the stream that is taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<u64>,
}

impl StreamRecord {
    /// The wire form of any record.
    pub(super) fn of(seal: &Seal, tenant: &TenantId, entry: &Entry) -> Self {
        if let Some(record) = HistoryRecord::of(seal, tenant, entry) {
            return Self::Handled(Box::new(record));
        }
        let (kind, at) = (Kind::of(&entry.record).as_str(), Time(entry.record.at));
        let position = seal.position(tenant, entry.position);
        if let Body::Parked(letter) = &entry.record.body {
            let dead_letter = DeadLetter::of(letter, position.clone());
            return Self::Parked(Box::new(ParkedRecord {
                kind,
                position,
                at,
                dead_letter,
            }));
        }
        Self::Other(Box::new(OtherRecord {
            kind,
            position,
            at,
            ..OtherRecord::of(&entry.record.body)
        }))
    }
}

impl OtherRecord {
    fn of(body: &Body) -> Self {
        match body {
            Body::Selected(selected) => Self::of_selected(selected),
            Body::Departed(departed) => Self::of_departed(departed),
            Body::Moved(instance) => Self {
                component: Some(instance.component().to_string()),
                machine: Some(instance.machine().name.to_string()),
                instance_id: Some(instance.id.to_string()),
                instance: Some(Instance::of(instance)),
                ..Self::default()
            },
            Body::Discarded(discarded) => Self {
                instance_id: discarded.instance.as_ref().map(ToString::to_string),
                dead_letter_id: Some(discarded.id.to_string()),
                ..Self::default()
            },
            Body::Received(received) => Self {
                stream: Some(received.stream.to_string()),
                through: Some(received.through),
                ..Self::default()
            },
            Body::Handled(_) | Body::Parked(_) => Self::default(),
        }
    }

    fn of_selected(selected: &Selected) -> Self {
        Self {
            component: Some(selected.selector.component.to_string()),
            machine: selected.selector.machine.as_ref().map(ToString::to_string),
            event: Some(EventView::of(&selected.event)),
            caused_by: caused_by(&selected.cause),
            instances: Some(selected.instances.len()),
            ..Self::default()
        }
    }

    fn of_departed(departed: &Departed) -> Self {
        let Departed { after, outgoing } = departed;
        Self {
            component: Some(after.component().to_string()),
            machine: Some(after.machine().name.to_string()),
            instance_id: Some(after.id.to_string()),
            event: Some(EventView::of(&outgoing.event)),
            caused_by: caused_by(&outgoing.cause),
            ..Self::default()
        }
    }
}

fn caused_by(cause: &Cause) -> Option<String> {
    cause.event.as_ref().map(ToString::to_string)
}
