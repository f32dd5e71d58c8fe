//! What tells one use of a key from another: the same request, however its JSON is spelled, has the
//! same fingerprint.

use crate::{
    id::{EventId, EventName, MachineName, stable_hash},
    json::Json,
    record::{SelectBy, Selector},
};

/// Of an event for one instance: the key belongs to the instance, so that is no part of it.
pub(crate) fn of_event(event: &EventName, payload: &Json) -> u64 {
    stable_hash(event.as_str().as_bytes()) ^ payload.fingerprint().rotate_left(1)
}

/// Of a broadcast: its target is a part of it.
pub(crate) fn of_broadcast(selector: &Selector, event: &EventName, payload: &Json) -> u64 {
    let machine = selector.machine.as_ref().map(|name| name.as_str());
    let state = selector.state.as_ref().map(|name| name.as_str());
    let names = [Some(selector.component.as_str()), machine, state];
    let mut target = names.into_iter().fold(0, |hash, name| {
        let name = name.map_or(0, |name| stable_hash(name.as_bytes()).max(1));
        joined(hash, name)
    });
    if let SelectBy::Conditions(conditions) = &selector.by {
        for condition in conditions {
            let rule = &condition.rule;
            let rule = format!("{} {}", rule.instance_property, rule.operator);
            let value = condition.value.as_ref().map_or(0, Json::fingerprint);
            target = joined(target, joined(stable_hash(rule.as_bytes()), value));
        }
    }
    joined(target, of_event(event, payload))
}

/// Of a creation: stored with the instance, as its `origin`.
pub(crate) fn of_creation(machine: &MachineName, context: &Json, key: Option<&EventId>) -> u64 {
    let origin = stable_hash(machine.as_str().as_bytes()) ^ context.fingerprint().rotate_left(1);
    key.map_or(origin, |key| {
        joined(origin, stable_hash(key.to_string().as_bytes()))
    })
}

/// Whether an instance came of such a creation. Instances of older stores have a hash of the
/// context's text instead: whoever repeats that text is recognised too.
pub(crate) fn is_origin(
    origin: u64,
    machine: &MachineName,
    context: &Json,
    key: Option<&EventId>,
) -> bool {
    let of_text = || {
        stable_hash(machine.as_str().as_bytes())
            ^ stable_hash(context.as_str().as_bytes()).rotate_left(1)
    };
    origin == of_creation(machine, context, key) || (key.is_none() && origin == of_text())
}

fn joined(left: u64, right: u64) -> u64 {
    stable_hash(&(u128::from(left) << 64 | u128::from(right)).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_from_before_an_upgrade_is_recognised_by_its_text() {
        let machine = MachineName::new("Bill");
        let json = |text| Json::parse(text).unwrap();
        // As it was stored when texts were hashed.
        let stored = 0x9aae_6c28_05ba_05e4;
        let repeated = json(r#"{"number":"A-1","amount":5}"#);
        assert!(is_origin(stored, &machine, &repeated, None));
        assert!(!is_origin(stored, &machine, &json("{}"), None));
    }
}
