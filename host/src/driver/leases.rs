//! The sandboxes a shard has checked out, and the slow lane for calls that yield.
//!
//! A call is polled once on the shard. If it yields, its future goes to a few other threads
//! together with its sandbox, and comes back when it is done. The next call of a method that
//! yielded begins over there, until one of its calls ends in its first stretch: a method that
//! always loops takes nothing of the shard's time.

use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use futures_util::FutureExt;
use hashbrown::{HashMap, HashSet};
use tokio::runtime;
use xcomponent_core::{
    call::{Call, Failure, Fault, FaultCode, Lease, Outcome},
    id::{Digest, MethodName},
};

use super::{
    guests::{Checkout, Guests, Progress},
    inbox::Message,
    shared::Shared,
};

/// Methods known to be slow at most; one that finds no room begins on the shard.
const SLOW_MAX: usize = 1_024;

/// The sandboxes of one shard.
pub(super) struct Leases<G: Guests> {
    guests: G,
    /// Methods whose last call did not end in its first stretch.
    slow: HashSet<Method, foldhash::fast::RandomState>,
    held: HashMap<Lease, Held<G::Sandbox>, foldhash::fast::RandomState>,
    away: usize,
    returned: Arc<Mutex<Vec<Returned<G::Sandbox>>>>,
    lane: runtime::Handle,
    shared: Arc<Shared>,
    shard: usize,
}

/// A method of an artifact.
type Method = (Digest, MethodName);

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
    method: Method,
    pace: Pace,
    sandbox: Option<S>,
    ended: Ended,
}

/// What came of a call.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// Microseconds that the call took on the clock, pauses on the slow lane included; none = no
    /// method was called.
    pub(super) took_us: Option<u64>,
}

/// What became of a call on the slow lane.
struct Done<S> {
    pace: Pace,
    sandbox: Option<S>,
    ended: Ended,
}

/// How long a call took.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// It ended in its first stretch.
    Quick,
    /// It yielded.
    Slow,
    /// There was no call.
    Unknown,
}

impl<G: Guests> Leases<G> {
    pub(super) fn new(guests: G, lane: runtime::Handle, shared: Arc<Shared>, shard: usize) -> Self {
        Self {
            guests,
            slow: HashSet::default(),
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
    pub(super) fn invoke(&mut self, lease: Lease, call: Call) -> Option<Ended> {
        let sandbox = match self.held.remove(&lease) {
            Some(Held::Here(sandbox)) => sandbox,
            Some(Held::Away | Held::Abandoned) => {
                unreachable!("the engine asks a sandbox one thing at a time")
            }
            None => match self.guests.checkout(&call.deployment) {
                Checkout::Ready(sandbox) => sandbox,
                Checkout::Unavailable(fault) => return Some(Ended::without_call(fault)),
                Checkout::Later(sandbox) => {
                    let guests = self.guests.clone();
                    self.send_away(lease, method_of(&call), async move {
                        match sandbox.await {
                            Ok(sandbox) => run(&guests, sandbox, call).await,
                            Err(fault) => Done::lost(fault),
                        }
                    });
                    return None;
                }
            },
        };
        if !self.slow.is_empty() && self.slow.contains(&method_of(&call)) {
            let guests = self.guests.clone();
            self.send_away(lease, method_of(&call), async move {
                run(&guests, sandbox, call).await
            });
            return None;
        }
        let method = method_of(&call);
        let began = Instant::now();
        match self.guests.call(sandbox, call) {
            Progress::Finished(sandbox, outcome) => {
                self.held.insert(lease, Held::Here(sandbox));
                Some(Ended::after(began, outcome))
            }
            Progress::Running(rest) => {
                self.send_away(lease, method, async move {
                    let (sandbox, outcome) = rest.await;
                    Done {
                        pace: Pace::Slow,
                        sandbox: Some(sandbox),
                        ended: Ended::after(began, outcome),
                    }
                });
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
    pub(super) fn returned(&mut self) -> Vec<(Lease, Ended)> {
        let returned =
            std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner));
        self.away -= returned.len();
        returned
            .into_iter()
            .filter_map(|returned| self.welcome(returned))
            .collect()
    }

    fn welcome(&mut self, returned: Returned<G::Sandbox>) -> Option<(Lease, Ended)> {
        let Returned {
            lease,
            method,
            pace,
            sandbox,
            ended,
        } = returned;
        match pace {
            Pace::Quick => drop(self.slow.remove(&method)),
            Pace::Slow if self.slow.len() < SLOW_MAX => drop(self.slow.insert(method)),
            Pace::Slow | Pace::Unknown => {}
        }
        let wanted = matches!(self.held.remove(&lease), Some(Held::Away));
        match sandbox {
            Some(sandbox) if wanted => {
                self.held.insert(lease, Held::Here(sandbox));
            }
            Some(sandbox) => self.guests.release(sandbox, false),
            None => {}
        }
        wanted.then_some((lease, ended))
    }

    fn send_away(
        &mut self,
        lease: Lease,
        method: Method,
        call: impl Future<Output = Done<G::Sandbox>> + Send + 'static,
    ) {
        self.held.insert(lease, Held::Away);
        self.away += 1;
        let (returned, shared, shard) = (
            Arc::clone(&self.returned),
            Arc::clone(&self.shared),
            self.shard,
        );
        self.lane.spawn(async move {
            let result = AssertUnwindSafe(stepping_aside(call)).catch_unwind().await;
            let Done {
                pace,
                sandbox,
                ended,
            } = result.unwrap_or_else(|_| Done::lost(panicked()));
            let returning = Returned {
                lease,
                method,
                pace,
                sandbox,
                ended,
            };
            returned
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(returning);
            shared.posts[shard].inbox.put(Message::Returned);
        });
    }
}

impl<S> Done<S> {
    /// There is no sandbox, and no outcome but this fault.
    fn lost(fault: Fault) -> Self {
        Self {
            pace: Pace::Unknown,
            sandbox: None,
            ended: Ended::without_call(fault),
        }
    }
}

/// Lets other threads go first whenever a call yields. Stepping back (`step_back`) alone is not
/// enough: a scheduler lets a thread that runs finish its slice of some milliseconds, however
/// important those are that wake up meanwhile.
async fn stepping_aside<T>(call: impl Future<Output = T>) -> T {
    let mut call = pin!(call);
    poll_fn(|context| {
        let polled = call.as_mut().poll(context);
        if polled.is_pending() {
            thread::yield_now();
        }
        polled
    })
    .await
}

/// Runs a whole call.
async fn run<G: Guests>(guests: &G, sandbox: G::Sandbox, call: Call) -> Done<G::Sandbox> {
    let began = Instant::now();
    let (pace, (sandbox, outcome)) = match guests.call(sandbox, call) {
        Progress::Finished(sandbox, outcome) => (Pace::Quick, (sandbox, outcome)),
        Progress::Running(rest) => (Pace::Slow, rest.await),
    };
    Done {
        pace,
        sandbox: Some(sandbox),
        ended: Ended::after(began, outcome),
    }
}

fn method_of(call: &Call) -> Method {
    (call.deployment.artifact, call.method.clone())
}

impl Ended {
    fn after(began: Instant, outcome: Outcome) -> Self {
        Self {
            outcome,
            took_us: u64::try_from(began.elapsed().as_micros()).ok(),
        }
    }

    fn without_call(fault: Fault) -> Self {
        let outcome = Outcome {
            result: Err(Failure::Fault(fault)),
            logs: Vec::new(),
            fuel: 0,
        };
        Self {
            outcome,
            took_us: None,
        }
    }
}

fn panicked() -> Fault {
    Fault {
        code: FaultCode::Unavailable,
        message: "the host failed while it ran the call".into(),
        backtrace: None,
    }
}
