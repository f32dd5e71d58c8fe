//! One trace: from a caller through an order here and its payment there, and back.

use axum::{body::Body, http::Method};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use xcomponent_host::{app::Config, authorities::Authorities, telemetry};
use xcomponent_servers::{Nats, Redis};

use crate::{
    collector::{Collector, Span, hex},
    fleet::{BANK, Listening, SHOP, customer, linked, reserve, url},
    guests::guest,
    host::{TestHost, config, request},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const STATE: &str = "congo=t61rcWkgMzE";

/// A host that tells its spans.
fn traced(config: Config, collector: &Collector, name: &str, sample: f64) -> Config {
    let endpoint = collector.endpoint(name);
    Config {
        telemetry: Some(telemetry::Config {
            endpoint: endpoint.into(),
            sample,
            authorities: Authorities::default(),
        }),
        ..config
    }
}

/// Sends an event as somebody whose trace is wanted, or is not.
async fn send(host: &TestHost, instance: &str, event: &str, flags: &str) {
    let path = format!("/v1/instances/{instance}/events");
    let body = json!({ "event": event }).to_string();
    let mut request = request(Method::POST, &path, Body::from(body));
    let headers = request.headers_mut();
    let parent = format!("00-{TRACE}-{CALLER}-{flags}");
    headers.insert("traceparent", parent.parse().expect("it is a header"));
    headers.insert("tracestate", STATE.parse().expect("it is a header"));
    let answer = host.ask(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The one span of a host that is called so.
fn named<'s>(spans: &'s [Span], host: &str, name: &str) -> &'s Span {
    let mut found = spans
        .iter()
        .filter(|span| span.host == host && span.span.name == name);
    let first = found.next();
    assert!(
        found.next().is_none(),
        "there are two of {name}: {spans:#?}"
    );
    first.unwrap_or_else(|| panic!("{host} has no {name}: {spans:#?}"))
}

/// From the caller on, each of these is the child of the one before.
fn expect_chain(spans: &[Span], chain: &[(&str, &str, SpanKind)]) {
    let mut parent = CALLER.to_owned();
    for (host, name, kind) in chain {
        let span = named(spans, host, name);
        assert_eq!(hex(&span.span.parent_span_id), parent, "{name}: {spans:#?}");
        assert_eq!(span.kind(), *kind, "{name}");
        assert_eq!(span.span.trace_state, STATE, "{name}");
        assert!(span.span.start_time_unix_nano <= span.span.end_time_unix_nano);
        parent = hex(&span.span.span_id);
    }
}

/// An order here is paid there.
async fn is_one_trace(
    collector: Collector,
    shop: Config,
    bank: Config,
    at: [tokio::net::TcpListener; 2],
) {
    let [at_shop, at_bank] = at;
    let shop = Listening::start(traced(shop, &collector, "shop", 0.0), at_shop, SHOP).await;
    let bank = Listening::start(traced(bank, &collector, "bank", 0.0), at_bank, BANK).await;
    let order = shop.host.create("Shop", "Order", &customer("1")).await;
    let account = json!({ "owner": "Ada" });
    bank.host.create("Bank", "Account", &account).await;
    send(&shop.host, &order, "PAY", "01").await;
    shop.host.until_state(&order, "Paid").await;

    let chain = [
        ("shop", "POST /v1/instances/{id}/events", SpanKind::Server),
        ("shop", "Shop/Order PAY", SpanKind::Internal),
        ("shop", "send to Bank", SpanKind::Producer),
        ("bank", "take in for Bank", SpanKind::Consumer),
        ("bank", "Bank/Account CHARGE", SpanKind::Internal),
        ("bank", "send to Shop", SpanKind::Producer),
        ("shop", "take in for Shop", SpanKind::Consumer),
        ("shop", "Shop/Order CHARGED", SpanKind::Internal),
    ];
    let spans = collector.trace(TRACE, chain.len()).await;
    expect_chain(&spans, &chain);
    assert_eq!(
        collector.all().len(),
        chain.len(),
        "nobody wants other traces"
    );
    let paid = named(&spans, "shop", "Shop/Order CHARGED");
    for (name, value) in [
        ("xcomponent.component", "Shop"),
        ("xcomponent.machine", "Order"),
        ("xcomponent.instance", &*order),
        ("xcomponent.event", "CHARGED"),
        ("xcomponent.from", "Charging"),
        ("xcomponent.to", "Paid"),
        ("xcomponent.disposition", "transitioned"),
    ] {
        assert_eq!(paid.attribute(name), value);
    }
    let names = paid.resource.attributes.iter().map(|one| one.key.as_str());
    assert!(names.into_iter().any(|name| name == "service.name"));
}

#[tokio::test]
async fn an_order_and_its_payment_on_another_host_are_one_trace() {
    let at = [reserve().await, reserve().await];
    let shop = linked("Bank", &url(&at[1]));
    let bank = linked("Shop", &url(&at[0]));
    is_one_trace(Collector::start().await, shop, bank, at).await;
}

fn through(broker: String) -> Config {
    let mut config = config();
    config.links.broker = Some(broker.into());
    config
}

#[tokio::test]
async fn so_they_are_over_redis_streams() {
    let redis = Redis::start().expect("Redis starts");
    let address = redis.url().replacen("redis://", "redis+streams://", 1);
    let [shop, bank] = [(); 2].map(|()| through(address.clone()));
    let at = [reserve().await, reserve().await];
    is_one_trace(Collector::start().await, shop, bank, at).await;
}

#[tokio::test]
async fn so_they_are_over_nats() {
    let nats = Nats::start().expect("NATS starts");
    let [shop, bank] = [(); 2].map(|()| through(nats.url()));
    let at = [reserve().await, reserve().await];
    is_one_trace(Collector::start().await, shop, bank, at).await;
}

#[tokio::test]
async fn methods_and_timers_are_part_of_it() {
    let collector = Collector::start().await;
    let at = [reserve().await, reserve().await];
    let order = traced(
        linked("PaymentComponent", &url(&at[1])),
        &collector,
        "order",
        0.0,
    );
    let payment = traced(
        linked("OrderComponent", &url(&at[0])),
        &collector,
        "payment",
        0.0,
    );
    let [at_order, at_payment] = at;
    let here = Listening::with(order, at_order, "OrderComponent", guest("order")).await;
    let there = Listening::with(payment, at_payment, "PaymentComponent", guest("payment")).await;
    let context = json!({ "orderId": "O-1", "amount": 25, "method": "visa" });
    let id = here.host.create("OrderComponent", "Order", &context).await;
    send(&here.host, &id, "SUBMIT", "01").await;
    here.host.until_state(&id, "Paid").await;

    let chain = [
        ("order", "POST /v1/instances/{id}/events", SpanKind::Server),
        ("order", "OrderComponent/Order SUBMIT", SpanKind::Internal),
        ("order", "send to PaymentComponent", SpanKind::Producer),
        (
            "payment",
            "take in for PaymentComponent",
            SpanKind::Consumer,
        ),
        (
            "payment",
            "PaymentComponent/Payment $created",
            SpanKind::Internal,
        ),
        (
            "payment",
            "PaymentComponent/Payment VALIDATED",
            SpanKind::Internal,
        ),
        ("payment", "send to OrderComponent", SpanKind::Producer),
        ("order", "take in for OrderComponent", SpanKind::Consumer),
        (
            "order",
            "OrderComponent/Order PAYMENT_COMPLETED",
            SpanKind::Internal,
        ),
    ];
    let methods = [
        ("order", "guard isWorthIt", chain[1]),
        ("payment", "action checkPaymentMethod", chain[4]),
    ];
    let settled = ("payment", "PaymentComponent/Payment SETTLED", chain[5]);
    let spans = collector
        .trace(TRACE, chain.len() + methods.len() + 1)
        .await;
    expect_chain(&spans, &chain);
    let (host, name, (_, validated, _)) = settled;
    let (settled, validated) = (named(&spans, host, name), named(&spans, host, validated));
    assert_eq!(settled.span.parent_span_id, validated.span.span_id);
    for (host, name, (_, transition, _)) in methods {
        let (method, transition) = (named(&spans, host, name), named(&spans, host, transition));
        assert_eq!(method.span.parent_span_id, transition.span.span_id);
        assert_ne!(method.attribute("xcomponent.fuel"), "0");
    }
    drop(there);
}

#[tokio::test]
async fn a_trace_that_nobody_wants_is_not_told() {
    let collector = Collector::start().await;
    let config = traced(config(), &collector, "shop", 0.0);
    let shop = Listening::start(config, reserve().await, SHOP).await;
    let order = shop.host.create("Shop", "Order", &customer("1")).await;
    send(&shop.host, &order, "PAY", "00").await;
    send(&shop.host, &order, "PAY", "01").await;
    let chain = [
        ("shop", "POST /v1/instances/{id}/events", SpanKind::Server),
        ("shop", "Shop/Order PAY", SpanKind::Internal),
        ("shop", "Bank CHARGE", SpanKind::Internal),
    ];
    let spans = collector.trace(TRACE, chain.len()).await;
    expect_chain(&spans, &chain);
    let parked = &named(&spans, "shop", "Bank CHARGE").span.status;
    let why = parked.as_ref().map(|status| status.message.as_str());
    assert_eq!(why, Some("unknown_target"), "nobody knows where a bank is");
}

#[tokio::test]
async fn a_part_of_what_has_no_trace_begins_one() {
    let collector = Collector::start().await;
    let config = traced(config(), &collector, "shop", 1.0);
    let shop = Listening::start(config, reserve().await, SHOP).await;
    shop.host.create("Shop", "Order", &customer("1")).await;
    let address = shop.end().await;
    drop(address);
    let spans = collector.all();
    let created = named(&spans, "shop", "Shop/Order $created");
    let route = "POST /v1/components/{component}/machines/{machine}/instances";
    let asked = named(&spans, "shop", route);
    assert_eq!(created.span.trace_id, asked.span.trace_id);
    assert_eq!(created.span.parent_span_id, asked.span.span_id);
    assert!(asked.span.parent_span_id.is_empty(), "nobody began before");
    collector.trace(&hex(&asked.span.trace_id), 2).await;
}
