//! From a checkout to its release: a sandbox in somebody's hands.

use std::{
    fmt,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use futures_util::future::BoxFuture;
use xcomponent_core::{
    call::{Call, Deployment, Failure, Fault, FaultCode, Outcome},
    definition::Isolation,
    id::{Digest, TenantId},
};

use super::{
    Shared, fault,
    lane::Lanes,
    live::{Live, NoStart},
    loaded::Loaded,
    pool::Slot,
    ration::Ration,
};

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
    /// Not owned: an idle sandbox is part of what is shared.
    shared: Weak<Shared>,
    lanes: Arc<Lanes>,
    tenant: TenantId,
    artifact: Digest,
    isolation: Isolation,
    n_calls: u32,
    calls_max: u32,
    /// Given back last, when the guest's memory is free again.
    slot: Option<Slot>,
}

/// A call that is being answered.
type Answering = BoxFuture<'static, (Box<Live>, Outcome)>;

/// A guest that is being started.
type Opening = BoxFuture<'static, Result<Box<Sandbox>, NoStart>>;

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
        let call = Arc::new(call);
        let mut answer: Answering = Box::pin(live.answer(Arc::clone(&call)));
        match poll_once(&mut answer) {
            Poll::Ready((live, _)) if live.starved().is_some() => {
                Progress::Running(Box::pin(self.begin_again(live, call)))
            }
            Poll::Ready((live, outcome)) => {
                self.keep(live, &outcome);
                Progress::Finished(self, outcome)
            }
            Poll::Pending => Progress::Running(Box::pin(self.go_on(answer, call))),
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

    /// Gives back memory that it does not need, and says how much it holds.
    pub(super) fn settle(&mut self) -> usize {
        self.live.as_mut().map_or(0, |live| live.settle())
    }

    async fn go_on(
        mut self: Box<Self>,
        answer: Answering,
        call: Arc<Call>,
    ) -> (Box<Self>, Outcome) {
        let lanes = Arc::clone(&self.lanes);
        match lanes.drive(&self.tenant, self.artifact, answer).await {
            Ok((live, _)) if live.starved().is_some() => self.begin_again(live, call).await,
            Ok((live, outcome)) => {
                self.keep(live, &outcome);
                (self, outcome)
            }
            Err(stopped) => (self, faulted(stopped)),
        }
    }

    /// Asks the same in a new sandbox, once there is memory for it. Nothing of the first attempt
    /// stays: neither what it answered nor what it sent or wrote. While it waits it holds neither
    /// memory nor a slot, so that nobody waits for it.
    async fn begin_again(
        mut self: Box<Self>,
        live: Box<Live>,
        call: Arc<Call>,
    ) -> (Box<Self>, Outcome) {
        let mut starved = live.starved();
        drop((live, self.slot.take()));
        // Each turn asks for at least twice as much, up to what one sandbox may have at all.
        while let Some(bytes) = starved {
            let Some(shared) = self.shared.upgrade() else {
                break;
            };
            let bytes = bytes.saturating_mul(2).min(shared.config.memory_bytes_max);
            let mut again = match open_with(&shared, &call.deployment, bytes).await {
                Ok(sandbox) => sandbox,
                Err(fault) => return (self, faulted(fault)),
            };
            let Some(live) = again.live.take() else {
                break;
            };
            let answer: Answering = Box::pin(live.answer(Arc::clone(&call)));
            let lanes = Arc::clone(&self.lanes);
            match lanes.drive(&self.tenant, self.artifact, answer).await {
                Ok((live, outcome)) => {
                    starved = live
                        .starved()
                        .filter(|_| bytes < shared.config.memory_bytes_max);
                    if starved.is_none() {
                        again.keep(live, &outcome);
                        return (again, outcome);
                    }
                }
                Err(stopped) => return (again, faulted(stopped)),
            }
        }
        let gone = fault::plain(FaultCode::Unavailable, "there is no memory for the sandbox");
        (self, faulted(gone))
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
        return later(shared, deployment, 0);
    };
    let mut opened: Opening = Box::pin(open(
        Arc::clone(shared),
        Arc::clone(deployment),
        loaded,
        slot,
        shared.holder(deployment).nothing(),
    ));
    match poll_once(&mut opened) {
        Poll::Ready(Ok(sandbox)) => Checkout::Ready(sandbox),
        Poll::Ready(Err(NoStart::Starved(bytes))) => later(shared, deployment, bytes),
        Poll::Ready(Err(NoStart::Fault(fault))) => Checkout::Unavailable(fault),
        Poll::Pending => {
            let (shared, deployment) = (Arc::clone(shared), Arc::clone(deployment));
            Checkout::Later(Box::pin(async move {
                match drive(&shared, &deployment, opened).await? {
                    Ok(sandbox) => Ok(sandbox),
                    Err(bytes) => open_with(&shared, &deployment, bytes).await,
                }
            }))
        }
    }
}

/// A sandbox with so many bytes of memory, as soon as it can be had.
fn later(shared: &Arc<Shared>, deployment: &Arc<Deployment>, bytes: usize) -> Checkout {
    let (shared, deployment) = (Arc::clone(shared), Arc::clone(deployment));
    Checkout::Later(Box::pin(async move {
        open_with(&shared, &deployment, bytes).await
    }))
}

async fn open(
    shared: Arc<Shared>,
    deployment: Arc<Deployment>,
    loaded: Arc<Loaded>,
    slot: Slot,
    ration: Ration,
) -> Result<Box<Sandbox>, NoStart> {
    let live = Live::start(&loaded, &shared.config, ration).await?;
    Ok(Box::new(Sandbox {
        live: Some(live),
        tenant: deployment.tenant.clone(),
        artifact: deployment.artifact,
        isolation: deployment.definition.isolation,
        n_calls: 0,
        calls_max: shared.config.calls_per_sandbox_max,
        lanes: Arc::clone(&shared.lanes),
        shared: Arc::downgrade(&shared),
        slot: Some(slot),
    }))
}

/// Brings the version into memory if it is not there, waits for memory, then for a slot, and starts a
/// guest. Whoever has a slot waits for no memory.
async fn open_with(
    shared: &Arc<Shared>,
    deployment: &Arc<Deployment>,
    mut bytes: usize,
) -> Result<Box<Sandbox>, Fault> {
    let loaded = match shared.versions.get(&deployment.artifact) {
        Some(loaded) => loaded,
        None => shared.reload(deployment.artifact).await?,
    };
    let holder = shared.holder(deployment);
    loop {
        let ration = match bytes {
            0 => holder.nothing(),
            bytes => holder.wait_for(bytes).await?,
        };
        let slot = match shared.pool.slot() {
            Some(slot) => slot,
            None => shared.pool.wait().await?,
        };
        let opened = open(
            Arc::clone(shared),
            Arc::clone(deployment),
            Arc::clone(&loaded),
            slot,
            ration,
        );
        match drive(shared, deployment, Box::pin(opened)).await? {
            Ok(sandbox) => return Ok(sandbox),
            // It wants more each time, up to what a sandbox may have at all.
            Err(starved) => bytes = starved,
        }
    }
}

/// Starts a guest on the slow lane; the inner error is the memory that it lacks.
async fn drive(
    shared: &Arc<Shared>,
    deployment: &Arc<Deployment>,
    opened: Opening,
) -> Result<Result<Box<Sandbox>, usize>, Fault> {
    let lanes = &shared.lanes;
    let opened = lanes
        .drive(&deployment.tenant, deployment.artifact, opened)
        .await?;
    match opened {
        Ok(sandbox) => Ok(Ok(sandbox)),
        Err(NoStart::Starved(bytes)) => Ok(Err(bytes)),
        Err(NoStart::Fault(fault)) => Err(fault),
    }
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
