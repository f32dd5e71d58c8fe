//! Deadlines: timeouts, autos, delayed sends.

use xcomponent_core::{call::Send, record::Disposition};

use crate::harness::{Host, none, passes, sends, to_self};

const YAML: &str = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  states: [A, B, {name: Z, type: final}]
  transitions:
  - {from: A, to: B, event: GO, triggeredMethod: act}
  - {from: B, to: A, event: BACK}
  - {from: B, to: Z, event: LATE, type: timeout, timeoutMs: 100}
  - {from: B, to: B, event: FIRST, type: auto, timeoutMs: 20, guard: first}
  - {from: B, to: A, event: SECOND, type: auto, timeoutMs: 20, guard: second}
  - {from: A, to: A, event: NOTE, triggeredMethod: note}
  - {from: B, to: B, event: NOTE, type: internal, triggeredMethod: note}
  - {from: A, to: Z, event: END}
";

#[test]
fn a_timeout_fires_once_its_time_has_come_and_not_after_its_state_was_left() {
    let mut host = Host::new(&[YAML]);
    host.on("first", |_| passes(false));
    host.on("second", |_| passes(false));
    host.create("Shop", "Order", "o", none());
    host.create("Shop", "Order", "p", none());
    host.send("o", "GO", none());
    host.send("p", "GO", none());
    host.wait(99);
    host.send("p", "BACK", none());
    assert_eq!(host.state("o"), "B");
    host.wait(1);
    assert_eq!((host.state("o"), host.state("p")), ("Z".into(), "A".into()));
    assert_eq!(host.context("o"), none());
    assert_eq!(host.engine.poll_timeout(), None);
}

#[test]
fn autos_of_one_delay_are_tried_in_order_and_none_is_one_ignored_record() {
    let mut host = Host::new(&[YAML]);
    host.on("first", |_| passes(false));
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", none());
    host.wait(20);
    assert_eq!(host.state("o"), "A");
    assert_eq!(host.asked[1..], ["first", "second"]);
    host.on("second", |_| passes(false));
    host.send("o", "GO", none());
    host.wait(20);
    assert_eq!(host.history("o").last().unwrap(), "FIRST ignored");
}

#[test]
fn delayed_sends_survive_a_change_of_state_and_can_be_taken_back() {
    let mut host = Host::new(&[YAML]);
    host.on("first", |_| passes(false));
    host.on("second", |_| passes(false));
    host.on("act", |_| {
        sends(vec![to_self("NOTE", Some(50)), to_self("NOTE", Some(60))])
    });
    host.create("Shop", "Order", "o", none());
    let go = host.send("o", "GO", none());
    host.send("o", "BACK", none());
    let first = go.event.id.derive(1);
    host.on("note", move |_| {
        sends(vec![Send::Cancel { id: first.clone() }])
    });
    host.send("o", "NOTE", none());
    host.wait(49);
    assert_eq!(
        host.asked.iter().filter(|method| *method == "note").count(),
        1
    );
    host.wait(20);
    assert_eq!(
        host.asked.iter().filter(|method| *method == "note").count(),
        2
    );
}

#[test]
fn a_finished_instance_drops_what_it_sent_itself_and_owes_what_it_sent_others() {
    let mut host = Host::new(&[YAML]);
    host.create("Shop", "Order", "friend", none());
    host.on("note", |call| {
        if call.instance.to_string() == "friend" {
            return crate::harness::nothing();
        }
        let to_friend = Send::ToInstance {
            component: None,
            instance: xcomponent_core::id::InstanceId::parse("friend").unwrap(),
            event: xcomponent_core::id::EventName::new("NOTE"),
            payload: xcomponent_core::json::Json::empty(),
            delay: Some(xcomponent_core::time::Duration(30)),
        };
        sends(vec![to_self("NOTE", Some(30)), to_friend])
    });
    host.create("Shop", "Order", "o", none());
    host.send("o", "NOTE", none());
    host.send("o", "END", none());
    assert_eq!(host.engine.live(), 2, "it stays for what it owes");
    host.wait(30);
    assert_eq!(
        host.history("friend"),
        ["$created transitioned", "NOTE transitioned"]
    );
    assert_eq!(host.history("o").len(), 3);
    assert_eq!(host.engine.live(), 1);
}

#[test]
fn two_timeouts_with_the_same_event_are_two_timers() {
    let yaml = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  states: [A]
  transitions:
  - {from: A, to: A, event: REMIND, type: timeout, timeoutMs: 10, guard: never}
  - {from: A, to: A, event: REMIND, type: timeout, timeoutMs: 20, guard: never}
";
    let mut host = Host::new(&[yaml]);
    host.on("never", |_| passes(false));
    host.create("Shop", "Order", "o", none());
    assert_eq!(host.stored("o").timers.len(), 2);
    host.wait(30);
    assert_eq!(host.history("o")[1..], ["REMIND ignored", "REMIND ignored"]);
    assert_eq!(host.becomes("o", "WHAT", none()), Disposition::Ignored);
}

#[test]
fn internal_transitions_leave_deadlines_alone() {
    let mut host = Host::new(&[YAML]);
    host.on("first", |_| passes(false));
    host.on("second", |_| passes(false));
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", none());
    for _ in 0..1_000 {
        host.send("o", "NOTE", none());
    }
    host.wait(100);
    assert_eq!(host.state("o"), "Z");
}

const STRICT: &str = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  contextSchema: {reason: {type: number}, tries: {type: number, max: 1}}
  states: [A, B]
  transitions:
  - {from: A, to: B, event: LATE, type: timeout, timeoutMs: 100, triggeredMethod: act}
";

#[test]
fn what_a_timeout_carries_is_seen_by_methods_and_merged_into_no_context() {
    let mut host = Host::new(&[STRICT]);
    host.on("act", |call| {
        assert_eq!(call.event.payload.as_str(), r#"{"reason":"timeout"}"#);
        crate::harness::nothing()
    });
    host.create("Shop", "Order", "o", serde_json::json!({ "reason": 7 }));
    host.wait(100);
    assert_eq!(host.state("o"), "B");
    assert_eq!(host.context("o"), serde_json::json!({ "reason": 7 }));
}

#[test]
fn a_timer_whose_transition_is_refused_leaves_a_dead_letter_that_can_be_replayed() {
    let mut host = Host::new(&[STRICT]);
    host.on("act", |_| crate::harness::refuses("not_yet"));
    host.create("Shop", "Order", "o", none());
    host.wait(100);
    assert_eq!(host.history("o").last().unwrap(), "LATE dead-lettered");
    let letter = host.parked().remove(0);
    assert_eq!(letter.why.code(), "refused");
    host.on("act", |_| crate::harness::nothing());
    let letter = Box::new(letter);
    host.request(xcomponent_core::input::Request::Replay { letter });
    assert_eq!((host.state("o"), host.context("o")), ("B".into(), none()));
}
