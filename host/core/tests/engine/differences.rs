//! The sixteen intended differences from xcomponent-ai, one test each, in the order of the
//! documentation.

use serde_json::json;
use xcomponent_core::{
    definition::{Strictness, check},
    effect::Refused,
    id::MethodName,
    record::{Disposition, Mismatch, Reason},
};

use crate::harness::{Host, becomes, none, panics, passes, refused};

/// A component `Shop` with one machine `Order`.
fn order(rest: &str) -> String {
    format!(
        "name: Shop\nversion: '1'\nstateMachines:\n- name: Order\n  initialState: Created\n{rest}"
    )
}

const STATES: &str = "  states: [Created, Paid, {name: Done, type: final}]\n";

#[test]
fn difference_1_rules_are_enforced_also_with_one_candidate_and_for_a_cascade() {
    let rule = "matchingRules: [{eventProperty: id, instanceProperty: id}]";
    let yaml = format!(
        "name: Shop
version: '1'
stateMachines:
- name: Source
  initialState: A
  states:
  - A
  - name: B
    cascadingRules: [{{targetMachine: Order, event: PAY, {rule}, payload: {{id: '{{{{wanted}}}}'}}}}]
  transitions: [{{from: A, to: B, event: GO}}]
- name: Order
  initialState: Created
  states: [Created, Paid]
  transitions:
  - {{from: Created, to: Paid, event: PAY}}
  - {{from: Created, to: Paid, event: MATCH, {rule}}}
"
    );
    let mut host = Host::new(&[&yaml]);
    host.create("Shop", "Order", "one", json!({ "id": 1 }));
    host.create("Shop", "Order", "two", json!({ "id": 2 }));
    assert_eq!(
        host.becomes("one", "MATCH", json!({ "id": 2 })),
        Disposition::Ignored
    );
    host.create("Shop", "Source", "source", json!({ "wanted": 2 }));
    host.send("source", "GO", none());
    assert_eq!(
        (host.state("one"), host.state("two")),
        ("Created".into(), "Paid".into())
    );
}

#[test]
fn difference_2_no_transition_when_all_candidates_fail() {
    let yaml = order(&format!(
        "{STATES}  transitions:
  - {{from: Created, to: Paid, event: PAY, guard: first}}
  - {{from: Created, to: Done, event: PAY, guard: second}}
"
    ));
    let mut host = Host::new(&[&yaml]);
    host.on("first", |_| passes(false));
    host.on("second", |_| passes(false));
    host.create("Shop", "Order", "o", none());
    let reply = host.send("o", "PAY", none());
    assert_eq!(reply.disposition, Disposition::Ignored);
    let guard = Mismatch::Guard(MethodName::new("first"));
    assert_eq!(
        reply.reason.as_deref(),
        Some(&Reason::NothingMatched(Some(Box::new(guard))))
    );
    assert_eq!(host.asked, ["first", "second"]);
    assert_eq!(host.state("o"), "Created");
}

#[test]
fn difference_3_ambiguity_is_an_error() {
    let yaml = order(&format!(
        "{STATES}  transitions:\n  - {{from: Created, to: Paid, event: PAY}}\n  - {{from: Created, to: Done, event: PAY}}\n"
    ));
    let checked = check(&yaml, Strictness::Normal);
    assert!(checked.definition.is_none());
    assert_eq!(checked.findings[0].code, "ambiguous");
}

#[test]
fn difference_4_an_internal_transition_has_no_exit_and_entry() {
    let yaml = order(
        "  states: [{name: Created, onEntry: enter, onExit: leave}]
  transitions: [{from: Created, to: Created, event: NOTE, type: internal, triggeredMethod: note}]
",
    );
    let mut host = Host::new(&[&yaml]);
    host.create("Shop", "Order", "o", none());
    host.asked.clear();
    host.send("o", "NOTE", none());
    assert_eq!(host.asked, ["note"]);
}

#[test]
fn difference_5_creation_runs_entry_and_cascades_of_the_initial_state() {
    let yaml = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: Created
  states:
  - {name: Created, onEntry: enter, cascadingRules: [{targetMachine: Log, event: SEEN}]}
- name: Log
  initialState: Empty
  states: [Empty, Full]
  transitions: [{from: Empty, to: Full, event: SEEN}]
";
    let mut host = Host::new(&[yaml]);
    host.on("enter", |_| becomes(&json!({ "entered": true })));
    host.create("Shop", "Log", "log", none());
    host.create("Shop", "Order", "o", none());
    assert_eq!(host.context("o"), json!({ "entered": true }));
    assert_eq!(host.state("log"), "Full");
}

#[test]
fn difference_6_an_auto_without_delay_comes_before_any_other_event() {
    let yaml = order(
        "  states: [Created, {name: Paid, onEntry: enter}, Checked]
  transitions:
  - {from: Created, to: Paid, event: PAY}
  - {from: Paid, to: Checked, event: CHECK, type: auto}
  - {from: Paid, to: Created, event: UNDO}
",
    );
    let mut host = Host::new(&[&yaml]);
    host.on("enter", |_| {
        crate::harness::sends(vec![crate::harness::to_self("UNDO", None)])
    });
    host.create("Shop", "Order", "o", none());
    host.send("o", "PAY", none());
    assert_eq!(host.state("o"), "Checked");
    assert_eq!(
        host.history("o")[1..],
        ["PAY transitioned", "CHECK transitioned", "UNDO ignored"]
    );
}

#[test]
fn difference_7_a_failed_method_undoes_the_transition_and_keeps_the_instance() {
    let yaml = order(&format!(
        "{STATES}  transitions: [{{from: Created, to: Paid, event: PAY, triggeredMethod: book}}]\n"
    ));
    let mut host = Host::new(&[&yaml]);
    host.on("book", |_| panics());
    host.create("Shop", "Order", "o", json!({ "n": 1 }));
    let reply = host.send("o", "PAY", json!({ "n": 2 }));
    assert_eq!(reply.disposition, Disposition::DeadLettered);
    assert_eq!(&*reply.fault.as_ref().unwrap().message, "it panicked");
    assert_eq!(
        (host.state("o"), host.context("o")),
        ("Created".into(), json!({ "n": 1 }))
    );
    assert_eq!(host.parked().len(), 1);
}

#[test]
fn difference_8_a_public_member_takes_part_in_mappings_and_matching() {
    let shop = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: Created
  publicMemberType: OrderData
  states: [Created, Paid]
  transitions:
  - from: Created
    to: Paid
    event: PAY
    type: cross_component
    targetComponent: Bank
    targetMachine: Account
    targetEvent: DEBIT
    contextMapping: {iban: customer.iban}
    matchingRules: [{eventProperty: iban, instanceProperty: owner.iban}]
";
    let bank = "name: Bank
version: '1'
stateMachines:
- name: Account
  initialState: Open
  publicMemberType: AccountData
  states: [Open, Debited]
  transitions: [{from: Open, to: Debited, event: DEBIT}]
";
    let mut host = Host::new(&[shop, bank]);
    host.create("Bank", "Account", "a", json!({ "owner": { "iban": "A" } }));
    host.create("Bank", "Account", "b", json!({ "owner": { "iban": "B" } }));
    host.create("Shop", "Order", "o", json!({ "customer": { "iban": "B" } }));
    host.send("o", "PAY", none());
    assert_eq!(
        (host.state("a"), host.state("b")),
        ("Open".into(), "Debited".into())
    );
}

#[test]
fn difference_9_a_timeout_restarts_on_a_self_loop_unless_it_says_otherwise() {
    for (reset, state_at_100) in [("", "Created"), ("resetOnTransition: false, ", "Done")] {
        let yaml = order(&format!(
            "{STATES}  transitions:
  - {{from: Created, to: Created, event: TOUCH}}
  - {{from: Created, to: Done, event: EXPIRE, type: timeout, {reset}timeoutMs: 100}}
"
        ));
        let mut host = Host::new(&[&yaml]);
        host.create("Shop", "Order", "o", none());
        host.wait(60);
        host.send("o", "TOUCH", none());
        host.wait(60);
        assert_eq!(host.state("o"), state_at_100);
        host.wait(60);
        assert_eq!(host.state("o"), "Done");
    }
}

#[test]
fn difference_10_a_written_singleton_is_enforced() {
    let yaml = format!(
        "entryMachine: Order\nentryMachineMode: singleton\n{}",
        order(STATES)
    );
    let mut host = Host::new(&[&yaml]);
    host.create("Shop", "Order", "first", none());
    let second = refused(host.try_create("Shop", "Order", "second", none()));
    assert!(matches!(second, Refused::SingletonExists(_)), "{second:?}");
}

#[test]
fn difference_11_what_nobody_handles_is_ignored_and_finished_instances_reject() {
    let yaml = order(&format!(
        "{STATES}  transitions: [{{from: Created, to: Done, event: CLOSE}}]\n"
    ));
    let mut host = Host::new(&[&yaml]);
    host.create("Shop", "Order", "o", none());
    assert_eq!(host.becomes("o", "WHAT", none()), Disposition::Ignored);
    assert_eq!(
        host.becomes("o", "CLOSE", none()),
        Disposition::Transitioned
    );
    let late = host.send("o", "CLOSE", none());
    assert_eq!(
        (late.disposition, late.reason.as_deref()),
        (Disposition::Rejected, Some(&Reason::Finished))
    );
}

#[test]
fn difference_12_history_is_complete_and_names_the_real_cause() {
    let yaml = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: Created
  states:
  - Created
  - {name: Paid, cascadingRules: [{targetMachine: Log, event: SEEN}]}
  transitions: [{from: Created, to: Paid, event: PAY}]
- name: Log
  initialState: Empty
  states: [Empty, Full]
  transitions: [{from: Empty, to: Full, event: SEEN}]
";
    let mut host = Host::new(&[yaml]);
    host.create("Shop", "Log", "log", none());
    host.create("Shop", "Order", "o", none());
    let paid = host.send("o", "PAY", none());
    let seen = host
        .handled()
        .find(|handled| handled.event.name.as_str() == "SEEN")
        .unwrap();
    let cause = &seen.cause;
    assert_eq!(cause.event.as_ref(), Some(&paid.event.id));
    assert_eq!(cause.instance.as_ref().unwrap().to_string(), "o");
    assert_eq!(
        host.history("log"),
        ["$created transitioned", "SEEN transitioned"]
    );
}

#[test]
fn difference_13_comparison_is_typed() {
    let yaml = order(&format!(
        "{STATES}  transitions: [{{from: Created, to: Paid, event: PAY, matchingRules: [{{eventProperty: id, instanceProperty: id}}]}}]\n"
    ));
    let mut host = Host::new(&[&yaml]);
    host.create("Shop", "Order", "o", json!({ "id": 1 }));
    assert_eq!(
        host.becomes("o", "PAY", json!({ "id": "1" })),
        Disposition::Ignored
    );
    assert_eq!(
        host.becomes("o", "PAY", json!({ "id": 1.0 })),
        Disposition::Transitioned
    );
}

#[test]
fn difference_14_an_instance_that_waits_holds_up_nobody_else() {
    let yaml = order(&format!(
        "{STATES}  onFault: {{retry: {{max: 3, backoffMs: 50}}}}\n  transitions: [{{from: Created, to: Paid, event: PAY, triggeredMethod: book}}]\n"
    ));
    let mut host = Host::new(&[&yaml]);
    host.on("book", |call| {
        if call.instance.to_string() == "slow" && call.attempt == 1 {
            panics()
        } else {
            crate::harness::nothing()
        }
    });
    host.create("Shop", "Order", "slow", none());
    host.create("Shop", "Order", "quick", none());
    assert_eq!(host.becomes("slow", "PAY", none()), Disposition::Retrying);
    assert_eq!(
        host.becomes("quick", "PAY", none()),
        Disposition::Transitioned
    );
    host.wait(50);
    assert_eq!(host.state("slow"), "Paid");
}

#[test]
fn difference_15_a_context_schema_is_enforced() {
    let yaml = order(&format!(
        "{STATES}  contextSchema: {{amount: {{type: number, required: true, min: 1}}, currency: {{type: text, default: EUR}}}}
  transitions: [{{from: Created, to: Paid, event: PAY, triggeredMethod: book}}, {{from: Created, to: Created, event: SET}}]\n"
    ));
    let mut host = Host::new(&[&yaml]);
    let violations = match refused(host.try_create("Shop", "Order", "o", json!({ "amount": "x" })))
    {
        Refused::Schema(violations) => violations,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (violations[0].field.as_str(), &*violations[0].code),
        ("amount", "type")
    );
    host.create("Shop", "Order", "o", json!({ "amount": 5 }));
    assert_eq!(host.context("o"), json!({ "amount": 5, "currency": "EUR" }));
    let set = host.send("o", "SET", json!({ "amount": 0 }));
    assert!(
        matches!(set.reason.as_deref(), Some(Reason::Schema(_))),
        "{:?}",
        set.reason
    );
    host.on("book", |_| becomes(&json!({ "currency": "EUR" })));
    let paid = host.send("o", "PAY", none());
    assert_eq!(
        paid.fault.as_ref().unwrap().code.as_str(),
        "schema_violation"
    );
}

#[test]
fn difference_16_guards_work() {
    let yaml = order(&format!(
        "{STATES}  transitions: [{{from: Created, to: Paid, event: PAY, guard: enough}}]\n"
    ));
    let mut host = Host::new(&[&yaml]);
    host.on("enough", |call| {
        passes(call.event.payload.value()["amount"] == 10)
    });
    host.create("Shop", "Order", "o", none());
    assert_eq!(
        host.becomes("o", "PAY", json!({ "amount": 9 })),
        Disposition::Ignored
    );
    assert_eq!(
        host.becomes("o", "PAY", json!({ "amount": 10 })),
        Disposition::Transitioned
    );
    host.create("Shop", "Order", "p", none());
    host.on("enough", |_| panics());
    assert_eq!(host.becomes("p", "PAY", none()), Disposition::DeadLettered);
}
