//! The shapes of answers: names in camelCase, times in milliseconds.

use serde::Serialize;
use serde_json::{Map, Value};
use xcomponent_core::{
    call::Deployment,
    definition::{Definition, Machine, StateKind},
    effect::HandledReply,
    id::EventId,
    json::Json,
    record::{Handled, Snapshot},
    time::Timestamp,
};

use super::super::{
    mismatch::MismatchView,
    wire::{Raw, pending, reason},
};

/// A component.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Component {
    name: String,
    version: String,
    machine_count: usize,
    /// As many as its list of instances has, finished ones included.
    instance_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_machine: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
    #[serde(skip_serializing_if = "Value::is_null")]
    layout: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    description: Value,
    state_machines: Vec<Value>,
}

impl Component {
    /// A version of a component that has so many instances.
    pub(super) fn of(deployment: &Deployment, instance_count: u64) -> Self {
        let definition = &deployment.definition;
        let entry = definition.entry.map(|entry| entry.machine);
        let entry = entry.map(|machine| definition.machine(machine).name.to_string());
        let mut written = definition.written();
        Self {
            name: definition.name.to_string(),
            version: definition.version.to_string(),
            machine_count: definition.machines.len(),
            instance_count,
            entry_machine: entry,
            metadata: definition.metadata.as_ref().map(Json::value),
            layout: written["layout"].take(),
            description: written["description"].take(),
            state_machines: machines(definition, &written),
        }
    }
}

/// All machines of a component, whose document was written like this.
pub(super) fn machines(definition: &Definition, written: &Value) -> Vec<Value> {
    let are_single = are_single(definition, written);
    let written = written["stateMachines"].as_array();
    let written = written.into_iter().flatten();
    let all = written.zip(&definition.machines);
    all.map(|(written, checked)| machine(written, checked, are_single))
        .collect()
}

/// A machine as its YAML has it, for clients that know less of the format: every state and
/// transition has a `type`, and every transition one state that it leaves.
fn machine(written: &Value, checked: &Machine, are_single: bool) -> Value {
    let mut machine = written.clone();
    machine["states"] = states(written, checked);
    machine["transitions"] = transitions(written, checked, are_single).into();
    machine
}

fn states(written: &Value, checked: &Machine) -> Value {
    let written = written["states"].as_array().into_iter().flatten();
    let all = written.zip(&checked.states);
    let typed = all.map(|(written, checked)| {
        let kind = match checked.kind {
            StateKind::Entry => "entry",
            StateKind::Regular => "regular",
            StateKind::Final => "final",
            StateKind::Error => "error",
        };
        let mut state = written.as_object().cloned().unwrap_or_else(|| {
            let name = checked.name.as_str().into();
            Map::from_iter([("name".to_owned(), name)])
        });
        state.entry("type").or_insert_with(|| kind.into());
        Value::Object(state)
    });
    typed.collect()
}

/// Largest list of transitions, in bytes of JSON, that has one for each state that is left: of all
/// machines of a component together.
const SINGLE_BYTES_MAX: usize = 1 << 20;

/// What each of them has besides its text.
const AROUND_BYTES: usize = 16;

/// Whether there is a transition for each state that is left. If that were too much, each transition
/// is there once, with `from` as it is written.
pub(super) fn are_single(definition: &Definition, written: &Value) -> bool {
    let machines = written["stateMachines"].as_array();
    let machines = machines.into_iter().flatten().zip(&definition.machines);
    let sizes = machines.flat_map(|(written, machine)| {
        let written = written["transitions"].as_array().into_iter().flatten();
        let all = written.zip(&machine.transitions);
        all.map(|(written, transition)| {
            let own = written.to_string().len() + AROUND_BYTES;
            let sources = machine.sources(transition);
            let named = sources.map(|from| own + machine.state(from).name.as_str().len());
            named.sum::<usize>()
        })
    });
    sizes.fold(0, usize::saturating_add) <= SINGLE_BYTES_MAX
}

/// A machine's transitions: one for each state that is left, or as they are written.
pub(super) fn transitions(written: &Value, checked: &Machine, are_single: bool) -> Vec<Value> {
    let written = written["transitions"].as_array().into_iter().flatten();
    let all = written.zip(&checked.transitions);
    let typed = |written: &Value| {
        let mut transition = written.clone();
        if transition["type"].is_null() {
            transition["type"] = "regular".into();
        }
        transition
    };
    if !are_single {
        return all.map(|(written, _)| typed(written)).collect();
    }
    let single = all.flat_map(|(written, checked_transition)| {
        checked.sources(checked_transition).map(move |from| {
            let mut transition = typed(written);
            transition["from"] = checked.state(from).name.as_str().into();
            transition
        })
    });
    single.collect()
}

/// An instance.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance {
    instance_id: String,
    id: String,
    component_name: String,
    component_version: String,
    machine_name: String,
    current_state: String,
    context: Raw,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_member: Option<Raw>,
    /// Always empty where there is a public member.
    #[serde(skip_serializing_if = "Option::is_none")]
    internal_member: Option<Raw>,
    status: &'static str,
    created_at: u64,
    updated_at: u64,
    is_entry_point: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_instance_id: Option<String>,
    pending_timeouts: Vec<PendingTimeout>,
}

/// A deadline of an instance.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PendingTimeout {
    /// The event that it brings.
    event_type: String,
    /// When.
    due_at: u64,
    /// How long until then.
    remaining_ms: u64,
}

impl Instance {
    /// An instance, as it is at this moment.
    pub(super) fn of(snapshot: &Snapshot, now: Timestamp) -> Self {
        let id = snapshot.id.to_string();
        let public_member = public_member(snapshot);
        let context = match public_member {
            Some(_) => Raw(Json::empty()),
            None => Raw(snapshot.context.clone()),
        };
        let pending_timeout = |(event, due): (&str, Timestamp)| PendingTimeout {
            event_type: event.to_owned(),
            due_at: due.0,
            remaining_ms: due.since(now).0,
        };
        Self {
            instance_id: id.clone(),
            id,
            component_name: snapshot.component().to_string(),
            component_version: snapshot.deployment.definition.version.to_string(),
            machine_name: snapshot.machine().name.to_string(),
            current_state: snapshot.state().name.to_string(),
            context,
            internal_member: public_member.as_ref().map(|_| Raw(Json::empty())),
            public_member,
            status: snapshot.status.as_str(),
            created_at: snapshot.created.0,
            updated_at: snapshot.updated.0,
            is_entry_point: snapshot.entry_point,
            parent_instance_id: snapshot.parent.as_ref().map(|parent| parent.id.to_string()),
            pending_timeouts: pending(snapshot).map(pending_timeout).collect(),
        }
    }
}

fn public_member(snapshot: &Snapshot) -> Option<Raw> {
    let is_public = snapshot.machine().public_member_type.is_some();
    is_public.then(|| Raw(snapshot.context.clone()))
}

/// What became of an event that was not refused.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Handling {
    success: bool,
    disposition: &'static str,
    /// Why it was ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What the first transition that was tried failed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatch: Option<Box<MismatchView>>,
    event_id: String,
    instance_id: String,
    component_name: String,
    previous_state: Option<String>,
    current_state: String,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<u64>,
    message: String,
}

impl Handling {
    /// The shape of an answer.
    pub(super) fn of(reply: &HandledReply) -> Self {
        let (from, to) = (reply.from_name(), reply.to_name());
        let word = reply.disposition.as_str();
        let message = match from {
            Some(from) if from != to => format!("{word}: {from} -> {to}"),
            _ => format!("{word} in {to}"),
        };
        Self {
            success: true,
            disposition: word,
            reason: reply.reason.as_deref().map(reason),
            mismatch: MismatchView::of(reply.reason.as_deref()),
            event_id: reply.event.id.to_string(),
            instance_id: reply.after.id.to_string(),
            component_name: reply.after.component().to_string(),
            previous_state: from.map(ToString::to_string),
            current_state: to.to_string(),
            retry_at: reply.retry_at().map(|at| at.0),
            message,
        }
    }
}

/// A transition or creation in an instance's history.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    /// The event's id; what an event causes has ids of its own.
    id: String,
    instance_id: String,
    machine_name: String,
    component_name: String,
    event: Happened,
    /// Null for a creation.
    state_before: Option<String>,
    state_after: String,
    persisted_at: u64,
    /// The event that sent this one, if none: it came from outside.
    caused_by: Vec<String>,
    /// The events that this one sent.
    caused: Vec<String>,
    /// The context afterwards.
    context: Raw,
    /// The public member afterwards, where the machine has one.
    public_member_snapshot: Option<Raw>,
}

/// The event of a record.
#[derive(Serialize)]
struct Happened {
    #[serde(rename = "type")]
    kind: String,
    payload: Raw,
    timestamp: u64,
}

impl Event {
    /// The shape of a record; `caused` is what the event sent.
    pub(super) fn of(handled: &Handled, at: Timestamp, caused: &[&EventId]) -> Self {
        let after = &handled.after;
        let machine = after.machine();
        let public_member_snapshot = public_member(after);
        let name = |state| machine.state(state).name.to_string();
        let sent_by = handled.cause.event.as_ref();
        Self {
            id: handled.event.id.to_string(),
            instance_id: after.id.to_string(),
            machine_name: machine.name.to_string(),
            component_name: after.component().to_string(),
            event: Happened {
                kind: handled.event.name.to_string(),
                payload: Raw(handled.event.payload.clone()),
                timestamp: handled.sent_at.unwrap_or(handled.event.at).0,
            },
            state_before: handled.from.map(name),
            state_after: name(handled.to),
            persisted_at: at.0,
            caused_by: sent_by.map(ToString::to_string).into_iter().collect(),
            caused: caused.iter().map(ToString::to_string).collect(),
            context: match public_member_snapshot {
                Some(_) => Raw(Json::empty()),
                None => Raw(after.context.clone()),
            },
            public_member_snapshot,
        }
    }
}
