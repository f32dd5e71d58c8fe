//! The driver with a real engine: what callers see when shards cascade, stores fail, guests yield.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::unwrap_in_result,
    reason = "helpers of tests are tests"
)]

mod cascades;
mod durability;
#[path = "../common/faulty.rs"]
mod faulty;
mod guests;
mod kills;
mod lifecycle;
mod passivation;
mod queues;
mod requests;
mod script;
mod stream;
mod unstorable;
mod world;
