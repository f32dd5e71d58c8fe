//! Servers between hosts that speak encrypted only, and ask for a name and a password.

use serde_json::json;
use xcomponent_host::{
    app::{Config, RegistryConfig},
    authorities::Authorities,
    cache,
};
use xcomponent_servers::{Authority, Certificate, Nats, RabbitMq, Redis};

use crate::{
    fleet::{BANK, Listening, SHOP, customer, first_of, reserve, url},
    host::{PATIENCE, config},
    numbers::until,
};

/// Who vouches for a server, and what shows that.
fn vouched() -> (Authorities, Certificate) {
    let authority = Authority::new().expect("an authority");
    let certificate = authority.vouch_for("127.0.0.1").expect("a certificate");
    let authorities = Authorities::read(&authority.file()).expect("its file");
    (authorities, certificate)
}

/// A host that trusts nobody but these.
fn trusting(authorities: &Authorities) -> Config {
    let mut config = config();
    config.links.trust.authorities = authorities.clone();
    config
}

/// An order at one host is paid by the other.
async fn an_order_is_paid(configs: impl Fn(&str) -> Config) {
    let listeners = [reserve().await, reserve().await];
    let [shop, bank] = [0, 1].map(|n| configs(&url(&listeners[n])));
    let [at_shop, at_bank] = listeners;
    let shop = Listening::start(shop, at_shop, SHOP).await;
    let bank = Listening::start(bank, at_bank, BANK).await;
    let order = shop.host.create("Shop", "Order", &customer("1")).await;
    shop.host.send(&order, "OPEN", &json!({})).await;
    first_of(&bank.host, "Bank").await;
    shop.host.send(&order, "PAY", &json!({})).await;
    shop.host.until_state(&order, "Paid").await;
}

async fn an_order_is_paid_through(broker: String, authorities: &Authorities) {
    an_order_is_paid(|_| {
        let mut config = trusting(authorities);
        config.links.broker = Some(broker.clone().into());
        config
    })
    .await;
}

/// A broker that nobody vouches for whom the host trusts is told nothing.
async fn a_stranger_is_told_nothing(broker: String) {
    let mut config = config();
    config.links.broker = Some(broker.into());
    let shop = Listening::start(config, reserve().await, SHOP).await;
    let order = shop.host.create("Shop", "Order", &customer("1")).await;
    shop.host.send(&order, "OPEN", &json!({})).await;
    let failures = "xcomponent_relay_failures_total{component=\"Bank\"}";
    let numbers = until(&shop.host, failures, |failures| failures > 0.0).await;
    assert_eq!(numbers["xcomponent_outbox{component=\"Bank\"}"], 1.0);
    assert_eq!(numbers["xcomponent_relayed_total{component=\"Bank\"}"], 0.0);
}

#[tokio::test]
async fn redis_streams() {
    let (authorities, certificate) = vouched();
    let server = Redis::start_encrypted(&certificate).expect("it starts");
    let address = server.url().replacen("rediss:", "rediss+streams:", 1);
    an_order_is_paid_through(address.clone(), &authorities).await;
    a_stranger_is_told_nothing(address).await;
}

#[tokio::test]
async fn redis_pubsub() {
    let (authorities, certificate) = vouched();
    let server = Redis::start_encrypted(&certificate).expect("it starts");
    an_order_is_paid_through(server.url(), &authorities).await;
}

#[tokio::test]
async fn nats() {
    let (authorities, certificate) = vouched();
    let server = Nats::start_encrypted(&certificate).expect("it starts");
    an_order_is_paid_through(server.url(), &authorities).await;
    a_stranger_is_told_nothing(server.url()).await;
}

#[tokio::test]
async fn rabbitmq() {
    let (authorities, certificate) = vouched();
    let server = RabbitMq::start_encrypted(&certificate).expect("it starts");
    an_order_is_paid_through(server.url(), &authorities).await;
    a_stranger_is_told_nothing(server.url()).await;
}

#[tokio::test]
async fn registries() {
    let (authorities, certificate) = vouched();
    let redis = Redis::start_encrypted(&certificate).expect("it starts");
    let nats = Nats::start_encrypted(&certificate).expect("it starts");
    for registry in [redis.url(), nats.url()] {
        an_order_is_paid(|at| {
            let mut config = trusting(&authorities);
            config.links.registry = Some(RegistryConfig {
                address: registry.clone().into(),
                advertised: at.to_owned(),
                lease: PATIENCE,
            });
            config
        })
        .await;
    }
}

#[tokio::test]
async fn a_cache() {
    let (authorities, certificate) = vouched();
    let server = Redis::start_encrypted(&certificate).expect("it starts");
    let cache = cache::Config {
        address: server.url().into(),
        ttl: PATIENCE,
        authorities,
    };
    let config = Config {
        cache: Some(cache),
        ..config()
    };
    let shop = Listening::start(config, reserve().await, SHOP).await;
    shop.host.create("Shop", "Order", &json!({})).await;
    let written = "xcomponent_cache_written_total";
    let numbers = until(&shop.host, written, |written| written == 1.0).await;
    assert_eq!(numbers["xcomponent_cache_failures_total"], 0.0);
}
