//! What one instance causes at others.

use serde_json::json;
use xcomponent_core::{
    call::Send,
    id::{EventName, InstanceId, MachineName},
    json::Json,
};

use crate::harness::{Host, none, sends};

const YAML: &str = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: Created
  states:
  - Created
  - name: Paid
    cascadingRules:
    - targetMachine: Parcel
      targetState: Packed
      event: SHIP
      payload: {text: 'to {{customer.name}} ({{n}})', n: '{{n}}', deep: [{list: '{{items}}'}], gone: '{{no.such}}'}
  transitions:
  - {from: Created, to: Paid, event: PAY}
  - {from: Created, to: Created, event: CHILD, type: inter_machine, targetMachine: Parcel, contextMapping: {owner: context.customer.name, extra: bonus}}
  - {from: Created, to: Created, event: MAKE, triggeredMethod: make}
  - {from: '*', to: Created, event: MOVED, type: regular}
- name: Parcel
  initialState: Packed
  parentLink: {enabled: true, onStateChange: MOVED}
  states: [Packed, Shipped, {name: Lost, type: error}]
  transitions:
  - {from: Packed, to: Shipped, event: SHIP, triggeredMethod: ship}
  - {from: Packed, to: Lost, event: LOSE, notifyParent: {event: PAY, includeState: false, includeContext: true}}
";

#[test]
fn a_template_keeps_types_alone_and_makes_text_inside_text() {
    let mut host = Host::new(&[YAML]);
    host.create("Shop", "Parcel", "parcel", none());
    let context = json!({ "customer": { "name": "Ada" }, "n": 3, "items": [1, 2] });
    host.create("Shop", "Order", "o", context);
    host.send("o", "PAY", none());
    assert_eq!(host.state("parcel"), "Shipped");
    assert_eq!(
        host.context("parcel"),
        json!({ "text": "to Ada (3)", "n": 3, "deep": [{ "list": [1, 2] }], "gone": null })
    );
}

#[test]
fn a_child_gets_what_is_mapped_and_tells_its_parent() {
    let mut host = Host::new(&[YAML]);
    host.create(
        "Shop",
        "Order",
        "o",
        json!({ "customer": { "name": "Ada" } }),
    );
    host.send("o", "CHILD", json!({ "bonus": 5 }));
    let child = host.all("Parcel")[0].clone();
    assert_eq!(host.context(&child), json!({ "owner": "Ada", "extra": 5 }));
    assert_eq!(
        host.stored(&child).parent.as_ref().unwrap().id.to_string(),
        "o"
    );
    host.send(&child, "SHIP", none());
    let told = host.handled().last().unwrap();
    assert_eq!(
        (told.event.name.as_str(), told.after.id.to_string()),
        ("MOVED", "o".to_owned())
    );
    assert_eq!(
        told.event.payload.value(),
        json!({ "childInstanceId": child, "childMachine": "Parcel", "previousState": "Packed", "newState": "Shipped" })
    );
}

#[test]
fn a_transition_may_tell_the_parent_something_else() {
    let mut host = Host::new(&[YAML]);
    host.create(
        "Shop",
        "Order",
        "o",
        json!({ "customer": { "name": "Ada" } }),
    );
    host.send("o", "CHILD", none());
    let child = host.all("Parcel")[0].clone();
    host.send(&child, "LOSE", none());
    let told = host.handled().last().unwrap();
    assert_eq!(told.event.name.as_str(), "PAY");
    assert_eq!(
        told.event.payload.value(),
        json!({ "childInstanceId": child, "childMachine": "Parcel", "childContext": { "owner": "Ada" } })
    );
}

#[test]
fn an_instance_that_a_method_creates_has_the_id_that_the_method_was_told() {
    let mut host = Host::new(&[YAML]);
    host.on("make", |call| {
        let context = Json::from_value(&json!({ "a": 1 }));
        let id = call.child_id(1, &context);
        let create = Send::Create {
            component: None,
            machine: MachineName::new("Parcel"),
            context,
        };
        let ship = Send::ToInstance {
            component: None,
            instance: id,
            event: EventName::new("SHIP"),
            payload: Json::empty(),
            delay: None,
        };
        sends(vec![create, ship])
    });
    host.create("Shop", "Order", "o", none());
    host.send("o", "MAKE", none());
    let child = host.all("Parcel")[0].clone();
    assert_eq!(
        host.history(&child),
        ["$created transitioned", "SHIP transitioned"]
    );
}

#[test]
fn recipients_of_one_broadcast_have_children_of_their_own() {
    let routed = format!("routing: region\n{YAML}");
    let mut host = Host::new(&[&routed]);
    for id in ["o", "p"] {
        host.create(
            "Shop",
            "Order",
            id,
            json!({ "region": "north", "customer": { "name": id } }),
        );
    }
    assert_eq!(
        host.broadcast("Shop", "Order", "CHILD", none())
            .transitioned,
        2
    );
    let mut children = host.all("Parcel");
    children.dedup();
    assert_eq!(children.len(), 2);
}

#[test]
fn what_reaches_nobody_is_parked() {
    let mut host = Host::new(&[YAML]);
    host.on("make", |_| {
        let nobody = Send::ToInstance {
            component: None,
            instance: InstanceId::parse("nobody").unwrap(),
            event: EventName::new("SHIP"),
            payload: Json::empty(),
            delay: None,
        };
        let nowhere = Send::Create {
            component: None,
            machine: MachineName::new("Nothing"),
            context: Json::empty(),
        };
        sends(vec![nobody, nowhere])
    });
    host.create("Shop", "Order", "o", none());
    host.send("o", "MAKE", none());
    let codes: Vec<&str> = host
        .parked()
        .iter()
        .map(|letter| letter.why.code())
        .collect();
    assert_eq!(codes, ["unknown_target", "unknown_target"]);
}

#[test]
fn a_payload_that_a_template_makes_too_large_undoes_the_transition() {
    let copies = vec!["'{{a}}'"; 100].join(", ");
    let yaml = format!(
        "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  states: [A, {{name: B, cascadingRules: [{{targetMachine: Order, event: X, payload: {{l: [{copies}]}}}}]}}]
  transitions: [{{from: A, to: B, event: GO}}]
"
    );
    let mut host = Host::new(&[&yaml]);
    host.create("Shop", "Order", "small", json!({ "a": "x" }));
    host.create(
        "Shop",
        "Order",
        "large",
        json!({ "a": "x".repeat(100_000) }),
    );
    host.send("small", "GO", none());
    host.send("large", "GO", none());
    assert_eq!(host.state("small"), "B");
    assert_eq!(host.state("large"), "A");
    assert_eq!(host.parked().len(), 1);
}
