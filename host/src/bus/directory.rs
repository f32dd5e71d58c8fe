//! Which transport leads to which component.

use std::{
    future::ready,
    sync::{Arc, PoisonError, RwLock},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use hashbrown::HashMap;
use tokio::sync::watch;
use xcomponent_core::{
    id::{ComponentName, TenantId},
    input::Elsewhere,
};

use super::{Listening, SendError, Shipment, Status, Transport, broker::Place, registry::Member};

/// Which transport leads to which component. What is here is never asked for.
pub struct Directory {
    known: RwLock<Known>,
    listening: Arc<Listening>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Known {
    peers: HashMap<Place, Arc<dyn Transport>>,
    /// What a registry knows.
    registered: HashMap<Place, Arc<dyn Transport>>,
    /// Leads to all others.
    broker: Option<Arc<dyn Transport>>,
    /// May come to know others.
    registry: Option<Arc<Member>>,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            known: RwLock::default(),
            listening: Arc::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Directory {
    /// From now on a component is there.
    pub fn add_peer(
        &self,
        tenant: TenantId,
        component: ComponentName,
        transport: Arc<dyn Transport>,
    ) {
        self.change(|known| known.peers.insert((tenant, component), transport));
    }

    /// From now on nobody knows where a component is.
    pub fn remove_peer(&self, tenant: &TenantId, component: &ComponentName) {
        let key = (tenant.clone(), component.clone());
        self.change(|known| known.peers.remove(&key));
    }

    /// From now on this leads to every component that is nowhere else.
    pub fn set_broker(&self, transport: Arc<dyn Transport>) {
        self.change(|known| known.broker = Some(transport));
    }

    /// From now on there is a registry: what is nowhere may come to be somewhere.
    pub fn set_registry(&self, member: Arc<Member>) {
        self.change(|known| known.registry = Some(member));
    }

    /// This host among those of a registry, if there is one.
    pub fn registry(&self) -> Option<Arc<Member>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.registry.clone()
    }

    /// From now on a registry knows these, and no others.
    pub fn set_registered(&self, registered: HashMap<Place, Arc<dyn Transport>>) {
        let same = |known: &Known| {
            let is_same = |(place, transport): (&Place, &Arc<dyn Transport>)| {
                let before = known.registered.get(place);
                before.is_some_and(|before| Arc::ptr_eq(before, transport))
            };
            known.registered.len() == registered.len() && registered.iter().all(is_same)
        };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_same = same(&known);
        drop(known);
        if !is_same {
            self.change(|known| known.registered = registered);
        }
    }

    /// What leads to a component.
    pub fn find(&self, tenant: &TenantId, component: &ComponentName) -> Option<Arc<dyn Transport>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let place = (tenant.clone(), component.clone());
        let named = known.peers.get(&place);
        let named = named.or_else(|| known.registered.get(&place));
        let found = named.or(known.broker.as_ref()).cloned();
        found.or_else(|| {
            let registry = known.registry.as_ref();
            registry.map(|_| Arc::new(Absent) as Arc<dyn Transport>)
        })
    }

    /// What kind of broker there is, if there is one.
    pub fn broker_kind(&self) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let name = known.broker.as_ref()?.name();
        Some(name.split(' ').next().unwrap_or(name).to_owned())
    }

    /// How it goes with listening to the broker.
    pub fn listening(&self) -> &Arc<Listening> {
        &self.listening
    }

    /// Every transport, each once.
    pub fn transports(&self) -> Vec<Arc<dyn Transport>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut transports: Vec<Arc<dyn Transport>> = Vec::new();
        let named = known.peers.values().chain(known.registered.values());
        for transport in named.chain(&known.broker) {
            if !transports.iter().any(|other| Arc::ptr_eq(other, transport)) {
                transports.push(Arc::clone(transport));
            }
        }
        transports
    }

    /// What the engines must know of it.
    pub fn elsewhere(&self) -> Elsewhere {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        Elsewhere {
            named: known.peers.keys().cloned().collect(),
            all: known.broker.is_some() || known.registry.is_some(),
        }
    }

    /// Told whenever it changes.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        drop(known);
        self.changed.send_replace(());
    }
}

/// Leads nowhere: to a component whose host has left, or that nobody has announced yet.
pub(super) struct Absent;

impl Transport for Absent {
    fn name(&self) -> &str {
        "nowhere"
    }

    fn send<'a>(&'a self, _: &'a Shipment) -> BoxFuture<'a, Result<u64, SendError>> {
        ready(Err(SendError::unavailable("no host has announced it"))).boxed()
    }

    fn status(&self) -> Status {
        Status::Away
    }
}
