//! What happened, for whoever listens: the events that xcomponent-ai publishes.

use serde_json::{Value, json};
use xcomponent_core::{
    id::InstanceId,
    record::{Body, Disposition, Handled, Record, Status},
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
    let about = |more: Value| {
        let mut data = json!({
            "instanceId": after.id.to_string(),
            "machineName": after.machine().name.as_str(),
        });
        if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
            data.extend(more);
        }
        data
    };
    let state = handled.to_name().as_str();
    let mut kinds = Vec::new();
    if handled.disposition == Disposition::Transitioned {
        kinds.push(match handled.from_name() {
            None => {
                let more = json!({ "state": state, "context": after.context.value() });
                ("instance_created", about(more))
            }
            Some(before) => {
                let more = json!({
                    "previousState": before.as_str(),
                    "newState": state,
                    "event": {
                        "type": handled.event.name.as_str(),
                        "payload": handled.event.payload.value(),
                        "timestamp": handled.event.at.0,
                    },
                    "context": after.context.value(),
                });
                ("state_change", about(more))
            }
        });
        if after.status == Status::Completed {
            kinds.push(("instance_disposed", about(json!({ "state": state }))));
        }
    }
    let ended_badly =
        handled.disposition == Disposition::Transitioned && after.status == Status::Error;
    if handled.fault.is_some() || ended_badly {
        let error = match &handled.fault {
            Some(fault) => fault.message.to_string(),
            None => format!("it is in its error state {state}"),
        };
        kinds.push((
            "instance_error",
            about(json!({ "state": state, "error": error })),
        ));
    }
    kinds
}
