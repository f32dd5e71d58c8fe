//! What the driver wants of whoever runs guests.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use xcomponent_core::call::{Call, Deployment, Fault, Outcome};

/// Runs guests. A sandbox is checked out for one event of one instance, asked once or more, and
/// given back.
pub trait Guests: Clone + Send + Sync + 'static {
    /// A place where a guest runs.
    type Sandbox: Send + 'static;

    /// A sandbox of this version. Does not block.
    fn checkout(&self, deployment: &Arc<Deployment>) -> Checkout<Self::Sandbox>;

    /// Asks a guest: runs until it is done or yields.
    fn call(&self, sandbox: Self::Sandbox, call: Call) -> Progress<Self::Sandbox>;

    /// Takes a sandbox back. One that is not healthy must not be used again.
    fn release(&self, sandbox: Self::Sandbox, healthy: bool);

    /// No shard runs anything on this version any more.
    fn unused(&self, deployment: &Arc<Deployment>);
}

/// What became of a checkout.
pub enum Checkout<S> {
    /// Here it is.
    Ready(S),
    /// None is free; one will be, or a fault says why not.
    Later(BoxFuture<'static, Result<S, Fault>>),
    /// There will be none.
    Unavailable(Fault),
}

/// How far a call is.
pub enum Progress<S> {
    /// Done.
    Finished(S, Outcome),
    /// It yielded; the rest of it, with its sandbox.
    Running(BoxFuture<'static, (S, Outcome)>),
}
