//! What the store has when a host starts: definitions at once, code when it is called.
//!
//! A version was accepted once, perhaps by an earlier version of the host. That this one does not
//! accept it any more is no reason not to start: it is reported, and its instances wait.

use std::sync::{Arc, PoisonError};

use xcomponent_core::{
    call::Deployment,
    definition::{Definition, Severity, Strictness, check},
    id::{ComponentName, Digest, TenantId, Version},
};

use super::{Error, Registry, Result};
use crate::driver::{ComponentVersion, Progress};

/// A version that the store has and that this host does not accept.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which component.
    pub component: ComponentName,
    /// Which version.
    pub version: Version,
    /// SHA-256 of its artifact.
    pub artifact: Digest,
    /// Why it is not accepted.
    pub reason: String,
    /// Whether it is the active one: then the component waits as a whole.
    pub active: bool,
}

impl Waiting {
    /// The same as an error.
    pub(super) fn into_error(self) -> Error {
        Error::NotAccepted {
            component: self.component,
            version: self.version,
            reason: self.reason,
        }
    }
}

impl Registry {
    /// Deploys and activates what the store has, as it was when the host ended. No code is loaded.
    ///
    /// # Errors
    ///
    /// If the store cannot be read, or another host has come by one of the components.
    pub async fn restore(&self, tenant: &TenantId, progress: &Progress) -> Result<()> {
        let mut versions = self.shared.handle.versions(tenant, None).await?;
        progress.expect_components(versions.len());
        versions.sort_by_key(|version| version.activation);
        for version in versions {
            if version.active {
                self.claim(tenant, &version.component, &version.version)
                    .await?;
            }
            self.restore_version(tenant, version).await?;
            progress.component_is_ready();
        }
        Ok(())
    }

    async fn restore_version(&self, tenant: &TenantId, version: ComponentVersion) -> Result<()> {
        let definition = Arc::clone(&version.definition);
        // How strictly it is judged was decided when it came.
        let checked = tokio::task::spawn_blocking(move || check(&definition, Strictness::Lenient));
        let checked = checked
            .await
            .map_err(|error| Error::Host(std::io::Error::other(error)))?;
        let (name, label) = (&version.component, &version.version);
        let is_named = |found: &Definition| found.name == *name && found.version == *label;
        let Some(definition) = checked.definition.filter(is_named) else {
            let mut findings = checked.findings.iter();
            let first = findings.find(|finding| finding.severity == Severity::Error);
            let another = || "its definition is one of another component or version".to_owned();
            let reason = first.map_or_else(another, ToString::to_string);
            tracing::error!(component = %name, version = %label, reason, "a version that was accepted is not accepted any more; its instances wait");
            self.note_waiting(Waiting {
                tenant: tenant.clone(),
                component: name.clone(),
                version: label.clone(),
                artifact: version.digest,
                reason,
                active: version.active,
            });
            return Ok(());
        };
        let deployment = Arc::new(Deployment {
            tenant: tenant.clone(),
            definition,
            artifact: version.digest,
        });
        let handle = &self.shared.handle;
        handle.deploy(Arc::clone(&deployment)).await;
        if version.active {
            handle.activate(tenant, name, label, version.on_live).await;
        }
        self.remember(deployment, version.active);
        Ok(())
    }

    /// The versions that this host does not accept.
    pub fn waiting(&self, tenant: &TenantId) -> Vec<Waiting> {
        let waiting = self.shared.waiting.read();
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let own = waiting.iter().filter(|waiting| waiting.tenant == *tenant);
        own.cloned().collect()
    }

    /// The active version of a component, if this host does not accept that.
    pub(super) fn waits(&self, tenant: &TenantId, component: &ComponentName) -> Option<Waiting> {
        let waiting = self.shared.waiting.read();
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let is_it = |waiting: &&Waiting| {
            waiting.active && waiting.tenant == *tenant && waiting.component == *component
        };
        waiting.iter().find(is_it).cloned()
    }

    /// Another version of a component is the active one.
    pub(super) fn waits_no_more(&self, tenant: &TenantId, component: &ComponentName) {
        let waiting = self.shared.waiting.write();
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        for one in waiting.iter_mut() {
            one.active &= one.tenant != *tenant || one.component != *component;
        }
    }

    fn note_waiting(&self, waiting: Waiting) {
        let all = self.shared.waiting.write();
        all.unwrap_or_else(PoisonError::into_inner).push(waiting);
    }
}
