//! What is uploaded: of which type, how large, how hostile, and what a change of version does to those
//! who live.

use axum::{body::Body, http::Request};
use serde_json::json;

use crate::{
    bombs,
    components::{DOOR, door},
    host::{Answer, TestHost, packed},
};

async fn send(host: &TestHost, kind: Option<&str>, path: &str, body: impl Into<Body>) -> Answer {
    let mut request = Request::put(format!("/v1/components/{path}"));
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    host.ask(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn a_definition_has_many_types_and_may_have_none() {
    let host = TestHost::start().await;
    let kinds = [
        Some("application/yaml"),
        Some("application/yaml; charset=utf-8"),
        Some("Application/YAML"),
        Some("application/x-yaml"),
        Some("text/yaml"),
        Some("text/x-yaml"),
        Some("application/octet-stream"),
        None,
    ];
    for (n, kind) in kinds.into_iter().enumerate() {
        let sent = send(&host, kind, "Door", door(&format!("1.0.{n}"))).await;
        assert_eq!(sent.status, 201, "{kind:?}: {sent:?}");
    }
    let sent = send(&host, None, "Door", packed(&door("2.0.0"))).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    let refused = send(&host, Some("application/json"), "Door", door("3.0.0")).await;
    assert_eq!(refused.problem(415), "unsupported_media_type");
    assert!(refused.text("/detail").contains("application/x-yaml"));
}

#[tokio::test]
async fn bombs_are_refused_and_others_are_served() {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    for bomb in [bombs::nested_types(1_000), bombs::nested_components(40_000)] {
        let dry = send(
            &host,
            Some("application/wasm"),
            "Bomb?dry-run=true",
            bomb.clone(),
        )
        .await;
        assert_eq!(dry.problem(422), "too_deep");
        let refused = send(&host, Some("application/wasm"), "Bomb", bomb).await;
        assert_eq!(refused.problem(422), "too_deep");
    }
    let over = send(&host, Some("application/yaml"), "Bomb", "x".repeat(5 << 20)).await;
    assert_eq!(over.problem(413), "too_large");
    host.create("Door", "Door", &json!({"room": "A"})).await;
}

#[tokio::test]
async fn an_upload_that_finds_no_memory_is_told_to_come_again() {
    let mut config = crate::host::config();
    config.memory = xcomponent_host::memory::Memory::new(256 << 20);
    let memory = config.memory.clone();
    let purpose = xcomponent_host::memory::Purpose::Uploads;
    let host = TestHost::start_with(config).await;
    let others = memory.take(purpose, memory.max(purpose)).unwrap();
    let busy = send(&host, None, "Door", DOOR).await;
    assert_eq!(busy.problem(429), "busy");
    assert!(busy.headers.contains_key("retry-after"));
    drop(others);
    assert_eq!(send(&host, None, "Door", DOOR).await.status, 201);
    assert_eq!(memory.used(purpose), 0);
}

#[tokio::test]
async fn a_dry_run_that_is_to_refuse_says_what_would_not_fit() {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    let open = host.create("Door", "Door", &json!({"room": "A"})).await;
    host.send(&open, "OPEN", &json!({})).await;
    let gone = door("2.0.0")
        .replace("name: Open}", "name: Ajar}")
        .replace("to: Open,", "to: Ajar,")
        .replace("from: Open,", "from: Ajar,");
    let path = "Door?dry-run=true&on-live=refuse";
    let refused = send(&host, None, path, gone).await;
    assert_eq!(refused.problem(409), "would_not_fit");
    assert_eq!(refused.json()["report"]["live"][0]["would_not_fit"], 1);
    let fits = send(&host, None, path, door("1.1.0")).await;
    assert_eq!(fits.status, 200, "{fits:?}");
}

const LAMP: &str = "
name: Lamp
version: 1.0.0
stateMachines:
  - name: Lamp
    initialState: Off
    states: [{name: Off}, {name: On}]
    transitions:
      - {from: Off, to: On, event: SWITCH}
      - {from: On, to: Off, event: SWITCH}
";

#[tokio::test]
async fn a_new_required_field_with_a_default_holds_nobody_back() {
    let host = TestHost::start().await;
    assert_eq!(send(&host, None, "Lamp", LAMP).await.status, 201);
    let (moved, migrated) = (
        host.create("Lamp", "Lamp", &json!({"room": "A"})).await,
        host.create("Lamp", "Lamp", &json!({"room": "B"})).await,
    );
    let schema = "    contextSchema: {watts: {type: number, required: true, default: 5}}\n";
    let newer = format!("{}{schema}", LAMP.replace("1.0.0", "2.0.0"));
    let answer = send(&host, None, "Lamp?on-live=refuse", newer).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let sent = host.send(&moved, "SWITCH", &json!({})).await.json();
    assert_eq!(
        (
            &sent["instance"]["version"],
            &sent["instance"]["context"]["watts"]
        ),
        (&json!("2.0.0"), &json!(5))
    );
    let migrate = json!({"from": "1.0.0", "to": "2.0.0"});
    let answer = host.post("/v1/components/Lamp/migrate", &migrate).await;
    assert_eq!(answer.json()["moved"], 1, "{answer:?}");
    let there = host.instance(&migrated).await;
    assert_eq!(
        (&there["version"], &there["context"]),
        (&json!("2.0.0"), &json!({"room": "B", "watts": 5}))
    );
}
