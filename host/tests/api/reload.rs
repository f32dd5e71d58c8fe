//! Versions are switched while events flow.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;
use tokio::sync::watch;

use xcomponent_core::time::Timestamp;
use xcomponent_host::{app::Config, driver::clock::ManualClock};

use crate::{
    components::changed,
    guests::guest,
    host::{TestHost, config},
};

/// Clients that send events as fast as they are answered.
const CLIENTS: usize = 16;

/// Switches from one version to the other.
const SWITCHES: usize = 20;

/// Events that are answered between two switches at least.
const EVENTS_BETWEEN: u64 = 100;

/// What each order is sent, in this order.
const EVENTS: [&str; 4] = ["SUBMIT", "PAYMENT_COMPLETED", "SHIP", "DELIVER"];

/// An order that a client took through, with the ids of its events.
type Order = (String, Vec<String>);

/// Takes one order after the other through, until it is told to stop.
async fn client(
    host: Arc<TestHost>,
    number: usize,
    stop: Arc<AtomicBool>,
    answered: watch::Sender<u64>,
) -> Vec<Order> {
    let mut orders = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let order_id = format!("{number}-{}", orders.len());
        let context = json!({"orderId": order_id, "amount": 10});
        let order = host.create("OrderComponent", "Order", &context).await;
        let mut events = Vec::new();
        for event in EVENTS {
            let id = format!("{order_id}-{event}");
            let path = format!("/v1/instances/{order}/events");
            let body = json!({"event": event, "id": id, "payload": {"orderId": order_id}});
            let answer = host.post(&path, &body).await;
            assert_eq!(answer.status, 200, "{event}: {answer:?}");
            assert_eq!(answer.text("/disposition"), "transitioned");
            events.push(id);
            answered.send_modify(|answered| *answered += 1);
        }
        orders.push((order, events));
    }
    orders
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_switches_under_load_lose_and_repeat_nothing() {
    let newer = changed("order", |yaml| {
        yaml.replace("version: 1.0.0", "version: 1.0.1")
    });
    let host = TestHost::start_with(Config {
        // Time stands still, so that payments are completed by the clients alone.
        clock: Arc::new(ManualClock::start(Timestamp(1_800_000_000_000))),
        ..config()
    });
    let host = Arc::new(host.await);
    for (name, guest_name) in [("OrderComponent", "order"), ("PaymentComponent", "payment")] {
        let uploaded = host.upload(name, guest(guest_name)).await;
        assert_eq!(uploaded.status, 201);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let answered = watch::Sender::new(0);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (host, stop) = (Arc::clone(&host), Arc::clone(&stop));
            tokio::spawn(client(host, number, stop, answered.clone()))
        })
        .collect();

    for switch in 0..SWITCHES {
        let since = *answered.borrow();
        let mut progress = answered.subscribe();
        let more = progress.wait_for(|answered| *answered >= since + EVENTS_BETWEEN);
        tokio::time::timeout(crate::host::PATIENCE, more)
            .await
            .unwrap()
            .unwrap();
        let switched = match switch {
            0 => host.upload("OrderComponent", newer.clone()).await,
            _ if switch % 4 == 3 => {
                host.post_text("/v1/components/OrderComponent/rollback", "")
                    .await
            }
            _ => {
                let version = ["1.0.1", "1.0.0"][switch % 2];
                let path = "/v1/components/OrderComponent/activate";
                host.post(path, &json!({"version": version})).await
            }
        };
        assert!(switched.status.is_success(), "{switched:?}");
        assert_eq!(switched.text("/version"), ["1.0.1", "1.0.0"][switch % 2]);
    }
    stop.store(true, Ordering::Relaxed);

    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    let mut accepted = 0;
    for client in clients {
        for (order, events) in client.await.unwrap() {
            let history = host.history(&order).await;
            let transitions: Vec<_> = history
                .iter()
                .filter(|record| record["kind"] == "transitioned")
                .map(|record| record["event"]["id"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(transitions, events, "{order}");
            accepted += events.len() as u64;
            for record in history {
                let version = record["version"].as_str().unwrap().to_owned();
                *versions.entry(version).or_default() += 1;
            }
        }
    }
    assert_eq!(accepted, *answered.borrow());
    assert!(
        versions["1.0.0"] > 0 && versions["1.0.1"] > 0,
        "{versions:?}"
    );
}
