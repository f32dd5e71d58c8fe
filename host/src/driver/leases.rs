//! The sandboxes a shard has checked out, and the slow lane for calls that yield.
//!
//! A call is polled once on the shard. If it yields, its future goes to a few other threads
//! together with its sandbox, and comes back when it is done.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::FutureExt;
use hashbrown::HashMap;
use tokio::runtime;
use xcomponent_core::call::{Call, Failure, Fault, FaultCode, Lease, Outcome};

use super::{
    guests::{Checkout, Guests, Progress},
    inbox::Message,
    shared::Shared,
};

/// The sandboxes of one shard.
pub(super) struct Leases<G: Guests> {
    guests: G,
    held: HashMap<Lease, Held<G::Sandbox>, foldhash::fast::RandomState>,
    away: usize,
    returned: Arc<Mutex<Vec<Returned<G::Sandbox>>>>,
    lane: runtime::Handle,
    shared: Arc<Shared>,
    shard: usize,
}

/// Where a checked-out sandbox is.
enum Held<S> {
    /// On the shard.
    Here(S),
    /// On the slow lane.
    Away,
    /// On the slow lane, and nobody wants its outcome any more.
    Abandoned,
}

/// A call that is done; the sandbox is missing if there never was one or it was lost.
struct Returned<S> {
    lease: Lease,
    sandbox: Option<S>,
    outcome: Outcome,
}

impl<G: Guests> Leases<G> {
    pub(super) fn new(guests: G, lane: runtime::Handle, shared: Arc<Shared>, shard: usize) -> Self {
        Self {
            guests,
            held: HashMap::default(),
            away: 0,
            returned: Arc::default(),
            lane,
            shared,
            shard,
        }
    }

    /// Calls on the slow lane.
    pub(super) fn away(&self) -> usize {
        self.away
    }

    /// Asks a sandbox. No outcome means that the call went to the slow lane.
    pub(super) fn invoke(&mut self, lease: Lease, call: Call) -> Option<Outcome> {
        let sandbox = match self.held.remove(&lease) {
            Some(Held::Here(sandbox)) => sandbox,
            Some(Held::Away | Held::Abandoned) => {
                unreachable!("the engine asks a sandbox one thing at a time")
            }
            None => match self.guests.checkout(&call.deployment) {
                Checkout::Ready(sandbox) => sandbox,
                Checkout::Unavailable(fault) => return Some(faulted(fault)),
                Checkout::Later(sandbox) => {
                    let guests = self.guests.clone();
                    self.send_away(lease, async move {
                        match sandbox.await {
                            Ok(sandbox) => finish(guests.call(sandbox, call)).await,
                            Err(fault) => (None, faulted(fault)),
                        }
                    });
                    return None;
                }
            },
        };
        match self.guests.call(sandbox, call) {
            Progress::Finished(sandbox, outcome) => {
                self.held.insert(lease, Held::Here(sandbox));
                Some(outcome)
            }
            running @ Progress::Running(_) => {
                self.send_away(lease, finish(running));
                None
            }
        }
    }

    /// Gives a sandbox back. One on the slow lane is given back when it returns.
    pub(super) fn release(&mut self, lease: Lease, healthy: bool) {
        match self.held.remove(&lease) {
            Some(Held::Here(sandbox)) => self.guests.release(sandbox, healthy),
            Some(Held::Away | Held::Abandoned) => {
                self.held.insert(lease, Held::Abandoned);
            }
            // There never was one: the checkout failed.
            None => {}
        }
    }

    /// Outcomes of calls that came back from the slow lane.
    pub(super) fn returned(&mut self) -> Vec<(Lease, Outcome)> {
        let returned =
            std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner));
        self.away -= returned.len();
        returned
            .into_iter()
            .filter_map(|returned| self.welcome(returned))
            .collect()
    }

    fn welcome(&mut self, returned: Returned<G::Sandbox>) -> Option<(Lease, Outcome)> {
        let Returned {
            lease,
            sandbox,
            outcome,
        } = returned;
        let wanted = matches!(self.held.remove(&lease), Some(Held::Away));
        match sandbox {
            Some(sandbox) if wanted => {
                self.held.insert(lease, Held::Here(sandbox));
            }
            Some(sandbox) => self.guests.release(sandbox, false),
            None => {}
        }
        wanted.then_some((lease, outcome))
    }

    fn send_away(
        &mut self,
        lease: Lease,
        call: impl Future<Output = (Option<G::Sandbox>, Outcome)> + Send + 'static,
    ) {
        self.held.insert(lease, Held::Away);
        self.away += 1;
        let (returned, shared, shard) = (
            Arc::clone(&self.returned),
            Arc::clone(&self.shared),
            self.shard,
        );
        self.lane.spawn(async move {
            let result = AssertUnwindSafe(call).catch_unwind().await;
            let (sandbox, outcome) = result.unwrap_or_else(|_| (None, faulted(lost())));
            let returning = Returned {
                lease,
                sandbox,
                outcome,
            };
            returned
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(returning);
            shared.posts[shard].inbox.put(Message::Returned);
        });
    }
}

async fn finish<S>(progress: Progress<S>) -> (Option<S>, Outcome) {
    let (sandbox, outcome) = match progress {
        Progress::Finished(sandbox, outcome) => (sandbox, outcome),
        Progress::Running(running) => running.await,
    };
    (Some(sandbox), outcome)
}

fn faulted(fault: Fault) -> Outcome {
    Outcome {
        result: Err(Failure::Fault(fault)),
        logs: Vec::new(),
        fuel: 0,
    }
}

fn lost() -> Fault {
    Fault {
        code: FaultCode::Unavailable,
        message: "the host failed while it ran the call".into(),
        backtrace: None,
    }
}
