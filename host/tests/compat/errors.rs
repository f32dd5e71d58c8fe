//! What a client reads when it asks for the wrong thing: `{error}`, and nothing was changed.

use serde_json::{Value, json};

use crate::{
    client::{Client, counting},
    guests::guest,
    host::{Answer, packed},
};

/// The text of a failure with this status and code.
fn error(answer: &Answer, status: u16, code: &str) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["success"], false);
    assert_eq!(body["code"], code, "{body}");
    answer.text("/error")
}

async fn orders() -> Client {
    Client::with([guest("order")]).await
}

#[tokio::test]
async fn an_unknown_component_is_not_found() {
    let client = orders().await;
    let body = json!({"machineName": "Order", "context": {}});
    for path in ["", "/machines", "/instances", "/diagrams/Order"] {
        let answer = client.get(&format!("/api/components/Nothing{path}")).await;
        assert!(error(&answer, 404, "unknown_component").contains("`Nothing`"));
    }
    let answer = client
        .post("/api/components/Nothing/instances", &body)
        .await;
    error(&answer, 404, "unknown_component");
    let body = json!({"componentName": "Nothing", "machineName": "Order"});
    let answer = client.post("/api/instances", &body).await;
    error(&answer, 404, "unknown_component");
    let answer = client
        .post(
            "/api/components/Nothing/instances/x/events",
            &json!({"type": "A"}),
        )
        .await;
    error(&answer, 404, "unknown_component");
}

#[tokio::test]
async fn an_unknown_machine_is_not_found() {
    let client = orders().await;
    let body = json!({"machineName": "Nothing", "context": {}});
    for path in ["/api/instances", "/api/components/OrderComponent/instances"] {
        let answer = client.post(path, &body).await;
        assert!(error(&answer, 404, "unknown_machine").contains("`Nothing`"));
    }
    for path in [
        "/api/machines/Nothing/diagram",
        "/api/components/OrderComponent/diagrams/Nothing",
    ] {
        error(&client.get(path).await, 404, "unknown_machine");
    }
}

#[tokio::test]
async fn an_unknown_instance_is_not_found() {
    let client = orders().await;
    for path in [
        "/api/instances/nobody",
        "/api/instances/nobody/history",
        "/api/history/instances/nobody/events",
        "/api/history/correlated/nobody",
    ] {
        error(&client.get(path).await, 404, "unknown_instance");
    }
    let event = json!({"type": "SUBMIT"});
    for path in [
        "/api/instances/nobody/events",
        "/api/instances/nobody/trigger",
        "/api/components/OrderComponent/instances/nobody/events",
    ] {
        error(&client.post(path, &event).await, 404, "unknown_instance");
    }
}

#[tokio::test]
async fn an_instance_of_another_component_is_not_found_there() {
    let client = Client::with([guest("order"), guest("payment")]).await;
    let context = json!({"orderId": "O-1", "amount": 1});
    let order = client.create("OrderComponent", "Order", context).await;
    let path = format!("/api/components/PaymentComponent/instances/{order}/events");
    let answer = client.post(&path, &json!({"type": "SUBMIT"})).await;
    error(&answer, 404, "unknown_instance");
    assert_eq!(client.state(&order).await, "Created");
}

#[tokio::test]
async fn an_unknown_route_is_told_like_everything_else() {
    let client = orders().await;
    error(&client.get("/api/nothing").await, 404, "unknown_route");
    let answer = client.post("/api/runtimes", &json!({})).await;
    error(&answer, 405, "method_not_allowed");
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_where_it_breaks() {
    let client = orders().await;
    for path in ["/api/instances", "/api/instances/x/events"] {
        for body in ["", "{", "machineName=Order", "{\"type\": \"A\",}"] {
            let answer = client.operator.post_text(path, body).await;
            assert!(error(&answer, 400, "invalid_json").contains("line"));
        }
    }
}

#[tokio::test]
async fn a_body_of_another_shape_is_told_what_is_missing() {
    let client = orders().await;
    let order = client
        .create(
            "OrderComponent",
            "Order",
            json!({"orderId": "O-1", "amount": 1}),
        )
        .await;
    let events = format!("/api/instances/{order}/events");
    let cases: [(&str, Value, &str); 11] = [
        ("/api/instances", json!({"context": {}}), "missing_machine"),
        ("/api/instances", json!({"machineName": 7}), "invalid_body"),
        ("/api/instances", json!([]), "invalid_body"),
        (
            "/api/instances",
            json!({"machineName": "Order", "context": 7}),
            "not_an_object",
        ),
        (
            "/api/instances",
            json!({"machineName": "Order", "context": {}, "id": "a b"}),
            "invalid_id",
        ),
        (&events, json!({"payload": {}}), "missing_event"),
        (&events, json!({"event": {"payload": {}}}), "missing_event"),
        (&events, json!({"event": 7}), "invalid_body"),
        (&events, json!({"type": ""}), "invalid_name"),
        (
            &events,
            json!({"type": "SUBMIT", "payload": [1]}),
            "not_an_object",
        ),
        (
            &events,
            json!({"type": "SUBMIT", "event": "CANCEL"}),
            "two_events",
        ),
    ];
    for (path, body, code) in cases {
        error(&client.post(path, &body).await, 400, code);
    }
    assert_eq!(client.state(&order).await, "Created");
    assert_eq!(client.history(&order).await.len(), 1);
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_told() {
    let client = orders().await;
    for query in ["status=asleep", "limit=many"] {
        let answer = client.get(&format!("/api/instances?{query}")).await;
        error(&answer, 400, "invalid_query");
    }
}

#[tokio::test]
async fn an_event_for_a_finished_instance_is_refused() {
    let client = orders().await;
    let order = client
        .create(
            "OrderComponent",
            "Order",
            json!({"orderId": "O-1", "amount": 1}),
        )
        .await;
    client.disposition(&order, "CANCEL", json!({})).await;
    let answer = client.send(&order, "SUBMIT", json!({})).await;
    assert!(error(&answer, 409, "instance_finished").contains("`Cancelled`"));
    assert_eq!(answer.text("/disposition"), "rejected");
    assert_eq!(client.state(&order).await, "Cancelled");
}

#[tokio::test]
async fn what_a_method_refuses_is_told_with_its_own_code() {
    let client = Client::with([guest("order"), guest("payment")]).await;
    let context = json!({"orderId": "O-1", "amount": 1});
    let order = client.create("OrderComponent", "Order", context).await;
    client.disposition(&order, "SUBMIT", json!({})).await;
    client.until("Payment", "Pending").await;
    client.pass(500);
    client.until("Order", "Paid").await;
    let answer = client.send(&order, "SHIP", json!({"carrier": " "})).await;
    assert_eq!(
        error(&answer, 422, "no_carrier"),
        "name a carrier, or leave it out"
    );
    assert_eq!(answer.text("/disposition"), "rejected");
    assert_eq!(client.state(&order).await, "Paid");
}

#[tokio::test]
async fn a_machine_that_two_components_have_must_be_told_apart() {
    let yaml = |name: &str| {
        let machine =
            "stateMachines: [{name: Same, initialState: A, states: [{name: A}], transitions: []}]";
        packed(&format!("name: {name}\nversion: '1'\n{machine}"))
    };
    let client = Client::with([yaml("One"), yaml("Two")]).await;
    let answer = client
        .post("/api/instances", &json!({"machineName": "Same"}))
        .await;
    let text = error(&answer, 400, "ambiguous_machine");
    assert!(text.contains("`One`") && text.contains("`Two`"));
    let body = json!({"machineName": "Same", "componentName": "Two"});
    let answer = client.post("/api/instances", &body).await;
    assert_eq!(answer.text("/componentName"), "Two");
}

#[tokio::test]
async fn a_fault_names_the_dead_letter_that_it_left() {
    let client = Client::with([counting(PANICS)]).await;
    let id = client.create("Counting", "Counter", json!({})).await;
    let answer = client.send(&id, "PANIC", json!({})).await;
    error(&answer, 422, "method_failed");
    let letter = answer.text("/deadLetterId");
    assert!(!letter.is_empty());
    assert_eq!(answer.text("/fault"), "trap");
}

const PANICS: &str = r"
name: Counting
version: '1'
stateMachines:
  - name: Counter
    initialState: Idle
    states: [{name: Idle}]
    transitions:
      - {from: Idle, to: Idle, event: PANIC, triggeredMethod: panic}
";
