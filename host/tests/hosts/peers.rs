//! Hosts that know each other's addresses.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use futures_util::{FutureExt as _, future::select_all};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    fleet::{BANK, Listening, SHOP, durable, first_of, linked, reserve, url},
    host::{Answer, config, packed, request},
};

/// Calls that a host lets through to another at a time.
const CALLS_MAX: usize = 64;

/// A shop and a bank that know each other.
async fn both() -> (Listening, Listening) {
    let (at_shop, at_bank) = (reserve().await, reserve().await);
    let (shop, bank) = (
        linked("Bank", &url(&at_bank)),
        linked("Shop", &url(&at_shop)),
    );
    let shop = Listening::start(shop, at_shop, SHOP).await;
    let bank = Listening::start(bank, at_bank, BANK).await;
    (shop, bank)
}

fn customer(owner: &str, order: &str) -> Value {
    json!({ "owner": owner, "order": order, "amount": 5 })
}

#[tokio::test]
async fn an_order_here_is_paid_there() {
    let (shop, bank) = both().await;
    let order = shop
        .host
        .create("Shop", "Order", &customer("Ada", "1"))
        .await;
    let account = json!({ "owner": "Ada" });
    let account = bank.host.create("Bank", "Account", &account).await;
    shop.host.send(&order, "PAY", &json!({})).await;
    shop.host.until_state(&order, "Paid").await;
    let charged = bank.host.until_state(&account, "Charged").await;
    assert_eq!(charged["context"]["amount"], 5);
}

#[tokio::test]
async fn an_instance_is_created_there_and_knows_why() {
    let (shop, bank) = both().await;
    let order = shop
        .host
        .create("Shop", "Order", &customer("Ada", "1"))
        .await;
    shop.host.send(&order, "OPEN", &json!({})).await;
    let account = first_of(&bank.host, "Bank").await;
    shop.host.send(&order, "PAY", &json!({})).await;
    shop.host.until_state(&order, "Paid").await;
    let first = &bank.host.history(&account).await[0];
    let opened = &shop.host.history(&order).await[1];
    assert_eq!(first["caused_by"], opened["event"]["id"]);
}

#[tokio::test]
async fn what_is_for_a_host_that_is_away_waits_and_arrives_once_and_in_order() {
    let folders = [TempDir::new(), TempDir::new()].map(|folder| folder.expect("a folder"));
    let (at_shop, at_bank) = (reserve().await, reserve().await);
    let to_bank = url(&at_bank);
    let shop = durable(linked("Bank", &to_bank), folders[0].path());
    let bank = durable(linked("Shop", &url(&at_shop)), folders[1].path());
    let first = Listening::start(bank.clone(), at_bank, BANK).await;
    let account = json!({ "owner": "Ada" });
    let account = first.host.create("Bank", "Account", &account).await;
    let at_bank = first.end().await;
    drop(at_bank);

    let before = Listening::start(shop.clone(), at_shop, SHOP).await;
    let order = before
        .host
        .create("Shop", "Order", &customer("Ada", "1"))
        .await;
    for number in 0..20 {
        let change = json!({ "amount": number });
        before.host.send(&order, "PAY", &change).await;
    }
    let at_shop = before.end().await;
    let after = Listening::start(shop, at_shop, SHOP).await;
    after
        .host
        .send(&order, "PAY", &json!({ "amount": 20 }))
        .await;

    let address = to_bank.trim_start_matches("http://");
    let at_bank = tokio::net::TcpListener::bind(address).await;
    let at_bank = at_bank.expect("the port is still free");
    let bank = Listening::start(bank, at_bank, BANK).await;
    bank.host.until_records(&account, 22).await;
    let history = bank.host.history(&account).await;
    let amounts = history
        .iter()
        .skip(1)
        .map(|record| &record["event"]["payload"]["amount"]);
    assert_eq!(amounts.collect::<Vec<_>>(), (0..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_caller_need_not_know_where_a_component_is() {
    let (shop, bank) = both().await;
    for owner in ["Ada", "Bob"] {
        let account = json!({ "context": { "owner": owner } });
        let path = "/v1/components/Bank/machines/Account/instances";
        let created = shop.host.post(path, &account).await;
        assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    }
    let charge = json!({ "event": "CHARGE", "payload": { "order": "7" } });
    let path = "/v1/components/Bank/machines/Account/events";
    let tally = shop.host.post(path, &charge).await.json();
    assert_eq!(
        (&tally["matched"], &tally["transitioned"]),
        (&json!(2), &json!(2))
    );
    let listed = bank
        .host
        .get("/v1/instances?component=Bank&state=Charged")
        .await;
    assert_eq!(listed.json()["items"].as_array().map(Vec::len), Some(2));
    let other = json!({ "machineName": "Account", "context": { "owner": "Eve" } });
    let created = shop
        .host
        .post("/api/components/Bank/instances", &other)
        .await;
    assert_eq!(created.json()["success"], true);
    let instances = shop.host.get("/api/components/Bank/instances").await.json();
    assert_eq!(instances["instances"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_host_that_is_away_costs_a_caller_nothing_after_a_few_trials() {
    let away = reserve().await;
    let to_bank = url(&away);
    drop(away);
    let at_shop = reserve().await;
    let shop = Listening::start(linked("Bank", &to_bank), at_shop, SHOP).await;
    let charge = json!({ "event": "CHARGE" });
    let path = "/v1/components/Bank/machines/Account/events";
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(shop.host.post(path, &charge).await.status.as_u16());
    }
    assert_eq!(statuses[..3], [502, 502, 502]);
    assert_eq!(statuses[3..], [503, 503]);
    let order = shop
        .host
        .create("Shop", "Order", &customer("Ada", "1"))
        .await;
    shop.host.send(&order, "OPEN", &json!({})).await;
    let metrics = shop.host.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        metrics.contains("xcomponent_outbox{component=\"Bank\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("state=\"open\"} 1"), "{metrics}");
}

/// Calls to it fill what is let through, and the first shipment is with it, while everything here goes
/// on; what waited for it arrives at who is there in its stead.
#[tokio::test]
async fn a_host_that_never_answers_slows_nothing_here() {
    let silent = reserve().await;
    let to_bank = url(&silent);
    let at_shop = reserve().await;
    let bank = linked("Shop", &url(&at_shop));
    let shop = Listening::start(linked("Bank", &to_bank), at_shop, SHOP).await;
    let customer = customer("Ada", "1");
    let order = shop.host.create("Shop", "Order", &customer).await;
    shop.host.send(&order, "OPEN", &json!({})).await;
    let (shipment, _) = silent.accept().await.expect("it is sent");

    let path = "/v1/components/Bank/machines/Account/events";
    let charge = json!({ "event": "CHARGE" });
    let calls = (0..=CALLS_MAX).map(|_| shop.host.post(path, &charge).boxed_local());
    let (refused, _, waiting) = select_all(calls).await;
    assert_eq!(refused.problem(429), "busy");
    for amount in 0..200 {
        let payload = json!({ "amount": amount });
        let sent = shop.host.send(&order, "PAY", &payload).await;
        assert_eq!(sent.status, StatusCode::OK, "{sent:?}");
    }
    let metrics = shop.host.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let outbox = "xcomponent_outbox{component=\"Bank\"} 201";
    assert!(metrics.contains(outbox), "{metrics}");
    assert_eq!(waiting.len(), CALLS_MAX);

    drop((waiting, shipment));
    let bank = Listening::start(bank, silent, BANK).await;
    let account = first_of(&bank.host, "Bank").await;
    bank.host.until_records(&account, 201).await;
}

#[tokio::test]
async fn hosts_with_a_key_let_nobody_else_in() {
    let mut secured = config();
    secured.links.trust.key = Some("secret".into());
    let bank = Listening::start(secured, reserve().await, BANK).await;
    let shipment = json!({ "tenant": "default", "component": "Bank", "stream": "s", "parcels": [{ "number": 1, "deliveries": [] }] });
    let refused = bank.host.post("/v1/shipments", &shipment).await;
    assert_eq!(refused.problem(401), "unauthorized");
}

#[tokio::test]
async fn what_is_no_shipment_is_refused_with_what_is_wrong() {
    let (_, bank) = both().await;
    let parcels = |parcels: Value| json!({ "tenant": "default", "component": "Bank", "stream": "s", "parcels": parcels });
    let twice = json!([{ "number": 2, "deliveries": [] }, { "number": 2, "deliveries": [] }]);
    for wrong in [json!([]), json!({}), parcels(json!([])), parcels(twice)] {
        let refused = bank.host.post("/v1/shipments", &wrong).await;
        assert_eq!(refused.problem(400), "malformed_shipment");
    }
    let elsewhere = json!({ "tenant": "default", "component": "Shop", "stream": "s", "parcels": [{ "number": 1, "deliveries": [] }] });
    let refused = bank.host.post("/v1/shipments", &elsewhere).await;
    assert_eq!(refused.problem(404), "unknown_component");
}

#[tokio::test]
async fn a_component_that_moves_here_gets_what_waits_for_it() {
    let away = reserve().await;
    let to_bank = url(&away);
    drop(away);
    let shop = Listening::start(linked("Bank", &to_bank), reserve().await, SHOP).await;
    let order = shop
        .host
        .create("Shop", "Order", &customer("Ada", "1"))
        .await;
    shop.host.send(&order, "OPEN", &json!({})).await;
    shop.host.upload("Bank", packed(BANK)).await;
    first_of(&shop.host, "Bank").await;
    shop.host.send(&order, "PAY", &json!({})).await;
    shop.host.until_state(&order, "Paid").await;
}

/// What another host is asked by this one, and what comes of its answer.
async fn passed_on(asked: axum::http::Request<Body>, answer: &str) -> (String, Answer) {
    let there = reserve().await;
    let mut config = linked("Bank", &url(&there));
    config.links.trust.key = Some("secret".into());
    let shop = Listening::start(config, reserve().await, SHOP).await;
    let answering = async {
        let (mut stream, _) = there.accept().await.expect("it is asked");
        let mut heard = vec![0; 64 << 10];
        let length = stream.read(&mut heard).await.expect("it asks");
        let written = stream.write_all(answer.as_bytes()).await;
        written.expect("it listens");
        String::from_utf8_lossy(&heard[..length]).into_owned()
    };
    let (heard, answered) = tokio::join!(answering, shop.host.ask(asked));
    (heard.to_lowercase(), answered)
}

#[tokio::test]
async fn another_host_is_asked_what_a_request_means_and_nothing_else() {
    let path = "/v1/components/Bank/machines/Acc%6Funt/instances?limit=5&admin=1";
    let mut asked = request(Method::POST, path, Body::from("{}"));
    for (name, value) in [
        ("authorization", "Bearer mine"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "10.0.0.1"),
        ("idempotency-key", "k-1"),
    ] {
        asked.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nset-cookie: a=b\r\nlocation: http://evil.example\r\nserver: x\r\ncontent-length: 2\r\n\r\n{}";
    let (heard, answered) = passed_on(asked, answer).await;
    let first = "post /v1/components/bank/machines/account/instances?limit=5 http/1.1\r\n";
    assert!(heard.starts_with(first), "{heard}");
    assert!(heard.contains("idempotency-key: k-1"), "{heard}");
    assert!(heard.contains("xcomponent-passed-on: 1"), "{heard}");
    for secret in [
        "authorization",
        "secret",
        "cookie",
        "x-forwarded-for",
        "admin",
    ] {
        assert!(!heard.contains(secret), "{heard}");
    }
    assert_eq!(answered.status, StatusCode::CREATED);
    assert_eq!(answered.body, "{}");
    for foreign in ["set-cookie", "location", "server"] {
        assert!(!answered.headers.contains_key(foreign), "{answered:?}");
    }
}

#[tokio::test]
async fn another_host_leads_nobody_elsewhere() {
    let asked = request(Method::GET, "/api/components/Bank/instances", Body::empty());
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://evil.example\r\ncontent-length: 0\r\n\r\n";
    let (_, answered) = passed_on(asked, answer).await;
    assert_eq!(answered.status, StatusCode::BAD_GATEWAY);
    assert!(!answered.headers.contains_key("location"));
}

#[tokio::test]
async fn what_leads_elsewhere_or_was_passed_on_is_not_passed_on() {
    let there = reserve().await;
    let config = linked("Bank", &url(&there));
    let shop = Listening::start(config, reserve().await, SHOP).await;
    for (method, path) in [
        (Method::POST, "/v1/components/Bank/machines/../instances"),
        (
            Method::POST,
            "/v1/components/Bank/machines/%2e%2e/instances",
        ),
        (Method::POST, "/v1/components/Bank/machines/a%2fb/instances"),
        (
            Method::POST,
            "/v1/components/Bank/machines/%252e%252e/events",
        ),
        (Method::POST, "/api/components/Bank/instances/..%5cx/events"),
        (Method::DELETE, "/v1/components/Bank?version=1"),
        (
            Method::PUT,
            "/v1/components/Bank/machines/Account/instances",
        ),
        (Method::POST, "/v1/components/Bank/activate"),
        (
            Method::GET,
            "/v1/components/Bank/machines/Account/instances/../../x",
        ),
    ] {
        let answer = shop
            .host
            .ask(request(method.clone(), path, Body::from("{}")));
        let answer = answer.await;
        assert!(
            answer.status.is_client_error(),
            "{method} {path}: {answer:?}"
        );
    }
    let path = "/v1/components/Bank/machines/Account/instances";
    let mut again = request(Method::POST, path, Body::from("{}"));
    let once = "1".parse().unwrap();
    again.headers_mut().insert("xcomponent-passed-on", once);
    assert_eq!(shop.host.ask(again).await.problem(404), "unknown_component");
    let nobody = there.accept().now_or_never();
    assert!(nobody.is_none(), "the other host was asked");
}

#[tokio::test]
async fn a_stranger_makes_a_host_keep_no_shipment() {
    let mut secured = config();
    secured.links.trust.key = Some("secret".into());
    let bank = Listening::start(secured, reserve().await, BANK).await;
    // A body that never comes: it is not waited for.
    let endless = Body::from_stream(futures_util::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    let refused = bank
        .host
        .ask(request(Method::POST, "/v1/shipments", endless));
    assert_eq!(refused.await.problem(401), "unauthorized");
}
