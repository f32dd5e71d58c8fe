//! An event with an id is applied once.

use serde_json::json;
use xcomponent_core::{
    effect::{HandledReply, Refused, Reply},
    id::EventId,
    input::{Request, SendEvent},
    record::Disposition,
};

use crate::harness::{Host, event_for, none, panics, refused};

const YAML: &str = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  onFault: {retry: {max: 1, backoffMs: 10}}
  states: [A, {name: Z, type: final}]
  transitions:
  - {from: A, to: A, event: ADD, triggeredMethod: add}
  - {from: A, to: Z, event: END}
";

fn with_id(id: &str, event: &str, payload: serde_json::Value) -> SendEvent {
    SendEvent {
        id: Some(EventId::parse(id).expect("it is an id")),
        ..event_for("o", event, payload)
    }
}

fn handled(reply: Reply) -> HandledReply {
    match reply {
        Reply::Handled(reply) => reply,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_repetition_gets_the_first_answer_and_changes_nothing() {
    let mut host = Host::new(&[YAML]);
    host.create("Shop", "Order", "o", none());
    let first = handled(host.try_send(with_id("k", "ADD", none())));
    let again = handled(host.try_send(with_id("k", "ADD", none())));
    assert_eq!((first.after.seq, first.replayed), (again.after.seq, false));
    assert!(again.replayed);
    let other = host.try_send(with_id("k", "ADD", json!({ "x": 1 })));
    assert_eq!(refused(other), Refused::KeyReused);
    assert_eq!(host.history("o").len(), 2);
}

#[test]
fn what_a_caller_may_try_again_is_not_remembered() {
    let mut host = Host::new(&[YAML]);
    assert!(matches!(
        refused(host.try_send(with_id("k", "ADD", none()))),
        Refused::UnknownInstance(_)
    ));
    host.create("Shop", "Order", "o", none());
    let sent = handled(host.try_send(with_id("k", "ADD", none())));
    assert_eq!(
        (sent.disposition, sent.replayed),
        (Disposition::Transitioned, false)
    );
}

#[test]
fn a_key_answers_with_what_the_retry_and_the_replay_came_to() {
    let mut host = Host::new(&[YAML]);
    host.on("add", |_| panics());
    host.create("Shop", "Order", "o", none());
    let first = handled(host.try_send(with_id("k", "ADD", none())));
    assert_eq!(first.disposition, Disposition::Retrying);
    host.wait(10);
    let then = handled(host.try_send(with_id("k", "ADD", none())));
    assert_eq!(then.disposition, Disposition::DeadLettered);
    host.on("add", |_| crate::harness::nothing());
    let letter = Box::new(host.parked().remove(0));
    host.request(Request::Replay { letter });
    let last = handled(host.try_send(with_id("k", "ADD", none())));
    assert_eq!(
        (last.disposition, last.replayed),
        (Disposition::Transitioned, true)
    );
}

#[test]
fn repeating_a_callers_instance_id_finds_the_first_instance() {
    let mut host = Host::new(&[YAML]);
    host.create("Shop", "Order", "o", json!({ "n": 1 }));
    let again = host.try_create("Shop", "Order", "o", json!({ "n": 1 }));
    assert!(matches!(again, Reply::Created { existing: true, .. }));
    let other = refused(host.try_create("Shop", "Order", "o", json!({ "n": 2 })));
    assert!(matches!(other, Refused::InstanceExists(_)));
    host.send("o", "END", none());
    assert_eq!(host.engine.live(), 0);
    let after = host.try_create("Shop", "Order", "o", json!({ "n": 1 }));
    assert!(matches!(after, Reply::Created { existing: true, .. }));
}
