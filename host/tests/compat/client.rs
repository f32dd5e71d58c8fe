//! A client as xcomponent-ai's are: it knows `/health` and `/api/…`, and nothing else.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use xcomponent_core::{
    id::TenantId,
    time::{self, Timestamp},
};
use xcomponent_host::{
    app::Host,
    driver::{RecordFilter, clock::ManualClock},
    sent::Sent,
    tenancy::{Activation, Error, Switch, Upload, Uploaded},
};
use xcomponent_pack as pack;

use crate::{
    guests::guest,
    host::{Answer, PATIENCE, TestHost, config, packed},
};

/// When the time of these tests begins, in milliseconds.
pub(crate) const START: u64 = 1_700_000_000_000;

/// A client and the host that it asks. The host's time stands still until it is moved.
pub(crate) struct Client {
    pub(crate) operator: TestHost,
    clock: Arc<ManualClock>,
}

impl Client {
    /// A client of a host on which an operator has loaded these components.
    pub(crate) async fn with(components: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let clock = Arc::new(ManualClock::start(Timestamp(START)));
        let mut config = config();
        config.clock = clock.clone();
        let operator = TestHost::start_with(config).await;
        let client = Self { operator, clock };
        for component in components {
            client.load(component).await.expect("it is accepted");
        }
        client
    }

    /// The same, with definitions that need no code.
    pub(crate) async fn of<'y>(definitions: impl IntoIterator<Item = &'y str>) -> Self {
        Self::with(definitions.into_iter().map(packed)).await
    }

    /// A client of a host that runs; its time is the machine's.
    pub(crate) fn on(host: Host) -> Self {
        Self {
            operator: TestHost::of(host),
            clock: Arc::default(),
        }
    }

    /// Loads a component, as an operator.
    pub(crate) async fn load(&self, component: Vec<u8>) -> Result<Uploaded, Error> {
        let upload = Upload {
            name: None,
            sent: Sent::Packed(component.into()),
            switch: Switch::default(),
            activation: Activation::default(),
            dry_run: false,
            leniency: None,
        };
        let registry = self.operator.host.registry();
        registry.upload(&TenantId::default_tenant(), upload).await
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, ms: u64) {
        self.clock.advance(time::Duration(ms));
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        assert_known(path);
        self.operator.get(path).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        assert_known(path);
        self.operator.post(path, body).await
    }

    /// What a route answers that must answer well.
    pub(crate) async fn ok(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Creates an instance that must be accepted.
    pub(crate) async fn create(&self, component: &str, machine: &str, context: Value) -> String {
        let path = format!("/api/components/{component}/instances");
        let body = json!({"machineName": machine, "context": context});
        let answer = self.post(&path, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let created = answer.json();
        assert_eq!(created["success"], true);
        assert_eq!(created["componentName"], component);
        answer.text("/instanceId")
    }

    /// Sends an event.
    pub(crate) async fn send(&self, instance: &str, event: &str, payload: Value) -> Answer {
        let path = format!("/api/instances/{instance}/events");
        self.post(&path, &json!({"type": event, "payload": payload}))
            .await
    }

    /// Sends an event that must not be refused, and gives its disposition.
    pub(crate) async fn disposition(&self, instance: &str, event: &str, payload: Value) -> String {
        let answer = self.send(instance, event, payload).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["success"], true);
        answer.text("/disposition")
    }

    /// An instance as it is.
    pub(crate) async fn instance(&self, id: &str) -> Value {
        self.ok(&format!("/api/instances/{id}")).await["instance"].take()
    }

    /// The state of an instance.
    pub(crate) async fn state(&self, id: &str) -> String {
        let instance = self.instance(id).await;
        instance["currentState"].as_str().unwrap().to_owned()
    }

    /// The history of an instance.
    pub(crate) async fn history(&self, id: &str) -> Vec<Value> {
        let answer = self.ok(&format!("/api/instances/{id}/history")).await;
        answer["history"].as_array().unwrap().clone()
    }

    /// Waits until some instance of a machine is in a state, and gives it.
    pub(crate) async fn until(&self, machine: &str, state: &str) -> Value {
        self.until_some(|one| one["machineName"] == machine && one["currentState"] == state)
            .await
    }

    /// Waits until there is such an instance, and gives it. A client would ask again and again;
    /// this one asks again when something has happened.
    pub(crate) async fn until_some(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let handle = self.operator.host.handle();
        let tenant = TenantId::default_tenant();
        let mut records = handle.subscribe(&tenant, RecordFilter::default(), None);
        loop {
            let mut answer = self.ok("/api/instances").await;
            let instances = answer["instances"].as_array_mut().unwrap();
            if let Some(found) = instances.iter_mut().find(|one| wanted(one)) {
                return found.take();
            }
            soon(records.next()).await.expect("the log reaches back");
        }
    }
}

/// What must come soon.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    const WAIT: Duration = PATIENCE;
    let come = tokio::time::timeout(WAIT, future).await;
    come.expect("it comes soon")
}

/// A guest whose `ping` counts in the context, and whose `panic` panics, under another definition.
pub(crate) fn counting(yaml: &str) -> Vec<u8> {
    let component = guest("misbehaving");
    let methods = pack::read(&component).expect("a packed guest").methods;
    pack::pack(&component, yaml, &pack::Metadata::default(), &methods).expect("it can be packed")
}

/// Fails if the client knew more than it should.
fn assert_known(path: &str) {
    assert!(path == "/health" || path.starts_with("/api/"), "{path}");
}
