//! From a checkout to its release: a sandbox in somebody's hands.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::future::BoxFuture;
use xcomponent_core::{
    call::{Call, Deployment, Failure, Fault, FaultCode, Outcome},
    definition::Isolation,
    id::{Digest, TenantId},
};

use super::{Shared, fault, lane::Lanes, live::Live, loaded::Loaded, pool::Slot};

/// What came of asking for a sandbox.
pub enum Checkout {
    /// Here it is.
    Ready(Box<Sandbox>),
    /// It takes longer: all slots are in use, the component must be read from the cache, or its
    /// start gave its thread back. The future needs no particular executor.
    Later(BoxFuture<'static, Result<Box<Sandbox>, Fault>>),
    /// There is none to be had.
    Unavailable(Fault),
}

/// What came of a call.
pub enum Progress {
    /// The usual case: it is finished.
    Finished(Box<Sandbox>, Outcome),
    /// It worked for a while and gave its thread back. The future goes on when its component and
    /// tenant have a place on the slow lane; it needs no particular executor.
    Running(BoxFuture<'static, (Box<Sandbox>, Outcome)>),
}

/// A guest at somebody's disposal, from the first guard of an event to its outcome.
pub struct Sandbox {
    /// Absent once the guest was stopped or has faulted: then it answers nothing any more.
    live: Option<Box<Live>>,
    /// Not all that is shared: an idle sandbox is part of that.
    lanes: Arc<Lanes>,
    tenant: TenantId,
    artifact: Digest,
    isolation: Isolation,
    n_calls: u32,
    calls_max: u32,
    /// Given back last, when the guest's memory is free again.
    _slot: Slot,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("tenant", &self.tenant)
            .field("artifact", &self.artifact)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Asks one guard or action. Never fails: what the guest did wrong is in the outcome. After a
    /// fault the guest is gone, and any further call is `sandbox_unavailable`.
    pub fn call(mut self: Box<Self>, call: Call) -> Progress {
        let Some(live) = self.live.take() else {
            let gone = fault::plain(FaultCode::Unavailable, "the guest has faulted and is gone");
            return Progress::Finished(self, faulted(gone));
        };
        self.n_calls += 1;
        let mut answer: BoxFuture<'static, _> = Box::pin(live.answer(call));
        match poll_once(&mut answer) {
            Poll::Ready((live, outcome)) => {
                self.keep(live, &outcome);
                Progress::Finished(self, outcome)
            }
            Poll::Pending => Progress::Running(Box::pin(self.go_on(answer))),
        }
    }

    /// Whose it is.
    pub(super) fn owner(&self) -> (&TenantId, Digest) {
        (&self.tenant, self.artifact)
    }

    /// Whether it may be used again.
    pub(super) fn is_reusable(&self) -> bool {
        let is_young = self.n_calls < self.calls_max;
        self.live.is_some() && self.isolation == Isolation::Reused && is_young
    }

    async fn go_on(
        mut self: Box<Self>,
        answer: BoxFuture<'static, (Box<Live>, Outcome)>,
    ) -> (Box<Self>, Outcome) {
        let lanes = Arc::clone(&self.lanes);
        match lanes.drive(&self.tenant, self.artifact, answer).await {
            Ok((live, outcome)) => {
                self.keep(live, &outcome);
                (self, outcome)
            }
            Err(stopped) => (self, faulted(stopped)),
        }
    }

    fn keep(&mut self, live: Box<Live>, outcome: &Outcome) {
        if !matches!(outcome.result, Err(Failure::Fault(_))) {
            self.live = Some(live);
        }
    }

    /// Begins a transition on a sandbox that was idle.
    pub(super) fn renew(&mut self) {
        if let Some(live) = &mut self.live {
            live.renew();
        }
    }
}

/// Asks for a sandbox of a component version.
pub(super) fn checkout(shared: &Arc<Shared>, deployment: &Arc<Deployment>) -> Checkout {
    let isolation = deployment.definition.isolation;
    if isolation == Isolation::Reused
        && let Some(mut sandbox) = shared.pool.take(&deployment.tenant, &deployment.artifact)
    {
        sandbox.renew();
        return Checkout::Ready(sandbox);
    }
    let loaded = shared.versions.get(&deployment.artifact);
    let (Some(loaded), Some(slot)) = (loaded, shared.pool.slot()) else {
        return Checkout::Later(Box::pin(open_later(
            Arc::clone(shared),
            Arc::clone(deployment),
        )));
    };
    let mut opened: BoxFuture<'static, _> = Box::pin(open(
        Arc::clone(shared),
        Arc::clone(deployment),
        loaded,
        slot,
    ));
    match poll_once(&mut opened) {
        Poll::Ready(Ok(sandbox)) => Checkout::Ready(sandbox),
        Poll::Ready(Err(fault)) => Checkout::Unavailable(fault),
        Poll::Pending => Checkout::Later(Box::pin(drive(
            Arc::clone(shared),
            Arc::clone(deployment),
            opened,
        ))),
    }
}

async fn open(
    shared: Arc<Shared>,
    deployment: Arc<Deployment>,
    loaded: Arc<Loaded>,
    slot: Slot,
) -> Result<Box<Sandbox>, Fault> {
    let live = Live::start(&loaded, &shared.config).await?;
    Ok(Box::new(Sandbox {
        live: Some(live),
        tenant: deployment.tenant.clone(),
        artifact: deployment.artifact,
        isolation: deployment.definition.isolation,
        n_calls: 0,
        calls_max: shared.config.calls_per_sandbox_max,
        lanes: Arc::clone(&shared.lanes),
        _slot: slot,
    }))
}

async fn open_later(
    shared: Arc<Shared>,
    deployment: Arc<Deployment>,
) -> Result<Box<Sandbox>, Fault> {
    let loaded = match shared.versions.get(&deployment.artifact) {
        Some(loaded) => loaded,
        None => shared.reload(deployment.artifact)?,
    };
    let slot = match shared.pool.slot() {
        Some(slot) => slot,
        None => shared.pool.wait().await?,
    };
    let opened = open(Arc::clone(&shared), Arc::clone(&deployment), loaded, slot);
    drive(shared, deployment, Box::pin(opened)).await
}

async fn drive(
    shared: Arc<Shared>,
    deployment: Arc<Deployment>,
    opened: BoxFuture<'static, Result<Box<Sandbox>, Fault>>,
) -> Result<Box<Sandbox>, Fault> {
    shared
        .lanes
        .drive(&deployment.tenant, deployment.artifact, opened)
        .await?
}

fn poll_once<T>(future: &mut BoxFuture<'static, T>) -> Poll<T> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

fn faulted(fault: Fault) -> Outcome {
    Outcome {
        result: Err(Failure::Fault(fault)),
        logs: Vec::new(),
        fuel: 0,
    }
}
