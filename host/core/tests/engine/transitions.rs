//! One transition, in order.

use serde_json::json;
use xcomponent_core::record::{Disposition, Status};

use crate::harness::{Host, becomes, none, sends, to_self};

#[test]
fn exit_method_merge_and_entry_come_in_this_order_and_see_what_is_documented() {
    let yaml = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  states: [{name: A, onExit: leave}, {name: B, onEntry: enter}]
  transitions: [{from: A, to: B, event: GO, guard: may, triggeredMethod: act}]
";
    let mut host = Host::new(&[yaml]);
    for method in ["leave", "act", "enter"] {
        host.on(method, move |call| {
            assert_eq!(call.target_name().as_str(), "B");
            let mut context = call.context.value();
            let seen = if context["p"].is_null() {
                "old"
            } else {
                "merged"
            };
            context[method] = seen.into();
            becomes(&context)
        });
    }
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", json!({ "p": 1 }));
    assert_eq!(host.asked, ["may", "leave", "act", "enter"]);
    assert_eq!(
        host.context("o"),
        json!({ "leave": "old", "act": "old", "p": 1, "enter": "merged" })
    );
}

#[test]
fn a_payload_is_merged_unless_there_are_rules_or_it_says_otherwise() {
    let yaml = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  states: [A]
  transitions:
  - {from: A, to: A, event: PLAIN}
  - {from: A, to: A, event: RULED, matchingRules: [{eventProperty: id, instanceProperty: id}]}
  - {from: A, to: A, event: BOTH, mergePayload: true, matchingRules: [{eventProperty: id, instanceProperty: id}]}
  - {from: A, to: A, event: NEVER, mergePayload: false}
";
    for (event, merged) in [
        ("PLAIN", true),
        ("RULED", false),
        ("BOTH", true),
        ("NEVER", false),
    ] {
        let mut host = Host::new(&[yaml]);
        host.create("Shop", "Order", "o", json!({ "id": 1 }));
        assert_eq!(
            host.becomes("o", event, json!({ "id": 1, "x": 2 })),
            Disposition::Transitioned
        );
        assert_eq!(host.context("o")["x"] == 2, merged, "{event}");
    }
}

#[test]
fn a_fault_in_the_entry_method_undoes_everything_before_it() {
    let yaml = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  states: [A, {name: B, onEntry: enter}]
  transitions: [{from: A, to: B, event: GO, triggeredMethod: act}]
";
    let mut host = Host::new(&[yaml]);
    host.on("act", |_| sends(vec![to_self("LATER", Some(5))]));
    host.on("enter", |_| crate::harness::panics());
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", json!({ "p": 1 }));
    let stored = host.stored("o");
    assert_eq!(
        (stored.state().name.as_str(), stored.timers.len()),
        ("A", 0)
    );
    assert_eq!(stored.context.value(), none());
}

#[test]
fn deferred_events_come_in_order_before_the_mailbox_once_a_state_handles_them() {
    let yaml = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  states: [{name: A, defer: [LATE]}, B, {name: Z, type: final}]
  transitions:
  - {from: A, to: B, event: GO}
  - {from: A, to: Z, event: END}
  - {from: B, to: B, event: LATE, triggeredMethod: note}
";
    let mut host = Host::new(&[yaml]);
    host.on("note", |call| {
        let mut context = call.context.value();
        let n = call.event.payload.value()["n"].clone();
        let mut seen = context["seen"].as_array().cloned().unwrap_or_default();
        seen.push(n);
        context["seen"] = seen.into();
        becomes(&context)
    });
    host.create("Shop", "Order", "o", none());
    for n in 1..=2 {
        assert_eq!(
            host.becomes("o", "LATE", json!({ "n": n })),
            Disposition::Deferred
        );
    }
    host.send("o", "GO", none());
    assert_eq!(host.context("o")["seen"], json!([1, 2]));
    assert!(host.stored("o").extra.is_none());

    host.create("Shop", "Order", "p", none());
    host.send("p", "LATE", none());
    host.send("p", "END", none());
    assert_eq!(host.stored("p").status, Status::Completed);
    assert_eq!(host.parked()[0].why.code(), "instance_finished");
}

#[test]
fn a_creation_that_its_methods_refuse_never_was() {
    let yaml = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  states: [{name: A, onEntry: enter}]
";
    let mut host = Host::new(&[yaml]);
    host.on("enter", |_| crate::harness::refuses("closed"));
    let refused = crate::harness::refused(host.try_create("Shop", "Order", "o", none()));
    assert!(matches!(
        refused,
        xcomponent_core::effect::Refused::Refusal(_)
    ));
    assert!(host.records.is_empty());
    assert_eq!(host.engine.live(), 0);
}
