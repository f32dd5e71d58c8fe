//! The HTTP API of a whole host: what each route answers when all is well and when it is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests"
)]

mod bad_input;
#[path = "../common/bombs.rs"]
mod bombs;
mod bounds;
mod bulk;
mod components;
mod connections;
mod dead_letters;
mod deletion;
mod events;
#[path = "../common/faulty.rs"]
mod faulty;
#[path = "../common/guests.rs"]
mod guests;
#[path = "../common/host.rs"]
mod host;
mod instances;
mod numbers;
mod operate;
mod operators;
mod prefer;
mod reload;
mod repeats;
mod restart;
mod served;
mod starting;
mod stream;
mod uploads;
mod versions;
mod zero;
