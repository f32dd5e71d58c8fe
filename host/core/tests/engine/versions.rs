//! Versions: which one a transition runs on, and how instances move.

use serde_json::json;
use xcomponent_core::{definition::OnLive, record::Disposition};

use crate::harness::{Host, none};

fn version(label: &str, states: &str, timeout: u64, rest: &str) -> String {
    format!(
        "name: Shop\nversion: '{label}'\nstateMachines:\n- name: Order\n  initialState: A\n  states: {states}\n{rest}  transitions:\n  - {{from: A, to: B, event: GO}}\n  - {{from: A, to: A, event: NOTE, type: internal, triggeredMethod: v{label}}}\n  - {{from: A, to: B, event: LATE, type: timeout, timeoutMs: {timeout}}}\n"
    )
}

fn label(host: &Host, id: &str) -> String {
    host.stored(id).deployment.definition.version.to_string()
}

#[test]
fn the_move_is_part_of_the_next_transition() {
    let (first, second) = (
        version("1", "[A, B]", 100, ""),
        version("2", "[A, B]", 100, ""),
    );
    let mut host = Host::new(&[&first]);
    host.create("Shop", "Order", "o", none());
    host.deploy(&second);
    host.activate(&second, OnLive::NextEvent);
    assert_eq!(label(&host, "o"), "1");
    host.send("o", "NOTE", none());
    assert_eq!(
        (label(&host, "o"), host.asked.clone()),
        ("2".into(), vec!["v2".to_owned()])
    );
}

#[test]
fn a_pinned_instance_stays_on_its_version() {
    let (first, second) = (
        version("1", "[A, B]", 100, ""),
        version("2", "[A, B]", 100, ""),
    );
    let mut host = Host::new(&[&first]);
    host.create("Shop", "Order", "old", none());
    host.deploy(&second);
    host.activate(&second, OnLive::Pin);
    host.create("Shop", "Order", "new", none());
    host.send("old", "NOTE", none());
    host.send("new", "NOTE", none());
    assert_eq!(host.asked, ["v1", "v2"]);
}

#[test]
fn an_instance_that_does_not_fit_is_held_with_the_reason() {
    let first = version("1", "[A, B]", 100, "");
    let second = "name: Shop\nversion: '2'\nstateMachines:\n- name: Order\n  initialState: C\n  states: [C]\n";
    let third = version(
        "3",
        "[A, B]",
        100,
        "  contextSchema: {n: {type: number, required: true}}\n",
    );
    for (other, reason) in [
        (second.to_owned(), "state `A` is gone"),
        (third, "breaks the schema"),
    ] {
        let mut host = Host::new(&[&first]);
        host.create("Shop", "Order", "o", none());
        host.deploy(&other);
        host.activate(&other, OnLive::NextEvent);
        assert_eq!(host.becomes("o", "NOTE", none()), Disposition::Transitioned);
        assert_eq!(label(&host, "o"), "1");
        let held = host
            .stored("o")
            .extra
            .as_ref()
            .unwrap()
            .held
            .clone()
            .unwrap();
        assert!(held.contains(reason), "{held}");
    }
}

#[test]
fn timers_are_matched_by_event_and_time_on_a_move() {
    for (timeout, due) in [(100, 100), (150, 150)] {
        let (first, second) = (
            version("1", "[A, B]", 100, ""),
            version("2", "[A, B]", timeout, ""),
        );
        let mut host = Host::new(&[&first]);
        host.create("Shop", "Order", "o", none());
        let born = host.now;
        host.wait(50);
        host.deploy(&second);
        host.activate(&second, OnLive::NextEvent);
        host.send("o", "NOTE", none());
        let timers = &host.stored("o").timers;
        assert_eq!((timers.len(), timers[0].due.0), (1, born + due));
        host.wait(100);
        assert_eq!(host.state("o"), "B");
    }
}

#[test]
fn a_timeout_that_the_new_version_lacks_moves_the_instance_instead_of_being_lost() {
    let (first, second) = (
        version("1", "[A, B]", 100, ""),
        version("2", "[A, B]", 150, ""),
    );
    let mut host = Host::new(&[&first]);
    host.create("Shop", "Order", "o", none());
    host.deploy(&second);
    host.activate(&second, OnLive::NextEvent);
    host.wait(149);
    assert_eq!(
        (label(&host, "o"), host.state("o")),
        ("2".into(), "A".into())
    );
    host.wait(1);
    assert_eq!(host.state("o"), "B");
}

#[test]
fn properties_that_rules_newly_match_on_are_indexed_over_live_instances() {
    let first = version("1", "[A, B]", 100, "");
    let second = version("2", "[A, B]", 100, "").replace(
        "event: GO}",
        "event: GO, matchingRules: [{eventProperty: id, instanceProperty: id}]}",
    );
    let mut host = Host::new(&[&first]);
    for id in 1..=3 {
        host.create("Shop", "Order", &format!("o{id}"), json!({ "id": id }));
    }
    host.deploy(&second);
    host.activate(&second, OnLive::NextEvent);
    assert_eq!(
        host.broadcast("Shop", "Order", "GO", json!({ "id": 2 }))
            .matched,
        1
    );
    assert_eq!(host.state("o2"), "B");
}
