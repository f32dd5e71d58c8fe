//! Guests in sandboxes: what they may do, and what becomes of those that misbehave.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests"
)]

#[path = "common/allocator.rs"]
mod allocator;
#[path = "common/bombs.rs"]
mod bombs;
#[path = "sandbox/contract.rs"]
mod contract;
#[path = "sandbox/examiner.rs"]
mod examiner;
#[path = "common/guests.rs"]
mod guests;
#[path = "sandbox/install.rs"]
mod install;
#[path = "sandbox/lane.rs"]
mod lane;
#[path = "sandbox/misbehaving.rs"]
mod misbehaving;
#[path = "sandbox/pool.rs"]
mod pool;
#[path = "common/sandboxes.rs"]
mod sandboxes;
#[path = "sandbox/wasi.rs"]
mod wasi;
