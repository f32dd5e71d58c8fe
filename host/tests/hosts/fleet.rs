//! Hosts that listen, and the two components that speak to each other.

use std::path::Path;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use xcomponent_core::id::{ComponentName, TenantId};
use xcomponent_host::{
    app::{Config, Host, LinksConfig, StoreConfig},
    driver::RecordFilter,
};

use crate::host::{PATIENCE, TestHost, config, packed};

/// Creates a payment in the other component, and waits for what becomes of it.
pub(crate) const SHOP: &str = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: Created
  states:
  - Created
  - Paying
  - name: Charging
    cascadingRules:
    - targetComponent: Bank
      targetMachine: Account
      event: CHARGE
      matchingRules: [{eventProperty: owner, instanceProperty: owner}]
      payload: {owner: '{{owner}}', order: '{{order}}', amount: '{{amount}}'}
  - Paid
  transitions:
  - {from: Created, to: Paying, event: OPEN, type: cross_component, targetComponent: Bank, targetMachine: Account}
  - {from: '*', to: Charging, event: PAY}
  - {from: Charging, to: Paid, event: CHARGED, matchingRules: [{eventProperty: order, instanceProperty: order}]}
";

/// Tells the order that it is paid.
pub(crate) const BANK: &str = "name: Bank
version: '1'
stateMachines:
- name: Account
  initialState: Open
  states:
  - Open
  - name: Charged
    cascadingRules:
    - targetComponent: Shop
      targetMachine: Order
      event: CHARGED
      payload: {order: '{{order}}'}
  transitions:
  - {from: Open, to: Charged, event: CHARGE}
  - {from: Charged, to: Charged, event: CHARGE}
";

/// What an order of a customer begins with.
pub(crate) fn customer(order: &str) -> Value {
    json!({ "owner": "Ada", "order": order, "amount": 5 })
}

/// A host that listens.
pub(crate) struct Listening {
    pub(crate) host: TestHost,
    pub(crate) url: String,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

/// An address that nobody listens at yet.
pub(crate) async fn reserve() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    listener.expect("loopback has free ports")
}

/// The address of a listener.
pub(crate) fn url(listener: &TcpListener) -> String {
    let address = listener.local_addr().expect("it listens");
    format!("http://{address}")
}

/// A host with a component, which knows where the other is.
pub(crate) fn linked(peer: &str, at: &str) -> Config {
    let links = LinksConfig {
        peers: vec![(ComponentName::new(peer), at.into())],
        ..LinksConfig::default()
    };
    Config { links, ..config() }
}

/// The same, on a disk.
pub(crate) fn durable(config: Config, folder: &Path) -> Config {
    Config {
        store: StoreConfig::Sqlite(folder.join("host.db")),
        ..config
    }
}

impl Listening {
    pub(crate) async fn start(config: Config, listener: TcpListener, yaml: &str) -> Self {
        let name = yaml
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("name: "));
        let name = name.expect("a definition begins with its name");
        Self::with(config, listener, name, packed(yaml)).await
    }

    /// The same with a packed component.
    pub(crate) async fn with(
        config: Config,
        listener: TcpListener,
        name: &str,
        component: Vec<u8>,
    ) -> Self {
        let url = url(&listener);
        let host = Host::start(config).await.expect("the host starts");
        let router = host.router();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(async {
                // An error means that nobody will say so any more, which is the same.
                let _ = stopped.await;
            });
            serving.await.expect("it serves");
        });
        let host = TestHost::of(host);
        let uploaded = host.upload(name, component).await;
        let has_it = [StatusCode::CREATED, StatusCode::OK].contains(&uploaded.status);
        assert!(has_it, "{uploaded:?}");
        Self {
            host,
            url,
            stop: Some(stop),
            served,
        }
    }

    /// Ends it, so that another may listen there.
    pub(crate) async fn end(mut self) -> TcpListener {
        drop(self.stop.take());
        self.served.await.expect("it ends");
        self.host.shutdown().await;
        let address = self.url.trim_start_matches("http://");
        TcpListener::bind(address)
            .await
            .expect("the port is free again")
    }
}

/// The first instance of a component, as soon as there is one.
pub(crate) async fn first_of(host: &TestHost, component: &str) -> String {
    let filter = RecordFilter {
        component: Some(ComponentName::new(component)),
        ..RecordFilter::default()
    };
    let tenant = TenantId::default_tenant();
    let mut records = host.host.handle().subscribe(&tenant, filter, None);
    loop {
        let listed = host
            .get(&format!("/v1/instances?component={component}"))
            .await;
        if let Some(id) = listed.json()["items"][0]["id"].as_str() {
            return id.to_owned();
        }
        let more = tokio::time::timeout(PATIENCE, records.next()).await;
        more.expect("it is created").expect("the log reaches back");
    }
}
