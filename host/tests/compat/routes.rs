//! What each route answers when all is well: names and shapes that clients rely on.

use axum::{body::Body, http::Method};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    client::{Client, START, soon},
    guests::guest,
    host::request,
};

/// Everything that a definition may say about its machines, in the form that clients are shown.
const SHOP: &str = r"
name: Shop
version: 1.2.0
entryMachine: Desk
entryMachineMode: singleton
metadata: {team: sales}
stateMachines:
  - name: Desk
    initialState: Open
    states: [{name: Open}]
    transitions: []
  - name: Sale
    publicMemberType: SaleData
    initialState: Asked
    contextSchema:
      amount: {type: number, required: true, min: 1, label: Amount}
    states:
      - {name: Asked, type: entry, description: Somebody wants something}
      - name: Talking
      - {name: Sold, type: final}
      - {name: Lost, type: error}
    transitions:
      - {from: Asked, to: Talking, event: TALK}
      - from: [Asked, Talking]
        to: Sold
        event: BUY
        matchingRules: [{eventProperty: offer, instanceProperty: amount, operator: '<='}]
      - {from: Talking, to: Lost, event: GONE, type: timeout, timeoutMs: 60000}
";

async fn shop() -> Client {
    Client::of([SHOP]).await
}

async fn sale(client: &Client) -> String {
    client.create("Shop", "Sale", json!({"amount": 3})).await
}

#[tokio::test]
async fn health_names_what_is_loaded() {
    let health = shop().await.ok("/health").await;
    let wanted = json!({
        "status": "ok", "mode": "standalone", "broker": "in-memory", "database": "connected",
        "databaseType": "memory", "connectedRuntimes": 1, "components": ["Shop"], "timestamp": START,
    });
    assert_eq!(health, wanted);
}

#[tokio::test]
async fn a_runtime_is_where_the_client_reached_it() {
    let client = Client::with([guest("order")]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = client.operator.host.serve(listener, async {
        drop(stopped.await);
    });
    let asking = tokio::task::spawn_blocking(move || {
        let mut answer = ureq::get(format!("http://{address}/api/runtimes"))
            .call()
            .unwrap();
        let answer: Value = answer.body_mut().read_json().unwrap();
        drop(stop);
        answer
    });
    let (served, answer) = soon(async { tokio::join!(serving, asking) }).await;
    served.unwrap();
    let runtime = &answer.unwrap()["runtimes"][0];
    assert_eq!(runtime["host"], "127.0.0.1");
    assert_eq!(runtime["port"], address.port());
    assert_eq!(runtime["componentName"], "OrderComponent");
    assert_eq!(runtime["lastSeen"], START);
}

#[tokio::test]
async fn a_component_shows_its_machines_in_the_shape_of_its_yaml() {
    let client = shop().await;
    sale(&client).await;
    let component = &client.ok("/api/components").await["components"][0];
    assert_eq!(component["name"], "Shop");
    assert_eq!(component["version"], "1.2.0");
    assert_eq!(component["machineCount"], 2);
    assert_eq!(component["instanceCount"], 2);
    assert_eq!(component["entryMachine"], "Desk");
    assert_eq!(component["metadata"], json!({"team": "sales"}));
    let machine = &component["stateMachines"][1];
    assert_eq!(machine["initialState"], "Asked");
    let schema =
        json!({"amount": {"type": "number", "required": true, "min": 1, "label": "Amount"}});
    assert_eq!(machine["contextSchema"], schema);
    let asked =
        json!({"name": "Asked", "type": "entry", "description": "Somebody wants something"});
    assert_eq!(machine["states"][0], asked);
    assert_eq!(
        machine["states"][1],
        json!({"name": "Talking", "type": "regular"})
    );
    let one = client.ok("/api/components/Shop").await;
    assert_eq!(one["component"], *component);
    let machines = client.ok("/api/components/Shop/machines").await;
    assert_eq!(machines["machines"], component["stateMachines"]);
}

#[tokio::test]
async fn every_transition_that_is_shown_has_a_type_and_leaves_one_state() {
    let client = shop().await;
    let machines = client.ok("/api/components/Shop/machines").await;
    let transitions = machines["machines"][1]["transitions"].as_array().unwrap();
    let of = |transition: &Value| {
        let text = |key: &str| transition[key].as_str().unwrap().to_owned();
        [text("from"), text("event"), text("type")].join(" ")
    };
    let shown: Vec<String> = transitions.iter().map(of).collect();
    let wanted = [
        "Asked TALK regular",
        "Asked BUY regular",
        "Talking BUY regular",
        "Talking GONE timeout",
    ];
    assert_eq!(shown, wanted);
    let rule = json!({"eventProperty": "offer", "instanceProperty": "amount", "operator": "<="});
    assert_eq!(transitions[2]["matchingRules"], json!([rule]));
    assert_eq!(transitions[3]["timeoutMs"], 60_000);
}

#[tokio::test]
async fn an_instance_shows_its_public_member_its_times_and_what_it_waits_for() {
    let client = shop().await;
    let id = sale(&client).await;
    client.pass(10);
    client.disposition(&id, "TALK", json!({"who": "Ann"})).await;
    client.pass(20);
    let wanted = json!({
        "instanceId": id, "id": id, "componentName": "Shop", "componentVersion": "1.2.0",
        "machineName": "Sale", "currentState": "Talking", "context": {},
        "publicMember": {"amount": 3, "who": "Ann"}, "internalMember": {}, "status": "active",
        "createdAt": START, "updatedAt": START + 10, "isEntryPoint": false,
        "pendingTimeouts": [{"eventType": "GONE", "dueAt": START + 60_010, "remainingMs": 59_980}],
    });
    assert_eq!(client.instance(&id).await, wanted);
}

#[tokio::test]
async fn the_history_has_what_clients_read_of_an_event() {
    let client = shop().await;
    let id = sale(&client).await;
    client.pass(10);
    let path = format!("/api/instances/{id}/events");
    let event =
        json!({"type": "TALK", "payload": {"who": "Ann"}, "timestamp": 12_345, "id": "talk-1"});
    assert_eq!(client.post(&path, &event).await.status, 200);
    let history = client.history(&id).await;
    assert_eq!(history[0]["stateBefore"], Value::Null);
    assert_eq!(history[0]["stateAfter"], "Asked");
    let wanted = json!({
        "id": "talk-1", "instanceId": id, "machineName": "Sale", "componentName": "Shop",
        "event": {"type": "TALK", "payload": {"who": "Ann"}, "timestamp": 12_345},
        "stateBefore": "Asked", "stateAfter": "Talking", "persistedAt": START + 10,
        "causedBy": [], "caused": [], "context": {},
        "publicMemberSnapshot": {"amount": 3, "who": "Ann"},
    });
    assert_eq!(history[1], wanted);
    let events = client
        .ok(&format!("/api/history/instances/{id}/events?limit=1"))
        .await;
    assert_eq!(events["events"], json!([wanted]));
}

#[tokio::test]
async fn a_timeout_is_among_what_its_state_caused_only_if_it_fired() {
    let client = shop().await;
    let (slow, quick) = (sale(&client).await, sale(&client).await);
    for id in [&slow, &quick] {
        client.disposition(id, "TALK", json!({})).await;
    }
    client.disposition(&quick, "BUY", json!({"offer": 3})).await;
    client.pass(60_000);
    client.until("Sale", "Lost").await;
    let (slow, quick) = (client.history(&slow).await, client.history(&quick).await);
    assert_eq!(slow[1]["caused"], json!([slow[2]["id"]]));
    assert_eq!(slow[2]["causedBy"], json!([slow[1]["id"]]));
    assert_eq!(quick[1]["caused"], json!([]));
}

#[tokio::test]
async fn an_event_may_come_in_every_form_that_clients_send() {
    let client = shop().await;
    let forms = [
        json!({"type": "TALK", "payload": {"who": "Ann"}}),
        json!({"event": "TALK", "payload": {"who": "Ann"}}),
        json!({"event": {"type": "TALK", "payload": {"who": "Ann"}, "timestamp": 1}}),
        json!({"type": "TALK", "event": "TALK", "payload": {"who": "Ann"}, "extra": true}),
    ];
    for form in forms {
        let id = sale(&client).await;
        let path = format!("/api/instances/{id}/events");
        let answer = client.post(&path, &form).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(client.instance(&id).await["publicMember"]["who"], "Ann");
    }
}

#[tokio::test]
async fn an_event_may_be_sent_on_every_route_that_clients_know() {
    let client = shop().await;
    for path in ["/api/instances", "/api/components/Shop/instances"] {
        for last in ["events", "trigger"] {
            let id = sale(&client).await;
            let path = format!("{path}/{id}/{last}");
            let answer = client.post(&path, &json!({"type": "TALK"})).await.json();
            let wanted = json!({
                "success": true, "disposition": "transitioned", "eventId": answer["eventId"],
                "instanceId": id, "componentName": "Shop", "previousState": "Asked",
                "currentState": "Talking", "message": "transitioned: Asked -> Talking",
            });
            assert_eq!(answer, wanted);
        }
    }
}

#[tokio::test]
async fn an_event_with_an_id_is_applied_once() {
    let client = shop().await;
    let id = sale(&client).await;
    let path = format!("/api/instances/{id}/events");
    let event = json!({"type": "TALK", "id": "once"});
    let first = client.post(&path, &event).await.json();
    let second = client.post(&path, &event).await.json();
    assert_eq!(first, second);
    assert_eq!(client.history(&id).await.len(), 2);
}

#[tokio::test]
async fn an_instance_may_be_created_by_its_machine_alone() {
    let client = shop().await;
    let body = json!({"machineName": "Sale", "context": {"amount": 3}});
    let answer = client.post("/api/instances", &body).await;
    let id = answer.text("/instanceId");
    let wanted = json!({
        "success": true, "instanceId": id, "componentName": "Shop", "message": "created in Asked",
    });
    assert_eq!(answer.json(), wanted);
}

#[tokio::test]
async fn a_diagram_points_out_the_state_that_is_asked_for() {
    let client = shop().await;
    let by_component = client
        .ok("/api/components/Shop/diagrams/Sale?currentState=Talking")
        .await;
    let text = by_component["diagram"].as_str().unwrap();
    assert!(text.starts_with("stateDiagram-v2\n"), "{text}");
    assert!(text.contains("class s1 current"), "{text}");
    assert_eq!(by_component["terminalStates"], json!(["Sold", "Lost"]));
    assert_eq!(by_component["machineName"], "Sale");
    assert_eq!(by_component["currentState"], "Talking");
    assert_eq!(by_component["transitions"].as_array().unwrap().len(), 4);
    let by_machine = client
        .ok("/api/machines/Sale/diagram?currentState=Talking")
        .await;
    assert_eq!(by_machine, by_component);
}

#[tokio::test]
async fn a_diagram_points_out_nothing_where_there_is_no_such_state() {
    let client = shop().await;
    for query in ["", "?currentState=Elsewhere"] {
        let path = format!("/api/machines/Sale/diagram{query}");
        let diagram = client.ok(&path).await;
        assert_eq!(diagram["currentState"], Value::Null);
        assert!(!diagram["diagram"].as_str().unwrap().contains(" current\n"));
    }
}

#[tokio::test]
async fn instances_are_searched_by_machine_state_and_text() {
    let client = shop().await;
    let talking = sale(&client).await;
    client
        .disposition(&talking, "TALK", json!({"who": "Ann"}))
        .await;
    let asked = sale(&client).await;
    let cases = [
        ("machine=Desk", 1, None),
        ("machine=Sale", 2, Some(&asked)),
        ("machine=Sale&limit=1", 1, Some(&asked)),
        ("state=Talking", 1, Some(&talking)),
        ("q=Ann", 1, Some(&talking)),
        ("q=nobody", 0, None),
        ("status=completed", 0, None),
    ];
    for (query, n, first) in cases {
        let answer = client.ok(&format!("/api/history/instances?{query}")).await;
        let found = answer["instances"].as_array().unwrap();
        assert_eq!(found.len(), n, "{query}");
        if let Some(first) = first {
            assert_eq!(found[0]["id"], **first, "{query}");
        }
    }
    let answer = client.ok("/api/instances?limit=1").await;
    assert_eq!(answer["truncated"], true);
}

#[tokio::test]
async fn upper_case_and_a_slash_at_the_end_make_no_difference() {
    let client = shop().await;
    let id = sale(&client).await;
    let host = &client.operator;
    let instances = format!("/api/instances/{id}");
    for path in ["/health", "/api/components", "/api/instances", &instances] {
        let plain = host.get(path).await;
        assert_eq!(plain.status, 200, "{path}: {plain:?}");
        for written in [format!("{path}/"), path.replace("/api", "/API")] {
            let answer = host.get(&written).await;
            assert_eq!(answer.body, plain.body, "{written}");
        }
    }
    let sale = json!({"machineName": "Sale", "context": {"amount": 3}});
    let created = host
        .post("/Api/Components/Shop/Instances/?x=1", &sale)
        .await;
    assert_eq!(created.status, 200, "{created:?}");
    let talk = json!({"type": "TALK"});
    let sent = host
        .post(&format!("/api/instances/{id}/Events/"), &talk)
        .await;
    assert_eq!(sent.json()["disposition"], "transitioned", "{sent:?}");
    for path in ["/api/nowhere/at/all/", "/API/", "/api/instances/x/y/z/"] {
        let unknown = host.get(path).await;
        assert_eq!(unknown.status, 404, "{path}");
        assert_eq!(unknown.json()["success"], false, "{path}");
    }
}

#[tokio::test]
async fn the_routes_of_the_first_releases_are_there() {
    let client = shop().await;
    let context = json!({"context": {"amount": 3}});
    let created = client.post("/api/Shop/Sale/instance", &context).await;
    assert_eq!(created.status, 200, "{created:?}");
    let id = created.text("/data/instanceId");
    let path = format!("/api/Shop/instance/{id}");
    let shown = client.ok(&path).await;
    assert_eq!(shown["success"], true);
    assert_eq!(shown["data"]["instance"]["currentState"], "Asked");
    let talk = json!({"type": "TALK", "payload": {}, "timestamp": 1});
    let sent = client.post(&format!("{path}/event"), &talk).await;
    assert_eq!(sent.text("/data/instance/currentState"), "Talking");
    let elsewhere = client.get(&format!("/api/Other/instance/{id}")).await;
    assert_eq!(elsewhere.status, 404);
}

#[tokio::test]
async fn health_is_answered_under_any_name() {
    let client = shop().await;
    for path in ["/health", "/health/"] {
        let mut request = request(Method::GET, path, Body::empty());
        let host = "10.42.0.17:3000".parse().unwrap();
        request.headers_mut().insert("host", host);
        assert_eq!(client.operator.ask(request).await.status, 200, "{path}");
    }
}
