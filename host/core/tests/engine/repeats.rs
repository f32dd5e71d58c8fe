//! An event with an id is applied once.

use serde_json::json;
use xcomponent_core::{
    effect::{HandledReply, Refused, Reply},
    id::{ComponentName, EventId, MachineName, keyed_instance_id},
    input::{Create, Repeatable, Request, SendEvent},
    json::Json,
    limits::Limits,
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

#[test]
fn the_same_json_in_another_spelling_is_the_same_request() {
    let mut host = Host::new(&[YAML]);
    host.create("Shop", "Order", "o", none());
    let spelled = |text: &str| SendEvent {
        payload: Json::parse(text).unwrap(),
        ..with_id("k", "ADD", none())
    };
    host.try_send(spelled(r#"{"a":2.50,"b":"x/y"}"#));
    let again = handled(host.try_send(spelled(r#" { "b" : "x\/y", "a" : 25e-1 } "#)));
    assert!(again.replayed);
    let other = host.try_send(spelled(r#"{"a":2.5000000000000000001,"b":"x/y"}"#));
    assert_eq!(refused(other), Refused::KeyReused);
}

/// A host that remembers two keys.
fn forgetful() -> Host {
    let limits = Limits {
        remembered_bytes_max: 128,
        passivate_after: None,
        ..Limits::default()
    };
    let mut host = Host::with_limits(&[YAML], limits);
    host.create("Shop", "Order", "o", none());
    for n in 0..10 {
        host.try_send(with_id(&format!("k{n}"), "ADD", none()));
    }
    host
}

#[test]
fn a_key_that_no_memory_is_left_for_is_answered_from_the_store() {
    let mut host = forgetful();
    assert!(host.engine.remembered_bytes() <= 128);
    for n in 0..10 {
        let again = handled(host.try_send(with_id(&format!("k{n}"), "ADD", none())));
        assert!(again.replayed, "k{n}");
        let other = host.try_send(with_id(&format!("k{n}"), "END", none()));
        assert_eq!(refused(other), Refused::KeyReused);
    }
    assert_eq!(host.history("o").len(), 11);
}

#[test]
fn an_event_whose_record_the_store_has_lost_is_not_applied_again() {
    let mut host = forgetful();
    host.records.clear();
    for _ in 0..2 {
        let last = refused(host.try_send(with_id("k9", "ADD", none())));
        assert_eq!(last, Refused::AnswerLost);
    }
    assert!(host.records.is_empty());
}

#[test]
fn a_creation_is_recognised_by_its_key() {
    let mut host = Host::new(&[YAML]);
    let keyed = |host: &mut Host, key: &str, context: serde_json::Value| {
        let key = EventId::parse(key).unwrap();
        let (component, machine) = (ComponentName::new("Shop"), MachineName::new("Order"));
        let id = keyed_instance_id(&host.tenant, &component, &machine, &key);
        host.request(Request::Create(Create {
            component,
            machine,
            context: Json::from_value(&context),
            id,
            repeatable: Repeatable::ByKey(key),
            entry_point: false,
            trace_parent: None,
        }))
    };
    let created = |reply: Reply| match reply {
        Reply::Created { existing, instance } => (existing, instance.id),
        other => panic!("{other:?}"),
    };
    let (existing, first) = created(keyed(&mut host, "k", json!({ "n": 1 })));
    assert!(!existing);
    assert_eq!(
        created(keyed(&mut host, "k", json!({ "n": 1.0 }))),
        (true, first.clone())
    );
    assert_eq!(
        refused(keyed(&mut host, "k", json!({ "n": 2 }))),
        Refused::KeyReused
    );
    assert_ne!(
        created(keyed(&mut host, "l", json!({ "n": 1 }))),
        (true, first)
    );
}
