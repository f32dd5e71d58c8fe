//! What nobody should send: each is a clear 4xx, nothing is changed, nothing is left behind.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
};

use axum::body::Body;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::{
    components::{DOOR, changed, door},
    guests::{Text, guest, text_guest},
    host::{TestHost, packed, request},
    served::serve,
};

const MIB: usize = 1 << 20;

/// A host with a door, and what must be the same afterwards.
struct Before {
    host: TestHost,
    door: String,
    components: Value,
    sandboxes: usize,
}

impl Before {
    async fn new() -> Self {
        let host = TestHost::with(&[("Door", packed(DOOR))]).await;
        let door = host.create("Door", "Door", &json!({"room": "A"})).await;
        let components = host.get("/v1/components/Door").await.json();
        let sandboxes = host.host.sandboxes();
        Self {
            host,
            door,
            components,
            sandboxes,
        }
    }

    async fn nothing_changed(&self) {
        let components = self.host.get("/v1/components/Door").await.json();
        assert_eq!(components, self.components);
        let all = self.host.get("/v1/components").await.json();
        assert_eq!(all["items"].as_array().unwrap().len(), 1);
        assert_eq!(self.host.history(&self.door).await.len(), 1);
        assert_eq!(self.host.host.sandboxes(), self.sandboxes);
        let letters = self.host.get("/v1/dead-letters").await.json();
        assert_eq!(letters["items"], json!([]));
    }
}

#[tokio::test]
async fn what_is_no_component_is_not_uploaded() {
    let before = Before::new().await;
    let order = guest("order");
    let bare = wat::parse_str("(component)").unwrap();
    let imports = r#"(import "acme:secrets/vault@1.0.0" "open" (func $open (result i32)))"#;
    let importing = text_guest(&Text {
        imports,
        answer: "(drop (call $open)) (i32.const 128) (i32.const 2)",
        rest: r#"(data (i32.const 128) "{}")"#,
    });
    let cut = order[..order.len() / 2].to_vec();
    for (component, code) in [
        (b"not wasm".to_vec(), "not_wasm"),
        (Vec::new(), "not_wasm"),
        (wat::parse_str("(module)").unwrap(), "core_module"),
        (bare, "no_definition"),
        (importing, "import_not_allowed"),
        (cut, "malformed_wasm"),
    ] {
        let answer = before.host.upload("Door", component).await;
        assert_eq!(answer.problem(422), code);
    }
    before.nothing_changed().await;
}

#[tokio::test]
async fn an_import_that_is_not_allowed_is_named() {
    let host = TestHost::start().await;
    let imports = r#"(import "acme:secrets/vault@1.0.0" "open" (func $open (result i32)))"#;
    let answer = host.upload(
        "Door",
        text_guest(&Text {
            imports,
            answer: "(drop (call $open)) (i32.const 128) (i32.const 2)",
            rest: r#"(data (i32.const 128) "{}")"#,
        }),
    );
    assert!(
        answer
            .await
            .text("/detail")
            .contains("acme:secrets/vault@1.0.0")
    );
}

#[tokio::test]
async fn ten_mistakes_are_told_at_once_each_with_its_place() {
    let before = Before::new().await;
    let yaml = include_str!("../../core/tests/fixtures/ten-mistakes.yaml");
    let answer = before.host.upload("Door", packed(yaml)).await;
    assert_eq!(answer.problem(422), "invalid_definition");
    let problem = answer.json();
    let errors = problem["errors"].as_array().unwrap().iter();
    let errors: Vec<_> = errors
        .filter(|error| error["severity"] == "error")
        .collect();
    assert_eq!(errors.len(), 10, "{problem}");
    for error in errors {
        assert!(error["line"].as_u64() > Some(0) && error["column"].as_u64() > Some(0));
        assert!(error["code"].is_string() && error["path"].is_string());
    }
    before.nothing_changed().await;
}

#[tokio::test]
async fn a_method_that_nobody_answers_is_named() {
    let before = Before::new().await;
    let order = changed("order", |yaml| {
        yaml.replace("guard: isWorthIt", "guard: isPretty")
    });
    let answer = before.host.upload("OrderComponent", order).await;
    assert_eq!(answer.problem(422), "missing_methods");
    assert!(answer.text("/detail").contains("isPretty"));
    before.nothing_changed().await;
}

#[tokio::test]
async fn an_alias_bomb_is_refused() {
    let before = Before::new().await;
    let mut yaml = "name: Door\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = format!("*a{}, ", level - 1).repeat(9);
        yaml += &format!("a{level}: &a{level} [{}]\n", inner.trim_end_matches(", "));
    }
    let answer = before.host.upload("Door", packed(&yaml)).await;
    assert_eq!(answer.problem(422), "invalid_definition");
    before.nothing_changed().await;
}

/// A body of 200 MiB in pieces of one.
fn two_hundred_mib() -> Body {
    let piece = bytes::Bytes::from(vec![0; MIB]);
    let pieces = stream::iter(0..200).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
    Body::from_stream(pieces)
}

#[tokio::test]
async fn an_upload_of_200_mib_is_refused_before_it_is_read() {
    let before = Before::new().await;
    let never = Body::from_stream(stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let mut announced = request(axum::http::Method::PUT, "/v1/components/Door", never);
    announced
        .headers_mut()
        .insert("content-length", (200 * MIB).into());
    assert_eq!(before.host.ask(announced).await.problem(413), "too_large");
    let body = two_hundred_mib();
    let silent = request(axum::http::Method::PUT, "/v1/components/Door", body);
    assert_eq!(before.host.ask(silent).await.problem(413), "too_large");
    before.nothing_changed().await;
}

#[tokio::test]
async fn a_large_body_is_read_where_nobody_waits_for_it() {
    let host = TestHost::start().await;
    let body = stream::once(async {
        let thread = thread::current();
        let is_aside = thread.name().is_some_and(|name| name == "slow-lane");
        assert!(is_aside, "it is read on {thread:?}");
        Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"{}"))
    });
    let unknown = Body::from_stream(body);
    let sent = request(axum::http::Method::POST, "/v1/events", unknown);
    assert_eq!(host.ask(sent).await.status, 200);
}

#[tokio::test]
async fn a_client_that_sends_it_all_before_it_reads_sees_why() {
    let served = serve(TestHost::start().await).await;
    let address = served.address.clone();
    let asking = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "PUT /v1/components/Door HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            200 * MIB
        );
        stream.write_all(head.as_bytes()).unwrap();
        let piece = vec![0; MIB];
        for _ in 0..200 {
            stream.write_all(&piece).unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = asking.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("too_large"), "{answer}");
    drop(served);
}

#[tokio::test]
async fn a_context_that_breaks_the_schema_names_all_fields() {
    let before = Before::new().await;
    let path = "/v1/components/Door/machines/Door/instances";
    let answer = before
        .host
        .post(path, &json!({"context": {"floor": "two"}}))
        .await;
    assert_eq!(answer.problem(422), "schema");
    let problem = answer.json();
    let fields: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["path"])
        .collect();
    assert_eq!(fields, ["room", "floor"]);
    let merged = before
        .host
        .send(&before.door, "OPEN", &json!({"floor": "two"}))
        .await;
    assert_eq!(merged.problem(422), "schema");
    let state = before.host.instance(&before.door).await;
    assert_eq!(state["state"], "Closed");
}

#[tokio::test]
async fn json_nested_ten_thousand_deep_is_refused() {
    let before = Before::new().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let path = format!("/v1/instances/{}/events", before.door);
    let create = "/v1/components/Door/machines/Door/instances";
    let host = &before.host;
    let inside = host.post_text(
        &path,
        format!(r#"{{"event":"OPEN","payload":{{"a":{deep}}}}}"#),
    );
    assert_eq!(inside.await.problem(422), "invalid_json");
    let outside = host.post_text(&path, deep.clone()).await;
    assert_eq!(outside.problem(400), "invalid_body");
    let context = host.post_text(create, format!(r#"{{"context":{{"room":{deep}}}}}"#));
    assert_eq!(context.await.problem(422), "invalid_json");
    let bulk = host.post_text(
        "/v1/events",
        format!(r#"{{"instance":"x","event":"OPEN","payload":{deep}}}"#),
    );
    assert_eq!(bulk.await.lines()[0]["code"], "invalid_json");
    before.nothing_changed().await;
}

#[tokio::test]
async fn bodies_that_are_not_what_was_expected_are_refused() {
    let before = Before::new().await;
    let path = format!("/v1/instances/{}/events", before.door);
    for (body, status, code) in [
        ("", 400, "invalid_json"),
        ("{", 400, "invalid_json"),
        ("[]", 400, "invalid_body"),
        ("{}", 400, "invalid_body"),
        (r#"{"event":1}"#, 400, "invalid_body"),
        (r#"{"event":""}"#, 400, "invalid_name"),
        (r#"{"event":"OPEN","evnt":1}"#, 400, "invalid_body"),
        (r#"{"event":"OPEN","id":"a b"}"#, 400, "invalid_id"),
        (r#"{"event":"OPEN","payload":[1]}"#, 422, "not_an_object"),
        (
            r#"{"event":"OPEN","payload":{"a":"\u0000"}}"#,
            422,
            "invalid_json",
        ),
    ] {
        let answer = before.host.post_text(&path, body).await;
        assert_eq!(answer.problem(status), code, "{body}");
    }
    let large = format!(
        r#"{{"event":"OPEN","payload":{{"a":"{}"}}}}"#,
        "x".repeat(2 * MIB)
    );
    assert_eq!(
        before.host.post_text(&path, large).await.problem(413),
        "too_large"
    );
    before.nothing_changed().await;
}

#[tokio::test]
async fn unknown_names_are_told_apart() {
    let before = Before::new().await;
    let host = &before.host;
    let create = async |component: &str, machine: &str| {
        let path = format!("/v1/components/{component}/machines/{machine}/instances");
        host.post(&path, &json!({"context": {"room": "A"}})).await
    };
    assert_eq!(
        create("Nobody", "Door").await.problem(404),
        "unknown_component"
    );
    assert_eq!(
        create("Door", "Window").await.problem(404),
        "unknown_machine"
    );
    let event = host.send("nobody", "OPEN", &json!({})).await;
    assert_eq!(event.problem(404), "unknown_instance");
    assert_eq!(
        host.send("a%20b", "OPEN", &json!({})).await.problem(400),
        "invalid_id"
    );
    for path in ["", "/history", "/transitions", "/trace"] {
        let answer = host.get(&format!("/v1/instances/nobody{path}")).await;
        assert_eq!(answer.problem(404), "unknown_instance", "{path}");
    }
    let path = "/v1/components/Door/machines/Window/events";
    let broadcast = host.post(path, &json!({"event": "OPEN"})).await;
    assert_eq!(broadcast.problem(404), "unknown_machine");
    before.nothing_changed().await;
    let ignored = host.send(&before.door, "PAINT", &json!({})).await;
    assert_eq!(ignored.text("/disposition"), "ignored");
    assert_eq!(ignored.text("/reason"), "no_transition");
}

#[tokio::test]
async fn a_good_version_is_accepted_after_all_that() {
    let before = Before::new().await;
    before.host.upload("Door", b"not wasm".to_vec()).await;
    let answer = before.host.upload("Door", packed(&door("1.0.1"))).await;
    assert_eq!(answer.status, 201);
}
