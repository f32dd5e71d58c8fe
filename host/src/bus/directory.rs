//! Which transport leads to which component.

use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashMap;
use tokio::sync::watch;
use xcomponent_core::{
    id::{ComponentName, TenantId},
    input::Elsewhere,
};

use super::{Listening, Transport};

/// Which transport leads to which component. What is here is never asked for.
pub struct Directory {
    known: RwLock<Known>,
    listening: Arc<Listening>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Known {
    peers: HashMap<(TenantId, ComponentName), Arc<dyn Transport>>,
    /// Leads to all others.
    broker: Option<Arc<dyn Transport>>,
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

    /// What leads to a component.
    pub fn find(&self, tenant: &TenantId, component: &ComponentName) -> Option<Arc<dyn Transport>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let peer = known.peers.get(&(tenant.clone(), component.clone()));
        peer.or(known.broker.as_ref()).cloned()
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
        for transport in known.peers.values().chain(&known.broker) {
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
            all: known.broker.is_some(),
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
