//! The intended differences from xcomponent-ai, one by one, as a client sees them.

use futures_util::FutureExt;
use serde_json::{Value, json};
use xcomponent_host::app::Host;

use crate::{
    client::{Client, counting, soon},
    guests::guest,
    host::{config, packed},
};

/// One machine `M` of a component `C`, given by what its YAML has below its name.
fn machine(rest: &str) -> String {
    format!("name: C\nversion: '1'\nstateMachines:\n  - name: M\n{rest}")
}

async fn client_of(rest: &str) -> Client {
    Client::of([machine(rest).as_str()]).await
}

async fn create(client: &Client, context: Value) -> String {
    client.create("C", "M", context).await
}

#[tokio::test]
async fn d01_rules_are_enforced_where_there_is_one_candidate() {
    let client = client_of(
        r"
    initialState: Open
    states: [{name: Open}, {name: Hit}]
    transitions:
      - {from: Open, to: Hit, event: GO, matchingRules: [{eventProperty: k, instanceProperty: k}]}
",
    )
    .await;
    let id = create(&client, json!({"k": 1})).await;
    assert_eq!(
        client.disposition(&id, "GO", json!({"k": 2})).await,
        "ignored"
    );
    assert_eq!(client.state(&id).await, "Open");
    assert_eq!(
        client.disposition(&id, "GO", json!({"k": 1})).await,
        "transitioned"
    );
}

#[tokio::test]
async fn d01_the_rules_of_a_cascade_choose_its_targets() {
    let yaml = r"
name: C
version: '1'
stateMachines:
  - name: M
    initialState: Idle
    states:
      - name: Idle
      - name: Fired
        cascadingRules:
          - {targetMachine: Target, event: HIT, matchingRules: [{eventProperty: key, instanceProperty: key}]}
    transitions: [{from: Idle, to: Fired, event: FIRE}]
  - name: Target
    initialState: Whole
    states: [{name: Whole}, {name: Down}]
    transitions: [{from: Whole, to: Down, event: HIT}]
";
    let client = Client::of([yaml]).await;
    let wanted = client.create("C", "Target", json!({"key": 1})).await;
    let other = client.create("C", "Target", json!({"key": 2})).await;
    let source = create(&client, json!({"key": 1})).await;
    client.disposition(&source, "FIRE", json!({})).await;
    let down = client.until("Target", "Down").await;
    assert_eq!(down["id"], *wanted);
    assert_eq!(client.history(&other).await.len(), 1);
}

#[tokio::test]
async fn d02_nothing_happens_when_all_candidates_fail() {
    let client = client_of(
        r"
    initialState: Open
    states: [{name: Open}, {name: A}, {name: B}]
    transitions:
      - {from: Open, to: A, event: GO, matchingRules: [{eventProperty: k, instanceProperty: a}]}
      - {from: Open, to: B, event: GO, matchingRules: [{eventProperty: k, instanceProperty: b}]}
",
    )
    .await;
    let id = create(&client, json!({"a": 1, "b": 2})).await;
    let answer = client.send(&id, "GO", json!({"k": 3})).await;
    assert_eq!(answer.text("/disposition"), "ignored");
    assert_eq!(answer.text("/reason"), "nothing_matched");
    assert_eq!(client.state(&id).await, "Open");
    client.disposition(&id, "GO", json!({"k": 2})).await;
    assert_eq!(client.state(&id).await, "B");
}

#[tokio::test]
async fn d03_two_transitions_that_cannot_be_told_apart_are_an_error() {
    let client = Client::with([]).await;
    let yaml = machine(
        r"
    initialState: Open
    states: [{name: Open}, {name: A}, {name: B}]
    transitions:
      - {from: Open, to: A, event: GO}
      - {from: Open, to: B, event: GO}
",
    );
    let refused = client.operator.upload("C", packed(&yaml)).await;
    assert_eq!(refused.problem(422), "invalid_definition");
    assert_eq!(refused.text("/errors/0/code"), "ambiguous");
    assert_eq!(
        client.ok("/api/components").await,
        json!({"components": []})
    );
}

#[tokio::test]
async fn d04_an_internal_transition_has_no_exit_and_no_entry() {
    let yaml = machine(
        r"
    initialState: Idle
    states: [{name: Idle, onEntry: ping, onExit: ping}]
    transitions:
      - {from: Idle, to: Idle, event: INSIDE, type: internal, triggeredMethod: ping}
      - {from: Idle, to: Idle, event: AROUND, triggeredMethod: ping}
",
    );
    let client = Client::with([counting(&yaml)]).await;
    let id = create(&client, json!({})).await;
    assert_eq!(pings(&client, &id).await, 1);
    client.disposition(&id, "INSIDE", json!({})).await;
    assert_eq!(pings(&client, &id).await, 2);
    client.disposition(&id, "AROUND", json!({})).await;
    assert_eq!(pings(&client, &id).await, 5);
}

#[tokio::test]
async fn d05_a_creation_runs_the_entry_and_the_cascades_of_the_initial_state() {
    let yaml = r"
name: C
version: '1'
stateMachines:
  - name: M
    initialState: Born
    states:
      - name: Born
        onEntry: ping
        cascadingRules: [{targetMachine: Watcher, event: SAW}]
    transitions: []
  - name: Watcher
    initialState: Waiting
    states: [{name: Waiting}, {name: Told}]
    transitions: [{from: Waiting, to: Told, event: SAW}]
";
    let client = Client::with([counting(yaml)]).await;
    let watcher = client.create("C", "Watcher", json!({})).await;
    let id = create(&client, json!({})).await;
    assert_eq!(pings(&client, &id).await, 1);
    assert_eq!(client.until("Watcher", "Told").await["id"], *watcher);
}

#[tokio::test]
async fn d06_an_auto_transition_comes_before_any_other_event() {
    let client = client_of(
        r"
    initialState: Start
    states:
      - name: Start
      - name: Middle
        cascadingRules: [{targetMachine: M, event: NEXT}]
      - name: Right
      - name: Wrong
    transitions:
      - {from: Start, to: Middle, event: GO}
      - {from: Middle, to: Wrong, event: NEXT}
      - {from: Middle, to: Right, event: ON, type: auto}
",
    )
    .await;
    let id = create(&client, json!({})).await;
    client.disposition(&id, "GO", json!({})).await;
    client.until("M", "Right").await;
    assert_eq!(client.disposition(&id, "NEXT", json!({})).await, "ignored");
    assert_eq!(client.state(&id).await, "Right");
}

#[tokio::test]
async fn d07_a_method_that_fails_undoes_its_transition_and_is_reported() {
    let yaml = machine(
        r"
    initialState: Idle
    states: [{name: Idle}, {name: Done, onEntry: panic}]
    transitions:
      - {from: Idle, to: Done, event: FINISH, triggeredMethod: ping}
      - {from: Idle, to: Idle, event: PING, triggeredMethod: ping}
",
    );
    let client = Client::with([counting(&yaml)]).await;
    let id = create(&client, json!({})).await;
    let answer = client.send(&id, "FINISH", json!({"more": 1})).await;
    assert_eq!(answer.status, 422);
    assert!(
        answer
            .text("/error")
            .contains("this component panics on purpose")
    );
    assert_eq!(answer.text("/disposition"), "dead-lettered");
    let instance = client.instance(&id).await;
    assert_eq!(instance["currentState"], "Idle");
    assert_eq!(instance["context"], json!({}));
    client.disposition(&id, "PING", json!({})).await;
    assert_eq!(pings(&client, &id).await, 1);
}

#[tokio::test]
async fn d08_a_public_member_is_mapped_and_matched_across_components() {
    let source = r"
name: Source
version: '1'
stateMachines:
  - name: S
    publicMemberType: Data
    initialState: Idle
    states: [{name: Idle}, {name: Made}, {name: Told}]
    transitions:
      - from: Idle
        to: Made
        event: MAKE
        type: cross_component
        targetComponent: Sink
        targetMachine: T
        contextMapping: {key: order.id, size: size}
      - from: Made
        to: Told
        event: TELL
        type: cross_component
        targetComponent: Sink
        targetMachine: T
        targetEvent: HELLO
        contextMapping: {wanted: order.id}
        matchingRules: [{eventProperty: wanted, instanceProperty: key}]
";
    let sink = r"
name: Sink
version: '1'
stateMachines:
  - name: T
    publicMemberType: Data
    initialState: Waiting
    states: [{name: Waiting}, {name: Greeted}]
    transitions: [{from: Waiting, to: Greeted, event: HELLO}]
";
    let client = Client::of([source, sink]).await;
    let other = client.create("Sink", "T", json!({"key": "O-2"})).await;
    let member = json!({"order": {"id": "O-1"}, "size": 7});
    let id = client.create("Source", "S", member).await;
    client.disposition(&id, "MAKE", json!({})).await;
    client
        .until_some(|one| one["publicMember"]["key"] == "O-1")
        .await;
    client.disposition(&id, "TELL", json!({})).await;
    let greeted = client.until("T", "Greeted").await;
    assert_eq!(greeted["publicMember"]["key"], "O-1");
    assert_eq!(greeted["publicMember"]["size"], 7);
    assert_eq!(greeted["context"], json!({}));
    assert_eq!(client.state(&other).await, "Waiting");
}

#[tokio::test]
async fn d09_a_loop_restarts_the_timeout_unless_it_says_otherwise() {
    let client = client_of(
        r"
    initialState: Waiting
    states: [{name: Waiting}, {name: Soft}, {name: Hard}]
    transitions:
      - {from: Waiting, to: Waiting, event: AGAIN}
      - {from: Waiting, to: Soft, event: SOFT, type: timeout, timeoutMs: 1000}
      - {from: Waiting, to: Hard, event: HARD, type: timeout, timeoutMs: 1500, resetOnTransition: false}
",
    )
    .await;
    let id = create(&client, json!({})).await;
    client.pass(600);
    client.disposition(&id, "AGAIN", json!({})).await;
    let instance = client.instance(&id).await;
    let pending = instance["pendingTimeouts"].as_array().unwrap();
    let left = |event: &str| {
        let timeout = pending.iter().find(|one| one["eventType"] == event);
        timeout.unwrap()["remainingMs"].as_u64().unwrap()
    };
    assert_eq!((left("SOFT"), left("HARD")), (1_000, 900));
    client.pass(900);
    assert_eq!(client.until("M", "Hard").await["id"], *id);
}

#[tokio::test]
async fn d10_a_singleton_is_enforced_where_it_is_written() {
    let yaml = |name: &str, mode: &str| {
        packed(&format!(
            "name: {name}\nversion: '1'\nentryMachine: M\nentryMachineMode: {mode}\nstateMachines: [{{name: M, initialState: A, states: [{{name: A}}], transitions: []}}]"
        ))
    };
    let client = Client::with([yaml("One", "singleton"), yaml("Many", "multiple")]).await;
    let body = json!({"machineName": "M", "context": {}});
    let answer = client.post("/api/components/One/instances", &body).await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.text("/code"), "singleton_exists");
    let ones = client.ok("/api/components/One/instances").await;
    assert_eq!(ones["instances"].as_array().unwrap().len(), 1);
    assert_eq!(ones["instances"][0]["isEntryPoint"], true);
    client.create("Many", "M", json!({})).await;
    client.create("Many", "M", json!({})).await;
}

#[tokio::test]
async fn d11_what_nobody_handles_is_ignored_and_what_comes_too_late_is_rejected() {
    let client = client_of(
        r"
    initialState: Open
    states: [{name: Open}, {name: Done, type: final}]
    transitions: [{from: Open, to: Done, event: FINISH}]
",
    )
    .await;
    let id = create(&client, json!({})).await;
    let ignored = client.send(&id, "WHATEVER", json!({})).await;
    assert_eq!(ignored.status, 200);
    assert_eq!(ignored.text("/disposition"), "ignored");
    assert_eq!(ignored.text("/reason"), "no_transition");
    client.disposition(&id, "FINISH", json!({})).await;
    let rejected = client.send(&id, "FINISH", json!({})).await;
    assert_eq!(rejected.status, 409);
    assert_eq!(rejected.text("/disposition"), "rejected");
    assert_eq!(client.history(&id).await.len(), 2);
}

#[tokio::test]
async fn d12_history_is_complete_and_names_the_real_cause() {
    let yaml = r"
name: C
version: '1'
stateMachines:
  - name: M
    initialState: Idle
    states:
      - name: Idle
      - name: Fired
        cascadingRules: [{targetMachine: Target, event: HIT}]
    transitions: [{from: Idle, to: Fired, event: FIRE}]
  - name: Target
    initialState: Whole
    states: [{name: Whole}, {name: Down, type: final}]
    transitions: [{from: Whole, to: Down, event: HIT}]
";
    let client = Client::of([yaml]).await;
    let target = client.create("C", "Target", json!({})).await;
    let (one, other) = (
        create(&client, json!({})).await,
        create(&client, json!({})).await,
    );
    client.disposition(&one, "FIRE", json!({})).await;
    client.until("Target", "Down").await;
    client.disposition(&other, "FIRE", json!({})).await;
    let other = client.history(&other).await;
    assert_eq!(other[1]["caused"], json!([]), "it found nobody");
    let (target, one) = (client.history(&target).await, client.history(&one).await);
    assert_eq!(target.len(), 2);
    assert_eq!(target[1]["causedBy"], json!([one[1]["id"]]));
    assert_eq!(one[1]["caused"], json!([target[1]["id"]]));
}

#[tokio::test]
async fn d12_history_survives_the_host() {
    let store = std::sync::Arc::new(xcomponent_host::store::memory::Memory::new(
        xcomponent_host::store::memory::Config {
            history_bytes_max: 1 << 20,
        },
    ));
    let first = Host::start_on(config(), store.clone()).await.unwrap();
    let client = Client::on(first);
    let order = guest("order");
    client.load(order).await.unwrap();
    let context = json!({"orderId": "O-1", "amount": 1});
    let id = client.create("OrderComponent", "Order", context).await;
    client.disposition(&id, "CANCEL", json!({})).await;
    let before = client.history(&id).await;
    assert!(client.operator.host.shutdown(crate::host::PATIENCE).await);
    let client = Client::on(Host::start_on(config(), store).await.unwrap());
    assert_eq!(client.history(&id).await, before);
    assert_eq!(client.state(&id).await, "Cancelled");
}

#[tokio::test]
async fn d13_values_of_different_types_are_never_equal_and_never_in_order() {
    let client = client_of(
        r"
    initialState: Open
    states: [{name: Open}, {name: Same}, {name: Less}]
    transitions:
      - {from: Open, to: Same, event: SAME, matchingRules: [{eventProperty: k, instanceProperty: k}]}
      - {from: Open, to: Less, event: LESS, matchingRules: [{eventProperty: k, instanceProperty: k, operator: '<'}]}
",
    )
    .await;
    let id = create(&client, json!({"k": 1})).await;
    for (event, k) in [
        ("SAME", json!("1")),
        ("SAME", json!(true)),
        ("LESS", json!("2")),
    ] {
        let disposition = client.disposition(&id, event, json!({ "k": k })).await;
        assert_eq!(disposition, "ignored", "{event} {k}");
    }
    let disposition = client.disposition(&id, "SAME", json!({"k": 1.0})).await;
    assert_eq!(disposition, "transitioned");
}

#[tokio::test]
async fn d14_an_instance_that_waits_holds_up_its_own_events_and_nobody_elses() {
    let yaml = machine(
        r"
    initialState: Idle
    onFault: {retry: {max: 1, backoffMs: 60000}}
    states: [{name: Idle}]
    transitions:
      - {from: Idle, to: Idle, event: PANIC, triggeredMethod: panic}
      - {from: Idle, to: Idle, event: PING, triggeredMethod: ping}
",
    );
    let client = Client::with([counting(&yaml)]).await;
    let (blocked, free) = (
        create(&client, json!({})).await,
        create(&client, json!({})).await,
    );
    let answer = client.send(&blocked, "PANIC", json!({})).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.text("/disposition"), "retrying");
    let mut waiting = Box::pin(client.disposition(&blocked, "PING", json!({})));
    assert!((&mut waiting).now_or_never().is_none());
    for _ in 0..3 {
        let disposition = client.disposition(&free, "PING", json!({})).await;
        assert_eq!(disposition, "transitioned");
    }
    assert!((&mut waiting).now_or_never().is_none());
    client.pass(60_000);
    assert_eq!(soon(waiting).await, "transitioned");
    assert_eq!(pings(&client, &blocked).await, 1);
}

#[tokio::test]
async fn d15_a_context_schema_is_enforced_at_creation_and_after() {
    let client = client_of(
        r"
    initialState: Open
    contextSchema:
      name: {type: text, required: true}
      size: {type: number, min: 1, max: 9, default: 5}
    states: [{name: Open}, {name: Next}]
    transitions: [{from: Open, to: Next, event: GO}]
",
    )
    .await;
    let body = json!({"machineName": "M", "context": {"size": 10}});
    let answer = client.post("/api/components/C/instances", &body).await;
    assert_eq!(answer.status, 400);
    let error = answer.text("/error");
    assert!(
        error.contains("`name`") && error.contains("`size`"),
        "{error}"
    );
    assert_eq!(client.ok("/api/instances").await["instances"], json!([]));
    let id = create(&client, json!({"name": "Ann"})).await;
    assert_eq!(client.instance(&id).await["context"]["size"], 5);
    let answer = client.send(&id, "GO", json!({"size": "big"})).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.text("/errors/0/path"), "size");
    assert_eq!(client.state(&id).await, "Open");
}

#[tokio::test]
async fn d16_guards_decide() {
    let client = Client::with([guest("order"), guest("payment")]).await;
    let order = |amount: u32| json!({"orderId": "O-1", "amount": amount});
    let worthless = client.create("OrderComponent", "Order", order(0)).await;
    assert_eq!(
        client.disposition(&worthless, "SUBMIT", json!({})).await,
        "ignored"
    );
    let worthy = client.create("OrderComponent", "Order", order(1)).await;
    assert_eq!(
        client.disposition(&worthy, "SUBMIT", json!({})).await,
        "transitioned"
    );
}

/// How often `ping` was called for an instance.
async fn pings(client: &Client, id: &str) -> u64 {
    let instance = client.instance(id).await;
    instance["context"]["pings"].as_u64().unwrap_or_default()
}
