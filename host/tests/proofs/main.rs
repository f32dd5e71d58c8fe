//! What the host promises about guests that misbehave and machines that never stop sending, shown
//! on a whole host. Memory and time are measured, so that one test runs at a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests"
)]

#[path = "../common/allocator.rs"]
mod allocator;
mod breaker;
#[path = "../common/guests.rs"]
mod guests;
#[path = "../common/host.rs"]
mod host;
mod misbehaving;
mod storms;

use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

/// No context, no payload.
const NOTHING: &Value = &Value::Null;

/// Waits until no other test of this program runs.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}
