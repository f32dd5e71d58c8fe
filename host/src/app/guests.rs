//! The sandboxes, as the driver and the registry want them.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use xcomponent_core::{
    call::{Call, Deployment, Fault},
    definition::MethodKind,
    id::{Digest, MethodName},
};

use crate::{
    driver::guests::{Checkout, Guests, Progress},
    sandbox::{self, InstallError, Sandbox, Sandboxes},
    tenancy::{Installer, Methods, Rejected},
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
    fn install<'i>(
        &'i self,
        component: &'i [u8],
        artifact: Digest,
        wanted: &'i [(MethodKind, MethodName)],
        allow_missing: bool,
    ) -> BoxFuture<'i, Result<Methods, Rejected>> {
        let installed = Self::install(self, component, artifact, wanted, allow_missing);
        installed
            .map(|methods| methods.map_err(|error| rejected(&error)))
            .boxed()
    }

    fn forget(&self, artifact: Digest) {
        self.unload(&artifact);
    }
}

fn rejected(error: &InstallError) -> Rejected {
    use crate::sandbox::compile;
    let by_host = matches!(
        error,
        InstallError::Cache(_) | InstallError::Compile(compile::Error::Process(_))
    );
    Rejected {
        code: error.code(),
        message: error.to_string(),
        by_host,
    }
}
