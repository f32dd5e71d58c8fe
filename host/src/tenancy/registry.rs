//! Which versions there are, and which is active: as the store has it, kept in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::Mutex;
use xcomponent_core::{
    call::Deployment,
    id::{ComponentName, Digest, TenantId, Version},
};

use super::{Error, Leniency, Ownership, Result, SharedInstaller, Waiting};
use crate::driver::Handle;

/// All components of a host. Clones are handles to the same.
#[derive(Clone)]
pub struct Registry {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) handle: Handle,
    pub(super) installer: SharedInstaller,
    pub(super) leniency: Leniency,
    /// None = everything that is here is this host's.
    ownership: Option<Arc<dyn Ownership>>,
    components: RwLock<BTreeMap<(TenantId, ComponentName), Loaded>>,
    /// Versions that the store has and that this host does not accept.
    pub(super) waiting: RwLock<Vec<Waiting>>,
    /// Held while versions change, so that store, shards and this registry agree on the order.
    /// Compiling happens outside.
    pub(super) changing: Mutex<()>,
}

/// A component as it is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The version that new instances run on.
    pub active: Arc<Deployment>,
    /// All versions, the oldest first.
    pub versions: Vec<Arc<Deployment>>,
}

impl Loaded {
    /// The version of that label.
    pub fn version(&self, version: &Version) -> Option<&Arc<Deployment>> {
        self.versions
            .iter()
            .find(|deployment| deployment.definition.version == *version)
    }
}

impl Registry {
    /// A registry of what the store has, once [`Registry::restore`] has read it.
    pub fn new(
        handle: Handle,
        installer: SharedInstaller,
        leniency: Leniency,
        ownership: Option<Arc<dyn Ownership>>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                handle,
                installer,
                leniency,
                ownership,
                components: RwLock::default(),
                waiting: RwLock::default(),
                changing: Mutex::default(),
            }),
        }
    }

    /// Makes a component this host's.
    pub(super) async fn claim(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Result<()> {
        if let Some(ownership) = &self.shared.ownership {
            ownership.claim(tenant, component, version).await?;
        }
        Ok(())
    }

    /// What was claimed does not come here after all.
    pub(super) fn release(&self, tenant: &TenantId, component: &ComponentName) {
        if let Some(ownership) = &self.shared.ownership {
            ownership.release(tenant, component);
        }
    }

    /// All components of a tenant, by name.
    pub fn list(&self, tenant: &TenantId) -> Vec<(ComponentName, Loaded)> {
        let components = self
            .shared
            .components
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let own = components
            .iter()
            .filter(|((owner, name), _)| owner == tenant && self.waits(tenant, name).is_none());
        own.map(|((_, name), loaded)| (name.clone(), loaded.clone()))
            .collect()
    }

    /// Bytes of the definitions of all versions of all tenants.
    pub(super) fn definition_bytes(&self) -> usize {
        let components = self
            .shared
            .components
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let versions = components.values().flat_map(|loaded| &loaded.versions);
        versions
            .map(|version| version.definition.source.len())
            .sum()
    }

    /// A component, if it is there.
    pub fn get(&self, tenant: &TenantId, component: &ComponentName) -> Option<Loaded> {
        let components = self
            .shared
            .components
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        components
            .get(&(tenant.clone(), component.clone()))
            .cloned()
    }

    /// A component that must be there.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownComponent`] if it is not, [`Error::NotAccepted`] if its active version is not
    /// accepted any more.
    pub fn expect(&self, tenant: &TenantId, component: &ComponentName) -> Result<Loaded> {
        match self.waits(tenant, component) {
            Some(waiting) => Err(waiting.into_error()),
            None => self.loaded(tenant, component),
        }
    }

    /// The same, whether its active version is accepted or not.
    pub(super) fn loaded(&self, tenant: &TenantId, component: &ComponentName) -> Result<Loaded> {
        self.get(tenant, component)
            .ok_or_else(|| Error::UnknownComponent(component.clone()))
    }

    /// Whether any version of anybody's is answered by that artifact.
    pub(super) fn runs(&self, artifact: Digest) -> bool {
        let components = self
            .shared
            .components
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut versions = components.values().flat_map(|loaded| &loaded.versions);
        versions.any(|deployment| deployment.artifact == artifact)
    }

    /// Notes a version that the shards know.
    pub(super) fn remember(&self, deployment: Arc<Deployment>, active: bool) {
        let key = (
            deployment.tenant.clone(),
            deployment.definition.name.clone(),
        );
        let mut components = self
            .shared
            .components
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let loaded = components.entry(key).or_insert_with(|| Loaded {
            active: Arc::clone(&deployment),
            versions: Vec::new(),
        });
        if loaded.version(&deployment.definition.version).is_none() {
            loaded.versions.push(Arc::clone(&deployment));
        }
        if active {
            loaded.active = deployment;
        }
    }

    /// Forgets a version, or the whole component.
    pub(super) fn forget(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: Option<&Version>,
    ) {
        let key = (tenant.clone(), component.clone());
        let mut components = self
            .shared
            .components
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(loaded) = components.get_mut(&key) else {
            return;
        };
        if let Some(version) = version {
            loaded
                .versions
                .retain(|deployment| deployment.definition.version != *version);
        }
        if version.is_none() || loaded.versions.is_empty() {
            components.remove(&key);
        }
    }
}
