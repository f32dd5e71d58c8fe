//! The shell around the core: what runs guests, keeps records, answers callers.

pub mod address;
pub mod api;
pub mod app;
pub mod authorities;
pub mod bus;
pub mod cache;
pub mod cli;
pub mod driver;
mod https;
pub mod key;
pub mod memory;
pub mod plain;
mod portable;
pub mod private;
mod quiet;
mod redis_client;
pub mod sandbox;
pub mod sent;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod tenancy;

/// Records are made on shard threads and freed on the committer's; this allocator keeps such frees
/// cheap.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
