//! A whole host in the test's own process: real sandboxes, the compiler in a process of its own,
//! the HTTP API asked without a port.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, and not every test needs every helper"
)]

use std::{path::PathBuf, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use xcomponent_core::id::{InstanceId, TenantId};
use xcomponent_host::{
    api::Router,
    app::{Config, Host},
    driver::RecordFilter,
};
use xcomponent_pack as pack;

/// Longest wait for something that must happen: only a broken host reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running host and its API.
pub(crate) struct TestHost {
    pub(crate) host: Host,
    router: Router,
}

/// What the API answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The configuration of tests: two shards, a small pool, compiled components kept between tests.
pub(crate) fn config() -> Config {
    let mut config = Config {
        shards: 2,
        slow_threads: 2,
        history_bytes_max: 1 << 30,
        ..Config::default()
    };
    config.sandbox.sandboxes_max = 64;
    config.sandbox.cache_dir =
        Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled-components"));
    config.sandbox.compile.program = Some(PathBuf::from(env!("CARGO_BIN_EXE_xcomponent")));
    config
}

/// A definition without code, packed with the blank guest.
pub(crate) fn packed(yaml: &str) -> Vec<u8> {
    pack::pack(&pack::blank(), yaml, &pack::Metadata::default(), &[])
        .expect("the blank guest can be packed")
}

impl TestHost {
    /// An empty host.
    pub(crate) async fn start() -> Self {
        Self::start_with(config()).await
    }

    /// An empty host that is set up otherwise.
    pub(crate) async fn start_with(config: Config) -> Self {
        Self::of(Host::start(config).await.expect("the host starts"))
    }

    /// A host that runs.
    pub(crate) fn of(host: Host) -> Self {
        let router = host.router();
        Self { host, router }
    }

    /// A host with these components, given as packed bytes, uploaded through the API.
    pub(crate) async fn with(components: &[(&str, Vec<u8>)]) -> Self {
        let host = Self::start().await;
        for (name, component) in components {
            let answer = host.upload(name, component.clone()).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{name}: {answer:?}");
        }
        host
    }

    /// Ends it, so that nothing holds its store any more.
    pub(crate) async fn shutdown(self) {
        drop(self.router);
        assert!(self.host.shutdown(PATIENCE).await, "nothing is cut off");
    }

    /// Asks, as a client on this machine would.
    pub(crate) async fn ask(&self, mut request: Request<Body>) -> Answer {
        let headers = request.headers_mut();
        if !headers.contains_key(header::HOST) {
            headers.insert(header::HOST, header::HeaderValue::from_static("localhost"));
        }
        let answered = tokio::time::timeout(PATIENCE, self.router.clone().oneshot(request));
        let response = answered
            .await
            .expect("an answer comes soon")
            .expect("infallible");
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, to_bytes(body, usize::MAX));
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body
                .await
                .expect("an answer ends soon")
                .expect("it is whole"),
        }
    }

    /// Asks, and gives the answer while its body still comes.
    pub(crate) async fn open(&self, request: Request<Body>) -> axum::response::Response {
        let answered = self.router.clone().oneshot(request);
        answered.await.expect("infallible")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(request(Method::GET, path, Body::empty())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(request(Method::DELETE, path, Body::empty())).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, body.to_string()).await
    }

    pub(crate) async fn post_text(&self, path: &str, body: impl Into<String>) -> Answer {
        self.ask(request(Method::POST, path, Body::from(body.into())))
            .await
    }

    /// Uploads a packed component; `name` may carry a query.
    pub(crate) async fn upload(&self, name: &str, component: Vec<u8>) -> Answer {
        let path = format!("/v1/components/{name}");
        let mut request = request(Method::PUT, &path, Body::from(component));
        let wasm = header::HeaderValue::from_static("application/wasm");
        request.headers_mut().insert(header::CONTENT_TYPE, wasm);
        self.ask(request).await
    }

    /// Creates an instance that must be accepted, and gives its id.
    pub(crate) async fn create(&self, component: &str, machine: &str, context: &Value) -> String {
        let path = format!("/v1/components/{component}/machines/{machine}/instances");
        let answer = self.post(&path, &json!({ "context": context })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.text("/id")
    }

    /// Sends an event to an instance.
    pub(crate) async fn send(&self, instance: &str, event: &str, payload: &Value) -> Answer {
        let path = format!("/v1/instances/{instance}/events");
        self.post(&path, &json!({"event": event, "payload": payload}))
            .await
    }

    /// An instance as it is.
    pub(crate) async fn instance(&self, id: &str) -> Value {
        let answer = self.get(&format!("/v1/instances/{id}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()
    }

    /// Waits until an instance is in a state.
    pub(crate) async fn until_state(&self, id: &str, state: &str) -> Value {
        self.until(id, |instance| instance["state"] == state).await
    }

    /// Waits until so many records are in an instance's history.
    pub(crate) async fn until_records(&self, id: &str, records: usize) -> Value {
        self.until(id, |instance| instance["seq"] == records).await
    }

    /// Waits until an instance is as it should be, looking again after each of its records.
    async fn until(&self, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let filter = RecordFilter {
            instance: Some(InstanceId::parse(id).expect("a legal id")),
            ..RecordFilter::default()
        };
        let tenant = TenantId::default_tenant();
        let mut records = self.host.handle().subscribe(&tenant, filter, None);
        let mut last = Value::Null;
        loop {
            let answer = self.get(&format!("/v1/instances/{id}")).await;
            if answer.status == StatusCode::OK {
                last = answer.json();
                if is_so(&last) {
                    return last;
                }
            }
            let more = tokio::time::timeout(PATIENCE, records.next()).await;
            let more = more.unwrap_or_else(|_| panic!("`{id}` stayed like this: {last}"));
            more.expect("the log reaches back");
        }
    }

    /// Everything that happened to an instance, the first first.
    pub(crate) async fn history(&self, id: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/instances/{id}/history?limit=1000{cursor}");
            let answer = self.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            let page = answer.json();
            all.extend(page["items"].as_array().expect("a list").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        all.reverse();
        all
    }
}

/// A request with a body.
pub(crate) fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::HOST, "localhost");
    request.body(body).expect("a legal request")
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body's lines, each as JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self
            .body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).expect("JSON lines"))
            .collect()
    }

    /// The text at a JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> String {
        let json = self.json();
        let found = json.pointer(pointer).and_then(Value::as_str);
        found
            .unwrap_or_else(|| panic!("no text at {pointer}: {json}"))
            .to_owned()
    }

    /// The problem's code, after checking that it is one, with this status.
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        let kind = self.headers.get(header::CONTENT_TYPE);
        assert_eq!(
            kind.and_then(|kind| kind.to_str().ok()),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].is_string() && problem["request_id"].is_string());
        self.text("/code")
    }
}
