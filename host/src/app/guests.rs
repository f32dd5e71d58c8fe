//! The sandboxes, as the driver and the registry want them.

use std::sync::Arc;

use futures_util::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use xcomponent_core::{
    call::{Call, Deployment, Fault},
    definition::{MethodKind, Strictness},
    id::{Digest, MethodName},
};

use super::Config;
use crate::{
    driver::guests::{Checkout, Guests, Progress},
    sandbox::{self, Artifacts, InstallError, Sandbox, Sandboxes},
    sent::Sent,
    store::Store,
    tenancy::{Examined, Install, Installer, Methods, Rejected},
};

impl Guests for Sandboxes {
    type Sandbox = Box<Sandbox>;

    fn checkout(&self, deployment: &Arc<Deployment>) -> Checkout<Self::Sandbox> {
        match Self::checkout(self, deployment) {
            sandbox::Checkout::Ready(sandbox) => Checkout::Ready(sandbox),
            sandbox::Checkout::Later(sandbox) => Checkout::Later(sandbox),
            sandbox::Checkout::Unavailable(fault) => unavailable(fault),
        }
    }

    fn call(&self, sandbox: Self::Sandbox, call: Call) -> Progress<Self::Sandbox> {
        match sandbox.call(call) {
            sandbox::Progress::Finished(sandbox, outcome) => Progress::Finished(sandbox, outcome),
            sandbox::Progress::Running(rest) => Progress::Running(rest),
        }
    }

    fn release(&self, sandbox: Self::Sandbox, healthy: bool) {
        Self::release(self, sandbox, healthy);
    }

    fn unused(&self, deployment: &Arc<Deployment>) {
        self.unload(&deployment.artifact);
    }
}

fn unavailable(fault: Fault) -> Checkout<Box<Sandbox>> {
    Checkout::Unavailable(fault)
}

impl Installer for Sandboxes {
    fn examine(
        &self,
        sent: Sent,
        strictness: Strictness,
    ) -> BoxFuture<'_, Result<Examined, Rejected>> {
        let examined = Self::examine(self, sent, strictness);
        let examined = examined.map_err(|error| rejected(&error));
        examined.map_ok(looked_at).boxed()
    }

    fn forget(&self, artifact: Digest) {
        self.unload(&artifact);
    }
}

fn looked_at(mut examined: sandbox::Examined) -> Examined {
    Examined {
        artifact: examined.artifact,
        component: examined.component.clone(),
        findings: std::mem::take(&mut examined.findings),
        definition: examined.definition.take(),
        install: Box::new(examined),
    }
}

impl Install for sandbox::Examined {
    fn install<'i>(
        self: Box<Self>,
        wanted: &'i [(MethodKind, MethodName)],
        allow_missing: bool,
    ) -> BoxFuture<'i, Result<Methods, Rejected>> {
        let installed = Self::install(*self, wanted, allow_missing);
        installed.map_err(|error| rejected(&error)).boxed()
    }
}

fn rejected(error: &InstallError) -> Rejected {
    Rejected {
        code: error.code().into(),
        message: error.to_string(),
        by_host: error.is_of_the_host(),
        is_busy: matches!(error, InstallError::Busy { .. }),
    }
}

/// The sandboxes of a host, within its budget. What is not in their cache they get from the store.
pub(super) fn sandboxes(
    config: &Config,
    store: &Arc<dyn Store>,
) -> Result<Sandboxes, sandbox::StartError> {
    let sandboxes = Sandboxes::new(sandbox::Config {
        memory: config.memory.clone(),
        ..config.sandbox.clone()
    })?;
    sandboxes.reload_from(Stored(Arc::clone(store)));
    Ok(sandboxes)
}

/// The store, as sandboxes want it: where the components are that were accepted.
struct Stored(Arc<dyn Store>);

impl Artifacts for Stored {
    fn find(&self, artifact: Digest) -> Result<Option<Arc<[u8]>>, String> {
        let found = self.0.artifact(artifact);
        found.map_err(|error| format!("the component cannot be read from the store: {error}"))
    }
}
