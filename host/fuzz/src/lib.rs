//! A host that fuzz targets send their inputs to.

#![cfg(feature = "host")]

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;
use xcomponent_host::app::{Config, Host};

/// The component [`World::with_component`] has.
const DEFINITION: &str = include_str!("fuzzed.yaml");

/// A media type.
pub const JSON: &str = "application/json";

/// A running host.
pub struct World {
    runtime: Runtime,
    host: Host,
}

impl World {
    /// A host without components, with one shard.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(config: Config) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the machine gives threads");
        let mut config = Config {
            shards: 1,
            history_bytes_max: 64 << 20,
            ..config
        };
        // What strangers send is examined by a process of the host's program, which a fuzz target is
        // not.
        config.sandbox.compile.program = std::env::var_os("XCOMPONENT_PROGRAM").map(Into::into);
        let host = runtime
            .block_on(Host::start(config))
            .expect("an empty host starts");
        Self { runtime, host }
    }

    /// The same with the component `Fuzzed` and an instance `box` of it.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn with_component(config: Config) -> Self {
        let world = Self::start(config);
        let path = "/v1/components/Fuzzed";
        let deployed = world.answer("PUT", path, "application/yaml", DEFINITION.as_bytes());
        assert_eq!(deployed, StatusCode::CREATED);
        let path = "/v1/components/Fuzzed/machines/Box/instances";
        let created = world.answer("POST", path, JSON, br#"{"id":"box","context":{}}"#);
        assert_eq!(created, StatusCode::CREATED);
        world
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Sends a request, reads the answer to its end, and says what its status is.
    ///
    /// # Panics
    ///
    /// If the request is none, or the answer does not end.
    pub fn answer(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> StatusCode {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).expect("a method"))
            .uri(path)
            .header("host", "localhost")
            .header("content-type", kind)
            .body(Body::from(body.to_vec()))
            .expect("the request is well-formed");
        let router = self.host.router();
        self.runtime.block_on(async {
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

    /// Ends the host.
    pub fn end(self) {
        let Self { runtime, host } = self;
        runtime.block_on(host.shutdown(std::time::Duration::from_secs(10)));
    }
}
