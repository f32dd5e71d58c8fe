//! What operators and readers of the API ask for, and who may ask at all.

use axum::{body::Body, http::Method};
use serde_json::json;

use crate::{
    components::DOOR,
    host::{Answer, PATIENCE, TestHost, config, packed, request},
};

async fn ask_as(host: &TestHost, path: &str, headers: &[(&'static str, &str)]) -> Answer {
    let mut request = request(Method::GET, path, Body::empty());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    host.ask(request).await
}

#[tokio::test]
async fn a_host_says_whether_it_is_there_and_ready() {
    let host = TestHost::start().await;
    assert_eq!(host.get("/healthz").await.json(), json!({"status": "ok"}));
    assert_eq!(host.get("/readyz").await.json(), json!({"status": "ok"}));
}

#[tokio::test]
async fn a_host_without_its_broker_takes_work() {
    let mut config = config();
    // Nothing listens there.
    config.links.broker = Some("redis+streams://127.0.0.1:1".into());
    let host = TestHost::start_with(config).await;
    host.upload("Door", packed(DOOR)).await;
    let degraded = async {
        loop {
            let ready = host.get("/readyz").await;
            assert_eq!(ready.status, 200);
            if ready.json()["status"] == "degraded" {
                return ready.json();
            }
            tokio::task::yield_now().await;
        }
    };
    let ready = tokio::time::timeout(PATIENCE, degraded).await.unwrap();
    assert_eq!(ready["reasons"][0]["part"], "bus");
    let detail = ready["reasons"][0]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("redis+streams 127.0.0.1:1: "),
        "{detail}"
    );
    assert_eq!(host.get("/healthz").await.json(), json!({"status": "ok"}));
    host.create("Door", "Door", &json!({"room": "A"})).await;
}

#[tokio::test]
async fn the_numbers_name_no_tenant() {
    let host = TestHost::with(&[("Door", packed(DOOR))]).await;
    let id = host.create("Door", "Door", &json!({"room": "A"})).await;
    host.send(&id, "OPEN", &json!({})).await;
    let metrics = host.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(text.contains("xcomponent_components 1\n"), "{text}");
    assert!(
        text.contains("xcomponent_events_total{disposition=\"transitioned\"}"),
        "{text}"
    );
    assert!(
        text.contains("xcomponent_commit_duration_seconds_bucket{le=\"+Inf\"}"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains("default") && !text.contains("tenant"));
}

#[tokio::test]
async fn the_description_has_every_route() {
    let host = TestHost::start().await;
    let document = host.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in [
        ("/v1/components", &["get"][..]),
        ("/v1/components/{component}", &["get", "put", "delete"]),
        ("/v1/components/{component}/definition", &["get"]),
        ("/v1/components/{component}/artifact", &["get"]),
        ("/v1/components/{component}/diagram", &["get"]),
        ("/v1/components/{component}/activate", &["post"]),
        ("/v1/components/{component}/rollback", &["post"]),
        ("/v1/components/{component}/migrate", &["post"]),
        ("/v1/components/{component}/unblock", &["post"]),
        (
            "/v1/components/{component}/machines/{machine}/instances",
            &["post"],
        ),
        (
            "/v1/components/{component}/machines/{machine}/events",
            &["post"],
        ),
        ("/v1/instances", &["get"]),
        ("/v1/instances/{id}", &["get", "delete"]),
        ("/v1/instances/{id}/terminate", &["post"]),
        ("/v1/instances/{id}/unblock", &["post"]),
        ("/v1/instances/{id}/transitions", &["get"]),
        ("/v1/instances/{id}/history", &["get"]),
        ("/v1/instances/{id}/trace", &["get"]),
        ("/v1/instances/{id}/diagram", &["get"]),
        ("/v1/instances/{id}/events", &["post"]),
        ("/v1/events", &["post"]),
        ("/v1/events/{id}/trace", &["get"]),
        ("/v1/stream", &["get"]),
        ("/v1/dead-letters", &["get"]),
        ("/v1/dead-letters/replay", &["post"]),
        ("/v1/dead-letters/{id}", &["get", "delete"]),
        ("/v1/dead-letters/{id}/replay", &["post"]),
        ("/healthz", &["get"]),
        ("/readyz", &["get"]),
        ("/metrics", &["get"]),
    ] {
        for method in methods {
            let operation = &paths[path][*method];
            assert!(
                operation["summary"].is_string(),
                "{method} {path}: {operation}"
            );
            assert!(operation["responses"].is_object(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_documentation_needs_no_network() {
    let host = TestHost::start().await;
    let page = host.get("/docs/").await;
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        !text.contains("https://") && !text.contains("http://"),
        "{text}"
    );
    let script = host.get("/docs/swagger-ui-bundle.js").await;
    assert_eq!(script.status, 200);
    assert!(script.body.len() > 100_000);
    assert!(host.get("/docs").await.status.is_redirection());
}

#[tokio::test]
async fn a_route_that_nobody_serves_is_a_problem_too() {
    let host = TestHost::start().await;
    assert_eq!(host.get("/v1/nothing").await.problem(404), "unknown_route");
    assert_eq!(
        host.delete("/v1/instances").await.problem(405),
        "method_not_allowed"
    );
}

#[tokio::test]
async fn foreign_names_and_pages_are_refused() {
    let mut config = config();
    config.allowed_hosts = vec!["flow.example".to_owned()];
    let host = TestHost::start_with(config).await;
    let list = "/v1/components";
    for name in [
        "localhost:3000",
        "127.0.0.1:3000",
        "[::1]:3000",
        "flow.example",
    ] {
        assert_eq!(
            ask_as(&host, list, &[("host", name)]).await.status,
            200,
            "{name}"
        );
    }
    for path in [
        list,
        "/openapi.json",
        "/docs/",
        "/metrics",
        "/v1/nothing",
        "/api/components",
        "/v1/stream",
    ] {
        let rebound = ask_as(&host, path, &[("host", "evil.example:3000")]).await;
        assert_eq!(rebound.problem(403), "host_not_allowed", "{path}");
        let foreign = [
            ("host", "localhost:3000"),
            ("origin", "http://evil.example"),
        ];
        assert_eq!(
            ask_as(&host, path, &foreign).await.problem(403),
            "origin_not_allowed",
            "{path}"
        );
    }
    let own = [
        ("host", "localhost:3000"),
        ("origin", "http://localhost:3000"),
    ];
    assert_eq!(ask_as(&host, list, &own).await.status, 200);
    assert_eq!(
        ask_as(&host, "/healthz", &[("host", "10.0.0.1:3000")])
            .await
            .status,
        200
    );
}
