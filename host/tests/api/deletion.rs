//! Instances that are deleted.

use axum::http::StatusCode;
use serde_json::json;

use crate::{
    components::DOOR,
    host::{TestHost, packed},
    stream::Events,
};

async fn a_door() -> (TestHost, String) {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    let id = host.create("Door", "Door", &json!({"room": "A"})).await;
    (host, id)
}

#[tokio::test]
async fn an_instance_that_has_ended_is_deleted_and_shown_nowhere() {
    let (host, id) = a_door().await;
    let other = host.create("Door", "Door", &json!({"room": "B"})).await;
    host.send(&id, "TEAR_DOWN", &json!({})).await;
    let history = host.history(&id).await;
    let event = history[1]["event"]["id"].as_str().unwrap();
    let after = history[1]["position"].as_str().unwrap();
    let path = format!("/v1/instances/{id}");
    let answer = host.delete(&path).await;
    assert_eq!(
        (answer.status, answer.body.len()),
        (StatusCode::NO_CONTENT, 0)
    );

    for path in [
        path.clone(),
        format!("{path}/history"),
        format!("{path}/trace"),
        format!("{path}/transitions"),
        format!("{path}/diagram"),
    ] {
        assert_eq!(
            host.get(&path).await.problem(404),
            "unknown_instance",
            "{path}"
        );
    }
    let compat = format!("/api/instances/{id}");
    for path in [compat.clone(), format!("{compat}/history")] {
        assert_eq!(
            host.get(&path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    for path in ["/v1/instances", "/v1/instances?q=room"] {
        let found = host.get(path).await.json();
        let found = found["items"].as_array().unwrap();
        assert_eq!((found.len(), &found[0]["id"]), (1, &json!(other)), "{path}");
    }
    let listed = host.get("/api/instances").await.json();
    assert_eq!(listed["instances"].as_array().unwrap().len(), 1);
    let counts = host.get("/v1/instances?count=true").await.json();
    assert_eq!(counts["items"].as_array().unwrap().len(), 1);
    let counts = host.get("/v1/components").await.json()["items"][0]["instances"].clone();
    let expected = json!({"active": 1, "completed": 0, "error": 0, "terminated": 0});
    assert_eq!(counts, expected);
    let trace = host.get(&format!("/v1/events/{event}/trace")).await.json();
    assert_eq!(trace["items"], json!([]));
    let refused = host.get("/v1/instances?status=deleted").await;
    assert_eq!(refused.problem(400), "invalid_query");

    // What happened stands in the stream.
    let mut told = Events::open(&host, &format!("kinds=deleted&after={after}")).await;
    let record = told.record().await;
    assert_eq!(
        (
            &record["kind"],
            &record["instance_id"],
            &record["event"]["name"]
        ),
        (&json!("deleted"), &json!(id), &json!("$deleted"))
    );
}

#[tokio::test]
async fn a_deleted_instance_is_as_unknown_as_one_that_never_was() {
    let (host, id) = a_door().await;
    host.send(&id, "TEAR_DOWN", &json!({})).await;
    let path = format!("/v1/instances/{id}");
    assert_eq!(host.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(host.delete(&path).await.problem(404), "unknown_instance");
    let sent = host.send(&id, "OPEN", &json!({})).await;
    assert_eq!(sent.problem(404), "unknown_instance");
    for what in ["terminate", "unblock"] {
        let answer = host.post(&format!("{path}/{what}"), &json!({})).await;
        assert_eq!(answer.problem(404), "unknown_instance", "{what}");
    }
    let nobody = host.delete("/v1/instances/nobody").await;
    assert_eq!(nobody.problem(404), "unknown_instance");
}

#[tokio::test]
async fn an_instance_that_goes_on_is_to_be_terminated_first() {
    let (host, id) = a_door().await;
    let path = format!("/v1/instances/{id}");
    let refused = host.delete(&path).await;
    assert_eq!(refused.problem(409), "instance_active");
    assert!(refused.text("/detail").contains("terminate it first"));
    assert_eq!(host.instance(&id).await["status"], "active");
    host.post_text(&format!("{path}/terminate"), "").await;
    assert_eq!(host.delete(&path).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_id_of_a_deleted_instance_is_taken_while_repeated_ids_are_known() {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    let machine = "/v1/components/Door/machines/Door/instances";
    let new = json!({"id": "door-1", "context": {"room": "A"}});
    assert_eq!(host.post(machine, &new).await.status, StatusCode::CREATED);
    host.send("door-1", "TEAR_DOWN", &json!({})).await;
    let deleted = host.delete("/v1/instances/door-1").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let refused = host.post(machine, &new).await;
    assert_eq!(refused.problem(409), "instance_deleted");
}
