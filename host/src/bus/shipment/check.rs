//! What another host says is looked at as what a caller says is: it may be neither. Every text has a
//! longest form, and what it may be is said here only.

use std::{fmt::Display, iter::successors};

use xcomponent_core::{
    id::{EventId, InstanceId},
    input::Receive,
    json::Json,
    limits::{NAME_BYTES_MAX, STREAM_BYTES_MAX},
    record::{Cause, Condition, Outgoing, Parent, SelectBy, Target},
};

use super::Shipment;

/// Longest context of a trace, in bytes. A longer one is left out.
const TRACE_BYTES_MAX: usize = 1_024;

/// Conditions of one selection.
const CONDITIONS_MAX: usize = 1_000;

/// Longest path into a payload or context, in bytes.
const PATH_BYTES_MAX: usize = 1_024;

/// What is wrong, and where.
type Checked<T = ()> = Result<T, String>;

/// Looks at a shipment, and brings the ids of an older version to the form of this one.
pub(super) fn check_all(shipment: &mut Shipment) -> Checked {
    let Shipment {
        tenant,
        component,
        receive: Receive { stream, parcels },
    } = shipment;
    name("tenant", tenant.as_str())?;
    name("component", component.as_str())?;
    if stream.as_str().len() > STREAM_BYTES_MAX || has_control(stream.as_str()) {
        return Err(format!(
            "`stream` must have at most {STREAM_BYTES_MAX} bytes and no control characters"
        ));
    }
    let numbers = parcels.iter().map(|parcel| parcel.number);
    if parcels.is_empty() || !numbers.is_sorted_by(|one, next| one < next) {
        return Err("its parcels are not in order".to_owned());
    }
    for parcel in parcels {
        if let Some(source) = &parcel.source {
            name("source", source.as_str())?;
        }
        for outgoing in &mut parcel.deliveries {
            if outgoing.to.component() != component {
                return Err("it is for two components".to_owned());
            }
            check(outgoing)?;
        }
    }
    Ok(())
}

/// Looks at a delivery, and brings the ids of an older version to the form of this one.
pub(in crate::bus) fn check(outgoing: &mut Outgoing) -> Checked {
    let Outgoing {
        to, event, cause, ..
    } = outgoing;
    let payload = Json::parse(event.payload.as_str()).map_err(|error| error.to_string())?;
    if !payload.is_object() {
        return Err("a payload must be a JSON object".to_owned());
    }
    event.id = event_id("event.id", &event.id)?;
    name("event.name", event.name.as_str())?;
    check_target(to)?;
    check_cause(cause)
}

fn check_target(to: &Target) -> Checked {
    name("to.component", to.component().as_str())?;
    let (machine, state) = match to {
        Target::Instance { id, .. } => {
            instance_id("to.id", id)?;
            (None, None)
        }
        Target::Create {
            machine,
            id,
            parent,
            ..
        } => {
            instance_id("to.id", id)?;
            parent.as_deref().map_or(Ok(()), check_parent)?;
            (machine.as_ref(), None)
        }
        Target::Selection(selector) => {
            if let SelectBy::Conditions(conditions) = &selector.by {
                if conditions.len() > CONDITIONS_MAX {
                    return Err(format!(
                        "a selection has at most {CONDITIONS_MAX} conditions"
                    ));
                }
                conditions.iter().try_for_each(check_condition)?;
            }
            (selector.machine.as_ref(), selector.state.as_ref())
        }
    };
    machine.map_or(Ok(()), |machine| name("to.machine", machine.as_str()))?;
    state.map_or(Ok(()), |state| name("to.state", state.as_str()))
}

fn check_parent(parent: &Parent) -> Checked {
    instance_id("to.parent.id", &parent.id)?;
    name("to.parent.component", parent.component.as_str())?;
    name("to.parent.machine", parent.machine.as_str())
}

fn check_condition(condition: &Condition) -> Checked {
    let rule = &condition.rule;
    for path in [&rule.event_property, &rule.instance_property] {
        let path = path.to_string();
        if path.len() > PATH_BYTES_MAX || has_control(&path) {
            return Err(format!(
                "a path must have at most {PATH_BYTES_MAX} bytes and no control characters"
            ));
        }
    }
    let Some(value) = &condition.value else {
        return Ok(());
    };
    let value = Json::parse(&value.to_string());
    value.map(|_| ()).map_err(|error| error.to_string())
}

fn check_cause(cause: &mut Cause) -> Checked {
    cause.root = event_id("cause.root", &cause.root)?;
    if let Some(event) = &mut cause.event {
        *event = event_id("cause.event", event)?;
    }
    if let Some(instance) = &cause.instance {
        instance_id("cause.instance", instance)?;
    }
    for link in successors(cause.chain.as_ref(), |link| link.before.as_ref()) {
        instance_id("cause.chain.instance", &link.instance)?;
        name("cause.chain.event", link.event.as_str())?;
    }
    cause
        .trace_parent
        .take_if(|context| context.len() > TRACE_BYTES_MAX || has_control(context));
    Ok(())
}

/// An event's id, which a host of an older version may not have shortened.
fn event_id(place: &str, id: &EventId) -> Checked<EventId> {
    EventId::received(&id.to_string()).map_err(|error| at(place, error))
}

fn instance_id(place: &str, id: &InstanceId) -> Checked {
    InstanceId::parse(&id.to_string()).map_err(|error| at(place, error))?;
    Ok(())
}

fn name(place: &str, name: &str) -> Checked {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || has_control(name) {
        return Err(format!(
            "`{place}` must have 1 to {NAME_BYTES_MAX} bytes and no control characters"
        ));
    }
    Ok(())
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn at(place: &str, error: impl Display) -> String {
    format!("`{place}`: {error}")
}

#[cfg(test)]
mod tests {
    use std::iter::successors;

    use serde_json::{Value, json};
    use xcomponent_core::{
        id::MADE_ID_BYTES_MAX,
        limits::{CASCADE_CREDITS, CHAIN_LINKS_MAX},
    };

    use super::Shipment;

    fn shipment() -> Value {
        json!({
            "tenant": "default",
            "component": "Bank",
            "stream": "log/Bank",
            "parcels": [{ "number": 1, "before": 0, "source": "Shop", "deliveries": [{
                "n": 1,
                "to": { "instance": { "component": "Bank", "id": "ada" } },
                "event": { "id": "e.1", "name": "PAY", "payload": {}, "at": 1 },
                "cause": { "event": "e", "instance": "o", "root": "e", "depth": 1, "credits": 9 },
            }] }],
        })
    }

    /// Where things stand in the one delivery.
    const DELIVERY: &str = "/parcels/0/deliveries/0";

    fn with(place: &str, value: Value) -> Value {
        let mut shipment = shipment();
        *shipment.pointer_mut(place).unwrap() = value;
        shipment
    }

    fn refusal(shipment: &Value) -> String {
        let error = Shipment::of_json(&shipment.to_string()).unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    }

    #[test]
    fn what_is_as_it_should_be_is_accepted() {
        Shipment::of_json(&shipment().to_string()).unwrap();
    }

    #[test]
    fn every_text_has_a_limit() {
        let names = [
            ("/tenant", "tenant"),
            ("/component", "component"),
            ("/parcels/0/source", "source"),
            ("/parcels/0/deliveries/0/event/name", "event.name"),
        ];
        for (place, name) in names {
            for bad in ["", "a\0b", &"x".repeat(129), &"x".repeat(1 << 20)] {
                let found = refusal(&with(place, bad.into()));
                assert!(found.contains(name), "{found}");
            }
        }
        for bad in ["a\0b".to_owned(), "x".repeat(257)] {
            assert!(refusal(&with("/stream", bad.into())).contains("stream"));
        }
        let ids = [
            "to/instance/id",
            "event/id",
            "cause/root",
            "cause/event",
            "cause/instance",
        ];
        for id in ids {
            for bad in ["", "a\0b", "ä"] {
                let found = refusal(&with(&format!("{DELIVERY}/{id}"), bad.into()));
                let name = id.replace('/', ".").replace("to.instance", "to");
                assert!(found.contains(&name), "{id}: {found}");
            }
        }
        let found = refusal(&with(
            &format!("{DELIVERY}/to/instance/id"),
            "x".repeat(1 << 20).into(),
        ));
        assert!(found.len() < 400, "{found}");
    }

    #[test]
    fn ids_of_a_version_that_did_not_shorten_them_are_shortened_and_known_again() {
        let long = format!("tick{}", ".t1".repeat(30_000));
        let read = || {
            let shipment = with(&format!("{DELIVERY}/event/id"), long.clone().into());
            let shipment = Shipment::of_json(&shipment.to_string()).unwrap();
            shipment.receive.parcels[0].deliveries[0].event.id.clone()
        };
        assert!(read().to_string().len() <= MADE_ID_BYTES_MAX);
        assert_eq!(read(), read());
    }

    #[test]
    fn of_a_chain_without_end_the_nearest_steps_are_kept() {
        let link = json!({ "instance": "o", "event": "PAY" });
        let cause = json!({
            "root": "e", "chain": vec![link; 100_000], "depth": 0, "credits": u32::MAX,
        });
        let shipment = with(&format!("{DELIVERY}/cause"), cause).to_string();
        let shipment = Shipment::of_json(&shipment).unwrap();
        let cause = &shipment.receive.parcels[0].deliveries[0].cause;
        let links = successors(cause.chain.as_ref(), |link| link.before.as_ref());
        assert_eq!(links.count(), CHAIN_LINKS_MAX);
        assert!(usize::from(cause.depth) >= CHAIN_LINKS_MAX);
        assert_eq!(cause.credits, CASCADE_CREDITS);
        // One that is refused goes as well.
        let mut refused: Value = serde_json::from_str(&shipment.to_json()).unwrap();
        refused["component"] = "Other".into();
        assert!(refusal(&refused).contains("two components"));
    }

    #[test]
    fn what_nests_without_end_is_refused() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let text = shipment()
            .to_string()
            .replace(r#""payload":{}"#, &format!(r#""payload":{deep}"#));
        Shipment::of_json(&text).unwrap_err();
        let condition = json!({
            "selection": { "component": "Bank", "machine": null, "state": null, "conditions": [{
                "event_property": "a", "instance_property": "a", "operator": "===", "value": 1,
            }] },
        });
        let text = with(&format!("{DELIVERY}/to"), condition).to_string();
        Shipment::of_json(&text).unwrap();
        let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
        Shipment::of_json(&text.replace(r#""value":1"#, &format!(r#""value":{deep}"#)))
            .unwrap_err();
    }
}
