//! Two tenants in one engine, and the same inputs twice.

use serde_json::json;
use xcomponent_core::{effect::Refused, id::TenantId, record::Body};

use crate::harness::{Host, becomes, event_for, none, refused};

const SHOP: &str = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: Created
  states:
  - Created
  - {name: Paid, onEntry: enter, cascadingRules: [{targetMachine: Order, targetState: Created, event: PAY}]}
  transitions:
  - {from: Created, to: Paid, event: PAY}
  - {from: Created, to: Paid, event: MATCH, matchingRules: [{eventProperty: id, instanceProperty: id}]}
  - {from: Paid, to: Created, event: TICK, type: timeout, timeoutMs: 50}
";

fn two_tenants() -> Host {
    let mut host = Host::new(&[SHOP]);
    host.tenant = TenantId::new("other");
    host.deploy(SHOP);
    host.activate(SHOP, xcomponent_core::definition::OnLive::NextEvent);
    for tenant in ["default", "other"] {
        host.tenant = TenantId::new(tenant);
        for id in ["o1", "o2"] {
            host.create("Shop", "Order", id, json!({ "id": 1, "of": tenant }));
        }
    }
    host
}

#[test]
fn tenants_with_equal_names_never_meet() {
    let mut host = two_tenants();
    host.on("enter", |call| {
        let mut context = call.context.value();
        assert_eq!(context["of"], call.deployment.tenant.as_str());
        context["entered"] = true.into();
        becomes(&context)
    });
    host.tenant = TenantId::default_tenant();
    host.send("o1", "PAY", none());
    assert_eq!(
        (host.state("o1"), host.state("o2")),
        ("Paid".into(), "Paid".into())
    );
    host.tenant = TenantId::new("other");
    assert_eq!(
        (host.state("o1"), host.state("o2")),
        ("Created".into(), "Created".into())
    );
    assert_eq!(
        host.broadcast("Shop", "Order", "MATCH", json!({ "id": 1 }))
            .matched,
        2
    );
    for record in &host.records {
        if let Body::Handled(handled) = &record.body {
            assert_eq!(handled.after.context.value()["of"], record.tenant.as_str());
        }
    }
}

#[test]
fn a_tenant_without_the_component_sees_none_of_it() {
    let mut host = two_tenants();
    host.tenant = TenantId::new("third");
    let reply = host.try_send(event_for("o1", "PAY", none()));
    assert!(matches!(refused(reply), Refused::UnknownInstance(_)));
    let reply = host.try_create("Shop", "Order", "o1", none());
    assert!(matches!(refused(reply), Refused::UnknownComponent(_)));
}

#[test]
fn the_same_inputs_and_times_give_the_same_effects_byte_for_byte() {
    let story = || {
        let mut host = two_tenants();
        host.trace = Some(String::new());
        for tenant in ["default", "other"] {
            host.tenant = TenantId::new(tenant);
            host.send("o1", "PAY", json!({ "n": 1 }));
            host.broadcast("Shop", "Order", "MATCH", json!({ "id": 1 }));
            host.wait(70);
            host.send("o2", "WHAT", none());
        }
        host.trace.unwrap()
    };
    let (first, second) = (story(), story());
    assert!(first.len() > 5_000);
    assert_eq!(first, second);
}
