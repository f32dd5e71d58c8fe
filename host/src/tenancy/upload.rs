//! From uploaded bytes to a version that runs.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use xcomponent_core::{
    call::Deployment,
    definition::{Definition, check},
    effect::{Fit, Reply},
    id::{ComponentName, Digest, TenantId},
    input::Request,
};
use xcomponent_pack as pack;

use super::{Error, Leniency, Registry, Report, Result, Switch};
use crate::driver::ComponentVersion;

/// A component that somebody sends.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The name it must have, where the caller named one.
    pub name: Option<ComponentName>,
    /// The packed component.
    pub bytes: Arc<[u8]>,
    /// What happens to live instances.
    pub switch: Switch,
    /// Only say what would happen.
    pub dry_run: bool,
    /// What it may lack; none = what the registry allows.
    pub leniency: Option<Leniency>,
}

/// What became of an upload.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The version.
    pub deployment: Arc<Deployment>,
    /// Whether it is the active one now.
    pub active: bool,
    /// Whether this digest was there before.
    pub existing: bool,
    /// What there is to say about it.
    pub report: Report,
}

/// A component that was looked at and made ready, and is not known to the shards yet.
struct Candidate {
    deployment: Arc<Deployment>,
    report: Report,
}

impl Registry {
    /// Checks, compiles and compares a component, then makes it the active version.
    ///
    /// # Errors
    ///
    /// If it is not accepted. Nothing was changed then.
    pub async fn upload(&self, tenant: &TenantId, upload: Upload) -> Result<Uploaded> {
        let candidate = self.examine(tenant, &upload).await?;
        let artifact = candidate.deployment.artifact;
        let admitted = self.admit(tenant, upload, candidate).await;
        if !self.runs(artifact) {
            self.shared.installer.forget(artifact);
        }
        admitted
    }

    /// Compares what was made ready with what is there, and makes it the active version.
    async fn admit(
        &self,
        tenant: &TenantId,
        upload: Upload,
        candidate: Candidate,
    ) -> Result<Uploaded> {
        let Candidate {
            deployment,
            mut report,
        } = candidate;
        let definition = &deployment.definition;
        let _turn = self.shared.changing.lock().await;
        let known = self.get(tenant, &definition.name);
        let same = known
            .as_ref()
            .and_then(|loaded| loaded.version(&definition.version));
        if let Some(same) = same {
            if same.artifact != deployment.artifact {
                return Err(Error::VersionExists {
                    component: definition.name.clone(),
                    version: definition.version.clone(),
                });
            }
            let is_active = known
                .as_ref()
                .is_some_and(|loaded| Arc::ptr_eq(&loaded.active, same));
            if is_active {
                return Ok(Uploaded {
                    deployment: Arc::clone(same),
                    active: true,
                    existing: true,
                    report,
                });
            }
        }
        let existing = same.is_some();
        let deployment = same.cloned().unwrap_or(deployment);
        report.live = self.preview(tenant, &deployment).await?;
        let switch = upload.switch;
        let active = !upload.dry_run;
        if active {
            if switch == Switch::Refuse && report.misfits() > 0 {
                let version = deployment.definition.version.clone();
                let report = Box::new(report);
                return Err(Error::WouldNotFit { version, report });
            }
            let name = &deployment.definition.name;
            let is_new = known.is_none();
            if is_new {
                self.claim(tenant, name, &deployment.definition.version)
                    .await?;
            }
            let kept = self.keep(&deployment, upload.bytes).await;
            if kept.is_err() && is_new {
                self.release(tenant, name);
            }
            kept?;
            self.switch_to(&deployment, switch).await?;
        }
        Ok(Uploaded {
            deployment,
            active,
            existing,
            report,
        })
    }

    /// Everything that can be said without changing anything.
    async fn examine(&self, tenant: &TenantId, upload: &Upload) -> Result<Candidate> {
        let leniency = upload.leniency.unwrap_or(self.shared.leniency);
        let packed = pack::read(&upload.bytes)?;
        let checked = check(&packed.definition, leniency.strictness);
        let findings = checked.findings;
        let Some(definition) = checked.definition else {
            return Err(Error::Invalid { findings });
        };
        if let Some(expected) = upload
            .name
            .as_ref()
            .filter(|name| **name != definition.name)
        {
            return Err(Error::OtherName {
                expected: expected.clone(),
                found: definition.name,
            });
        }
        let artifact = Digest(Sha256::digest(&upload.bytes).into());
        let wanted = definition.methods();
        let answered = self
            .shared
            .installer
            .install(&upload.bytes, artifact, &wanted, leniency.allow_missing)
            .await
            .map_err(Error::Rejected)?;
        let missing = wanted
            .into_iter()
            .filter(|method| !answered.contains(method))
            .collect();
        Ok(Candidate {
            deployment: deployment(tenant, definition, artifact),
            report: Report {
                findings,
                missing,
                live: Vec::new(),
            },
        })
    }

    /// How live instances would fit a version.
    pub(super) async fn preview(
        &self,
        tenant: &TenantId,
        with: &Arc<Deployment>,
    ) -> Result<Vec<Fit>> {
        let with = Arc::clone(with);
        let request = Request::Preview { with };
        match self.shared.handle.request(tenant, request).await {
            Reply::Preview(mut live) => {
                // The shards answer in no particular order.
                let place =
                    |fit: &Fit| (fit.version.clone(), fit.machine.clone(), fit.state.clone());
                live.sort_by_cached_key(place);
                Ok(live)
            }
            Reply::Refused(refused) => Err(Error::Refused(refused)),
            other => unreachable!("a preview is answered with one or refused: {other:?}"),
        }
    }

    /// Saves a version, and tells the shards and this registry.
    async fn keep(&self, deployment: &Arc<Deployment>, bytes: Arc<[u8]>) -> Result<()> {
        let handle = &self.shared.handle;
        let definition = &deployment.definition;
        let version = ComponentVersion {
            tenant: deployment.tenant.clone(),
            component: definition.name.clone(),
            version: definition.version.clone(),
            digest: deployment.artifact,
            size: bytes.len() as u64,
            definition: Arc::clone(&definition.source),
            uploaded: handle.now(),
            active: false,
            on_live: xcomponent_core::definition::OnLive::default(),
            activation: 0,
        };
        handle.save_version(version, bytes).await?;
        handle.deploy(Arc::clone(deployment)).await;
        tracing::info!(
            component = %definition.name,
            version = %definition.version,
            digest = %deployment.artifact,
            "a version was deployed"
        );
        Ok(())
    }
}

fn deployment(tenant: &TenantId, definition: Definition, artifact: Digest) -> Arc<Deployment> {
    Arc::new(Deployment {
        tenant: tenant.clone(),
        definition,
        artifact,
    })
}
