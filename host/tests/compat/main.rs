//! The routes of clients written for xcomponent-ai, asked as such clients ask.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests"
)]

mod client;
mod differences;
mod errors;
#[path = "../common/guests.rs"]
mod guests;
#[path = "../common/host.rs"]
mod host;
mod order;
mod routes;
