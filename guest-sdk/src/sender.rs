//! Sends events. Every call is buffered and takes effect only if the transition commits, in the
//! order of the calls; calling any of these in a guard is a fault.
//!
//! The id of a send is stable and may be kept in the context, to [`cancel`] it later.

use serde::Serialize;

use crate::host;

/// Sends to this instance, before any event from outside.
pub fn to_self(event: &str, payload: &impl Serialize) -> String {
    host::send_to_self(event, &json(payload), None)
}

/// Sends to this instance after a time.
pub fn to_self_after(delay_ms: u64, event: &str, payload: &impl Serialize) -> String {
    host::send_to_self(event, &json(payload), Some(delay_ms))
}

/// Sends to an instance of this component.
pub fn to(instance: &str, event: &str, payload: &impl Serialize) -> String {
    host::send(instance, event, &json(payload), None)
}

/// Sends to an instance of this component after a time.
pub fn to_after(delay_ms: u64, instance: &str, event: &str, payload: &impl Serialize) -> String {
    host::send(instance, event, &json(payload), Some(delay_ms))
}

/// Sends to an instance of another component.
pub fn to_component(
    component: &str,
    instance: &str,
    event: &str,
    payload: &impl Serialize,
) -> String {
    host::send_to_component(component, instance, event, &json(payload), None)
}

/// Sends to an instance of another component after a time.
pub fn to_component_after(
    delay_ms: u64,
    component: &str,
    instance: &str,
    event: &str,
    payload: &impl Serialize,
) -> String {
    host::send_to_component(component, instance, event, &json(payload), Some(delay_ms))
}

/// Sends to the instances of a machine of this component that its matching rules select, or to
/// all of them; optionally only those in one state.
pub fn broadcast(
    machine: &str,
    state: Option<&str>,
    event: &str,
    payload: &impl Serialize,
) -> String {
    host::broadcast(None, machine, state, event, &json(payload), None)
}

/// The same in another component.
pub fn broadcast_to(
    component: &str,
    machine: &str,
    state: Option<&str>,
    event: &str,
    payload: &impl Serialize,
) -> String {
    host::broadcast(Some(component), machine, state, event, &json(payload), None)
}

/// Sends to the instances of a machine after a time; of this component if none is named.
pub fn broadcast_after(
    delay_ms: u64,
    component: Option<&str>,
    machine: &str,
    state: Option<&str>,
    event: &str,
    payload: &impl Serialize,
) -> String {
    let payload = json(payload);
    host::broadcast(component, machine, state, event, &payload, Some(delay_ms))
}

/// Creates an instance of a machine of this component, child of this one, and gives its id.
pub fn create(machine: &str, context: &impl Serialize) -> String {
    host::create_instance(None, machine, &json(context))
}

/// The same in another component.
pub fn create_in(component: &str, machine: &str, context: &impl Serialize) -> String {
    host::create_instance(Some(component), machine, &json(context))
}

/// Takes an own send back that has not been handled yet.
pub fn cancel(id: &str) {
    host::cancel(id);
}

/// A value that cannot be JSON (a map with keys that are no text) is a mistake of the code.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is sent can be written as JSON")
}
