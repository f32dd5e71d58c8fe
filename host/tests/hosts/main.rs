//! Several hosts: an order here, its payment there.

#[path = "../common/host.rs"]
mod host;

mod brokers;
mod cache;
mod fleet;
mod node;
mod peers;
mod registry;
