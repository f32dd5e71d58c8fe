//! `Prefer: respond-async`: who does not wait for the commit is told no more than is known.

use std::sync::Arc;

use axum::{body::Body, http::Method};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use xcomponent_host::app::{Config, Host};

use crate::{
    components::DOOR,
    faulty::Faulty,
    host::{Answer, PATIENCE, TestHost, config, packed, request},
};

const CREATE: &str = "/v1/components/Door/machines/Door/instances";
const BROADCAST: &str = "/v1/components/Door/machines/Door/events";

/// A host with a door, and a store that commits when the test wants it to.
struct Slow {
    host: Arc<TestHost>,
    store: Arc<Faulty>,
    door: String,
}

impl Slow {
    async fn start(config: Config) -> Self {
        let store = Arc::new(Faulty::new(false));
        let host = Host::start_on(config, store.clone()).await.unwrap();
        let host = Arc::new(TestHost::of(host));
        assert_eq!(host.upload("Door", packed(DOOR)).await.status, 201);
        let door = host.create("Door", "Door", &json!({"room": "A"})).await;
        Self { host, store, door }
    }

    fn events(&self) -> String {
        format!("/v1/instances/{}/events", self.door)
    }

    /// Waits until something is about to be committed.
    async fn commit_waits(&self) {
        let store = Arc::clone(&self.store);
        let waits = tokio::task::spawn_blocking(move || store.wait_for_commit());
        tokio::time::timeout(PATIENCE, waits)
            .await
            .unwrap()
            .unwrap();
    }

    /// Asks as somebody who waits, from now on.
    fn asking(&self, path: &str, body: Value) -> JoinHandle<Answer> {
        let (host, path) = (Arc::clone(&self.host), path.to_owned());
        tokio::spawn(async move { host.post(&path, &body).await })
    }
}

async fn preferring(host: &TestHost, preference: &str, path: &str, body: &Value) -> Answer {
    let mut request = request(Method::POST, path, Body::from(body.to_string()));
    let preference = preference.parse().unwrap();
    request.headers_mut().insert("prefer", preference);
    host.ask(request).await
}

/// Checks an answer that claims nothing, and gives where to look.
fn accepted(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    let body = answer.json();
    assert_eq!(
        (&body["disposition"], &body["durable"]),
        (&json!("accepted"), &json!(false))
    );
    let location = answer.headers["location"].to_str().unwrap();
    assert_eq!(body["location"], location);
    location.to_owned()
}

#[tokio::test]
async fn who_does_not_wait_is_answered_while_others_wait_for_the_commit() {
    let slow = Slow::start(config()).await;
    let host = &slow.host;
    slow.store.hold();
    let waiting = slow.asking(&slow.events(), json!({"event": "OPEN"}));
    slow.commit_waits().await;

    let close = json!({"event": "CLOSE", "id": "closing"});
    let event = preferring(host, "respond-async", &slow.events(), &close).await;
    assert_eq!(event.headers["preference-applied"], "respond-async");
    assert_eq!(event.text("/event_id"), "closing");
    let new = json!({"context": {"room": "B"}});
    let creation = preferring(host, "respond-async", CREATE, &new).await;
    let broadcast = json!({"event": "OPEN_ROOM", "payload": {"room": "B"}});
    let broadcast = preferring(host, "respond-async", BROADCAST, &broadcast).await;
    assert!(!waiting.is_finished());
    let broad_trace = accepted(&broadcast);
    assert_eq!(host.get(&broad_trace).await.json()["items"], json!([]));

    slow.store.release();
    assert_eq!(waiting.await.unwrap().text("/to"), "Open");
    host.until_state(&slow.door, "Closed").await;
    let trace = host.get(&accepted(&event)).await.json();
    assert_eq!(trace["items"][0]["event_id"], "closing");
    assert_eq!(trace["items"][0]["to"], "Closed");
    let other = creation.text("/instance_id");
    host.until_state(&other, "Open").await;
    assert_eq!(host.get(&accepted(&creation)).await.text("/id"), other);
    let trace = host.get(&broad_trace).await.json();
    assert_eq!(trace["event_id"], broadcast.text("/event_id"));
    assert_eq!(trace["items"].as_array().unwrap().len(), 1);
    assert_eq!(trace["items"][0]["instance_id"], other);
}

#[tokio::test]
async fn an_event_that_was_taken_in_is_known_by_its_id() {
    let slow = Slow::start(config()).await;
    let host = &slow.host;
    let open = json!({"event": "OPEN"});
    let first = preferring(host, "respond-async", &slow.events(), &open).await;
    let id = first.text("/event_id");
    let open = json!({"event": "OPEN", "id": id});
    let again = host.post(&slow.events(), &open).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.text("/to"), "Open");
    assert_eq!(host.history(&slow.door).await.len(), 2);
}

#[tokio::test]
async fn who_waits_for_a_while_gets_the_answer_if_it_comes_in_time() {
    let slow = Slow::start(config()).await;
    let host = &slow.host;
    let open = json!({"event": "OPEN"});
    let answer = preferring(host, "respond-async, wait=600", &slow.events(), &open).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.text("/to")),
        (200, "Open")
    );
    assert!(!answer.headers.contains_key("preference-applied"));

    slow.store.hold();
    let close = json!({"event": "CLOSE"});
    let answer = preferring(host, "respond-async, wait=0", &slow.events(), &close).await;
    assert_eq!(
        answer.headers["preference-applied"],
        "respond-async, wait=0"
    );
    accepted(&answer);
    let new = json!({"context": {"room": "B"}});
    let answer = preferring(host, "wait=1, respond-async", CREATE, &new).await;
    assert_eq!(
        answer.headers["preference-applied"],
        "respond-async, wait=1"
    );
    slow.store.release();
    host.until_state(&slow.door, "Closed").await;
}

#[tokio::test]
async fn other_preferences_are_not_looked_at() {
    let slow = Slow::start(config()).await;
    let open = json!({"event": "OPEN"});
    let answer = preferring(&slow.host, "return=minimal, wait=0", &slow.events(), &open).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.text("/to")),
        (200, "Open")
    );
}

#[tokio::test]
async fn what_is_known_to_be_wrong_is_told_all_the_same() {
    let slow = Slow::start(config()).await;
    let host = &slow.host;
    let ask = async |path: &str, body: Value| preferring(host, "respond-async", path, &body).await;
    let bad = ask(&slow.events(), json!({"event": ""})).await;
    assert_eq!(bad.problem(400), "invalid_name");
    let bad = ask(&slow.events(), json!({"event": "OPEN", "payload": [1]})).await;
    assert_eq!(bad.problem(422), "not_an_object");
    let bad = ask(CREATE, json!({"context": {"floor": "two"}})).await;
    assert_eq!(bad.problem(422), "schema");
    assert_eq!(bad.json()["errors"].as_array().unwrap().len(), 2);
    for (component, machine, code) in [
        ("Nobody", "Door", "unknown_component"),
        ("Door", "Window", "unknown_machine"),
    ] {
        let machine = format!("/v1/components/{component}/machines/{machine}");
        let create = ask(&format!("{machine}/instances"), json!({})).await;
        assert_eq!(create.problem(404), code);
        let broadcast = ask(&format!("{machine}/events"), json!({"event": "OPEN"})).await;
        assert_eq!(broadcast.problem(404), code);
    }
    assert_eq!(host.history(&slow.door).await.len(), 1);
}

#[tokio::test]
async fn what_finds_no_room_is_refused_and_what_was_accepted_is_done() {
    let mut config = Config {
        shards: 1,
        ..config()
    };
    config.limits.debt_soft_max = 8;
    let slow = Slow::start(config).await;
    slow.store.hold();
    let paint = json!({"event": "OPEN"});
    let mut taken = 0;
    let refused = loop {
        let answer = preferring(&slow.host, "respond-async", &slow.events(), &paint).await;
        if answer.status != 202 {
            break answer;
        }
        taken += 1;
        assert!(taken <= 1_000, "the queues are bounded");
    };
    assert_eq!(refused.problem(429), "busy");
    assert!(refused.headers.contains_key("retry-after"));
    let refused = preferring(&slow.host, "respond-async", BROADCAST, &paint).await;
    assert_eq!(refused.problem(429), "busy");
    slow.store.release();
    slow.host.until_records(&slow.door, 1 + taken).await;
}

#[tokio::test]
async fn nothing_is_accepted_while_the_store_is_known_not_to_work() {
    let slow = Slow::start(config()).await;
    let open = json!({"event": "OPEN"});
    slow.store.refuse_all();
    let failed = slow.asking(&slow.events(), open.clone());
    assert_eq!(failed.await.unwrap().problem(503), "not_committed");
    let refused = preferring(&slow.host, "respond-async", &slow.events(), &open).await;
    assert_eq!(refused.problem(503), "not_committed");
}
