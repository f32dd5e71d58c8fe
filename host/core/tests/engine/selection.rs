//! Which transition an event takes, and how values compare.

use serde_json::json;
use xcomponent_core::{
    limits::SHOWN_VALUE_BYTES_MAX,
    record::{Disposition, Reason},
};

use crate::harness::{Host, event_for, none, passes};

fn machine(transitions: &str) -> String {
    format!(
        "name: Shop\nversion: '1'\nstateMachines:\n- name: Order\n  initialState: A\n  states: [A, B, C, {{name: Z, type: final}}]\n  transitions:\n{transitions}"
    )
}

#[test]
fn guards_are_asked_in_order_and_only_where_rules_passed() {
    let yaml = machine(
        "  - {from: A, to: Z, event: GO}
  - {from: A, to: B, event: GO, guard: never, matchingRules: [{eventProperty: x, instanceProperty: x}]}
  - {from: A, to: C, event: GO, guard: second}
",
    );
    let mut host = Host::new(&[&yaml]);
    host.create("Shop", "Order", "o", json!({ "x": 1 }));
    host.send("o", "GO", json!({ "x": 2 }));
    assert_eq!(
        (host.asked.clone(), host.state("o")),
        (vec!["second".to_owned()], "C".to_owned())
    );
}

#[test]
fn a_priority_beats_the_order_of_the_document() {
    let yaml = machine(
        "  - {from: A, to: B, event: GO, guard: first, priority: 2}
  - {from: A, to: C, event: GO, guard: second, priority: 1}
",
    );
    let mut host = Host::new(&[&yaml]);
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", none());
    assert_eq!(host.state("o"), "C");
}

#[test]
fn an_explicit_source_beats_the_star_which_never_leaves_a_final_state() {
    let yaml = machine("  - {from: '*', to: Z, event: GO}\n  - {from: A, to: B, event: GO}\n");
    let mut host = Host::new(&[&yaml]);
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", none());
    assert_eq!(host.state("o"), "B");
    host.send("o", "GO", none());
    assert_eq!(host.state("o"), "Z");
    assert_eq!(host.becomes("o", "GO", none()), Disposition::Rejected);
}

#[test]
fn operators_compare_by_type_with_the_instance_on_the_left() {
    let cases = [
        ("===", json!(1), json!(1.0), true),
        (
            "===",
            json!([1, { "a": 1 }]),
            json!([1.0, { "a": 1.0 }]),
            true,
        ),
        ("!==", json!(1), json!(2), true),
        ("!==", json!(1), json!(1), false),
        (">", json!(10), json!(9), true),
        (">", json!("10"), json!("9"), false),
        (">", json!("b"), json!(1), false),
        (">=", json!(true), json!(true), false),
        ("<=", json!("a"), json!("a"), true),
        ("<", json!("Z"), json!("a"), true),
        ("contains", json!(["x", "y"]), json!("x"), true),
        ("contains", json!("xyz"), json!("yz"), true),
        ("contains", json!("xyz"), json!(1), false),
        ("in", json!("x"), json!(["x"]), true),
        ("in", json!(["x"]), json!("x"), false),
    ];
    for (operator, instance, event, matches) in cases {
        let yaml = machine(&format!(
            "  - {{from: A, to: B, event: GO, matchingRules: [{{eventProperty: payload.v, instanceProperty: v.w, operator: '{operator}'}}]}}\n"
        ));
        let mut host = Host::new(&[&yaml]);
        host.create("Shop", "Order", "o", json!({ "v": { "w": instance } }));
        host.send("o", "GO", json!({ "v": event }));
        let expected = if matches { "B" } else { "A" };
        assert_eq!(host.state("o"), expected, "{instance} {operator} {event}");
        let tally = host.broadcast("Shop", "Order", "GO", json!({ "v": event }));
        assert_eq!(
            tally.matched,
            u64::from(matches),
            "{instance} {operator} {event}"
        );
    }
}

#[test]
fn a_missing_value_on_either_side_matches_nothing() {
    for operator in ["===", "!==", ">", "contains", "in"] {
        let yaml = machine(&format!(
            "  - {{from: A, to: B, event: GO, matchingRules: [{{eventProperty: v, instanceProperty: v, operator: '{operator}'}}]}}\n"
        ));
        let mut host = Host::new(&[&yaml]);
        host.create("Shop", "Order", "empty", none());
        host.create("Shop", "Order", "full", json!({ "v": 1 }));
        assert_eq!(
            host.becomes("empty", "GO", json!({ "v": 1 })),
            Disposition::Ignored
        );
        let reply = host.send("full", "GO", none());
        let why = why(reply.reason.as_deref());
        assert!(
            why.ends_with("the instance's `v` is 1, the event's `v` is missing"),
            "{why}"
        );
    }
}

/// What an event that was ignored failed at, in words.
fn why(reason: Option<&Reason>) -> String {
    match reason {
        Some(Reason::NothingMatched(Some(mismatch))) => mismatch.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_ignored_event_says_which_rule_failed_and_with_which_values() {
    let yaml = machine(
        "  - {from: A, to: B, event: GO, matchingRules: [{eventProperty: id, instanceProperty: id}, {eventProperty: total, instanceProperty: order.total, operator: '>='}]}\n",
    );
    let mut host = Host::new(&[&yaml]);
    host.create(
        "Shop",
        "Order",
        "o",
        json!({ "id": "7", "order": { "total": 5 } }),
    );
    let reply = host.send("o", "GO", json!({ "id": "7", "total": 10 }));
    assert_eq!(
        why(reply.reason.as_deref()),
        "the rule `order.total >= total` failed: \
         the instance's `order.total` is 5, the event's `total` is 10"
    );
    let long = "x".repeat(100_000);
    let reply = host.send("o", "GO", json!({ "id": long }));
    assert!(why(reply.reason.as_deref()).len() < 2 * SHOWN_VALUE_BYTES_MAX);
}

#[test]
fn an_event_that_expects_another_state_is_rejected() {
    let yaml = machine("  - {from: A, to: B, event: GO}\n");
    let mut host = Host::new(&[&yaml]);
    host.on("never", |_| passes(false));
    host.create("Shop", "Order", "o", none());
    let mut send = event_for("o", "GO", none());
    send.expected_state = Some(xcomponent_core::id::StateName::new("B"));
    let xcomponent_core::effect::Reply::Handled(reply) = host.try_send(send) else {
        panic!("it is handled");
    };
    assert!(matches!(
        reply.reason.as_deref(),
        Some(Reason::UnexpectedState(_))
    ));
}

#[test]
fn a_broadcast_adds_up_and_checks_again_when_its_turn_comes() {
    let yaml =
        machine("  - {from: A, to: B, event: GO, guard: may}\n  - {from: B, to: C, event: NEXT}\n");
    let mut host = Host::new(&[&yaml]);
    host.on("may", |call| match call.instance.to_string().as_str() {
        "no" => crate::harness::refuses("no"),
        "bad" => crate::harness::panics(),
        id => passes(id == "yes"),
    });
    for id in ["yes", "no", "bad", "not"] {
        host.create("Shop", "Order", id, none());
    }
    let tally = host.broadcast("Shop", "Order", "GO", none());
    assert_eq!(
        (
            tally.matched,
            tally.transitioned,
            tally.ignored,
            tally.rejected,
            tally.dead_lettered
        ),
        (4, 1, 1, 1, 1)
    );
    assert_eq!(
        host.broadcast_to("Shop", "Order", Some("B"), "NEXT", none())
            .matched,
        1
    );
    let before = host.records.len();
    let unknown = host.broadcast("Shop", "Order", "NOBODY_KNOWS", none());
    assert_eq!((unknown.matched, unknown.ignored), (4, 4));
    assert_eq!(
        host.records.len(),
        before,
        "an unknown event is counted, not recorded"
    );
}
