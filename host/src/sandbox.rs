//! Runs guests: looks at a component, compiles it, keeps a pool of sandboxes, asks their methods
//! within a budget.
//!
//! A guest is code that nobody trusts. It may panic, loop, leak or lie; all of that is an ordinary
//! [`Outcome`](xcomponent_core::call::Outcome) here. No sandbox is ever shared by two tenants or two
//! versions. Types of wasmtime appear in no signature outside this module.
//!
//! Reading order: [`config`] (every limit and its reason), `checkout` and `live` (one call), `link`
//! and `wasi` (what guests may ask of the host), `fault` (what went wrong, in words), `pool` and
//! `lane` (who waits for what), `install`, `inspect`, [`compile`] and `cache` (how code gets in).

pub mod compile;
pub mod config;

mod bindings;
mod cache;
mod checkout;
mod engine;
mod fault;
mod inspect;
mod install;
mod lane;
mod link;
mod live;
mod loaded;
mod log;
mod memory;
mod pool;
mod state;
mod wasi;

use std::{io, sync::Arc};

use tokio::sync::Semaphore;
use wasmtime::Engine;
use xcomponent_core::{
    call::{Deployment, Fault, FaultCode},
    definition::MethodKind,
    id::{Digest, MethodName},
};

use self::{
    cache::Cache,
    lane::Lanes,
    loaded::{Linkers, Loaded, Versions},
    pool::Pool,
};
pub use self::{
    checkout::{Checkout, Progress, Sandbox},
    config::{CompileConfig, Config},
    install::{InstallError, Methods},
};

/// All sandboxes of a host. Clones are handles to the same pool.
#[derive(Clone)]
pub struct Sandboxes {
    shared: Arc<Shared>,
}

/// What sandboxes have in common.
struct Shared {
    config: Arc<Config>,
    engine: Engine,
    linkers: Linkers,
    cache: Cache,
    versions: Versions,
    pool: Pool,
    lanes: Arc<Lanes>,
    /// Bounds compilers, and the guests that run outside the pool's slots to list their methods.
    installs: Semaphore,
}

/// Why there are no sandboxes at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The machine does not offer what the configuration asks for.
    #[error("the sandbox engine cannot be set up: {message}")]
    Engine {
        /// Wasmtime's words.
        message: String,
    },
    /// The cache of compiled components cannot be opened.
    #[error("the cache of compiled components cannot be opened")]
    Cache(#[source] io::Error),
}

impl Sandboxes {
    /// Reserves the pool and opens the cache.
    ///
    /// # Errors
    ///
    /// If the machine lacks the address space for the pool, or the cache cannot be opened.
    pub fn new(config: Config) -> Result<Self, StartError> {
        let unusable = |error: wasmtime::Error| StartError::Engine {
            message: format!("{error:#}"),
        };
        let engine = engine::pooled(&config).map_err(unusable)?;
        let linkers = Linkers {
            plain: engine::linker(&engine, false).map_err(unusable)?,
            with_wasi: engine::linker(&engine, true).map_err(unusable)?,
        };
        let cache = Cache::open(
            config.cache_dir.as_deref(),
            engine::compatibility(&engine),
            config.cache_bytes_max,
        );
        let shared = Shared {
            cache: cache.map_err(StartError::Cache)?,
            versions: Versions::new(config.loaded_max),
            pool: Pool::new(config.sandboxes_max, config.waits_max),
            lanes: Arc::new(Lanes::new(&config)),
            installs: Semaphore::new(config.compile.at_once_max),
            config: Arc::new(config),
            engine,
            linkers,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Makes a component ready to be called: inspects it without running it, compiles it in a process
    /// of its own (or finds it in the cache), links it, starts it within a budget and compares the
    /// methods it answers with those that its definition wants. Gives all methods it answers, sorted.
    /// Needs a tokio runtime with time and io.
    ///
    /// `artifact` is the SHA-256 of `component`. With `allow_missing`, methods that are wanted and
    /// not answered are no error.
    ///
    /// # Errors
    ///
    /// If the component is not accepted; nothing of it is kept then.
    pub async fn install(
        &self,
        component: &[u8],
        artifact: Digest,
        wanted: &[(MethodKind, MethodName)],
        allow_missing: bool,
    ) -> Result<Methods, InstallError> {
        install::install(&self.shared, component, artifact, wanted, allow_missing).await
    }

    /// Asks for a sandbox of a component version. At once if one is idle, or if there is a slot for
    /// a new one.
    pub fn checkout(&self, deployment: &Arc<Deployment>) -> Checkout {
        checkout::checkout(&self.shared, deployment)
    }

    /// Ends a checkout. The sandbox is used again only if it is `healthy`, that is, if the
    /// transition committed.
    pub fn release(&self, sandbox: Box<Sandbox>, healthy: bool) {
        if healthy && sandbox.is_reusable() {
            self.shared.pool.put(sandbox);
        }
    }

    /// Drops a component version from memory; its compiled code stays in the cache.
    pub fn unload(&self, artifact: &Digest) {
        self.shared.versions.remove(artifact);
        self.shared.pool.forget(artifact);
    }

    /// How many sandboxes there are, idle or in use.
    pub fn n_used(&self) -> usize {
        self.shared.pool.n_used(self.shared.config.sandboxes_max)
    }
}

impl Shared {
    /// Reads a component version that was dropped from memory back from the cache.
    fn reload(&self, artifact: Digest) -> Result<Arc<Loaded>, Fault> {
        let unavailable = |message: String| fault::plain(FaultCode::Unavailable, message);
        let cached = self.cache.get(&artifact);
        let code = cached.map_err(|error| {
            unavailable(format!(
                "the cache of compiled components cannot be read: {error}"
            ))
        })?;
        let code =
            code.ok_or_else(|| unavailable(format!("component {artifact} is not installed")))?;
        let loaded = self
            .link(&code)
            .map_err(|error| unavailable(format!("{error:#}")))?;
        self.versions.insert(artifact, Arc::clone(&loaded));
        Ok(loaded)
    }

    /// Links machine code that this host has compiled.
    #[expect(
        unsafe_code,
        reason = "machine code cannot be checked, only where it comes from"
    )]
    fn link(&self, code: &[u8]) -> wasmtime::Result<Arc<Loaded>> {
        // SAFETY: `code` is what wasmtime's compiler wrote and nobody changed since: it comes from the
        // compiler process this host started, over a pipe, or from a file that carries the seal made
        // with this host's own key; see `compile` and `cache`.
        let component = unsafe { wasmtime::component::Component::deserialize(&self.engine, code)? };
        Loaded::link(&self.engine, &self.linkers, &component).map(Arc::new)
    }
}
