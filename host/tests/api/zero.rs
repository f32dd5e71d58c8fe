//! U+0000: no text that callers and guests give may hold it, since no database keeps it. Each is
//! refused or shown as its picture, nothing of it is stored, and the next event commits.

use std::io::{Read as _, Write as _};

use axum::{body::Body, http::Method};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use xcomponent_host::app::{Config, StoreConfig};

use crate::{
    components::{DOOR, door},
    guests::guest,
    host::{Answer, TestHost, config, packed, request},
    served::serve,
};

const DOORS: &str = "/v1/components/Door/machines/Door/instances";
const BROADCAST: &str = "/v1/components/Door/machines/Door/events";
const EVENTS: &str = "/v1/instances/front/events";

/// A host on SQLite with a door of two versions.
struct Kept {
    host: TestHost,
    folder: TempDir,
}

impl Kept {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = Config {
            store: StoreConfig::Sqlite(folder.path().join("host.db")),
            ..config()
        };
        config.limits.breaker = false;
        let host = TestHost::start_with(config).await;
        for version in ["1.0.0", "1.0.1"] {
            let uploaded = host.upload("Door?on-live=pin", packed(&door(version)));
            assert_eq!(uploaded.await.status, 201);
        }
        let door = json!({"id": "front", "context": {"room": "A"}});
        assert_eq!(host.post(DOORS, &door).await.status, 201);
        Self { host, folder }
    }

    /// Asks, and sees that nothing is broken by it.
    async fn ask(&self, method: Method, path: &str, body: &str) -> Answer {
        let answer = request(method.clone(), path, Body::from(body.to_owned()));
        let answer = self.host.ask(answer).await;
        let asked = format!("{method} {path} {body}");
        assert!(!answer.status.is_server_error(), "{asked}: {answer:?}");
        self.next_event_commits(&asked).await;
        answer
    }

    /// The same of something that must be refused with words.
    async fn refused(&self, method: Method, path: &str, body: &str) -> Answer {
        let answer = self.ask(method, path, body).await;
        let asked = format!("{path} {body}: {answer:?}");
        assert!(answer.status.is_client_error(), "{asked}");
        let body = answer.json();
        assert!(body["code"].is_string(), "{asked}");
        answer
    }

    async fn next_event_commits(&self, after: &str) {
        for event in ["OPEN", "CLOSE"] {
            let answer = self.host.send("front", event, &json!({})).await;
            assert_eq!(answer.status, 200, "{event} after {after}: {answer:?}");
            assert_eq!(answer.text("/disposition"), "transitioned", "{after}");
        }
    }

    /// Ends the host, and looks at every text that it kept.
    async fn nothing_is_kept(self) {
        self.host.shutdown().await;
        let database = Connection::open(self.folder.path().join("host.db")).unwrap();
        let columns = "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c
            WHERE m.type = 'table' AND c.type = 'TEXT'";
        let mut columns = database.prepare(columns).unwrap();
        let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let columns: Vec<(String, String)> = columns.unwrap().map(Result::unwrap).collect();
        assert!(columns.contains(&("events".to_owned(), "payload".to_owned())));
        for (table, column) in columns {
            let with_zero = format!(
                "SELECT count(*) FROM {table}
                WHERE instr(CAST({column} AS BLOB), x'00') OR instr({column}, '\\u0000')"
            );
            let n: i64 = database
                .query_row(&with_zero, [], |row| row.get(0))
                .unwrap();
            assert_eq!(n, 0, "{table}.{column}");
        }
    }
}

#[tokio::test]
async fn every_text_of_a_body_is_looked_at() {
    let kept = Kept::start().await;
    for (path, body) in [
        (EVENTS, r#"{"event":"OP\u0000EN"}"#),
        (EVENTS, r#"{"event":"OPEN","id":"a\u0000"}"#),
        (EVENTS, r#"{"event":"OPEN","expected_state":"\u0000"}"#),
        (EVENTS, r#"{"event":"OPEN","payload":{"a":"\u0000"}}"#),
        (EVENTS, r#"{"event":"OPEN","payload":{"\u0000":1}}"#),
        (EVENTS, r#"{"event":"OPEN","\u0000":1}"#),
        (DOORS, r#"{"context":{"room":"\u0000"}}"#),
        (DOORS, r#"{"context":{"room":"A","\u0000":1}}"#),
        (DOORS, r#"{"context":{"room":"A"},"id":"\u0000"}"#),
        (BROADCAST, r#"{"event":"\u0000"}"#),
        (BROADCAST, r#"{"event":"OPEN","state":"\u0000"}"#),
        (BROADCAST, r#"{"event":"OPEN","id":"\u0000"}"#),
        (BROADCAST, r#"{"event":"OPEN","payload":{"a":["\u0000"]}}"#),
        ("/v1/components/Door/activate", r#"{"version":"\u0000"}"#),
        (
            "/v1/components/Door/activate",
            r#"{"version":"1.0.0","on_live":"\u0000"}"#,
        ),
        ("/v1/components/Door/rollback", r#"{"on_live":"\u0000"}"#),
        (
            "/v1/components/Door/migrate",
            r#"{"from":"\u0000","to":"1.0.1"}"#,
        ),
        (
            "/v1/components/Door/migrate",
            r#"{"from":"1.0.1","to":"\u0000"}"#,
        ),
        (
            "/v1/components/Door/migrate",
            r#"{"from":"1.0.1","to":"1.0.0","states":{"Closed":"\u0000"}}"#,
        ),
        (
            "/v1/components/Door/migrate",
            r#"{"from":"1.0.1","to":"1.0.0","states":{"\u0000":"Open"}}"#,
        ),
    ] {
        kept.refused(Method::POST, path, body).await;
        let line = match path {
            EVENTS => body.replacen('{', r#"{"instance":"front","#, 1),
            BROADCAST => body.replacen('{', r#"{"component":"Door","machine":"Door","#, 1),
            _ => continue,
        };
        bulk_refuses(&kept, &line).await;
    }
    for line in [
        r#"{"instance":"\u0000","event":"OPEN"}"#,
        r#"{"component":"\u0000","machine":"Door","event":"OPEN"}"#,
        r#"{"component":"Door","machine":"\u0000","event":"OPEN"}"#,
        r#"{"instance":"front","component":"\u0000","event":"OPEN"}"#,
    ] {
        bulk_refuses(&kept, line).await;
    }
    kept.nothing_is_kept().await;
}

async fn bulk_refuses(kept: &Kept, line: &str) {
    let answer = kept.ask(Method::POST, "/v1/events", line).await;
    let status = answer.lines()[0]["status"].as_u64().unwrap();
    assert!((400..500).contains(&status), "{status} for {line}");
}

#[tokio::test]
async fn every_text_of_a_body_that_compatible_clients_send_is_looked_at() {
    const CREATE: &str = "/api/instances";
    const CREATE_THERE: &str = "/api/components/Door/instances";
    let kept = Kept::start().await;
    for body in [
        r#"{"machineName":"\u0000","context":{"room":"A"}}"#,
        r#"{"machineName":"Door","componentName":"\u0000","context":{"room":"A"}}"#,
        r#"{"machineName":"Door","context":{"room":"\u0000"}}"#,
        r#"{"machineName":"Door","context":{"room":"A","\u0000":1}}"#,
        r#"{"machineName":"Door","context":{"room":"A"},"id":"\u0000"}"#,
    ] {
        kept.refused(Method::POST, CREATE, body).await;
        if !body.contains("componentName") {
            kept.refused(Method::POST, CREATE_THERE, body).await;
        }
    }
    for path in [
        "/api/instances/front/events",
        "/api/instances/front/trigger",
        "/api/components/Door/instances/front/events",
        "/api/components/Door/instances/front/trigger",
    ] {
        for body in [
            r#"{"type":"\u0000"}"#,
            r#"{"event":"\u0000"}"#,
            r#"{"event":{"type":"\u0000"}}"#,
            r#"{"type":"OPEN","id":"\u0000"}"#,
            r#"{"type":"OPEN","payload":{"a":"\u0000"}}"#,
            r#"{"type":"OPEN","payload":{"\u0000":1}}"#,
            r#"{"event":{"type":"OPEN","payload":{"a":"\u0000"},"id":"a"}}"#,
        ] {
            kept.refused(Method::POST, path, body).await;
        }
        // What these clients send beside is not looked at, and not kept.
        for body in [
            r#"{"type":"PAINT","timestamp":"\u0000"}"#,
            r#"{"type":"PAINT","colour":"\u0000"}"#,
        ] {
            assert_eq!(kept.ask(Method::POST, path, body).await.status, 200);
        }
    }
    kept.nothing_is_kept().await;
}

#[tokio::test]
async fn every_part_of_a_path_and_a_query_is_looked_at() {
    let kept = Kept::start().await;
    let open = r#"{"event":"OPEN"}"#;
    let compatible = r#"{"type":"OPEN"}"#;
    let new = r#"{"machineName":"Door","context":{"room":"A"}}"#;
    let context = r#"{"context":{"room":"A"}}"#;
    let version = r#"{"version":"1.0.0"}"#;
    let migration = r#"{"from":"1.0.0","to":"1.0.1"}"#;
    for (method, path, body) in [
        (Method::POST, "/v1/instances/%00/events", open),
        (
            Method::POST,
            "/v1/components/%00/machines/Door/events",
            open,
        ),
        (
            Method::POST,
            "/v1/components/Door/machines/%00/events",
            open,
        ),
        (
            Method::POST,
            "/v1/components/%00/machines/Door/instances",
            context,
        ),
        (
            Method::POST,
            "/v1/components/Door/machines/%00/instances",
            context,
        ),
        (Method::POST, "/v1/components/%00/activate", version),
        (Method::POST, "/v1/components/%00/rollback", ""),
        (Method::POST, "/v1/components/%00/migrate", migration),
        (Method::DELETE, "/v1/components/%00", ""),
        (Method::DELETE, "/v1/components/Door?version=%00", ""),
        (Method::DELETE, "/v1/components/Door?force=%00", ""),
        (Method::POST, "/v1/dead-letters/%00/replay", ""),
        (Method::POST, "/v1/dead-letters/a/replay?instance=%00", ""),
        (Method::DELETE, "/v1/dead-letters/%00", ""),
        (Method::DELETE, "/v1/dead-letters/a?instance=%00", ""),
        (Method::GET, "/v1/events/%00/trace", ""),
        (Method::GET, "/v1/instances?cursor=%00", ""),
        (Method::GET, "/v1/stream?after=%00", ""),
        (Method::POST, "/api/components/%00/instances", new),
        (Method::POST, "/api/instances/%00/events", compatible),
        (Method::POST, "/api/instances/%00/trigger", compatible),
        (
            Method::POST,
            "/api/components/%00/instances/front/events",
            compatible,
        ),
        (
            Method::POST,
            "/api/components/Door/instances/%00/trigger",
            compatible,
        ),
    ] {
        kept.refused(method, path, body).await;
    }
    kept.nothing_is_kept().await;
}

#[tokio::test]
async fn a_search_for_it_finds_nothing() {
    let kept = Kept::start().await;
    for path in [
        "/v1/instances?component=%00",
        "/v1/instances?machine=%00",
        "/v1/instances?state=%00",
        "/v1/instances?version=%00",
        "/v1/instances?q=%00",
        "/v1/instances?where=room:===:%00",
        "/v1/dead-letters?component=%00",
    ] {
        let found = kept.ask(Method::GET, path, "").await.json();
        assert_eq!(found["items"], json!([]), "{path}");
    }
    let replayed = kept.ask(Method::POST, "/v1/dead-letters/replay?component=%00", "");
    assert_eq!(replayed.await.json()["replayed"], 0);
    kept.nothing_is_kept().await;
}

#[tokio::test]
async fn every_text_of_a_definition_is_looked_at() {
    let kept = Kept::start().await;
    let yaml = door("2.0.0");
    for (text, with_zero) in [
        ("name: Door\nversion", "name: \"Do\\0or\"\nversion"),
        ("version: 2.0.0", "version: \"2.0.0\\0\""),
        ("- name: Door", "- name: \"\\0\""),
        ("description: A door", "description: \"\\u0000\""),
        ("initialState: Closed", "initialState: \"\\x00\""),
        ("{name: Open}", "{name: \"Open\\0\"}"),
        ("event: CLOSE", "event: \"\\0\""),
        ("eventProperty: room", "eventProperty: \"\\0\""),
        ("default: 0", "default: \"\\0\""),
        ("description: A door", "description: A\0door"),
        ("states:", "states: # \0\n"),
    ] {
        let changed = yaml.replacen(text, with_zero, 1);
        assert_ne!(changed, yaml, "{text}");
        let mut definition = request(Method::PUT, "/v1/components/Door", changed.clone().into());
        let yaml_type = "application/yaml".parse().unwrap();
        definition.headers_mut().insert("content-type", yaml_type);
        let refused = kept.host.ask(definition).await;
        assert_eq!(refused.problem(422), "invalid_definition", "{with_zero}");
        let refused = kept.host.upload("Door", packed(&changed)).await;
        assert_eq!(refused.problem(422), "invalid_definition", "{with_zero}");
        kept.next_event_commits(with_zero).await;
    }
    let component = packed(DOOR);
    for name in ["%00", "Door?on-live=%00", "Door?dry-run=%00"] {
        let refused = kept.host.upload(name, component.clone()).await;
        assert!(refused.status.is_client_error(), "{name}: {refused:?}");
        kept.next_event_commits(name).await;
    }
    kept.nothing_is_kept().await;
}

#[tokio::test]
async fn no_header_carries_it() {
    let Kept { host, folder } = Kept::start().await;
    let served = serve(host).await;
    let address = served.address.clone();
    let asking = tokio::task::spawn_blocking(move || {
        let ask = |header: &str, event: &str| {
            let body = format!(r#"{{"event":"{event}"}}"#);
            let mut stream = std::net::TcpStream::connect(&address).unwrap();
            let asked = format!(
                "POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(asked.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        for name in ["idempotency-key", "traceparent", "prefer", "content-type"] {
            let refused = ask(&format!("{name}: a\0b"), "OPEN");
            assert!(refused.starts_with("HTTP/1.1 400 "), "{name}: {refused}");
        }
        let opened = ask("idempotency-key: a", "OPEN");
        assert!(
            opened.contains(r#""disposition":"transitioned""#),
            "{opened}"
        );
    });
    asking.await.unwrap();
    drop((served, folder));
}

/// What becomes of each way in which a guest says it.
const WAYS: [(&str, Said); 16] = [
    ("ANSWER", Said::Fault("answer_malformed")),
    ("ANSWER_NAME", Said::Fault("answer_malformed")),
    ("SEND_PAYLOAD", Said::Fault("bad_send")),
    ("SEND_EVENT", Said::Fault("bad_send")),
    ("SEND_TO", Said::Fault("bad_send")),
    ("SEND_TO_COMPONENT", Said::Fault("bad_send")),
    ("BROADCAST_MACHINE", Said::Fault("bad_send")),
    ("BROADCAST_STATE", Said::Fault("bad_send")),
    ("BROADCAST_TO_COMPONENT", Said::Fault("bad_send")),
    ("CREATE_CONTEXT", Said::Fault("bad_send")),
    ("CREATE_MACHINE", Said::Fault("bad_send")),
    ("CANCEL", Said::Nothing),
    ("LOG", Said::Log),
    ("REFUSE", Said::Refusal),
    ("FAIL", Said::Fault("failed")),
    ("PANIC", Said::Fault("trap")),
];

#[derive(Clone, Copy)]
enum Said {
    /// It is a fault.
    Fault(&'static str),
    /// It is a business "no", with a picture in its place.
    Refusal,
    /// It is a line of the history, with a picture in its place.
    Log,
    /// Nobody hears of it.
    Nothing,
}

#[tokio::test]
async fn whatever_a_guest_says_is_looked_at() {
    let kept = Kept::start().await;
    let host = &kept.host;
    assert_eq!(
        host.upload("ZeroComponent", guest("zero")).await.status,
        201
    );
    let id = host.create("ZeroComponent", "Zero", &json!({})).await;
    for (event, said) in WAYS {
        let answer = host.send(&id, event, &json!({})).await;
        match said {
            Said::Fault(code) => {
                assert_eq!(answer.problem(422), "method_failed", "{event}");
                assert_eq!(answer.text("/fault"), code, "{event}");
            }
            Said::Refusal => assert_eq!(answer.problem(422), "a\u{2400}b", "{event}"),
            Said::Log => {
                assert_eq!(answer.status, 200, "{event}: {answer:?}");
                let record = host.history(&id).await.pop().unwrap();
                let message = &record["logs"][0]["message"];
                assert_eq!(message, "a\u{2400}b", "{event}: {record}");
            }
            Said::Nothing => assert_eq!(answer.status, 200, "{event}: {answer:?}"),
        }
        let next = host.send(&id, "PING", &json!({})).await;
        assert_eq!(next.status, 200, "after {event}: {next:?}");
        kept.next_event_commits(event).await;
    }
    let letters: Value = host.get("/v1/dead-letters?limit=100").await.json();
    let faults = WAYS
        .iter()
        .filter(|(_, said)| matches!(said, Said::Fault(_)));
    assert_eq!(letters["items"].as_array().unwrap().len(), faults.count());
    kept.nothing_is_kept().await;
}
