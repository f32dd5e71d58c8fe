//! Component versions that are needed and not in memory: from the cache, or compiled once more.
//!
//! A host that starts loads no code; the first call of a version brings it here. After an upgrade the
//! cache has nothing that fits, and the component itself is read from where the host keeps it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tokio::runtime;
use xcomponent_core::{
    call::{Fault, FaultCode},
    definition::Strictness,
    id::Digest,
};

use super::{InstallError, Shared, examiner::Examiner, fault, install::compiled, loaded::Loaded};
use crate::{quiet::quietly, sent::Sent};

/// Where packed components are kept.
pub trait Artifacts: Send + Sync + 'static {
    /// The bytes of a component, if they are there. May wait for a disk or a network.
    ///
    /// # Errors
    ///
    /// Says why they cannot be read.
    fn find(&self, artifact: Digest) -> Result<Option<Arc<[u8]>>, String>;
}

/// Where components come from, and which of them cannot be compiled.
#[derive(Default)]
pub(super) struct Reloading {
    source: OnceLock<Source>,
    /// Versions that this host does not compile, and why: it would come to the same again.
    refused: Mutex<HashMap<Digest, Fault, foldhash::fast::RandomState>>,
}

struct Source {
    artifacts: Arc<dyn Artifacts>,
    runtime: runtime::Handle,
}

impl Reloading {
    /// Reads components from here.
    pub(super) fn begin(&self, artifacts: Box<dyn Artifacts>) {
        let source = Source {
            artifacts: artifacts.into(),
            runtime: runtime::Handle::current(),
        };
        // The first is the one that counts.
        let _second = self.source.set(source);
    }

    /// A version is gone, or is fine.
    pub(super) fn forget(&self, artifact: &Digest) {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(artifact);
    }

    fn refused(&self, artifact: &Digest) -> Option<Fault> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(artifact).cloned()
    }

    fn refuse(&self, artifact: Digest, fault: &Fault) {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(artifact, fault.clone());
    }
}

impl Shared {
    /// Brings a version into memory. Whoever else wants it meanwhile waits for that.
    pub(super) async fn reload(self: &Arc<Self>, artifact: Digest) -> Result<Arc<Loaded>, Fault> {
        let turn = self.versions.turn(artifact);
        let _turn = turn.lock().await;
        if let Some(loaded) = self.versions.get(&artifact) {
            return Ok(loaded);
        }
        if let Some(refused) = self.reloading.refused(&artifact) {
            return Err(refused);
        }
        let loaded = match self.find_code(artifact) {
            Ok(Some(loaded)) => Ok(loaded),
            Ok(None) => self.compile_again(artifact).await,
            Err(error) => Err(self.unavailable(artifact, &error)),
        }?;
        self.keep(artifact, &loaded);
        Ok(loaded)
    }

    /// Has a version compiled that was accepted once.
    async fn compile_again(self: &Arc<Self>, artifact: Digest) -> Result<Arc<Loaded>, Fault> {
        let missing = move || {
            let message = format!("component {artifact} is not installed");
            fault::plain(FaultCode::Unavailable, message)
        };
        let source = self.reloading.source.get().ok_or_else(missing)?;
        let artifacts = Arc::clone(&source.artifacts);
        let shared = Arc::clone(self);
        // The caller's executor may have neither time nor io.
        let compiling = source.runtime.spawn(async move {
            let unreadable = |reason: String| fault::plain(FaultCode::Unavailable, reason);
            let found = quietly(move || artifacts.find(artifact)).await;
            let found = found.map_err(|error| unreadable(error.to_string()))?;
            let component = found.map_err(unreadable)?.ok_or_else(missing)?;
            let _turn = shared.turn().await;
            let sent = Sent::Packed(bytes::Bytes::from_owner(component));
            let limits = &shared.config.compile;
            let compiled = async {
                // What its definition is worth was judged when it came.
                let looked = Examiner::look_at(&sent, Strictness::Lenient, limits).await;
                compiled(&shared, artifact, looked?.0).await
            };
            compiled
                .await
                .map_err(|error| shared.unavailable(artifact, &error))
        });
        compiling.await.unwrap_or_else(|error| {
            let message = format!("compiling component {artifact} was cut off: {error}");
            Err(fault::plain(FaultCode::Unavailable, message))
        })
    }

    /// Why a version cannot be called; noted if it would be the same another time.
    fn unavailable(&self, artifact: Digest, error: &InstallError) -> Fault {
        let message = format!("component {artifact} cannot be loaded: {error}");
        tracing::error!(%artifact, %error, "a component that was accepted cannot be loaded");
        let fault = fault::plain(FaultCode::Unavailable, message);
        if !error.is_of_the_host() {
            self.reloading.refuse(artifact, &fault);
        }
        fault
    }
}
