//! Switching between versions, moving instances, and taking versions away.

use std::sync::Arc;

use xcomponent_core::{
    call::Deployment,
    effect::Reply,
    id::{ComponentName, TenantId, Version},
    input::{Migrate, Request},
};

use super::{Error, Moved, Registry, Report, Result, Switch};
use crate::driver::{InstanceCount, InstanceFilter};

impl Registry {
    /// Makes a version the active one.
    ///
    /// # Errors
    ///
    /// If there is no such version, or live instances would not fit and `switch` says so.
    pub async fn activate(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: &Version,
        switch: Switch,
    ) -> Result<Report> {
        let _turn = self.shared.changing.lock().await;
        let loaded = self.loaded(tenant, component)?;
        let deployment = loaded
            .version(version)
            .ok_or_else(|| Error::UnknownVersion {
                component: component.clone(),
                version: version.clone(),
            })?;
        self.activate_loaded(tenant, deployment, switch).await
    }

    /// Goes back to the version that was active before the present one; gives it and the report.
    ///
    /// # Errors
    ///
    /// If there is none, or live instances would not fit and `switch` says so.
    pub async fn rollback(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        switch: Switch,
    ) -> Result<(Arc<Deployment>, Report)> {
        let _turn = self.shared.changing.lock().await;
        let loaded = self.loaded(tenant, component)?;
        let mut versions = self.shared.handle.versions(tenant, Some(component)).await?;
        versions.retain(|version| version.activation > 0);
        versions.sort_by_key(|version| version.activation);
        let present = versions.iter().find(|version| version.active);
        let highest = present.map_or(0, |version| version.activation);
        let before = versions
            .iter()
            .rfind(|version| version.activation < highest)
            .and_then(|version| loaded.version(&version.version))
            .ok_or_else(|| Error::NothingBefore(component.clone()))?;
        let report = self.activate_loaded(tenant, before, switch).await?;
        Ok((Arc::clone(before), report))
    }

    /// Moves live instances from one version to another now.
    ///
    /// # Errors
    ///
    /// If there is no such version.
    pub async fn migrate(&self, tenant: &TenantId, migrate: Migrate) -> Result<Moved> {
        let loaded = self.loaded(tenant, &migrate.component)?;
        for version in [&migrate.from, &migrate.to] {
            if loaded.version(version).is_none() {
                return Err(Error::UnknownVersion {
                    component: migrate.component.clone(),
                    version: version.clone(),
                });
            }
        }
        let request = Request::Migrate(migrate);
        match self.shared.handle.request(tenant, request).await {
            Reply::Migrated(moved) => Ok(moved),
            Reply::Refused(refused) => Err(Error::Refused(refused)),
            other => unreachable!("a migration is answered with one or refused: {other:?}"),
        }
    }

    /// Takes a version, or the whole component, away.
    ///
    /// # Errors
    ///
    /// If it is not there, or instances live on it and `force` is not given; the active version
    /// goes only with the whole component.
    pub async fn delete(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: Option<&Version>,
        force: bool,
    ) -> Result<()> {
        let _turn = self.shared.changing.lock().await;
        let loaded = self.loaded(tenant, component)?;
        let doomed: Vec<Version> = match version {
            Some(version) if loaded.version(version).is_none() => {
                return Err(Error::UnknownVersion {
                    component: component.clone(),
                    version: version.clone(),
                });
            }
            Some(version) => vec![version.clone()],
            None => loaded
                .versions
                .iter()
                .map(|deployment| deployment.definition.version.clone())
                .collect(),
        };
        let active = &loaded.active.definition.version;
        let whole = doomed.len() == loaded.versions.len();
        if !whole && doomed.contains(active) {
            return Err(Error::Active(active.clone()));
        }
        let instances = self.live_on(tenant, component, version).await?;
        if instances > 0 && !force {
            return Err(Error::InUse { instances });
        }
        let retired = if whole { None } else { version };
        self.shared.handle.retire(tenant, component, retired).await;
        for version in &doomed {
            self.shared
                .handle
                .delete_version(tenant, component, version)
                .await?;
        }
        self.forget(tenant, component, retired);
        Ok(())
    }

    /// How many instances of a component, or one of its versions, go on.
    async fn live_on(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
        version: Option<&Version>,
    ) -> Result<u64> {
        let filter = InstanceFilter {
            component: Some(component.clone()),
            status: Some(xcomponent_core::record::Status::Active),
            version: version.cloned(),
            ..InstanceFilter::default()
        };
        let counts = self.shared.handle.instance_counts(tenant, filter).await?;
        Ok(counts
            .iter()
            .map(|count: &InstanceCount| count.instances)
            .sum())
    }

    async fn activate_loaded(
        &self,
        tenant: &TenantId,
        deployment: &Arc<Deployment>,
        switch: Switch,
    ) -> Result<Report> {
        let report = Report {
            live: self.preview(tenant, deployment).await?,
            ..Report::default()
        };
        if switch == Switch::Refuse && report.misfits() > 0 {
            let version = deployment.definition.version.clone();
            let report = Box::new(report);
            return Err(Error::WouldNotFit { version, report });
        }
        self.switch_to(deployment, switch).await?;
        Ok(report)
    }

    /// Makes a version that the shards know the active one, in the store, on the shards and here.
    pub(super) async fn switch_to(
        &self,
        deployment: &Arc<Deployment>,
        switch: Switch,
    ) -> Result<()> {
        let handle = &self.shared.handle;
        let tenant = &deployment.tenant;
        let (name, version) = (&deployment.definition.name, &deployment.definition.version);
        let on_live = switch.on_live();
        handle.mark_active(tenant, name, version, on_live).await?;
        handle.activate(tenant, name, version, on_live).await;
        self.remember(Arc::clone(deployment), true);
        tracing::info!(component = %name, %version, ?on_live, "a version was activated");
        self.waits_no_more(tenant, name);
        self.create_entry_point(deployment).await;
        Ok(())
    }
}
