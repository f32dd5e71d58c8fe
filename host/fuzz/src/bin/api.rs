//! Any request is answered, never with a failure of the host.
//!
//! The first byte of the input selects a route, the rest is the body.

#![no_main]

use std::sync::LazyLock;

use axum::http::StatusCode;
use libfuzzer_sys::fuzz_target;
use xcomponent_fuzz::{JSON, World};
use xcomponent_host::app::Config;

/// Everything that takes a body, with the media type that it expects.
const ROUTES: [(&str, &str, &str); 16] = [
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
    ("POST", "/v1/instances/other/terminate", JSON),
    ("DELETE", "/v1/instances/box", JSON),
];

static WORLD: LazyLock<World> = LazyLock::new(|| World::with_component(Config::default()));

fuzz_target!(|input: &[u8]| {
    let Some((route, body)) = input.split_first() else {
        return;
    };
    let (method, path, kind) = ROUTES[usize::from(*route) % ROUTES.len()];
    let status = WORLD.answer(method, path, kind, body);
    let is_unwell = status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE;
    assert!(!is_unwell, "{method} {path} is answered with {status}");
});
