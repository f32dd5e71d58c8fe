//! Any upload is answered, never with a failure of the host, and a refused one leaves nothing.

#![no_main]

use std::sync::LazyLock;

use axum::{body::Body, http::Request};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;
use xcomponent_core::id::TenantId;
use xcomponent_host::app::{Config, Host};

static WORLD: LazyLock<(Runtime, Host)> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("the machine gives threads");
    let mut config = Config {
        shards: 1,
        ..Config::default()
    };
    // The compiler is a process of the host's program, which a fuzz target is not.
    config.sandbox.compile.program = std::env::var_os("XCOMPONENT_PROGRAM").map(Into::into);
    let host = runtime
        .block_on(Host::start(config))
        .expect("an empty host starts");
    (runtime, host)
});

fuzz_target!(|bytes: &[u8]| {
    let (runtime, host) = &*WORLD;
    let request = Request::put("/v1/components/Fuzzed?dry-run=true")
        .header("host", "localhost")
        .header("content-type", "application/wasm")
        .body(Body::from(bytes.to_vec()))
        .expect("the request is well-formed");
    let answer = runtime
        .block_on(host.router().oneshot(request))
        .expect("the router always answers");
    assert!(
        !answer.status().is_server_error(),
        "an upload is answered with {}",
        answer.status()
    );
    assert!(host.registry().list(&TenantId::default_tenant()).is_empty());
});
