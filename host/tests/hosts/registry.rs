//! Hosts that find each other in a registry, tried with a real server of each kind.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use serde_json::json;
use xcomponent_core::id::{ComponentName, TenantId, Version};
use xcomponent_host::{
    app::{Config, Host, RegistryConfig},
    authorities::Authorities,
    bus::registry::{
        Catalog, Kind, Member, Swap, Swapped,
        member::{Announcement, ClaimError},
        open,
    },
};
use xcomponent_servers::{Durability, Nats, Postgres, Redis};

use crate::{
    fleet::{BANK, Listening, SHOP, customer, durable, first_of, reserve, url},
    host::{PATIENCE, TestHost, config, packed},
    server::Server,
};

/// Long enough for a busy machine, short enough to be waited for.
const LEASE: Duration = Duration::from_secs(2);

/// A host that finds others in a registry.
fn registered(server: &impl Server, at: &str) -> Config {
    let mut config = config();
    config.links.registry = Some(RegistryConfig {
        address: server.url().into(),
        advertised: at.to_owned(),
        lease: LEASE,
    });
    config
}

async fn start(server: &impl Server, yaml: &str) -> Listening {
    let listener = reserve().await;
    let config = registered(server, &url(&listener));
    Listening::start(config, listener, yaml).await
}

/// A host of which only the announcement is there, and nobody renews it.
async fn silent_owner(server: &impl Server, component: &str) -> Member {
    let announcement = Announcement {
        id: "silent".to_owned(),
        address: "http://127.0.0.1:9".to_owned(),
        standby: false,
        lease: LEASE,
    };
    let member = Member::join(catalog(server), announcement).await;
    let place = (TenantId::default_tenant(), ComponentName::new(component));
    let claimed = member.claim(&place, &Version::new("1")).await;
    claimed.expect("nobody else has it");
    member
}

fn catalog(server: &impl Server) -> Arc<dyn Catalog> {
    open(&server.url().into(), &Authorities::default()).expect("it is an address")
}

async fn a_record_is_changed_by_who_has_seen_the_one_before(server: &mut impl Server) {
    let catalog = catalog(server);
    let swap = async |from: Option<&str>, to: Option<&str>| {
        let swap = Swap {
            kind: Kind::Component,
            key: "default.Order_=2e",
            from,
            to,
            tell: true,
        };
        catalog.swap(swap).await.expect("it answers")
    };
    let other = |text: Option<&str>| Swapped::Other(text.map(str::to_owned));
    let empty = catalog.read(None).await.expect("it answers");
    assert_eq!(swap(Some("a"), Some("b")).await, other(None));
    assert_eq!(swap(None, Some("a")).await, Swapped::Done);
    assert_eq!(swap(None, Some("b")).await, other(Some("a")));
    assert_eq!(swap(Some("c"), Some("b")).await, other(Some("a")));
    assert_eq!(swap(Some("a"), Some("b")).await, Swapped::Done);
    let view = catalog.read(Some(empty.generation)).await;
    let view = view.expect("it answers");
    let record = ("default.Order_=2e".to_owned(), "b".to_owned());
    assert_eq!(view.components, Some(vec![record]));
    let again = catalog.read(Some(view.generation)).await;
    assert_eq!(again.expect("it answers").components, None);
    assert_eq!(swap(Some("a"), None).await, other(Some("b")));
    assert_eq!(swap(Some("b"), None).await, Swapped::Done);
    let view = catalog.read(Some(view.generation)).await;
    assert_eq!(view.expect("it answers").components, Some(Vec::new()));
    assert_eq!(swap(None, Some("again")).await, Swapped::Done);
}

/// The one that sends is there first: what it sends waits until somebody announces the other.
async fn hosts_find_each_other_whoever_is_there_first(server: &mut impl Server) {
    let shop = start(server, SHOP).await;
    let order = shop.host.create("Shop", "Order", &customer("1")).await;
    shop.host.send(&order, "OPEN", &json!({})).await;
    let bank = start(server, BANK).await;
    let account = first_of(&bank.host, "Bank").await;
    shop.host.send(&order, "PAY", &json!({})).await;
    shop.host.until_state(&order, "Paid").await;
    bank.host.until_state(&account, "Charged").await;
    // Whoever asks one of them for what the other has is answered by that one.
    let listed = shop.host.get("/api/components/Bank/instances").await.json();
    assert_eq!(listed["instances"].as_array().map(Vec::len), Some(1));
    let runtimes = shop.host.get("/api/runtimes").await.json();
    let at = |n: usize| {
        let runtime = &runtimes["runtimes"][n];
        let address = format!("http://{}:{}", runtime["host"].as_str()?, runtime["port"]);
        Some((runtime["componentName"].as_str()?.to_owned(), address))
    };
    assert_eq!(at(0).map(|(name, _)| name), Some("Shop".to_owned()));
    assert_eq!(at(1), Some(("Bank".to_owned(), bank.url.clone())));
}

async fn a_component_has_one_owner(server: &mut impl Server) {
    let folders = [(), ()].map(|()| tempfile::tempdir().expect("a folder"));
    let listener = reserve().await;
    let first = durable(registered(server, &url(&listener)), folders[0].path());
    let first = Listening::start(first, listener, BANK).await;
    let second = durable(registered(server, "http://127.0.0.1:9"), folders[1].path());
    let host = TestHost::of(Host::start(second).await.expect("it starts"));
    let refused = host.upload("Bank", packed(BANK)).await;
    assert_eq!(refused.problem(409), "component_owned_elsewhere");
    assert_eq!(refused.text("/address"), first.url);
    // A new version of one's own is nobody else's business.
    let newer = BANK.replacen("version: '1'", "version: '2'", 1);
    let uploaded = first.host.upload("Bank", packed(&newer)).await;
    assert_eq!(uploaded.status, StatusCode::CREATED, "{uploaded:?}");
    first.end().await;
    let uploaded = host.upload("Bank", packed(BANK)).await;
    assert_eq!(uploaded.status, StatusCode::CREATED, "{uploaded:?}");
    host.shutdown().await;
    // What was its own and is another's now is not begun with.
    let taken = start(server, BANK).await;
    let second = durable(registered(server, "http://127.0.0.1:9"), folders[1].path());
    let refused = Host::start(second).await.err().expect("it is another's");
    let cause = std::error::Error::source(&refused).expect("it has a cause");
    assert!(cause.to_string().contains(&taken.url), "{cause}");
}

async fn who_is_silent_for_its_lease_is_no_owner_any_more(server: &mut impl Server) {
    let silent = silent_owner(server, "Bank").await;
    let bank = start(server, BANK).await;
    let place = (TenantId::default_tenant(), ComponentName::new("Bank"));
    match silent.claim(&place, &Version::new("1")).await {
        Err(ClaimError::OwnedElsewhere { address, .. }) => assert_eq!(address, bank.url),
        other => panic!("it is the other's: {other:?}"),
    }
}

async fn a_component_that_is_deleted_is_free(server: &mut impl Server) {
    let first = start(server, BANK).await;
    let other = registered(server, "http://127.0.0.1:9");
    let other = TestHost::of(Host::start(other).await.expect("it starts"));
    let refused = other.upload("Bank", packed(BANK)).await;
    assert_eq!(refused.problem(409), "component_owned_elsewhere");
    let deleted = first.host.delete("/v1/components/Bank?force=true").await;
    assert!(deleted.status.is_success(), "{deleted:?}");
    let uploaded = async {
        while other.upload("Bank", packed(BANK)).await.status != StatusCode::CREATED {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, uploaded)
        .await
        .expect("it is free as soon as the registry knows");
}

/// What is known goes on to be known.
async fn everything_goes_on_while_the_registry_is_away(server: &mut impl Server) {
    let shop = start(server, SHOP).await;
    let bank = start(server, BANK).await;
    let order = shop.host.create("Shop", "Order", &customer("1")).await;
    shop.host.send(&order, "OPEN", &json!({})).await;
    first_of(&bank.host, "Bank").await;
    shop.host.send(&order, "PAY", &json!({})).await;
    shop.host.until_state(&order, "Paid").await;
    server.kill();
    let refused = shop
        .host
        .upload("More", packed(&SHOP.replacen("Shop", "More", 1)));
    assert_eq!(refused.await.problem(503), "registry_unavailable");
    shop.host.send(&order, "PAY", &json!({})).await;
    shop.host.until_state(&order, "Paid").await;
    server.restart();
    let more = start(server, &SHOP.replacen("Shop", "More", 1)).await;
    let known = async {
        let path = "/api/components/More/instances";
        while shop.host.get(path).await.status != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, known)
        .await
        .expect("it comes to be known");
    drop(more);
}

macro_rules! conforms {
    ($registry:ident, $start:expr, $($case:ident),*) => {
        mod $registry {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let mut server = $start.expect("the server starts");
                    super::$case(&mut server).await;
                }
            )*
        }
    };
}

macro_rules! all_conform {
    ($($case:ident),* $(,)?) => {
        conforms!(redis, Redis::start(), $($case),*);
        conforms!(nats, Nats::start(), $($case),*);
        conforms!(postgres, Postgres::start(Durability::None), $($case),*);
    };
}

all_conform!(
    a_record_is_changed_by_who_has_seen_the_one_before,
    hosts_find_each_other_whoever_is_there_first,
    a_component_has_one_owner,
    who_is_silent_for_its_lease_is_no_owner_any_more,
    a_component_that_is_deleted_is_free,
    everything_goes_on_while_the_registry_is_away,
);
