//! Any request is answered, never with a failure of the host.
//!
//! The first byte of the input selects a route, the rest is the body.

#![no_main]

use std::sync::LazyLock;

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;
use xcomponent_host::app::{Config, Host};

/// Everything that takes a body, with the media type that it expects.
const ROUTES: [(&str, &str, &str); 14] = [
    ("POST", "/v1/components/Fuzzed/machines/Box/instances", JSON),
    ("POST", "/v1/components/Fuzzed/machines/Box/events", JSON),
    ("POST", "/v1/instances/box/events", JSON),
    ("POST", "/v1/events", "application/x-ndjson"),
    ("POST", "/v1/shipments", JSON),
    ("POST", "/v1/components/Fuzzed/activate", JSON),
    ("POST", "/v1/components/Fuzzed/rollback", JSON),
    ("POST", "/v1/components/Fuzzed/migrate", JSON),
    ("POST", "/v1/dead-letters/letter/replay", JSON),
    (
        "PUT",
        "/v1/components/Other?dry-run=true",
        "application/yaml",
    ),
    ("POST", "/api/components/Fuzzed/instances", JSON),
    ("POST", "/api/components/Fuzzed/broadcast", JSON),
    ("POST", "/api/instances/box/events", JSON),
    ("POST", "/api/instances/box/trigger", JSON),
];

const JSON: &str = "application/json";

const DEFINITION: &str = "
name: Fuzzed
version: 1.0.0
stateMachines:
  - name: Box
    initialState: Open
    contextSchema:
      count: {type: number, min: 0, max: 1000}
      note: {type: text, pattern: '^[a-z]*$'}
    states: [{name: Open, defer: [LATER]}, {name: Shut, type: final}]
    transitions:
      - {from: Open, to: Open, event: PUT}
      - {from: Open, to: Open, event: MATCH, matchingRules: [{eventProperty: a.b, instanceProperty: count, operator: '>'}]}
      - {from: Open, to: Shut, event: SHUT}
";

static WORLD: LazyLock<(Runtime, Host)> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("the machine gives threads");
    let mut config = Config {
        shards: 1,
        history_bytes_max: 64 << 20,
        ..Config::default()
    };
    // What strangers send is examined by a process of the host's program, which a fuzz target is
    // not.
    config.sandbox.compile.program = std::env::var_os("XCOMPONENT_PROGRAM").map(Into::into);
    let host = runtime
        .block_on(Host::start(config))
        .expect("an empty host starts");
    let deployed = answer(
        &runtime,
        &host,
        "PUT",
        "/v1/components/Fuzzed",
        "application/yaml",
        DEFINITION.as_bytes(),
    );
    assert_eq!(deployed, StatusCode::CREATED);
    let context = br#"{"id":"box","context":{}}"#;
    let created = answer(&runtime, &host, "POST", ROUTES[0].1, JSON, context);
    assert_eq!(created, StatusCode::CREATED);
    (runtime, host)
});

fn answer(
    runtime: &Runtime,
    host: &Host,
    method: &str,
    path: &str,
    kind: &str,
    body: &[u8],
) -> StatusCode {
    let request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).expect("a method"))
        .uri(path)
        .header("host", "localhost")
        .header("content-type", kind)
        .body(Body::from(body.to_vec()))
        .expect("the request is well-formed");
    let router = host.router();
    runtime.block_on(async {
        let answer = router
            .oneshot(request)
            .await
            .expect("the router always answers");
        let status = answer.status();
        let read = to_bytes(answer.into_body(), 64 << 20).await;
        read.expect("an answer ends");
        status
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((route, body)) = input.split_first() else {
        return;
    };
    let (runtime, host) = &*WORLD;
    let (method, path, kind) = ROUTES[usize::from(*route) % ROUTES.len()];
    let status = answer(runtime, host, method, path, kind, body);
    let is_unwell = status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE;
    assert!(!is_unwell, "{method} {path} is answered with {status}");
});
