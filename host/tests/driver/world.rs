//! A driver with a store, guests and a clock under the control of a test.

use std::{sync::Arc, time::Duration};

use xcomponent_core::{
    call::Deployment,
    definition::{OnLive, Strictness, check},
    effect::{HandledReply, Refused, Reply},
    id::{ComponentName, Digest, EventName, InstanceId, MachineName, PartitionCount, TenantId},
    input::{Create, Repeatable, Request, SendEvent},
    json::Json,
    limits::Limits,
    record::Snapshot,
    time::Timestamp,
};
use xcomponent_host::{
    driver::{self, ComponentVersion, Config, Handle, Joiner, clock::ManualClock},
    memory::Memory,
    store::{Store, retention::Retention},
};

use crate::{faulty::Faulty, script::Scripted};

/// Longest wait for something that must happen: only a broken driver reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Everything a test needs.
pub(crate) struct World {
    pub(crate) handle: Handle,
    pub(crate) joiner: Joiner,
    pub(crate) store: Arc<Faulty>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) guests: Scripted,
    pub(crate) tenant: TenantId,
    deployment: Arc<Deployment>,
}

/// What differs from test to test.
pub(crate) struct Setup {
    pub(crate) store: Arc<Faulty>,
    pub(crate) guests: Scripted,
    pub(crate) limits: Limits,
}

impl Default for Setup {
    fn default() -> Self {
        let limits = Limits {
            breaker: false,
            ..Limits::default()
        };
        Self {
            store: Arc::new(Faulty::new(true)),
            guests: Scripted::willing(),
            limits,
        }
    }
}

impl World {
    /// Two shards that run one component.
    pub(crate) async fn start(yaml: &str, setup: Setup) -> Self {
        let Setup {
            store,
            guests,
            limits,
        } = setup;
        let clock = Arc::new(ManualClock::start(Timestamp(1_000_000)));
        let config = Config {
            shards: 2,
            partitions: PartitionCount::new(2).expect("two is a power of two"),
            limits,
            seed: 7,
            clock: Arc::clone(&clock) as Arc<_>,
            slow_threads: 1,
            retention: Retention::default(),
            memory: Memory::new(1 << 30),
        };
        let (handle, joiner) = driver::start(config, Arc::clone(&store) as Arc<_>, guests.clone())
            .expect("a memory store can be read");
        let deployment = deployment(yaml);
        let saved = store.save_version(&version_of(&deployment, yaml), Arc::from([]));
        saved.expect("it is the only one");
        let world = Self {
            handle,
            joiner,
            store,
            clock,
            guests,
            tenant: TenantId::default_tenant(),
            deployment,
        };
        world.activate().await;
        world
    }

    async fn activate(&self) {
        self.handle.deploy(Arc::clone(&self.deployment)).await;
        let definition = &self.deployment.definition;
        self.handle
            .activate(
                &self.tenant,
                &definition.name,
                &definition.version,
                OnLive::NextEvent,
            )
            .await;
    }

    /// The component's name.
    pub(crate) fn component(&self) -> ComponentName {
        self.deployment.definition.name.clone()
    }

    /// A new instance on a shard.
    pub(crate) async fn create(&self, machine: &str, shard: u16, context: &str) -> InstanceId {
        let id = self.handle.new_instance_id(Some(shard << 15));
        match self
            .handle
            .request(&self.tenant, self.creation(machine, id.clone(), context))
            .await
        {
            Reply::Created {
                instance,
                existing: false,
            } => assert_eq!(instance.id, id),
            other => panic!("not created: {other:?}"),
        }
        id
    }

    /// What creates an instance.
    pub(crate) fn creation(&self, machine: &str, id: InstanceId, context: &str) -> Request {
        Request::Create(Create {
            component: self.component(),
            machine: MachineName::new(machine),
            context: Json::parse(context).expect("tests write JSON"),
            id,
            repeatable: Repeatable::No,
            entry_point: false,
            trace_parent: None,
        })
    }

    /// An event's answer.
    pub(crate) async fn send(&self, instance: &InstanceId, event: &str) -> Reply {
        self.handle
            .request(&self.tenant, sending(instance, event))
            .await
    }

    /// The same, where it must have been handled.
    pub(crate) async fn handled(&self, instance: &InstanceId, event: &str) -> HandledReply {
        handled(self.send(instance, event).await)
    }

    /// The state of an instance.
    pub(crate) async fn state(&self, instance: &InstanceId) -> String {
        let read = self.handle.read(&self.tenant, instance).await;
        let instance = read
            .expect("a memory store can be read")
            .expect("a test asks for what exists");
        state_of(&instance)
    }
}

/// What sends an event.
pub(crate) fn sending(instance: &InstanceId, event: &str) -> Request {
    Request::Send(SendEvent {
        instance: instance.clone(),
        component: None,
        event: EventName::new(event),
        payload: Json::empty(),
        id: None,
        expected_state: None,
        sent_at: None,
        trace_parent: None,
    })
}

/// An answer that must say what became of an event.
pub(crate) fn handled(reply: Reply) -> HandledReply {
    match reply {
        Reply::Handled(handled) => handled,
        other => panic!("not handled: {other:?}"),
    }
}

/// Whether nothing was done because a commit failed.
pub(crate) fn is_not_committed(reply: &Reply) -> bool {
    matches!(reply, Reply::Refused(Refused::NotCommitted))
}

/// Whether nothing was done because too much waits.
pub(crate) fn is_busy(reply: &Reply) -> bool {
    matches!(reply, Reply::Refused(Refused::Busy(_)))
}

/// The name of an instance's state.
pub(crate) fn state_of(instance: &Snapshot) -> String {
    instance.state().name.to_string()
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(something: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, something)
        .await
        .expect("it happens soon")
}

/// A deployment as a store keeps it.
pub(crate) fn version_of(deployment: &Deployment, yaml: &str) -> ComponentVersion {
    ComponentVersion {
        tenant: deployment.tenant.clone(),
        component: deployment.definition.name.clone(),
        version: deployment.definition.version.clone(),
        digest: deployment.artifact,
        size: 0,
        definition: yaml.into(),
        uploaded: Timestamp(0),
        active: false,
        on_live: OnLive::NextEvent,
        activation: 0,
    }
}

/// A definition as it runs for the default tenant.
pub(crate) fn deployment(yaml: &str) -> Arc<Deployment> {
    let checked = check(yaml, Strictness::Lenient);
    let definition = checked
        .definition
        .unwrap_or_else(|| panic!("{:?}", checked.findings));
    Arc::new(Deployment {
        tenant: TenantId::default_tenant(),
        definition,
        artifact: Digest([0; 32]),
    })
}
