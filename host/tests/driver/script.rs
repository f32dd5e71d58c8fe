//! A guest that is a closure of the test.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::BoxFuture;
use xcomponent_core::{
    call::{Answer, Call, Deployment, Fault, FaultCode, Outcome},
    definition::MethodKind,
};
use xcomponent_host::driver::guests::{Checkout, Guests, Progress};

/// How a guest behaves when it is asked.
pub(crate) enum Behaviour {
    /// It answers at once.
    Answers(Outcome),
    /// It yields and answers when the future is done.
    Yields(BoxFuture<'static, Outcome>),
    /// There is no sandbox.
    NoSandbox,
    /// There is a sandbox when the future is done.
    SandboxLater(BoxFuture<'static, ()>),
}

type Script = Arc<Mutex<dyn FnMut(&Call) -> Behaviour + Send>>;

/// Guests that behave as a closure says.
#[derive(Clone)]
pub(crate) struct Scripted {
    script: Script,
    /// What the last checkout was for is decided at the first call: behaviours that concern the
    /// sandbox are asked for with this.
    checkout: Arc<Mutex<Option<Behaviour>>>,
    counts: Arc<Counts>,
}

/// What happened to sandboxes.
#[derive(Default)]
pub(crate) struct Counts {
    /// Checked out.
    pub(crate) out: AtomicUsize,
    /// Given back healthy.
    pub(crate) healthy: AtomicUsize,
    /// Given back otherwise.
    pub(crate) unhealthy: AtomicUsize,
    /// Versions that nothing runs on any more.
    pub(crate) unused: AtomicUsize,
}

impl Scripted {
    /// Guests that behave like this.
    pub(crate) fn new(script: impl FnMut(&Call) -> Behaviour + Send + 'static) -> Self {
        Self {
            script: Arc::new(Mutex::new(script)),
            checkout: Arc::default(),
            counts: Arc::default(),
        }
    }

    /// Guests whose guards pass and whose actions change nothing.
    pub(crate) fn willing() -> Self {
        Self::new(|call| Behaviour::Answers(willing(call)))
    }

    /// The next checkout goes like this.
    pub(crate) fn next_checkout(&self, behaviour: Behaviour) {
        *self.checkout.lock().unwrap_or_else(PoisonError::into_inner) = Some(behaviour);
    }

    /// What happened to sandboxes.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// The answer of a guest that agrees with everything.
pub(crate) fn willing(call: &Call) -> Outcome {
    let answer = match call.kind {
        MethodKind::Guard => Answer::Guard(true),
        MethodKind::Action => Answer::Action {
            context: None,
            sends: Vec::new(),
        },
    };
    Outcome {
        result: Ok(answer),
        logs: Vec::new(),
        fuel: 1,
    }
}

impl Guests for Scripted {
    type Sandbox = ();

    fn checkout(&self, _: &Arc<Deployment>) -> Checkout<()> {
        self.counts.out.fetch_add(1, Ordering::Relaxed);
        match self
            .checkout
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            Some(Behaviour::NoSandbox) => Checkout::Unavailable(Fault {
                code: FaultCode::Unavailable,
                message: "all sandboxes are taken".into(),
                backtrace: None,
            }),
            Some(Behaviour::SandboxLater(ready)) => Checkout::Later(Box::pin(async move {
                ready.await;
                Ok(())
            })),
            Some(Behaviour::Answers(_) | Behaviour::Yields(_)) | None => Checkout::Ready(()),
        }
    }

    fn call(&self, (): (), call: Call) -> Progress<()> {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        match script(&call) {
            Behaviour::Answers(outcome) => Progress::Finished((), outcome),
            Behaviour::Yields(outcome) => {
                Progress::Running(Box::pin(async move { ((), outcome.await) }))
            }
            Behaviour::NoSandbox | Behaviour::SandboxLater(_) => {
                unreachable!("these concern checkouts")
            }
        }
    }

    fn release(&self, (): (), healthy: bool) {
        let count = if healthy {
            &self.counts.healthy
        } else {
            &self.counts.unhealthy
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn unused(&self, _: &Arc<Deployment>) {
        self.counts.unused.fetch_add(1, Ordering::Relaxed);
    }
}
