//! From uploaded bytes to a version that runs.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use xcomponent_core::{
    call::Deployment,
    definition::{Definition, Findings, Strictness, check},
    effect::{Fit, Reply},
    id::{ComponentName, Digest, TenantId},
    input::Request,
};

use super::{Error, Examined, Leniency, Registry, Report, Result, Switch};
use crate::{driver::ComponentVersion, memory::Purpose, quiet::quietly, sent::Sent};

/// What a definition takes in memory for each byte of its text, roughly.
const PARSED: usize = 8;

/// A component that somebody sends.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The name it must have, where the caller named one.
    pub name: Option<ComponentName>,
    /// What was sent. Nobody has looked at it.
    pub sent: Sent,
    /// What happens to live instances.
    pub switch: Switch,
    /// What happens where this digest is there already.
    pub activation: Activation,
    /// Only say what would happen.
    pub dry_run: bool,
    /// What it may lack; none = what the registry allows.
    pub leniency: Option<Leniency>,
}

/// Whether a version that is there already becomes the active one again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// It does: somebody asks for it now.
    #[default]
    Always,
    /// It does not: a host that starts again is given what it was given before.
    IfNew,
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
    ready: Ready,
    component: Bytes,
    report: Report,
}

/// A version that is ready to be called. Dropped, its code is forgotten unless somebody runs it: also
/// if the upload was given up half-way.
struct Ready {
    deployment: Arc<Deployment>,
    registry: Registry,
}

impl Drop for Ready {
    fn drop(&mut self) {
        let artifact = self.deployment.artifact;
        if !self.registry.runs(artifact) {
            self.registry.shared.installer.forget(artifact);
        }
    }
}

impl Registry {
    /// Has a component examined and compiled, compares it with what is there, then makes it the active
    /// version. Who drops the future gives it up, unless the change has begun: then that is completed.
    ///
    /// # Errors
    ///
    /// If it is not accepted. Nothing was changed then.
    pub async fn upload(&self, tenant: &TenantId, upload: Upload) -> Result<Uploaded> {
        if upload.activation == Activation::IfNew
            && let Some(known) = self.known(tenant, &upload.sent).await?
        {
            return Ok(known);
        }
        let candidate = self.examine(tenant, &upload).await?;
        let registry = self.clone();
        let admitting = tokio::spawn(async move { registry.admit(upload, candidate).await });
        admitting
            .await
            .map_err(|error| Error::Host(std::io::Error::other(error)))?
    }

    /// The version that these bytes are already.
    async fn known(&self, tenant: &TenantId, sent: &Sent) -> Result<Option<Uploaded>> {
        let Sent::Packed(bytes) = sent else {
            return Ok(None);
        };
        let bytes = bytes.clone();
        let artifact = quietly(move || Digest(Sha256::digest(&bytes).into()));
        let artifact = artifact.await.map_err(Error::Host)?;
        let waiting = self.waiting(tenant);
        if let Some(waiting) = waiting.into_iter().find(|one| one.artifact == artifact) {
            return Err(waiting.into_error());
        }
        let loaded = self.list(tenant);
        let known = loaded.iter().find_map(|(_, loaded)| {
            let versions = &mut loaded.versions.iter();
            let known = versions.find(|version| version.artifact == artifact)?;
            Some(Uploaded {
                deployment: Arc::clone(known),
                active: Arc::ptr_eq(known, &loaded.active),
                existing: true,
                report: Report::default(),
            })
        });
        Ok(known)
    }

    /// Compares what was made ready with what is there, and makes it the active version.
    async fn admit(&self, upload: Upload, candidate: Candidate) -> Result<Uploaded> {
        let Candidate {
            ready,
            component,
            mut report,
        } = candidate;
        let deployment = &ready.deployment;
        let tenant = &deployment.tenant;
        let definition = &deployment.definition;
        let _turn = self.shared.changing.lock().await;
        let known = self.get(tenant, &definition.name);
        let same = known
            .as_ref()
            .and_then(|loaded| loaded.version(&definition.version));
        let is_active = |same: &Arc<Deployment>| {
            let known = known.as_ref();
            self.waits(tenant, &definition.name).is_none()
                && known.is_some_and(|loaded| Arc::ptr_eq(&loaded.active, same))
        };
        if let Some(same) = same {
            // A definition without code is packed anew, by what may be a newer version of this host.
            let is_restart = upload.activation == Activation::IfNew
                && upload.sent.is_definition()
                && same.definition.digest == definition.digest;
            if same.artifact != deployment.artifact && !is_restart {
                return Err(Error::VersionExists {
                    component: definition.name.clone(),
                    version: definition.version.clone(),
                });
            }
            if is_active(same) || upload.activation == Activation::IfNew {
                return Ok(Uploaded {
                    deployment: Arc::clone(same),
                    active: is_active(same),
                    existing: true,
                    report,
                });
            }
        }
        let existing = same.is_some();
        let deployment = Arc::clone(same.unwrap_or(deployment));
        report.live = self.preview(tenant, &deployment).await?;
        let switch = upload.switch;
        if switch == Switch::Refuse && report.misfits() > 0 {
            let version = deployment.definition.version.clone();
            let report = Box::new(report);
            return Err(Error::WouldNotFit { version, report });
        }
        let active = !upload.dry_run;
        if active {
            let name = &deployment.definition.name;
            let is_new = known.is_none();
            if is_new {
                self.claim(tenant, name, &deployment.definition.version)
                    .await?;
            }
            let kept = self.keep(&deployment, component, upload.sent).await;
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

    /// Every version stays in memory, as objects, and is read again at every start.
    fn has_room_for(&self, tenant: &TenantId, new: &Definition) -> Result<()> {
        let loaded = self.get(tenant, &new.name);
        if loaded.is_some_and(|loaded| loaded.version(&new.version).is_some()) {
            return Ok(());
        }
        let most = self.shared.handle.memory().max(Purpose::Code) / PARSED;
        let bytes = self.definition_bytes() + new.source.len();
        if bytes > most {
            return Err(Error::TooManyVersions { bytes, most });
        }
        Ok(())
    }

    /// Everything that can be said without changing anything.
    async fn examine(&self, tenant: &TenantId, upload: &Upload) -> Result<Candidate> {
        let leniency = upload.leniency.unwrap_or(self.shared.leniency);
        let installer = &self.shared.installer;
        let examined = installer
            .examine(upload.sent.clone(), leniency.strictness)
            .await
            .map_err(Error::Rejected)?;
        let Examined {
            artifact,
            component,
            findings,
            definition,
            install,
        } = examined;
        let Some(text) = definition else {
            return Err(Error::Invalid { findings });
        };
        let (definition, findings) = accepted(text, leniency.strictness).await?;
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
        self.has_room_for(tenant, &definition)?;
        let wanted = definition.methods();
        let answered = install
            .install(&wanted, leniency.allow_missing)
            .await
            .map_err(Error::Rejected)?;
        let ready = Ready {
            deployment: Arc::new(Deployment {
                tenant: tenant.clone(),
                definition,
                artifact,
            }),
            registry: self.clone(),
        };
        let missing = wanted
            .into_iter()
            .filter(|method| answered.binary_search(method).is_err())
            .collect();
        Ok(Candidate {
            ready,
            component,
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
    async fn keep(&self, deployment: &Arc<Deployment>, component: Bytes, sent: Sent) -> Result<()> {
        let handle = &self.shared.handle;
        let definition = &deployment.definition;
        let version = ComponentVersion {
            tenant: deployment.tenant.clone(),
            component: definition.name.clone(),
            version: definition.version.clone(),
            digest: deployment.artifact,
            size: component.len() as u64,
            definition: Arc::clone(&definition.source),
            uploaded: handle.now(),
            active: false,
            on_live: xcomponent_core::definition::OnLive::default(),
            activation: 0,
        };
        let bytes = quietly(move || {
            let bytes: Arc<[u8]> = Arc::from(&*component);
            drop((component, sent));
            bytes
        });
        let bytes = bytes.await.map_err(Error::Host)?;
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

/// A definition that the examiner has accepted: it costs little to check it once more.
async fn accepted(text: String, strictness: Strictness) -> Result<(Definition, Findings)> {
    let checked = quietly(move || check(&text, strictness));
    let checked = checked.await.map_err(Error::Host)?;
    let findings = checked.findings;
    match checked.definition {
        Some(definition) => Ok((definition, findings)),
        None => Err(Error::Invalid { findings }),
    }
}
