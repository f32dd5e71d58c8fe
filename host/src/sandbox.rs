//! Runs guests: looks at a component, compiles it, keeps a pool of sandboxes, asks their methods
//! within a budget.
//!
//! A guest is code that nobody trusts. It may panic, loop, leak or lie; all of that is an ordinary
//! [`Outcome`](xcomponent_core::call::Outcome) here. No sandbox is ever shared by two tenants or two
//! versions. Types of wasmtime appear in no signature outside this module.
//!
//! Reading order: [`config`] (every limit and its reason), `checkout` and `live` (one call), `link`
//! and `wasi` (what guests may ask of the host), `fault` (what went wrong, in words), `pool`, `ration`
//! and `lane` (who waits for what), [`examiner`], `install`, `reload` and `cache` (how code gets in).

pub mod config;
pub mod examiner;

mod bindings;
mod cache;
mod checkout;
mod engine;
mod fault;
mod install;
mod lane;
mod link;
mod live;
mod loaded;
mod log;
mod memory;
mod pool;
mod ration;
mod reload;
mod state;
mod wasi;

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Engine;
use xcomponent_core::{call::Deployment, definition::Strictness, id::Digest};

use self::{
    cache::Cache,
    lane::Lanes,
    loaded::{Linkers, Loaded, Versions},
    pool::Pool,
    ration::{Holder, Rations},
    reload::Reloading,
};
pub use self::{
    checkout::{Checkout, Progress, Sandbox},
    config::{CompileConfig, Config},
    install::{Examined, InstallError, Methods},
    reload::Artifacts,
};
use crate::{memory::Purpose, sent::Sent};

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
    pool: Arc<Pool>,
    rations: Arc<Rations>,
    lanes: Arc<Lanes>,
    /// Bounds examiners, and the guests that run outside the pool's slots to list their methods.
    examiners: Arc<Semaphore>,
    /// Bounds uploads that wait for one.
    examiner_waits: Arc<Semaphore>,
    reloading: Reloading,
    /// Dropped, it ends the thread that drops idle sandboxes.
    _sweeping: Sender<()>,
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
    /// There is no thread that drops idle sandboxes.
    #[error("a thread of the sandboxes cannot be started")]
    Thread(#[source] io::Error),
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
        let config = config.within_budget();
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
        let pool = Arc::new(Pool::new(config.sandboxes_max, config.waits_max));
        let sweeping = sweep(&pool, config.idle_max).map_err(StartError::Thread)?;
        let shared = Shared {
            cache: cache.map_err(StartError::Cache)?,
            versions: Versions::new(config.loaded_max),
            rations: Rations::new(config.memory.clone(), &pool, config.slow_lane_waits_max),
            pool,
            lanes: Arc::new(Lanes::new(&config)),
            examiners: Arc::new(Semaphore::new(config.compile.at_once_max)),
            examiner_waits: Arc::new(Semaphore::new(config.compile.waits_max)),
            reloading: Reloading::default(),
            _sweeping: sweeping,
            config: Arc::new(config),
            engine,
            linkers,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Reads components whose code is not in the cache any more from here. Needs a tokio runtime
    /// with time and io, on which they are compiled.
    pub fn reload_from(&self, artifacts: impl Artifacts) {
        self.shared.reloading.begin(Box::new(artifacts));
    }

    /// Has a component looked at in a process of its own: not a byte of it is parsed here. Then
    /// [`Examined::install`] makes it ready to be called. Needs a tokio runtime with time and io. Who
    /// drops the future stops the process.
    ///
    /// # Errors
    ///
    /// If it is not accepted; a definition that has errors is no reason.
    pub async fn examine(
        &self,
        sent: Sent,
        strictness: Strictness,
    ) -> Result<Examined, InstallError> {
        install::examine(&self.shared, sent, strictness).await
    }

    /// Asks for a sandbox of a component version. At once if one is idle, or if there is a slot for
    /// a new one.
    pub fn checkout(&self, deployment: &Arc<Deployment>) -> Checkout {
        checkout::checkout(&self.shared, deployment)
    }

    /// Ends a checkout. The sandbox is used again only if it is `healthy`, that is, if the
    /// transition committed.
    pub fn release(&self, mut sandbox: Box<Sandbox>, healthy: bool) {
        let is_reusable = healthy && sandbox.is_reusable();
        if is_reusable && sandbox.settle() <= self.shared.config.idle_bytes_max {
            self.shared.pool.put(sandbox);
            if self.shared.rations.are_short() {
                drop(self.shared.pool.evict());
            }
        }
    }

    /// Drops the sandboxes that have been idle for as long as that. The host does so by itself, for
    /// [`Config::idle_max`].
    pub fn release_idle(&self, idle_min: Duration) {
        self.shared.pool.release_idle(idle_min);
    }

    /// Drops a component version from memory; its compiled code stays in the cache.
    pub fn unload(&self, artifact: &Digest) {
        self.shared.versions.remove(artifact);
        self.shared.pool.forget(artifact);
        self.shared.reloading.forget(artifact);
    }

    /// How many sandboxes there are, idle or in use.
    pub fn n_used(&self) -> usize {
        self.shared.pool.n_used(self.shared.config.sandboxes_max)
    }
}

impl Shared {
    /// Waits for the right to have an examiner.
    async fn turn(&self) -> OwnedSemaphorePermit {
        let turn = Arc::clone(&self.examiners).acquire_owned().await;
        turn.expect("the semaphore is never closed")
    }

    /// The component as somebody who holds memory.
    fn holder(&self, deployment: &Deployment) -> Arc<Holder> {
        self.rations
            .holder(&deployment.tenant, &deployment.definition.name)
    }

    /// Keeps a version in memory. Those that go for it leave no idle sandboxes behind, which would
    /// hold on to their code.
    fn keep(&self, artifact: Digest, loaded: &Arc<Loaded>) {
        self.reloading.forget(&artifact);
        for gone in self.versions.insert(artifact, Arc::clone(loaded)) {
            self.pool.forget(&gone);
        }
    }

    /// Links machine code that this host has compiled. Where there is no room for it, versions that
    /// were not used for longest go.
    #[expect(
        unsafe_code,
        reason = "machine code cannot be checked, only where it comes from"
    )]
    fn link(&self, code: &[u8]) -> Result<Arc<Loaded>, InstallError> {
        let contract = |error: wasmtime::Error| InstallError::Contract {
            message: format!("{error:#}"),
        };
        let memory = &self.config.memory;
        let share = loop {
            if let Some(share) = memory.take(Purpose::Code, code.len()) {
                break share;
            }
            match self.versions.evict() {
                Some(gone) => self.pool.forget(&gone),
                // All there is now is in use. It goes when its calls are done.
                None => break memory.force(Purpose::Code, code.len()),
            }
        };
        // SAFETY: `code` is what wasmtime's compiler wrote and nobody changed since: it comes from the
        // examiner this host started, over a pipe, or from a file that carries the seal made with
        // this host's own key; see `examiner` and `cache`.
        let component = unsafe { wasmtime::component::Component::deserialize(&self.engine, code) };
        let component = component.map_err(contract)?;
        Loaded::link(&self.engine, &self.linkers, &component, share)
            .map(Arc::new)
            .map_err(contract)
    }
}

/// Drops what has been idle for long, now and then, until the other end of the channel is dropped.
fn sweep(pool: &Arc<Pool>, idle_max: Duration) -> io::Result<Sender<()>> {
    use std::sync::mpsc::RecvTimeoutError;

    let (sweeping, ended) = channel::<()>();
    let pool = Arc::downgrade(pool);
    thread::Builder::new()
        .name("sandbox-sweeper".to_owned())
        .spawn(move || {
            while ended.recv_timeout(idle_max / 4) == Err(RecvTimeoutError::Timeout)
                && let Some(pool) = pool.upgrade()
            {
                pool.release_idle(idle_max);
            }
        })?;
    Ok(sweeping)
}
