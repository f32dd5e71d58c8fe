//! What a host counts of what it sends to others and takes from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::json;
use xcomponent_host::{app::RegistryConfig, authorities::Authorities, cache};
use xcomponent_servers::Redis;

use crate::{
    fleet::{BANK, Listening, SHOP, linked, reserve, url},
    host::{PATIENCE, TestHost},
};

/// Numbers by name and labels, as they are written.
pub(crate) type Numbers = BTreeMap<String, f64>;

/// Reads the exposition line by line, and the kinds of its families by their names.
async fn read(host: &TestHost) -> (Numbers, BTreeMap<String, String>) {
    let answer = host.get("/metrics").await;
    let text = String::from_utf8(answer.body.to_vec()).expect("it is text");
    let text = text.strip_suffix("# EOF\n").expect("it is whole");
    let (mut numbers, mut kinds) = (Numbers::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a kind");
            let before = kinds.insert(name.to_owned(), kind.to_owned());
            assert_eq!(before, None, "{name} comes twice");
        } else if !line.starts_with("# ") {
            let (name, number) = line.rsplit_once(' ').expect("a name and a number");
            let before = numbers.insert(name.to_owned(), number.parse().expect("a number"));
            assert_eq!(before, None, "{name} comes twice");
        }
    }
    (numbers, kinds)
}

/// Waits until a number is so.
pub(crate) async fn until(host: &TestHost, name: &str, is_so: impl Fn(f64) -> bool) -> Numbers {
    let seen = async {
        loop {
            let (numbers, _) = read(host).await;
            if numbers.get(name).is_some_and(|number| is_so(*number)) {
                return numbers;
            }
            tokio::task::yield_now().await;
        }
    };
    let seen = tokio::time::timeout(PATIENCE, seen).await;
    seen.unwrap_or_else(|_| panic!("{name} is never so"))
}

#[tokio::test]
async fn what_waits_for_another_host_is_counted_with_its_age() {
    let (at_shop, at_bank) = (reserve().await, reserve().await);
    let address = url(&at_bank);
    let shop = linked("Bank", &address);
    let bank = linked("Shop", &url(&at_shop));
    drop(at_bank);
    let shop = Listening::start(shop, at_shop, SHOP).await;
    let customer = json!({ "owner": "Ada", "order": "1", "amount": 5 });
    let order = shop.host.create("Shop", "Order", &customer).await;
    shop.host.send(&order, "PAY", &json!({})).await;

    let lag = "xcomponent_outbox_lag_seconds{component=\"Bank\"}";
    let numbers = until(&shop.host, lag, |seconds| seconds > 0.0).await;
    assert_eq!(numbers["xcomponent_outbox{component=\"Bank\"}"], 1.0);
    let name = address.trim_start_matches("http://");
    let open = format!("xcomponent_transport{{transport=\"{name}\",state=\"open\"}}");
    until(&shop.host, &open, |is_so| is_so == 1.0).await;
    let ready = shop.host.get("/readyz").await;
    assert_eq!(
        (ready.status.as_u16(), &ready.json()["status"]),
        (200, &json!("degraded"))
    );

    let at_bank = tokio::net::TcpListener::bind(name).await;
    let bank = Listening::start(bank, at_bank.expect("the port is still free"), BANK).await;
    let numbers = until(&shop.host, lag, |seconds| seconds == 0.0).await;
    assert_eq!(numbers["xcomponent_relayed_total{component=\"Bank\"}"], 1.0);
    let arrived = "xcomponent_relay_duration_seconds_count{component=\"Bank\"}";
    assert_eq!(numbers[arrived], 1.0);
    until(&bank.host, "xcomponent_parcels_taken_in_total", |n| {
        n == 1.0
    })
    .await;
}

#[tokio::test]
async fn what_comes_again_is_known_and_counted() {
    let shop = linked("Bank", "http://127.0.0.1:1");
    let shop = Listening::start(shop, reserve().await, SHOP).await;
    let shipment = json!({
        "tenant": "default", "component": "Shop", "stream": "another/Shop",
        "parcels": [{"number": 3, "deliveries": []}, {"number": 7, "before": 3, "deliveries": []}],
    });
    for _ in 0..3 {
        let taken_in = shop.host.post("/v1/shipments", &shipment).await;
        assert_eq!(taken_in.json(), json!({ "through": 7 }));
    }
    let redelivered = "xcomponent_parcels_redelivered_total";
    let numbers = until(&shop.host, redelivered, |parcels| parcels == 4.0).await;
    assert_eq!(numbers["xcomponent_parcels_taken_in_total"], 2.0);
}

#[tokio::test]
async fn every_number_is_described_and_nothing_else_is() {
    let redis = Redis::start().expect("the server starts");
    let mut shop = linked("Bank", "http://127.0.0.1:1");
    shop.links.registry = Some(RegistryConfig {
        address: redis.url().into(),
        advertised: "http://127.0.0.1:1".to_owned(),
        lease: PATIENCE,
    });
    shop.cache = Some(cache::Config {
        address: redis.url().into(),
        ttl: PATIENCE,
        authorities: Authorities::default(),
    });
    let shop = Listening::start(shop, reserve().await, SHOP).await;
    let (numbers, kinds) = read(&shop.host).await;
    assert!(numbers.values().all(|number| number.is_finite()));
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("METRICS.md");
    let table = std::fs::read_to_string(table).expect("it is there");
    let described = table.lines().filter_map(|line| {
        let mut cells = line.split(" | ");
        let name = cells.next()?.strip_prefix("| `")?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    });
    let described: BTreeSet<_> = described.collect();
    let told = kinds.into_iter().map(|(name, kind)| match &*kind {
        "counter" => (format!("{name}_total"), kind),
        "info" => (format!("{name}_info"), kind),
        _ => (name, kind),
    });
    assert_eq!(told.collect::<BTreeSet<_>>(), described);
}
