//! The command line, as the program that people start.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests"
)]

mod damage;
mod definitions;
mod draining;
mod harness;
mod project;
mod remote;
mod running;
mod secrets;
mod serving;
mod supervised;
mod terminal;
