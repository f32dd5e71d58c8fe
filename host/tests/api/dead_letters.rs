//! Dead letters: read, replayed on a fixed version, discarded.

use serde_json::{Value, json};

use crate::{components::changed, guests::guest, host::TestHost};

/// `misbehaving`, in which `PANIC` does no harm any more.
fn fixed() -> Vec<u8> {
    changed("misbehaving", |yaml| {
        yaml.replace("version: 1.0.0", "version: 1.0.1")
            .replace("triggeredMethod: panic", "triggeredMethod: ping")
    })
}

/// A host with instances that panicked once each, and the ids of these.
async fn panicked(n: usize) -> (TestHost, Vec<String>) {
    let host = TestHost::with(&[("MisbehavingComponent", guest("misbehaving"))]).await;
    let mut ids = Vec::new();
    for _ in 0..n {
        let id = host
            .create("MisbehavingComponent", "Misbehaving", &json!({}))
            .await;
        let answer = host.send(&id, "PANIC", &json!({})).await;
        assert_eq!(answer.problem(422), "method_failed");
        assert!(answer.json()["dead_letter_id"].is_string());
        ids.push(id);
    }
    (host, ids)
}

async fn letters(host: &TestHost, query: &str) -> Vec<Value> {
    let list = host.get(&format!("/v1/dead-letters{query}")).await.json();
    list["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_dead_letter_tells_what_happened() {
    let (host, ids) = panicked(1).await;
    let letter = &letters(&host, "").await[0];
    assert_eq!(
        (&letter["component"], &letter["version"], &letter["machine"]),
        (
            &json!("MisbehavingComponent"),
            &json!("1.0.0"),
            &json!("Misbehaving")
        )
    );
    assert_eq!(letter["instance_id"], ids[0]);
    assert_eq!(letter["event"]["name"], "PANIC");
    assert_eq!(letter["reason"]["code"], "trap");
    assert!(letter["reason"]["backtrace"].is_string());
    assert_eq!(letter["attempts"], 1);
    let id = letter["id"].as_str().unwrap();
    assert_eq!(
        &host.get(&format!("/v1/dead-letters/{id}")).await.json(),
        letter
    );
    for query in [
        "?code=trap",
        "?component=MisbehavingComponent&machine=Misbehaving",
    ] {
        assert_eq!(letters(&host, query).await.len(), 1);
    }
    assert_eq!(letters(&host, "?code=cpu_budget").await, [Value::Null; 0]);
    for path in ["nobody", "a%20b"] {
        let path = format!("/v1/dead-letters/{path}");
        assert_eq!(host.get(&path).await.problem(404), "unknown_dead_letter");
        assert_eq!(host.delete(&path).await.problem(404), "unknown_dead_letter");
        assert_eq!(
            host.post_text(&format!("{path}/replay"), "")
                .await
                .problem(404),
            "unknown_dead_letter"
        );
    }
}

#[tokio::test]
async fn a_replay_after_a_fixed_version_goes_through() {
    let (host, ids) = panicked(1).await;
    let id = letters(&host, "").await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let replay = format!("/v1/dead-letters/{id}/replay");
    let in_vain = host.post_text(&replay, "").await;
    assert_eq!(in_vain.problem(422), "method_failed");
    assert_eq!(letters(&host, "").await[0]["attempts"], 2);

    assert_eq!(
        host.upload("MisbehavingComponent", fixed()).await.status,
        201
    );
    let answer = host.post_text(&replay, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.text("/disposition"), "transitioned");
    assert_eq!(answer.text("/event_id"), format!("{id}.r2"));
    assert_eq!(answer.text("/instance/version"), "1.0.1");
    assert_eq!(letters(&host, "").await, [Value::Null; 0]);
    let last = host.history(&ids[0]).await.pop().unwrap();
    assert_eq!(
        (&last["kind"], &last["version"]),
        (&json!("transitioned"), &json!("1.0.1"))
    );
    assert_eq!(
        host.post_text(&replay, "").await.problem(404),
        "unknown_dead_letter"
    );
}

#[tokio::test]
async fn all_of_a_component_are_replayed_together() {
    let (host, ids) = panicked(5).await;
    host.upload("MisbehavingComponent", fixed()).await;
    let nobody = host
        .post_text("/v1/dead-letters/replay?component=Nobody", "")
        .await
        .json();
    assert_eq!(nobody["replayed"], 0);
    let replayed = host
        .post_text("/v1/dead-letters/replay?component=MisbehavingComponent", "")
        .await
        .json();
    assert_eq!(
        (&replayed["replayed"], &replayed["transitioned"]),
        (&json!(5), &json!(5))
    );
    assert_eq!(replayed["more"], false);
    assert_eq!(letters(&host, "").await, [Value::Null; 0]);
    for id in ids {
        assert_eq!(host.instance(&id).await["seq"], 3);
    }
}

#[tokio::test]
async fn what_was_for_nobody_is_sent_again_when_there_is_somebody() {
    let host = TestHost::with(&[("OrderComponent", guest("order"))]).await;
    let order = host
        .create(
            "OrderComponent",
            "Order",
            &json!({"orderId": "O-1", "amount": 10}),
        )
        .await;
    host.send(&order, "SUBMIT", &json!({})).await;
    let letter = &letters(&host, "").await[0];
    assert_eq!(letter["reason"]["code"], "unknown_target");
    assert_eq!(letter["component"], "PaymentComponent");
    host.upload("PaymentComponent", guest("payment")).await;
    let path = format!("/v1/dead-letters/{}/replay", letter["id"].as_str().unwrap());
    assert_eq!(host.post_text(&path, "").await.status, 202);
    host.until_state(&order, "Paid").await;
    assert_eq!(letters(&host, "").await, [Value::Null; 0]);
}

#[tokio::test]
async fn a_discarded_letter_is_gone() {
    let (host, ids) = panicked(2).await;
    let id = letters(&host, &format!("?instance={}", ids[0])).await[0]["id"].clone();
    let path = format!("/v1/dead-letters/{}", id.as_str().unwrap());
    assert_eq!(host.delete(&path).await.status, 204);
    assert_eq!(host.delete(&path).await.problem(404), "unknown_dead_letter");
    assert_eq!(letters(&host, "").await.len(), 1);
}
