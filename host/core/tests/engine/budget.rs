//! Chains of causes end.

use crate::harness::{Host, none, sends, to_self};

fn parked_codes(host: &Host) -> Vec<&'static str> {
    host.parked()
        .iter()
        .map(|letter| letter.why.code())
        .collect()
}

#[test]
fn a_cascade_that_feeds_itself_ends_with_the_chain_in_the_dead_letters() {
    let yaml = "name: Loop
version: '1'
stateMachines:
- name: Ping
  initialState: A
  states:
  - A
  - {name: B, cascadingRules: [{targetMachine: Ping, event: GO}]}
  transitions:
  - {from: A, to: B, event: GO}
  - {from: B, to: B, event: GO}
";
    let mut host = Host::new(&[yaml]);
    host.create("Loop", "Ping", "one", none());
    host.send("one", "GO", none());
    let parked = host.parked();
    assert_eq!(parked_codes(&host), ["cascade_budget"]);
    let xcomponent_core::record::Parked::CascadeBudget(text) = &parked[0].why else {
        panic!("it is the budget");
    };
    assert!(text.contains("GO at one > GO at one"), "{text}");
    assert!(host.history("one").len() <= 66);
}

#[test]
fn a_cascade_that_multiplies_runs_out_of_credits() {
    let yaml = "name: Loop
version: '1'
stateMachines:
- name: Ping
  initialState: A
  states: [{name: A, cascadingRules: [{targetMachine: Ping, targetState: A, event: GO}]}]
  transitions: [{from: A, to: A, event: GO}]
";
    let mut host = Host::new(&[yaml]);
    for id in ["a", "b", "c", "d"] {
        host.create("Loop", "Ping", id, none());
    }
    let before = host.records.len();
    host.send("a", "GO", none());
    let caused = host.records.len() - before;
    assert!(caused < 40_000, "{caused} records");
    assert!(
        parked_codes(&host)
            .iter()
            .all(|code| *code == "cascade_budget")
    );
    assert!(host.engine.dropped_over_budget() > 0);
}

#[test]
fn a_send_to_itself_without_delay_has_a_budget_too() {
    let yaml = "name: Loop
version: '1'
stateMachines:
- name: Ping
  initialState: A
  states: [A]
  transitions: [{from: A, to: A, event: GO, triggeredMethod: again}]
";
    let mut host = Host::new(&[yaml]);
    host.on("again", |_| sends(vec![to_self("GO", None)]));
    host.create("Loop", "Ping", "one", none());
    host.send("one", "GO", none());
    assert_eq!(parked_codes(&host), ["cascade_budget"]);
}

#[test]
fn autos_that_follow_each_other_for_ever_have_a_budget_too() {
    let yaml = "name: Loop
version: '1'
stateMachines:
- name: Ping
  initialState: A
  states: [A, B]
  transitions:
  - {from: A, to: B, event: THERE, type: auto}
  - {from: B, to: A, event: BACK, type: auto}
";
    let mut host = Host::new(&[yaml]);
    host.create("Loop", "Ping", "one", none());
    assert_eq!(parked_codes(&host), ["cascade_budget"]);
    assert!(host.history("one").len() < 70);
}

#[test]
fn each_recipient_of_a_broadcast_has_its_own_credits() {
    let yaml = "name: Loop
version: '1'
stateMachines:
- name: Ping
  initialState: A
  states: [A, {name: B, cascadingRules: [{targetMachine: Pong, event: SEEN}]}]
  transitions: [{from: A, to: B, event: GO}]
- name: Pong
  initialState: A
  states: [A]
  transitions: [{from: A, to: A, event: SEEN}]
";
    let mut host = Host::new(&[yaml]);
    host.create("Loop", "Pong", "pong", none());
    for id in 0..50 {
        host.create("Loop", "Ping", &format!("p{id}"), none());
    }
    assert_eq!(
        host.broadcast("Loop", "Ping", "GO", none()).transitioned,
        50
    );
    assert_eq!(host.history("pong").len(), 51);
    assert!(host.parked().is_empty());
}
