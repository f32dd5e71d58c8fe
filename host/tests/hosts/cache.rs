//! Copies of instances in Redis, for who would otherwise ask the host.

use std::time::Duration;

use axum::http::StatusCode;
use redis::{AsyncCommands as _, aio::MultiplexedConnection};
use serde_json::{Value, json};
use xcomponent_host::{app::Config, authorities::Authorities, cache};
use xcomponent_servers::Redis;

use crate::host::{PATIENCE, TestHost, config, packed};

const SHOP: &str = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: Created
  states: [Created, Paid, {name: Shipped, type: final}]
  transitions:
  - {from: Created, to: Paid, event: PAY}
  - {from: Paid, to: Paid, event: PAY}
  - {from: Paid, to: Shipped, event: SHIP}
";

/// How long copies live.
const TTL: Duration = Duration::from_secs(600);

/// Somebody who reads copies.
struct Reader(MultiplexedConnection);

impl Reader {
    async fn new(server: &Redis) -> Self {
        let client = redis::Client::open(server.url()).expect("it is a URL");
        let connected = client.get_multiplexed_async_connection().await;
        Self(connected.expect("it lets readers in"))
    }

    async fn get(&mut self, id: &str) -> Option<Value> {
        let text: Option<String> = self.0.get(key(id)).await.expect("it answers");
        text.map(|text| serde_json::from_str(&text).expect("a copy is JSON"))
    }

    async fn plant(&mut self, id: &str, value: &Value) {
        let set = self.0.set::<_, _, ()>(key(id), value.to_string());
        set.await.expect("it answers");
    }

    /// Asks until a copy is as it should be.
    async fn until(&mut self, id: &str, is_so: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
        let asked = async {
            loop {
                let found = self.get(id).await;
                if is_so(found.as_ref()) {
                    return found;
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, asked).await;
        found.unwrap_or_else(|_| panic!("the copy of {id} is not as it should be"))
    }

    async fn until_state(&mut self, id: &str, state: &str) -> Value {
        let found = self.until(id, |found| {
            found.is_some_and(|found| found["state"] == state)
        });
        found.await.expect("there is a copy")
    }
}

fn key(id: &str) -> String {
    format!("xcomponent:instance:default:{id}")
}

fn cached(server: &Redis) -> Config {
    let cache = Some(cache::Config {
        address: server.url().into(),
        ttl: TTL,
        authorities: Authorities::default(),
    });
    Config { cache, ..config() }
}

async fn shop(server: &Redis) -> TestHost {
    let host = TestHost::start_with(cached(server)).await;
    let uploaded = host.upload("Shop", packed(SHOP)).await;
    assert_eq!(uploaded.status, StatusCode::CREATED);
    host
}

async fn send(host: &TestHost, id: &str, event: &str) {
    let sent = host.send(id, event, &json!({})).await;
    assert_eq!(sent.status, StatusCode::OK, "{sent:?}");
}

#[tokio::test]
async fn a_reader_finds_what_the_host_would_answer() {
    let server = Redis::start().unwrap();
    let host = shop(&server).await;
    let mut reader = Reader::new(&server).await;
    let order = host.create("Shop", "Order", &json!({"total": 7})).await;
    for (event, state) in [("PAY", "Paid"), ("SHIP", "Shipped")] {
        send(&host, &order, event).await;
        let found = reader.until_state(&order, state).await;
        assert_eq!(found, host.instance(&order).await);
        let left: u64 = reader.0.pttl(key(&order)).await.unwrap();
        assert!(left > 0 && left <= 600_000, "{left}");
    }
    host.delete(&format!("/v1/instances/{order}")).await;
    reader.until(&order, |found| found.is_none()).await;
    let health = host.get("/readyz").await.json();
    assert_eq!(health["status"], "ok");
    let metrics = host.get("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let failures = "xcomponent_cache_failures_total 0";
    assert!(metrics.contains(failures), "{metrics}");
}

#[tokio::test]
async fn a_cache_that_is_away_delays_nobody_and_is_right_afterwards() {
    let mut server = Redis::start().unwrap();
    let host = shop(&server).await;
    let mut reader = Reader::new(&server).await;
    let order = host.create("Shop", "Order", &json!({})).await;
    let other = host.create("Shop", "Order", &json!({})).await;
    reader.until_state(&order, "Created").await;
    reader.until_state(&other, "Created").await;
    server.kill().unwrap();
    send(&host, &order, "PAY").await;
    let seen = tokio::time::timeout(PATIENCE, async {
        while host.get("/readyz").await.json()["status"] == "ok" {
            tokio::task::yield_now().await;
        }
    });
    seen.await.unwrap();
    // Work goes on.
    send(&host, &order, "SHIP").await;
    let degraded = host.get("/readyz").await;
    assert_eq!(degraded.status, StatusCode::OK);
    assert_eq!(degraded.text("/reasons/0/part"), "cache");
    server.restart().unwrap();
    let mut reader = Reader::new(&server).await;
    let found = reader.until_state(&order, "Shipped").await;
    assert_eq!(found, host.instance(&order).await);
    // Nobody knows whether what was there before is what it should be.
    assert_eq!(reader.get(&other).await, None);
    send(&host, &other, "PAY").await;
    reader.until_state(&other, "Paid").await;
    assert_eq!(host.get("/readyz").await.json()["status"], "ok");
}

#[tokio::test]
async fn what_a_host_before_left_there_is_removed() {
    let server = Redis::start().unwrap();
    let mut reader = Reader::new(&server).await;
    for n in 0..1_200 {
        reader.plant(&format!("old-{n}"), &json!({"seq": 1})).await;
    }
    let kept: () = reader.0.set("somebody:else", "1").await.unwrap();
    let _host = shop(&server).await;
    for n in 0..1_200 {
        reader
            .until(&format!("old-{n}"), |found| found.is_none())
            .await;
    }
    let theirs: Option<String> = reader.0.get("somebody:else").await.unwrap();
    assert_eq!((kept, theirs.as_deref()), ((), Some("1")));
}

#[tokio::test]
async fn an_older_state_does_not_replace_a_newer_one() {
    let server = Redis::start().unwrap();
    let host = shop(&server).await;
    let mut reader = Reader::new(&server).await;
    let (order, other) = (
        host.create("Shop", "Order", &json!({})).await,
        host.create("Shop", "Order", &json!({})).await,
    );
    reader.until_state(&other, "Created").await;
    reader.until_state(&order, "Created").await;
    // Of a host that went on while this one stood still.
    reader
        .plant(&order, &json!({"seq": 9, "state": "Later"}))
        .await;
    send(&host, &order, "PAY").await;
    send(&host, &other, "PAY").await;
    reader.until_state(&other, "Paid").await;
    send(&host, &other, "SHIP").await;
    reader.until_state(&other, "Shipped").await;
    assert_eq!(reader.get(&order).await.unwrap()["state"], "Later");
}

#[tokio::test]
async fn a_host_that_ends_copies_what_it_did_last() {
    let server = Redis::start().unwrap();
    let host = shop(&server).await;
    let mut reader = Reader::new(&server).await;
    let mut orders = Vec::new();
    for _ in 0..50 {
        orders.push(host.create("Shop", "Order", &json!({})).await);
    }
    for order in &orders {
        send(&host, order, "PAY").await;
    }
    host.shutdown().await;
    for order in &orders {
        assert_eq!(reader.get(order).await.unwrap()["state"], "Paid");
    }
}
