//! Every route answers whatever it is sent, in bounded memory: oversized, malformed, compressed,
//! compact and endless.

use std::io::Write as _;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Method, Request},
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use xcomponent_host::memory::{Memory, Purpose};

use crate::{
    components::DOOR,
    host::{Answer, TestHost, config, packed, request},
};

const MIB: usize = 1 << 20;

async fn doors() -> TestHost {
    TestHost::with(&[("Door", packed(DOOR))]).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn encoded(path: &str, body: Vec<u8>, coding: &'static str) -> Request<Body> {
    let mut request = request(Method::POST, path, Body::from(body));
    let coding = HeaderValue::from_static(coding);
    request.headers_mut().insert("content-encoding", coding);
    request
}

/// Every operation that the description has: method and path, its parameters filled with this.
async fn operations(host: &TestHost, parameter: &str) -> Vec<(Method, String)> {
    let document = host.get("/openapi.json").await.json();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parts = path.split('/').map(|part| match part.starts_with('{') {
            true => parameter,
            false => part,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        for method in methods.as_object().unwrap().keys() {
            if ["get", "put", "post", "delete"].contains(&method.as_str()) {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                operations.push((method, path.clone()));
            }
        }
    }
    assert!(operations.len() > 40, "{operations:?}");
    operations
}

/// An error in the words of its route.
fn assert_refused(place: &str, answer: &Answer) {
    assert!(answer.status.is_client_error(), "{place}: {answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    assert!(body["code"].is_string(), "{place}: {answer:?}");
    let is_compatible = place.contains(" /api/");
    assert_eq!(
        body["error"].is_string(),
        is_compatible,
        "{place}: {answer:?}"
    );
}

#[tokio::test]
async fn every_route_refuses_a_path_that_is_no_text() {
    let host = doors().await;
    for parameter in ["%FF", "%C3%28", "a%E4"] {
        for (method, path) in operations(&host, parameter).await {
            if path.contains('%') {
                let place = format!("{method} {path}");
                let answer = host.ask(request(method, &path, Body::from("{}"))).await;
                assert_refused(&place, &answer);
            }
        }
    }
}

#[tokio::test]
async fn every_route_answers_whatever_body_it_is_sent() {
    let host = doors().await;
    let deep = "[".repeat(100_000);
    let twice =
        r#"{"context":{"a":1,"a":2},"payload":{"a":1,"a":2},"event":"OPEN","machineName":"Door"}"#;
    let bodies: [&[u8]; 6] = [
        b"",
        b"\xff\xfe",
        b"{",
        b"[[[[",
        deep.as_bytes(),
        twice.as_bytes(),
    ];
    let mut operations = operations(&host, "Door").await;
    // What others ask about is taken away last.
    operations.sort_by_key(|(method, _)| *method == Method::DELETE);
    for (method, path) in operations {
        for body in bodies {
            let place = format!("{method} {path}");
            let body = Body::from(body.to_vec());
            let answer = host.ask(request(method.clone(), &path, body)).await;
            assert!(!answer.status.is_server_error(), "{place}: {answer:?}");
            assert_eq!(
                answer.headers["x-content-type-options"], "nosniff",
                "{place}"
            );
        }
    }
    assert_eq!(host.get("/v1/instances").await.json()["items"], json!([]));
}

#[tokio::test]
async fn every_route_that_reads_a_body_refuses_one_that_is_too_large() {
    let host = doors().await;
    for (method, path) in operations(&host, "Door").await {
        let reads_none = ["dead-letters", "/rollback", "/unblock"];
        if method != Method::POST || reads_none.iter().any(|route| path.contains(route)) {
            continue;
        }
        let place = format!("{method} {path}");
        let mut request = request(method, &path, Body::from("{}"));
        let huge = HeaderValue::from_static("100000000000");
        request.headers_mut().insert("content-length", huge);
        assert_eq!(host.ask(request).await.status, 413, "{place}");
        let bomb = encoded(&path, gzip(&vec![b' '; 65 * MIB]), "gzip");
        assert_eq!(host.ask(bomb).await.status, 413, "{place}");
    }
}

#[tokio::test]
async fn a_body_costs_what_has_arrived_of_it() {
    let memory = Memory::new(256 << 20);
    let mut config = config();
    config.memory = memory.clone();
    let host = TestHost::start_with(config).await;
    let (body, arriving) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let arriving = ReceiverStream::new(arriving);
    let mut request = request(Method::POST, "/v1/events", Body::from_stream(arriving));
    let promised = HeaderValue::from_static("60000000");
    request.headers_mut().insert("content-length", promised);
    let sending = async {
        for _ in 0..4 {
            let piece = Bytes::from(vec![b' '; 100_000]);
            body.send(Ok(piece)).await.unwrap();
        }
        let used = memory.used(Purpose::Requests);
        assert!((100_000..1_000_000).contains(&used), "{used}");
        drop(body);
    };
    let (answer, ()) = futures_util::join!(host.ask(request), sending);
    assert_eq!(answer.status, 200);
    assert_eq!(memory.used(Purpose::Requests), 0);
}

#[tokio::test]
async fn large_bodies_wait_outside_while_small_ones_come_in() {
    let memory = Memory::new(256 << 20);
    let mut config = config();
    config.memory = memory.clone();
    let host = TestHost::start_with(config).await;
    host.upload("Door", packed(DOOR)).await;
    let held = memory.take(Purpose::Requests, memory.max(Purpose::Requests) / 4 * 3);
    assert!(held.is_some());
    let text = "x".repeat(900_000);
    let path = "/v1/components/Door/machines/Door/instances";
    let large = json!({"context": {"room": "A", "text": text}});
    let refused = host.post(path, &large).await;
    assert_eq!(refused.problem(429), "busy");
    assert_eq!(refused.headers["retry-after"], "1");
    host.create("Door", "Door", &json!({"room": "B"})).await;
    drop(held);
    assert_eq!(host.post(path, &large).await.status, 201);
}

#[tokio::test]
async fn a_page_ends_before_it_is_too_large() {
    let host = doors().await;
    let text = "x".repeat(900_000);
    for room in 0..10 {
        let context = json!({"room": format!("{room}"), "text": text});
        host.create("Door", "Door", &context).await;
    }
    let mut rooms = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = host.get(&format!("/v1/instances?limit=1000{cursor}")).await;
        assert!(answer.body.len() < 6 * MIB);
        let page = answer.json();
        let items = page["items"].as_array().unwrap().iter();
        rooms.extend(items.map(|item| item["context"]["room"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let all: Vec<_> = (0..10).rev().map(|room| room.to_string()).collect();
    assert_eq!(rooms, all);
    let listed = host.get("/api/instances").await;
    assert!(listed.body.len() < 6 * MIB);
    assert_eq!(listed.json()["truncated"], true);
}

#[tokio::test]
async fn a_history_of_large_records_comes_in_pieces() {
    let host = doors().await;
    let text = "x".repeat(900_000);
    let id = host.create("Door", "Door", &json!({"room": "A"})).await;
    for event in ["OPEN", "CLOSE"].into_iter().cycle().take(8) {
        host.send(&id, event, &json!({"text": text})).await;
    }
    let page = host
        .get(&format!("/v1/instances/{id}/history?limit=1000"))
        .await;
    assert!(page.body.len() < 6 * MIB);
    assert!(page.json()["next_cursor"].is_string());
    assert_eq!(host.history(&id).await.len(), 9);
}

#[tokio::test]
async fn a_compressed_body_is_read_and_another_coding_is_named() {
    let host = doors().await;
    let id = host.create("Door", "Door", &json!({"room": "A"})).await;
    let event = json!({"event": "OPEN", "instance": id}).to_string();
    for (path, body) in [
        (
            format!("/v1/instances/{id}/events"),
            json!({"event": "OPEN"}).to_string(),
        ),
        (
            format!("/api/instances/{id}/events"),
            json!({"type": "CLOSE"}).to_string(),
        ),
        ("/v1/events".to_owned(), event.clone()),
    ] {
        let answer = host
            .ask(encoded(&path, gzip(body.as_bytes()), "gzip"))
            .await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let answer = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.contains("transitioned"), "{path}: {answer}");
        let refused = host.ask(encoded(&path, gzip(body.as_bytes()), "br")).await;
        assert_eq!(refused.status, 415, "{path}: {refused:?}");
        assert!(String::from_utf8_lossy(&refused.body).contains("`br`"));
        let broken = host.ask(encoded(&path, body.into_bytes(), "gzip")).await;
        assert_eq!(broken.status, 400, "{path}: {broken:?}");
    }
}

#[tokio::test]
async fn a_byte_order_mark_makes_no_difference() {
    let host = doors().await;
    let id = host.create("Door", "Door", &json!({"room": "A"})).await;
    for (path, body) in [
        (
            format!("/v1/instances/{id}/events"),
            r#"{"event":"OPEN"}"#.to_owned(),
        ),
        (
            format!("/api/instances/{id}/events"),
            r#"{"type":"CLOSE"}"#.to_owned(),
        ),
        (
            "/v1/events".to_owned(),
            json!({"event": "OPEN", "instance": id}).to_string(),
        ),
    ] {
        let answer = host.post_text(&path, format!("\u{feff}{body}")).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains("transitioned"), "{path}: {text}");
    }
}

#[tokio::test]
async fn a_member_that_is_there_twice_is_refused() {
    let host = doors().await;
    let path = "/v1/components/Door/machines/Door/instances";
    let twice = r#"{"context":{"room":"A","room":"B"}}"#;
    let refused = host.post_text(path, twice).await;
    assert_eq!(refused.problem(422), "invalid_json");
    assert!(refused.text("/detail").contains("`room` twice"));
    let id = host.create("Door", "Door", &json!({"room": "A"})).await;
    let event = r#"{"event":"OPEN","payload":{"a":[{"b":1,"b":2}]}}"#;
    let refused = host
        .post_text(&format!("/v1/instances/{id}/events"), event)
        .await;
    assert_eq!(refused.problem(422), "invalid_json");
}

#[tokio::test]
async fn a_search_finds_what_a_context_says() {
    let host = doors().await;
    let path = "/v1/components/Door/machines/Door/instances";
    host.post_text(path, r#"{"id":"a","context":{"room":"K\u00fcche"}}"#)
        .await;
    host.post_text(
        path,
        r#"{"id":"b","context":{"room":"K\u00e4mmerchen \"hinten\""}}"#,
    )
    .await;
    for (text, id) in [("K%C3%BCche", "a"), ("%22hinten%22", "b"), ("room", "a")] {
        let found = host.get(&format!("/v1/instances?q={text}")).await.json();
        let items = found["items"].as_array().unwrap();
        assert!(items.iter().any(|item| item["id"] == id), "{text}: {found}");
    }
}

#[tokio::test]
async fn the_description_suits_generators_of_code() {
    let host = doors().await;
    let document = host.get("/openapi.json").await.json();
    let mut ids = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str();
            ids.push(
                id.unwrap_or_else(|| panic!("{method} {path} has no id"))
                    .to_owned(),
            );
            let responses = &operation["responses"];
            assert!(responses["default"].is_object(), "{method} {path}");
        }
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "each id is there once");
    let context = &document["components"]["schemas"]["Instance"]["properties"]["context"];
    assert!(context.get("additionalProperties").is_some(), "{context}");
}

#[tokio::test]
async fn the_description_shows_what_a_body_looks_like() {
    let host = doors().await;
    let document = host.get("/openapi.json").await.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation.get("parameters");
            assert!(parameters.is_none_or(Value::is_array), "{method} {path}");
            let content = operation["requestBody"]["content"].as_object();
            for (kind, body) in content.into_iter().flatten() {
                if kind != "application/wasm" {
                    assert!(!body["example"].is_null(), "{method} {path}: {kind}");
                }
            }
        }
    }
}

/// The values of a member that a schema, or one that it is made of, says.
fn said(document: &Value, schema: &Value, member: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#'));
        return said(document, schema.unwrap(), member);
    }
    let of = |schema: &Value| said(document, schema, member);
    let parts = ["allOf", "oneOf", "anyOf"].into_iter();
    let parts = parts.filter_map(|kind| schema[kind].as_array()).flatten();
    let mut values: Vec<String> = parts.flat_map(of).collect();
    let own = &schema["properties"][member];
    if !own.is_null() {
        values.extend(of(own));
    }
    let listed = schema["enum"].as_array().into_iter().flatten();
    values.extend(listed.filter_map(Value::as_str).map(str::to_owned));
    values
}

#[tokio::test]
async fn the_description_says_how_answers_of_several_kinds_are_told_apart() {
    let host = doors().await;
    let document = host.get("/openapi.json").await.json();
    for (union, member) in [
        ("Found", "kind"),
        ("StreamMessage", "kind"),
        ("NotSettled", "disposition"),
    ] {
        let either = document["components"]["schemas"][union]["oneOf"].as_array();
        let either = either.unwrap_or_else(|| panic!("{union} is no union"));
        assert!(either.len() > 1, "{union}");
        for one in either {
            assert!(!said(&document, one, member).is_empty(), "{union}: {one}");
        }
    }
    for (query, kind) in [("", "instances"), ("?count=true", "counts")] {
        let found = host.get(&format!("/v1/instances{query}")).await.json();
        assert_eq!(found["kind"], kind);
    }
}

#[tokio::test]
async fn what_is_loaded_has_its_room_until_it_is_read() {
    let memory = Memory::new(256 << 20);
    let mut config = config();
    config.memory = memory.clone();
    let host = TestHost::start_with(config).await;
    host.upload("Door", packed(DOOR)).await;
    let paths = [
        "/v1/components",
        "/v1/components/Door",
        "/v1/components/Door/definition",
        "/v1/components/Door/artifact",
        "/api/components",
        "/api/components/Door",
        "/api/components/Door/machines",
    ];
    for path in paths {
        let unread = host.open(request(Method::GET, path, Body::empty())).await;
        assert_eq!(unread.status(), 200, "{path}");
        assert!(memory.used(Purpose::Answers) > 0, "{path}");
        drop(unread);
        assert_eq!(memory.used(Purpose::Answers), 0, "{path}");
    }
}

#[tokio::test]
async fn a_creation_says_where_the_instance_is() {
    let host = doors().await;
    let path = "/v1/components/Door/machines/Door/instances";
    let created = host.post(path, &json!({"context": {"room": "A"}})).await;
    let location = created.headers["location"].to_str().unwrap();
    assert_eq!(host.get(location).await.json()["id"], created.json()["id"]);
}

#[tokio::test]
async fn the_page_of_the_api_is_framed_by_nobody() {
    let host = doors().await;
    let page = host.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.headers["x-frame-options"], "DENY");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
}

#[tokio::test]
async fn the_numbers_tell_what_memory_is_held_for() {
    let host = doors().await;
    let text = host.get("/metrics").await;
    let text = String::from_utf8_lossy(&text.body).into_owned();
    for purpose in Purpose::ALL {
        for name in ["used", "max"] {
            let line = format!(
                "xcomponent_memory_{name}_bytes{{purpose=\"{}\"}}",
                purpose.as_str()
            );
            assert!(text.contains(&line), "{line}");
        }
    }
}

/// Many machines, each with many states that many transitions leave.
fn wide() -> String {
    let mut yaml = String::from("name: Wide\nversion: 1.0.0\nstateMachines:\n");
    for machine in 0..60 {
        let states: Vec<String> = (0..60).map(|n| format!("{{name: S{n}}}")).collect();
        let ways = (0..60).map(|n| format!("{{from: '*', to: S{n}, event: E{n}}}"));
        let ways: Vec<String> = ways.collect();
        yaml += &format!(
            "  - {{name: M{machine}, initialState: S0, states: [{}], transitions: [{}]}}\n",
            states.join(", "),
            ways.join(", ")
        );
    }
    yaml
}

#[tokio::test]
async fn what_a_star_stands_for_is_not_written_out_where_it_is_much() {
    let host = TestHost::with(&[("Wide", packed(&wide()))]).await;
    for path in [
        "/v1/components",
        "/v1/components/Wide",
        "/v1/components/Wide/diagram?machine=M0&format=svg",
        "/api/components",
        "/api/components/Wide",
        "/api/components/Wide/machines",
        "/api/components/Wide/diagrams/M0",
        "/api/machines/M0/diagram",
    ] {
        let answer = host.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.len() < 2 * MIB, "{path}: {}", answer.body.len());
    }
}

#[tokio::test]
async fn a_line_of_many_does_not_say_everything_that_is_wrong() {
    let option = "x".repeat(500);
    let fields: Vec<String> = (0..100)
        .map(|n| format!("f{n}: {{type: select, options: [{option}]}}"))
        .collect();
    let yaml = format!(
        "name: Form\nversion: 1.0.0\nstateMachines:\n  - name: Form\n    initialState: Open\n    \
         contextSchema: {{{}}}\n    states: [{{name: Open}}]\n    transitions:\n      - {{from: \
         Open, to: Open, event: FILL}}\n",
        fields.join(", ")
    );
    let host = TestHost::with(&[("Form", packed(&yaml))]).await;
    let id = host.create("Form", "Form", &json!({})).await;
    let wrong: serde_json::Map<String, Value> =
        (0..100).map(|n| (format!("f{n}"), json!("y"))).collect();
    let event = json!({"instance": id, "event": "FILL", "payload": wrong});
    let lines = format!("{event}\n").repeat(100);
    let answer = host.post_text("/v1/events", lines).await;
    assert_eq!(answer.status, 200);
    for line in answer.lines() {
        assert_eq!(line["status"], 422, "{line}");
        assert!(line.to_string().len() < 1_500, "{line}");
    }
    let alone = host.send(&id, "FILL", &Value::Object(wrong)).await;
    assert_eq!(alone.status, 422);
    assert!(alone.body.len() < 16 << 10, "{}", alone.body.len());
}

#[tokio::test]
async fn an_upload_must_not_be_compressed() {
    let host = doors().await;
    let body = gzip(DOOR.as_bytes());
    let mut request = encoded("/v1/components/Door", body, "gzip");
    *request.method_mut() = Method::PUT;
    let answer = host.ask(request).await;
    assert_eq!(answer.problem(415), "unsupported_encoding");
}

#[tokio::test]
async fn large_answers_that_are_read_slowly_leave_room_for_small_ones() {
    let memory = Memory::new(256 * MIB);
    let mut config = config();
    config.memory = memory.clone();
    let host = TestHost::start_with(config).await;
    host.upload("Door", packed(DOOR)).await;
    let text = "x".repeat(900_000);
    for room in 0..8 {
        let context = json!({"room": format!("{room}"), "text": text});
        host.create("Door", "Door", &context).await;
    }
    let page = || request(Method::GET, "/v1/instances?limit=1000", Body::empty());
    let mut unread = Vec::new();
    loop {
        let held = memory.used(Purpose::Answers);
        let answer = tokio::time::timeout(std::time::Duration::from_millis(200), host.open(page()));
        match answer.await {
            Ok(answer) => unread.push(answer),
            // It waits for room.
            Err(_) => break,
        }
        assert!(held <= memory.max(Purpose::Answers));
    }
    assert!(!unread.is_empty());
    let small = host.create("Door", "Door", &json!({"room": "small"})).await;
    assert_eq!(
        host.get(&format!("/v1/instances/{small}")).await.status,
        200
    );
}

#[tokio::test]
async fn definitions_of_all_versions_together_have_a_bound() {
    let mut config = config();
    config.memory = Memory::new(256 * MIB);
    let host = TestHost::start_with(config).await;
    let long = |version: &str| {
        let comment = format!("# {}\n", "x".repeat(1_000)).repeat(1_000);
        let yaml = format!(
            "name: Long\nversion: {version}\nstateMachines: [{{name: Long, initialState: A, states: [{{name: A}}], transitions: []}}]\n{comment}"
        );
        packed(&yaml)
    };
    for version in ["1.0.0", "1.1.0"] {
        assert_eq!(host.upload("Long", long(version)).await.status, 201);
    }
    let refused = host.upload("Long", long("1.2.0")).await;
    assert_eq!(refused.problem(409), "too_many_versions");
    // What is there already takes no more room.
    assert_eq!(host.upload("Long", long("1.1.0")).await.status, 200);
}
