//! Component versions and their artifacts.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use hashbrown::HashMap;
use xcomponent_core::{
    definition::OnLive,
    id::{ComponentName, Digest, TenantId, Version},
    time::Timestamp,
};

use crate::store::{Error, Result, query::ComponentVersion};

/// All versions of all components.
#[derive(Debug, Default)]
pub(super) struct Versions {
    components: BTreeMap<(TenantId, ComponentName), Vec<ComponentVersion>>,
    artifacts: HashMap<Digest, Arc<[u8]>>,
}

impl Versions {
    /// Keeps a version; the same once more changes nothing.
    pub(super) fn save(&mut self, version: &ComponentVersion, artifact: Arc<[u8]>) -> Result<()> {
        let key = (version.tenant.clone(), version.component.clone());
        let versions = self.components.entry(key).or_default();
        match versions
            .iter()
            .find(|known| known.version == version.version)
        {
            Some(known) if known.digest == version.digest => return Ok(()),
            Some(_) => {
                let (component, version) = (version.component.clone(), version.version.clone());
                return Err(Error::VersionExists { component, version });
            }
            None => versions.push(ComponentVersion {
                active: false,
                activation: 0,
                ..version.clone()
            }),
        }
        self.artifacts.insert(version.digest, artifact);
        Ok(())
    }

    /// Makes a version the active one.
    pub(super) fn activate(
        &mut self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        on_live: OnLive,
        at: Timestamp,
    ) -> Result<()> {
        let versions = self.having(tenant, component, version)?;
        let activation = versions
            .iter()
            .map(|known| known.activation)
            .max()
            .map_or(1, |last| last + 1)
            .max(at.0);
        for known in versions {
            known.active = known.version == *version;
            if known.active {
                (known.activation, known.on_live) = (activation, on_live);
            }
        }
        Ok(())
    }

    /// Removes a version, and its artifact if nothing else has it.
    pub(super) fn delete(
        &mut self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Result<()> {
        let versions = self.having(tenant, component, version)?;
        versions.retain(|known| known.version != *version);
        let used = |digest: &Digest| {
            self.components
                .values()
                .flatten()
                .any(|known| known.digest == *digest)
        };
        self.artifacts.retain(|digest, _| used(digest));
        Ok(())
    }

    /// The versions of one component, or of all of the tenant's.
    pub(super) fn list(
        &self,
        tenant: &TenantId,
        component: Option<&ComponentName>,
    ) -> Vec<ComponentVersion> {
        let from = (
            tenant.clone(),
            component.cloned().unwrap_or_else(|| ComponentName::new("")),
        );
        self.components
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(|((owner, name), _)| {
                owner == tenant && component.is_none_or(|wanted| wanted == name)
            })
            .flat_map(|(_, versions)| versions.iter().cloned())
            .collect()
    }

    /// The bytes of an artifact.
    pub(super) fn artifact(&self, digest: Digest) -> Option<Arc<[u8]>> {
        self.artifacts.get(&digest).cloned()
    }

    /// The versions of a component that has the one named.
    fn having(
        &mut self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
    ) -> Result<&mut Vec<ComponentVersion>> {
        let versions = self
            .components
            .get_mut(&(tenant.clone(), component.clone()));
        versions
            .filter(|versions| versions.iter().any(|known| known.version == *version))
            .ok_or_else(|| Error::UnknownVersion {
                component: component.clone(),
                version: version.clone(),
            })
    }
}
