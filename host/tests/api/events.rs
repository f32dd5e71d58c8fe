//! One event: what becomes of it, once and only once.

use axum::{body::Body, http::Method};
use serde_json::{Value, json};
use xcomponent_host::app::Config;

use crate::{
    components::{DOOR, changed},
    guests::guest,
    host::{Answer, TestHost, config, packed, request},
};

const ORDER: &str = r#"{"orderId": "O-1", "amount": 10}"#;

async fn door() -> (TestHost, String) {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    let id = host.create("Door", "Door", &json!({"room": "A"})).await;
    (host, id)
}

/// Sends an event with headers.
async fn send_with(
    host: &TestHost,
    id: &str,
    body: &Value,
    headers: &[(&'static str, &str)],
) -> Answer {
    let path = format!("/v1/instances/{id}/events");
    let mut request = request(Method::POST, &path, Body::from(body.to_string()));
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    host.ask(request).await
}

#[tokio::test]
async fn an_answer_tells_what_became_of_the_event() {
    let (host, id) = door().await;
    let answer = host.send(&id, "OPEN", &json!({"floor": 3})).await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(answer["disposition"], "transitioned");
    assert_eq!(
        (&answer["from"], &answer["to"]),
        (&json!("Closed"), &json!("Open"))
    );
    assert_eq!(answer["seq"], 2);
    assert_eq!(
        answer["instance"]["context"],
        json!({"room": "A", "floor": 3})
    );
    let again = host.send(&id, "OPEN", &json!({})).await.json();
    assert_eq!(
        (&again["disposition"], &again["reason"]),
        (&json!("ignored"), &json!("no_transition"))
    );
    host.send(&id, "TEAR_DOWN", &json!({})).await;
    assert_eq!(
        host.send(&id, "OPEN", &json!({})).await.problem(409),
        "instance_finished"
    );
}

#[tokio::test]
async fn the_same_key_gives_the_same_answer() {
    let (host, id) = door().await;
    let open = json!({"event": "OPEN"});
    let first = send_with(&host, &id, &open, &[("idempotency-key", "k-1")]).await;
    assert_eq!(first.status, 200);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    host.send(&id, "CLOSE", &json!({})).await;
    let second = send_with(&host, &id, &open, &[("idempotency-key", "\"k-1\"")]).await;
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_eq!(second.json()["seq"], first.json()["seq"]);
    let third = send_with(&host, &id, &json!({"event": "OPEN", "id": "k-1"}), &[]).await;
    assert_eq!(third.headers["idempotency-replayed"], "true");
    assert_eq!(host.instance(&id).await["state"], "Closed");
    let other = json!({"event": "CLOSE", "id": "k-1"});
    assert_eq!(
        send_with(&host, &id, &other, &[]).await.problem(422),
        "idempotency_key_reused"
    );
    let both = send_with(&host, &id, &other, &[("idempotency-key", "k-2")]).await;
    assert_eq!(both.problem(400), "two_ids");
}

#[tokio::test]
async fn the_same_key_many_times_at_once_is_applied_once() {
    let (host, id) = door().await;
    let open = json!({"event": "OPEN", "id": "once"});
    let sends = (0..16).map(|_| send_with(&host, &id, &open, &[]));
    let answers = futures_util::future::join_all(sends).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let firsts = answers
        .iter()
        .filter(|answer| !answer.headers.contains_key("idempotency-replayed"));
    assert_eq!(firsts.count(), 1);
    assert_eq!(host.history(&id).await.len(), 2);
}

#[tokio::test]
async fn an_instance_of_ones_own_name_is_created_once() {
    let (host, _) = door().await;
    let path = "/v1/components/Door/machines/Door/instances";
    let door = json!({"id": "front-door", "context": {"room": "A"}});
    assert_eq!(host.post(path, &door).await.status, 201);
    let again = host.post(path, &door).await;
    assert_eq!(
        (again.status.as_u16(), again.text("/id").as_str()),
        (200, "front-door")
    );
    let other = json!({"id": "front-door", "context": {"room": "B"}});
    assert_eq!(
        host.post(path, &other).await.problem(409),
        "instance_exists"
    );
}

#[tokio::test]
async fn an_event_for_another_state_is_refused() {
    let (host, id) = door().await;
    let body = json!({"event": "OPEN", "expected_state": "Open"});
    let refused = send_with(&host, &id, &body, &[]).await;
    assert_eq!(refused.problem(409), "unexpected_state");
    assert_eq!(refused.json()["state"], "Closed");
    let body = json!({"event": "OPEN", "expected_state": "Closed"});
    assert_eq!(send_with(&host, &id, &body, &[]).await.status, 200);
}

#[tokio::test]
async fn a_method_may_refuse_and_a_guard_may_say_no() {
    let host = TestHost::with(&[
        ("OrderComponent", guest("order")),
        ("PaymentComponent", guest("payment")),
    ])
    .await;
    let free = host
        .create(
            "OrderComponent",
            "Order",
            &json!({"orderId": "O-0", "amount": 0}),
        )
        .await;
    let ignored = host.send(&free, "SUBMIT", &json!({})).await.json();
    assert_eq!(
        (&ignored["disposition"], &ignored["reason"]),
        (&json!("ignored"), &json!("nothing_matched"))
    );
    assert!(ignored["mismatch"]["message"].is_string(), "{ignored}");
    let order: Value = serde_json::from_str(ORDER).unwrap();
    let id = host.create("OrderComponent", "Order", &order).await;
    host.send(&id, "SUBMIT", &json!({})).await;
    host.until_state(&id, "Paid").await;
    let refused = host.send(&id, "SHIP", &json!({"carrier": " "})).await;
    assert_eq!(refused.problem(422), "no_carrier");
    assert_eq!(refused.json()["disposition"], "rejected");
    assert_eq!(host.instance(&id).await["state"], "Paid");
    let record = host.history(&id).await.pop().unwrap();
    assert_eq!(record["refusal"]["code"], "no_carrier");
    assert_eq!(
        host.send(&id, "SHIP", &json!({})).await.text("/to"),
        "Shipped"
    );
    let log = &host.history(&id).await.pop().unwrap()["logs"][0];
    assert!(log["message"].as_str().unwrap().contains("parcel of O-1"));
}

#[tokio::test]
async fn a_fault_is_told_with_its_dead_letter_and_opens_the_breaker_in_the_end() {
    let host = TestHost::start_with(Config {
        shards: 1,
        ..config()
    });
    let host = host.await;
    let component = guest("misbehaving");
    host.upload("MisbehavingComponent", component).await;
    let mut last = None;
    for _ in 0..12 {
        let id = host
            .create("MisbehavingComponent", "Misbehaving", &json!({}))
            .await;
        for _ in 0..5 {
            last = Some(host.send(&id, "PANIC", &json!({})).await);
        }
    }
    let suspended = last.unwrap();
    assert_eq!(suspended.problem(503), "component_suspended");
    assert!(suspended.headers.contains_key("retry-after"));
    let component = host.get("/v1/components/MisbehavingComponent").await.json();
    let breaker = &component["versions"][0]["breaker"];
    assert_eq!(breaker["state"], "open", "{breaker}");
    assert!(breaker["until"].is_string());
    let letter = &host.get("/v1/dead-letters").await.json()["items"][0];
    assert_eq!(letter["reason"]["code"], "trap");
}

#[tokio::test]
async fn a_broadcast_reaches_whom_it_concerns() {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    for room in ["A", "A", "B"] {
        host.create("Door", "Door", &json!({"room": room})).await;
    }
    let all = "/v1/components/Door/machines/Door/events";
    let tally = host
        .post(
            all,
            &json!({"event": "OPEN_ROOM", "payload": {"room": "A"}}),
        )
        .await
        .json();
    assert_eq!(
        (&tally["matched"], &tally["transitioned"]),
        (&json!(2), &json!(2))
    );
    let body = json!({"event": "CLOSE", "state": "Open", "id": "closing-time"});
    let closed = host.post(all, &body).await;
    assert_eq!(closed.json()["transitioned"], 2);
    let repeated = host.post(all, &body).await;
    assert_eq!(repeated.headers["idempotency-replayed"], "true");
    assert_eq!(repeated.json(), closed.json());
    let unused = host.post(all, &json!({"event": "PAINT"})).await.json();
    assert_eq!(
        (&unused["matched"], &unused["ignored"]),
        (&json!(3), &json!(3))
    );
}

#[tokio::test]
async fn a_retry_is_promised_with_its_time() {
    let misbehaving = changed("misbehaving", |yaml| {
        yaml.replace(
            "stateMachines:",
            "onFault: {retry: {max: 2, backoffMs: 60000}}\nstateMachines:",
        )
    });
    let host = TestHost::with(&[("MisbehavingComponent", misbehaving)]).await;
    let id = host
        .create("MisbehavingComponent", "Misbehaving", &json!({}))
        .await;
    let answer = host.send(&id, "MALFORMED", &json!({})).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.text("/disposition"), "retrying");
    assert!(answer.text("/retry_at").ends_with('Z'));
}
