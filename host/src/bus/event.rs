//! What happened, for whoever listens: the events that xcomponent-ai publishes.

use serde_json::{Value, json};
use xcomponent_core::{
    id::InstanceId,
    record::{Body, Disposition, Handled, Record, Snapshot, Status},
};

/// One event.
#[derive(Clone, Debug)]
pub struct Published {
    /// `instance_created`, `state_change`, `instance_disposed` or `instance_error`.
    pub kind: &'static str,
    /// To whom.
    pub instance: InstanceId,
    /// As JSON.
    pub text: String,
}

/// What a record is to whoever listens.
pub fn events_of(record: &Record) -> Vec<Published> {
    let Body::Handled(handled) = &record.body else {
        return Vec::new();
    };
    let component = handled.after.component();
    let at = record.at.0;
    let published = |(kind, data): (&'static str, Value)| Published {
        kind,
        instance: handled.after.id.clone(),
        text: json!({
            "type": kind,
            "componentName": component.as_str(),
            "data": data,
            "timestamp": at,
        })
        .to_string(),
    };
    kinds(handled).into_iter().map(published).collect()
}

fn kinds(handled: &Handled) -> Vec<(&'static str, Value)> {
    let after = &handled.after;
    let machine = after.machine().name.as_str();
    let id = after.id.to_string();
    let state = handled.to_name().as_str();
    let mut kinds = Vec::new();
    let transitioned = handled.disposition == Disposition::Transitioned;
    if handled.is_deletion() {
        // Its end was told before.
        kinds.push(("instance_disposed", instance(after, state)));
    } else if transitioned {
        kinds.push(match handled.from_name() {
            None => ("instance_created", instance(after, state)),
            Some(before) => {
                let data = json!({
                    "instanceId": id,
                    "machineName": machine,
                    "previousState": before.as_str(),
                    "newState": state,
                    "event": {
                        "type": handled.event.name.as_str(),
                        "payload": handled.event.payload.value(),
                        "timestamp": handled.event.at.0,
                    },
                    "context": after.context.value(),
                    "instance": instance(after, state),
                });
                ("state_change", data)
            }
        });
        if matches!(after.status, Status::Completed | Status::Terminated) {
            kinds.push(("instance_disposed", instance(after, state)));
        }
    }
    let ended_badly = transitioned && after.status == Status::Error;
    if handled.fault.is_some() || ended_badly {
        let error = match &handled.fault {
            Some(fault) => fault.message.to_string(),
            None => format!("it is in its error state {state}"),
        };
        let data = json!({
            "instanceId": id,
            "machineName": machine,
            "state": state,
            "error": error,
            "instance": instance(after, state),
        });
        kinds.push(("instance_error", data));
    }
    kinds
}

/// An instance, with each of the names under which its parts are looked for.
fn instance(after: &Snapshot, state: &str) -> Value {
    let is_public = after.machine().public_member_type.is_some();
    let context = after.context.value();
    let mut shown = json!({
        "id": after.id.to_string(),
        "instanceId": after.id.to_string(),
        "machineName": after.machine().name.as_str(),
        "currentState": state,
        "state": state,
        "status": after.status.as_str(),
        "createdAt": after.created.0,
        "updatedAt": after.updated.0,
    });
    if is_public {
        shown["publicMember"] = context.clone();
    }
    shown["context"] = context;
    shown
}
