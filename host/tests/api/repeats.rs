//! A request with a key is carried out once, by whatever way it comes in: one row for each case, one
//! column for each entry point.

use axum::{body::Body, http::Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use xcomponent_host::app::{Config, StoreConfig};

use crate::host::{Answer, TestHost, config, packed, request};

const SHOP: &str = "name: Shop
version: 1.0.0
stateMachines:
- name: A
  initialState: Open
  states: [Open, Part]
  transitions: [{from: [Open, Part], to: Open, event: PAY}]
- name: B
  initialState: Open
  states: [Open]
  transitions: [{from: Open, to: Open, event: PAY}]
";

/// By which way a request comes in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    Event,
    EventByBody,
    BulkEvent,
    ApiEvent,
    ApiTrigger,
    ApiComponentEvent,
    Broadcast,
    BroadcastByBody,
    BulkBroadcast,
    Creation,
    ApiCreation,
    ApiComponentCreation,
}

/// Creations first: a broadcast is not for instances that are created after it.
const ENTRIES: [Entry; 12] = [
    Entry::Creation,
    Entry::ApiCreation,
    Entry::ApiComponentCreation,
    Entry::Event,
    Entry::EventByBody,
    Entry::BulkEvent,
    Entry::ApiEvent,
    Entry::ApiTrigger,
    Entry::ApiComponentEvent,
    Entry::Broadcast,
    Entry::BroadcastByBody,
    Entry::BulkBroadcast,
];

/// What the first request carries.
const FIRST: &str = r#"{"amount":2.50,"from":"a/b","parts":[1,2],"big":12345678901234567890}"#;

/// A second request under the key of the first.
struct Case {
    what: &'static str,
    payload: &'static str,
    target: Target,
    expected: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    /// The first's: machine `A` or an instance of it.
    Same,
    /// Machine `B` or an instance of it.
    Other,
    /// Of a broadcast: machine `A`, with a state filter.
    OtherState,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    /// The first answer, and nothing is done.
    Replayed,
    /// 422 `idempotency_key_reused`, and nothing is done.
    Reused,
    /// A key belongs to its target: it is carried out there, or refused as reused.
    OwnOrReused,
}

const CASES: [Case; 9] = [
    Case {
        what: "the same text",
        payload: FIRST,
        target: Target::Same,
        expected: Expected::Replayed,
    },
    Case {
        what: "spaces",
        payload: r#"{ "amount": 2.50, "from": "a/b", "parts": [ 1, 2 ], "big": 12345678901234567890 }"#,
        target: Target::Same,
        expected: Expected::Replayed,
    },
    Case {
        what: "another order of members",
        payload: r#"{"big":12345678901234567890,"parts":[1,2],"from":"a/b","amount":2.50}"#,
        target: Target::Same,
        expected: Expected::Replayed,
    },
    Case {
        what: "escapes",
        payload: r#"{"\u0061mount":2.50,"from":"a\/b","parts":[1,2],"big":12345678901234567890}"#,
        target: Target::Same,
        expected: Expected::Replayed,
    },
    Case {
        what: "numbers in another form",
        payload: r#"{"amount":25e-1,"from":"a/b","parts":[1.0,2],"big":1.2345678901234567890e19}"#,
        target: Target::Same,
        expected: Expected::Replayed,
    },
    Case {
        what: "another amount",
        payload: r#"{"amount":9.99,"from":"a/b","parts":[1,2],"big":12345678901234567890}"#,
        target: Target::Same,
        expected: Expected::Reused,
    },
    Case {
        what: "a number that a double cannot tell apart",
        payload: r#"{"amount":2.50,"from":"a/b","parts":[1,2],"big":12345678901234567891}"#,
        target: Target::Same,
        expected: Expected::Reused,
    },
    Case {
        what: "another target",
        payload: FIRST,
        target: Target::Other,
        expected: Expected::OwnOrReused,
    },
    Case {
        what: "another state filter",
        payload: FIRST,
        target: Target::OtherState,
        expected: Expected::Reused,
    },
];

/// What was answered.
#[derive(Debug)]
struct Outcome {
    status: u64,
    code: Value,
    replayed: bool,
}

impl Entry {
    fn is_broadcast(self) -> bool {
        matches!(
            self,
            Self::Broadcast | Self::BroadcastByBody | Self::BulkBroadcast
        )
    }

    async fn ask(self, host: &TestHost, target: Target, key: &str, payload: &str) -> Outcome {
        let machine = if target == Target::Other { "B" } else { "A" };
        let instance = machine.to_lowercase();
        let state = match target {
            Target::OtherState => r#","state":"Open""#,
            Target::Same | Target::Other => "",
        };
        let event = format!(r#""event":"PAY","payload":{payload}{state}"#);
        let by_type = format!(r#"{{"type":"PAY","payload":{payload}}}"#);
        let id = format!(r#""id":"{key}""#);
        let new = format!(r#"{{"machineName":"{machine}","context":{payload}}}"#);
        let broadcasts = format!("/v1/components/Shop/machines/{machine}/events");
        let (path, body, in_header) = match self {
            Self::Event => (
                format!("/v1/instances/{instance}/events"),
                format!("{{{event}}}"),
                true,
            ),
            Self::EventByBody => (
                format!("/v1/instances/{instance}/events"),
                format!("{{{event},{id}}}"),
                false,
            ),
            Self::BulkEvent => {
                let line = format!(r#"{{"instance":"{instance}",{event},{id}}}"#);
                ("/v1/events".to_owned(), line, false)
            }
            Self::ApiEvent => (format!("/api/instances/{instance}/events"), by_type, true),
            Self::ApiTrigger => (format!("/api/instances/{instance}/trigger"), by_type, true),
            Self::ApiComponentEvent => (
                format!("/api/components/Shop/instances/{instance}/events"),
                by_type,
                true,
            ),
            Self::Broadcast => (broadcasts, format!("{{{event}}}"), true),
            Self::BroadcastByBody => (broadcasts, format!("{{{event},{id}}}"), false),
            Self::BulkBroadcast => {
                let line = format!(r#"{{"component":"Shop","machine":"{machine}",{event},{id}}}"#);
                ("/v1/events".to_owned(), line, false)
            }
            Self::Creation => {
                let path = format!("/v1/components/Shop/machines/{machine}/instances");
                (path, format!(r#"{{"context":{payload}}}"#), true)
            }
            Self::ApiCreation => ("/api/instances".to_owned(), new, true),
            Self::ApiComponentCreation => ("/api/components/Shop/instances".to_owned(), new, true),
        };
        let mut request = request(Method::POST, &path, Body::from(body));
        if in_header {
            let headers = request.headers_mut();
            headers.insert("idempotency-key", key.parse().unwrap());
        }
        let answer = host.ask(request).await;
        match self {
            Self::BulkEvent | Self::BulkBroadcast => {
                let line = answer.lines().remove(0);
                Outcome {
                    status: line["status"].as_u64().unwrap(),
                    code: line["code"].clone(),
                    replayed: line["replayed"] == true,
                }
            }
            _ => Outcome::of(&answer),
        }
    }
}

impl Outcome {
    fn of(answer: &Answer) -> Self {
        let replayed = answer.headers.get("idempotency-replayed");
        Self {
            status: answer.status.as_u16().into(),
            code: answer.json()["code"].clone(),
            replayed: replayed.is_some_and(|replayed| replayed == "true"),
        }
    }
}

/// How much was done: every creation and every event at an instance is one.
async fn done(host: &TestHost) -> u64 {
    let page = host.get("/v1/instances?limit=1000").await.json();
    assert!(page["next_cursor"].is_null());
    let instances = page["items"].as_array().unwrap().iter();
    instances
        .map(|instance| instance["seq"].as_u64().unwrap())
        .sum()
}

async fn shop(config: Config) -> TestHost {
    let host = TestHost::start_with(config).await;
    assert_eq!(host.upload("Shop", packed(SHOP)).await.status, 201);
    for machine in ["A", "B"] {
        let path = format!("/v1/components/Shop/machines/{machine}/instances");
        let created = host
            .post(&path, &json!({ "id": machine.to_lowercase() }))
            .await;
        assert_eq!(created.status, 201);
    }
    host
}

/// Every case at every entry point.
fn table() -> impl Iterator<Item = (Entry, usize, &'static Case)> {
    let entries = ENTRIES.into_iter();
    let all = entries.flat_map(|entry| {
        let cases = CASES.iter().enumerate();
        cases.map(move |(row, case)| (entry, row, case))
    });
    all.filter(|(entry, _, case)| case.target != Target::OtherState || entry.is_broadcast())
}

fn key(entry: Entry, row: usize) -> String {
    format!("{entry:?}-{row}")
}

async fn ask_first(host: &TestHost) {
    for (entry, row, case) in table() {
        let before = done(host).await;
        let first = entry.ask(host, Target::Same, &key(entry, row), FIRST).await;
        assert!(
            first.status < 300 && !first.replayed,
            "{entry:?} {}: {first:?}",
            case.what
        );
        assert!(done(host).await > before, "{entry:?} {}", case.what);
    }
}

async fn ask_again(host: &TestHost) {
    let mut wrong = Vec::new();
    for (entry, row, case) in table() {
        let before = done(host).await;
        let again = entry
            .ask(host, case.target, &key(entry, row), case.payload)
            .await;
        let is_done = done(host).await > before;
        let is_replayed = again.status == 200 && again.replayed && !is_done;
        let is_reused = again.status == 422 && again.code == "idempotency_key_reused" && !is_done;
        let is_own = again.status < 300 && !again.replayed && is_done;
        let is_right = match case.expected {
            Expected::Replayed => is_replayed,
            Expected::Reused => is_reused,
            Expected::OwnOrReused => is_own || is_reused,
        };
        if !is_right {
            wrong.push(format!(
                "{entry:?}, {}: {again:?}, done: {is_done}",
                case.what
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_request_with_a_key_is_carried_out_once_by_whatever_way_it_comes() {
    let host = shop(config()).await;
    ask_first(&host).await;
    ask_again(&host).await;
}

#[tokio::test]
async fn keys_that_no_memory_is_left_for_are_known_all_the_same() {
    let mut config = config();
    config.limits.remembered_bytes_max = 256;
    let host = shop(config).await;
    ask_first(&host).await;
    ask_again(&host).await;
}

#[tokio::test]
async fn keys_are_known_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let kept = || Config {
        store: StoreConfig::Sqlite(folder.path().join("host.db")),
        seal_key: Some(folder.path().join("seal.key")),
        ..config()
    };
    let host = shop(kept()).await;
    ask_first(&host).await;
    host.shutdown().await;
    let host = TestHost::start_with(kept()).await;
    ask_again(&host).await;
}

#[tokio::test]
async fn a_key_and_an_id_that_differ_are_refused_everywhere() {
    let host = shop(config()).await;
    let body = |members: &str| format!(r#"{{"id":"one",{members}}}"#);
    for (path, body) in [
        ("/v1/instances/a/events", body(r#""event":"PAY""#)),
        (
            "/v1/components/Shop/machines/A/events",
            body(r#""event":"PAY""#),
        ),
        (
            "/v1/components/Shop/machines/A/instances",
            body(r#""context":{}"#),
        ),
        ("/api/instances/a/events", body(r#""type":"PAY""#)),
        ("/api/instances", body(r#""machineName":"A""#)),
    ] {
        let mut request = request(Method::POST, path, Body::from(body));
        let headers = request.headers_mut();
        headers.insert("idempotency-key", "other".parse().unwrap());
        let outcome = Outcome::of(&host.ask(request).await);
        assert_eq!(
            (outcome.status, outcome.code),
            (400, json!("two_ids")),
            "{path}"
        );
    }
}
