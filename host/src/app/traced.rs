//! Guests whose methods are spans, where somebody wants to know.

use std::sync::Arc;

use xcomponent_core::call::{Call, Deployment};

use crate::{
    driver::guests::{Checkout, Guests, Progress},
    telemetry::Tracer,
};

/// The same guests, seen by a tracer if there is one.
#[derive(Clone)]
pub(super) struct Traced<G> {
    pub(super) guests: G,
    pub(super) tracer: Option<Tracer>,
}

impl<G: Guests> Guests for Traced<G> {
    type Sandbox = G::Sandbox;

    fn checkout(&self, deployment: &Arc<Deployment>) -> Checkout<Self::Sandbox> {
        self.guests.checkout(deployment)
    }

    fn call(&self, sandbox: Self::Sandbox, call: Call) -> Progress<Self::Sandbox> {
        let tracer = self.tracer.as_ref();
        let Some(span) = tracer.and_then(|tracer| tracer.method(&call)) else {
            return self.guests.call(sandbox, call);
        };
        match self.guests.call(sandbox, call) {
            Progress::Finished(sandbox, outcome) => {
                span.done(&outcome);
                Progress::Finished(sandbox, outcome)
            }
            Progress::Running(rest) => Progress::Running(Box::pin(async move {
                let (sandbox, outcome) = rest.await;
                span.done(&outcome);
                (sandbox, outcome)
            })),
        }
    }

    fn release(&self, sandbox: Self::Sandbox, healthy: bool) {
        self.guests.release(sandbox, healthy);
    }

    fn unused(&self, deployment: &Arc<Deployment>) {
        self.guests.unused(deployment);
    }
}
