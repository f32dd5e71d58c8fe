//! What operators do to instances and components: end them, end their suspension.

use serde_json::{Value, json};

use crate::{
    components::DOOR,
    guests::guest,
    host::{TestHost, packed},
};

async fn a_door() -> (TestHost, String) {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    let id = host.create("Door", "Door", &json!({"room": "A"})).await;
    (host, id)
}

#[tokio::test]
async fn an_instance_is_ended_and_found_as_such() {
    let (host, id) = a_door().await;
    let path = format!("/v1/instances/{id}/terminate");
    let answer = host.post(&path, &json!({"reason": "burnt down"})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let ended = answer.json();
    assert_eq!(
        (&ended["status"], &ended["state"], &ended["seq"]),
        (&json!("terminated"), &json!("Closed"), &json!(2))
    );
    assert_eq!(host.instance(&id).await, ended);
    // Again, and without a body.
    let again = host.post_text(&path, "").await;
    assert_eq!((again.status.as_u16(), again.json()), (200, ended));
    let history = host
        .get(&format!("/v1/instances/{id}/history"))
        .await
        .json();
    let last = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|record| record["seq"] == 2)
        .unwrap();
    assert_eq!(
        (&last["kind"], &last["disposition"], &last["event"]["name"]),
        (
            &json!("terminated"),
            &json!("transitioned"),
            &json!("$terminated")
        )
    );
    assert_eq!(last["event"]["payload"], json!({"reason": "burnt down"}));
    let found = host.get("/v1/instances?status=terminated").await.json();
    assert_eq!(found["items"][0]["id"], id);
    let found = host.get("/v1/instances?status=active").await.json();
    assert_eq!(found["items"], json!([]));
    let counts = host.get("/v1/instances?count=true").await.json();
    assert_eq!(counts["items"][0]["status"], "terminated");
    let components = host.get("/v1/components").await.json();
    let counts = &components["items"][0]["instances"];
    assert_eq!(
        (&counts["active"], &counts["terminated"]),
        (&json!(0), &json!(1))
    );
    let compatible = host.get("/api/instances?status=terminated").await.json();
    assert_eq!(compatible["instances"][0]["status"], "terminated");
    let next = host.get(&format!("/v1/instances/{id}/transitions")).await;
    assert_eq!(next.json()["items"], json!([]));
    let refused = host.send(&id, "OPEN", &json!({})).await;
    assert_eq!(refused.problem(409), "instance_finished");
}

#[tokio::test]
async fn what_has_finished_or_never_was_is_not_ended() {
    let (host, id) = a_door().await;
    host.send(&id, "TEAR_DOWN", &json!({})).await;
    let path = format!("/v1/instances/{id}/terminate");
    let refused = host.post(&path, &json!({})).await;
    assert_eq!(refused.problem(409), "instance_finished");
    let nobody = host
        .post("/v1/instances/nobody/terminate", &json!({}))
        .await;
    assert_eq!(nobody.problem(404), "unknown_instance");
    let nobody = host.post("/v1/instances/nobody/unblock", &json!({})).await;
    assert_eq!(nobody.problem(404), "unknown_instance");
    let nobody = host.post("/v1/components/Nobody/unblock", &json!({})).await;
    assert_eq!(nobody.problem(404), "unknown_component");
    // What is over is not suspended either, and shown as it is.
    let over = host
        .post(&format!("/v1/instances/{id}/unblock"), &json!({}))
        .await;
    assert_eq!(
        (over.status.as_u16(), &over.json()["status"]),
        (200, &json!("completed"))
    );
}

#[tokio::test]
async fn a_reason_has_a_bound() {
    let (host, id) = a_door().await;
    let path = format!("/v1/instances/{id}/terminate");
    let reason = "x".repeat((4 << 10) + 1);
    let refused = host.post(&path, &json!({"reason": reason})).await;
    assert_eq!(refused.problem(422), "reason_too_long");
    assert_eq!(host.instance(&id).await["status"], "active");
}

const FAULTY: &str = "MisbehavingComponent";

async fn panics(host: &TestHost, id: &str) -> String {
    let answer = host.send(id, "PANIC", &json!({})).await;
    answer.json()["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_suspended_instance_goes_on_or_ends() {
    let host = TestHost::with(&[(FAULTY, guest("misbehaving"))]).await;
    let id = host.create(FAULTY, "Misbehaving", &json!({})).await;
    for _ in 0..5 {
        assert_eq!(panics(&host, &id).await, "method_failed");
    }
    assert_eq!(panics(&host, &id).await, "instance_suspended");
    let unblocked = host
        .post_text(&format!("/v1/instances/{id}/unblock"), "")
        .await;
    assert_eq!(
        (unblocked.status.as_u16(), &unblocked.json()["id"]),
        (200, &json!(id))
    );
    for _ in 0..5 {
        assert_eq!(panics(&host, &id).await, "method_failed");
    }
    assert_eq!(panics(&host, &id).await, "instance_suspended");
    let ended = host
        .post_text(&format!("/v1/instances/{id}/terminate"), "")
        .await;
    assert_eq!(ended.json()["status"], "terminated");
}

#[tokio::test]
async fn a_suspended_component_goes_on() {
    let host = TestHost::with(&[(FAULTY, guest("misbehaving"))]).await;
    let mut suspended = false;
    for _ in 0..400 {
        let id = host.create(FAULTY, "Misbehaving", &json!({})).await;
        if panics(&host, &id).await == "component_suspended" {
            suspended = true;
            break;
        }
    }
    assert!(suspended);
    let breaker = |components: Value| components["items"][0]["breaker"].clone();
    assert_eq!(breaker(host.get("/v1/components").await.json()), "open");
    let path = format!("/v1/components/{FAULTY}/unblock");
    let unblocked = host.post_text(&path, "").await;
    assert_eq!(
        unblocked.json(),
        json!({"component": FAULTY, "items": [{"version": "1.0.0", "breaker": "closed"}]})
    );
    assert_eq!(breaker(host.get("/v1/components").await.json()), "closed");
    let id = host.create(FAULTY, "Misbehaving", &json!({})).await;
    assert_eq!(panics(&host, &id).await, "method_failed");
}
