//! Versions: previewed, refused, pinned, switched back, migrated, deleted.

use serde_json::{Value, json};

use crate::{
    components::{DOOR, door},
    guests::guest,
    host::{TestHost, packed},
};

/// A version in which `Open` is called `Ajar`: open doors do not fit.
fn renamed(version: &str) -> String {
    door(version)
        .replace("name: Open}", "name: Ajar}")
        .replace("to: Open,", "to: Ajar,")
        .replace("from: Open,", "from: Ajar,")
}

/// A host with two doors, one of them open.
async fn two_doors() -> (TestHost, String, String) {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    let closed = host.create("Door", "Door", &json!({"room": "A"})).await;
    let open = host.create("Door", "Door", &json!({"room": "B"})).await;
    host.send(&open, "OPEN", &json!({})).await;
    (host, closed, open)
}

/// What a report says about open doors.
fn of_open(report: &Value) -> Value {
    let live = report["live"].as_array().unwrap();
    let found = live.iter().find(|fit| fit["state"] == "Open");
    found.expect("open doors are reported").clone()
}

async fn active(host: &TestHost) -> String {
    host.get("/v1/components/Door").await.text("/version")
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let (host, _, open) = two_doors().await;
    let answer = host
        .upload("Door?dry-run=true", packed(&renamed("2.0.0")))
        .await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(answer["active"], false);
    let fit = of_open(&answer["report"]);
    assert_eq!(
        (&fit["instances"], &fit["would_not_fit"]),
        (&json!(1), &json!(1))
    );
    assert!(fit["reason"].as_str().unwrap().contains("`Open` is gone"));
    let door = host.get("/v1/components/Door").await.json();
    assert_eq!(door["versions"].as_array().unwrap().len(), 1);
    assert_eq!(host.instance(&open).await["version"], "1.0.0");
}

#[tokio::test]
async fn refuse_activates_nothing_that_would_not_fit() {
    let (host, _, open) = two_doors().await;
    let refused = host
        .upload("Door?on-live=refuse", packed(&renamed("2.0.0")))
        .await;
    assert_eq!(refused.problem(409), "would_not_fit");
    assert_eq!(of_open(&refused.json()["report"])["would_not_fit"], 1);
    assert_eq!(active(&host).await, "1.0.0");
    host.send(&open, "CLOSE", &json!({})).await;
    let accepted = host
        .upload("Door?on-live=refuse", packed(&renamed("2.0.0")))
        .await;
    assert_eq!(accepted.status, 201);
    let asked = host
        .upload("Door?on-live=whenever", packed(&door("3.0.0")))
        .await;
    assert_eq!(asked.problem(400), "invalid_query");
}

#[tokio::test]
async fn an_instance_moves_with_its_next_event_or_is_held() {
    let (host, closed, open) = two_doors().await;
    host.upload("Door", packed(&renamed("2.0.0"))).await;
    assert_eq!(host.instance(&closed).await["version"], "1.0.0");
    let moves = host
        .get(&format!("/v1/instances/{closed}/transitions"))
        .await
        .json();
    assert_eq!(moves["version"], "2.0.0");
    assert_eq!(moves["items"][0]["to"], "Ajar");
    let moved = host.send(&closed, "OPEN", &json!({})).await.json();
    assert_eq!(
        (&moved["to"], &moved["instance"]["version"]),
        (&json!("Ajar"), &json!("2.0.0"))
    );
    let held = host.send(&open, "OPEN", &json!({})).await.json();
    assert_eq!(held["disposition"], "ignored");
    assert_eq!(held["instance"]["version"], "1.0.0");
    assert!(held["instance"]["held"].as_str().unwrap().contains("Open"));
}

#[tokio::test]
async fn pinned_instances_finish_where_they_began() {
    let (host, closed, _) = two_doors().await;
    host.upload("Door?on-live=pin", packed(&renamed("2.0.0")))
        .await;
    let opened = host.send(&closed, "OPEN", &json!({})).await.json();
    assert_eq!(
        (&opened["to"], &opened["instance"]["version"]),
        (&json!("Open"), &json!("1.0.0"))
    );
    let new = host.create("Door", "Door", &json!({"room": "C"})).await;
    assert_eq!(host.instance(&new).await["version"], "2.0.0");
}

#[tokio::test]
async fn a_rollback_goes_to_the_version_before() {
    let (host, ..) = two_doors().await;
    let back = "/v1/components/Door/rollback";
    assert_eq!(
        host.post_text(back, "").await.problem(409),
        "nothing_before"
    );
    host.upload("Door", packed(&door("1.1.0"))).await;
    assert_eq!(active(&host).await, "1.1.0");
    let rolled = host.post(back, &json!({"on_live": "pin"})).await;
    assert_eq!(rolled.text("/version"), "1.0.0");
    assert_eq!(active(&host).await, "1.0.0");
    let activate = "/v1/components/Door/activate";
    let forward = host.post(activate, &json!({"version": "1.1.0"})).await;
    assert_eq!(forward.text("/version"), "1.1.0");
    assert_eq!(active(&host).await, "1.1.0");
    let unknown = host.post(activate, &json!({"version": "9"})).await;
    assert_eq!(unknown.problem(404), "unknown_version");
    assert_eq!(
        host.post(activate, &json!({})).await.problem(400),
        "invalid_body"
    );
    let nobody = host
        .post("/v1/components/Nobody/rollback", &json!({}))
        .await;
    assert_eq!(nobody.problem(404), "unknown_component");
}

#[tokio::test]
async fn instances_are_migrated_with_states_renamed() {
    let (host, closed, open) = two_doors().await;
    host.upload("Door?on-live=pin", packed(&renamed("2.0.0")))
        .await;
    let migrate = async |body: Value| host.post("/v1/components/Door/migrate", &body).await;
    let plain = migrate(json!({"from": "1.0.0", "to": "2.0.0", "dry_run": true}))
        .await
        .json();
    assert_eq!((&plain["moved"], &plain["held"]), (&json!(1), &json!(1)));
    let held = plain["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["held"].is_string());
    assert_eq!(held.unwrap()["instance_id"], open);
    assert_eq!(host.instance(&closed).await["version"], "1.0.0");
    let all = json!({"from": "1.0.0", "to": "2.0.0", "states": {"Open": "Ajar"}});
    assert_eq!(migrate(all).await.json()["moved"], 2);
    let open = host.instance(&open).await;
    assert_eq!(
        (&open["version"], &open["state"]),
        (&json!("2.0.0"), &json!("Ajar"))
    );
    let unknown = migrate(json!({"from": "1.0.0", "to": "9"})).await;
    assert_eq!(unknown.problem(404), "unknown_version");
    let endless = migrate(json!({"from": "1.0.0", "to": "2.0.0", "limit": 1_000_000})).await;
    assert_eq!(endless.problem(400), "invalid_body");
}

#[tokio::test]
async fn what_lives_is_deleted_only_by_force() {
    let (host, closed, open) = two_doors().await;
    host.upload("Door", packed(&door("1.1.0"))).await;
    let delete = async |query: &str| host.delete(&format!("/v1/components/Door{query}")).await;
    assert_eq!(delete("?version=1.0.0").await.problem(409), "in_use");
    assert_eq!(
        delete("?version=1.1.0").await.problem(409),
        "version_active"
    );
    assert_eq!(delete("?version=9").await.problem(404), "unknown_version");
    host.send(&closed, "TEAR_DOWN", &json!({})).await;
    host.send(&open, "TEAR_DOWN", &json!({})).await;
    assert_eq!(delete("?version=1.0.0").await.status, 204);
    host.create("Door", "Door", &json!({"room": "C"})).await;
    assert_eq!(delete("").await.problem(409), "in_use");
    assert_eq!(delete("?force=true").await.status, 204);
    assert_eq!(delete("").await.problem(404), "unknown_component");
    assert_eq!(host.get("/v1/components").await.json()["items"], json!([]));
}

#[tokio::test]
async fn instances_of_a_component_deleted_by_force_finish_on_what_they_have() {
    let host = TestHost::with(&[("MisbehavingComponent", guest("misbehaving"))]).await;
    let id = host
        .create("MisbehavingComponent", "Misbehaving", &json!({}))
        .await;
    let deleted = host
        .delete("/v1/components/MisbehavingComponent?force=true")
        .await;
    assert_eq!(deleted.status, 204);
    let ping = host.send(&id, "PING", &json!({})).await;
    assert_eq!(ping.text("/disposition"), "transitioned");
    let path = "/v1/components/MisbehavingComponent/machines/Misbehaving/instances";
    let new = host.post(path, &json!({})).await;
    assert_eq!(new.problem(404), "unknown_component");
}
