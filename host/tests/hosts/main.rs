//! Several hosts: an order here, its payment there.

#[path = "../common/guests.rs"]
mod guests;
#[path = "../common/host.rs"]
mod host;

mod brokers;
mod cache;
mod collector;
mod fleet;
mod node;
mod numbers;
mod peers;
mod registry;
mod secured;
mod server;
mod traces;
