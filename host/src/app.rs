//! Builds and connects everything: the only place that knows all parts.

mod cache;
pub mod config;
mod guests;
mod links;
mod mark;
mod membership;
mod publish;
pub mod simulation;
mod standby;
mod traced;
mod upkeep;

use std::{future::Future, io, net::SocketAddr, panic::resume_unwind, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle};
use xcomponent_core::id::TenantId;

use self::{cache::Copying, links::Links, mark::Mark, traced::Traced, upkeep::Upkeep};
pub use self::{
    config::{Config, StoreConfig},
    links::LinksConfig,
    membership::RegistryConfig,
};
use crate::{
    api::{self, ConnectionLimits, Entrance},
    bus::{broker::Runtime, registry::member::Lost},
    cache::InvalidAddress,
    driver::{self, Handle, Joiner, Progress},
    key::{self, Key},
    sandbox::{self, Sandboxes},
    store::{
        Store,
        memory::{self, Memory},
        postgres::{self, Postgres},
        sqlite::{self, Sqlite},
    },
    telemetry,
    tenancy::{self, Registry},
};

/// How long a host that ends lets finish what is in flight.
pub const GRACE: Duration = Duration::from_secs(20);

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The embedded database was not opened.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// The PostgreSQL database was not opened.
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// There are no sandboxes.
    #[error(transparent)]
    Sandbox(#[from] sandbox::StartError),
    /// The driver did not start.
    #[error(transparent)]
    Driver(#[from] driver::StartError),
    /// There is no key under which positions are shown.
    #[error(transparent)]
    Key(#[from] key::Error),
    /// The store is not the one that the data folder was used with.
    #[error(transparent)]
    Mark(#[from] mark::Error),
    /// The operating system gives no randomness.
    #[error("no key can be made")]
    Random(#[source] io::Error),
    /// The address of the cache is none.
    #[error(transparent)]
    Cache(#[from] InvalidAddress),
    /// It cannot be connected with other hosts.
    #[error(transparent)]
    Links(#[from] links::Error),
    /// Spans cannot be exported.
    #[error(transparent)]
    Telemetry(#[from] telemetry::InvalidEndpoint),
    /// The components that were there cannot be loaded.
    #[error("the components of the last run cannot be loaded")]
    Restore(#[source] tenancy::Error),
}

/// A running host.
pub struct Host {
    handle: Handle,
    registry: Registry,
    state: api::State,
    joiner: Joiner,
    sandboxes: Sandboxes,
    links: Links,
    copying: Option<Copying>,
    exporting: Option<telemetry::Exporting>,
    upkeep: Upkeep,
    connections: ConnectionLimits,
}

impl Host {
    /// Starts engines, sandboxes and store, and loads the components that were there.
    ///
    /// # Errors
    ///
    /// If one of them does not start.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // A key that cannot be used is a better reason not to start than a store that is missing.
        if let Some(path) = config.seal_key.clone().filter(|path| path.exists()) {
            on_own_thread(move || Key::kept_in(&path)).await?;
        }
        if let Some(place) = config.place() {
            place.check_file()?;
        }
        let store: Arc<dyn Store> = match config.store.clone() {
            StoreConfig::Memory => Arc::new(Memory::new(memory::Config {
                history_bytes_max: config.history_bytes_max,
            })),
            StoreConfig::Sqlite(path) => {
                let snapshot_interval = config.snapshot_interval;
                let open = move || Sqlite::open(&path, sqlite::Config { snapshot_interval });
                Arc::new(on_own_thread(open).await?)
            }
            StoreConfig::Postgres { primary, replica } => {
                let store = postgres::Config {
                    replica,
                    snapshot_interval: config.snapshot_interval,
                    ..postgres::Config::new(primary)
                };
                let opened = match &config.links.registry {
                    Some(registry) => {
                        let authorities = &config.links.trust.authorities;
                        standby::open_when_free(store, registry, authorities, &config.progress)
                            .await?
                    }
                    None => on_own_thread(move || Postgres::open(&store)).await?,
                };
                Arc::new(opened)
            }
        };
        Self::start_on(config, store).await
    }

    /// The same, on a store that the caller brings.
    ///
    /// # Errors
    ///
    /// If something does not start.
    pub async fn start_on(config: Config, store: Arc<dyn Store>) -> Result<Self, StartError> {
        let (mark, seal) = identify(&config, &store).await?;
        let sandboxes = guests::sandboxes(&config, &store)?;
        let exporting = config
            .telemetry
            .as_ref()
            .map(telemetry::start)
            .transpose()?;
        let (tracer, exporting) = exporting.unzip();
        let guests = Traced {
            guests: sandboxes.clone(),
            tracer: tracer.clone(),
        };
        let setup = config.driver();
        let prepared = on_own_thread(move || driver::prepare(setup, store, guests)).await?;
        if let Some(tracer) = tracer.clone() {
            prepared.handle().tell_spans_to(tracer);
        }
        let tenant = TenantId::default_tenant();
        let mut links = Links::new(&config.links, &tenant)?;
        let log = prepared.handle().log_name().await;
        let log = log.map_err(driver::StartError::Store)?;
        let member = links.join(&config.links, &log).await?;
        let registry = Registry::new(
            prepared.handle().clone(),
            Arc::new(sandboxes.clone()),
            config.leniency,
            member.map(|member| member as Arc<dyn tenancy::Ownership>),
        );
        let elsewhere = links.directory.elsewhere();
        prepared.handle().tell_elsewhere(elsewhere).await;
        registry
            .restore(&tenant, &config.progress)
            .await
            .map_err(StartError::Restore)?;
        let progress = config.progress.clone();
        let (handle, joiner) = on_own_thread(move || prepared.inherit(&progress)).await?;
        let runtime = Runtime {
            id: log,
            address: config.public_address.clone(),
        };
        links.begin(&handle, &registry, runtime);
        let copying = config.cache.as_ref();
        let copying = copying
            .map(|cache| Copying::begin(&handle, cache, tenant))
            .transpose()?;
        let numbers = copying.as_ref().map(Copying::numbers);
        let upkeep = Upkeep::begin(handle.clone(), Arc::clone(&config.clock), mark);
        let directory = Arc::clone(&links.directory);
        let state = api::State::new(
            handle.clone(),
            registry.clone(),
            directory,
            seal,
            config.api(numbers, tracer),
        );
        Ok(Self {
            handle,
            registry,
            state,
            joiner,
            sandboxes,
            links,
            copying,
            exporting,
            upkeep,
            connections: config.connections,
        })
    }

    /// Asks the engines.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The components.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Sandboxes that exist, idle or in use.
    pub fn sandboxes(&self) -> usize {
        self.sandboxes.n_used()
    }

    /// Why this host must end, as soon as somebody else does its work: then nothing that it does
    /// counts any more.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + 'static {
        let mut lost = self.links.lost();
        async move {
            if let Ok(lost) = lost.wait_for(Option::is_some).await
                && let Some(lost) = lost.clone()
            {
                return lost;
            }
            // The host has ended.
            std::future::pending().await
        }
    }

    /// The HTTP API as a service, without a port.
    pub fn router(&self) -> api::Router {
        api::router(self.state.clone())
    }

    /// Serves HTTP until `stop` is there, then lets finish what is in flight and ends.
    ///
    /// # Errors
    ///
    /// If the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let connections = self.connections;
        let reception = Reception::open(listener, Progress::default(), connections, stop);
        reception.lead_to(self).await
    }

    /// Accepts nothing more, lets finish what is in flight, and ends; true if nothing was cut off.
    pub async fn shutdown(self, within: Duration) -> bool {
        drop(self.upkeep);
        self.links.end().await;
        let joiner = self.joiner;
        let ended = tokio::task::spawn_blocking(move || joiner.shutdown(within)).await;
        if let Some(copying) = self.copying {
            copying.end().await;
        }
        if let Some(exporting) = self.exporting {
            exporting.end().await;
        }
        let is_whole = ended.unwrap_or_default();
        match is_whole {
            true => tracing::info!("shut down"),
            false => tracing::warn!("shut down; requests that took too long were cut off"),
        }
        is_whole
    }
}

/// A port that is answered from its first moment, also while the host behind it still starts.
/// Dropped, it is closed.
pub struct Reception {
    entrance: Entrance,
    served: JoinHandle<io::Result<()>>,
}

impl Reception {
    /// Begins to answer: `/healthz` well, `/readyz` with the progress, everything else with the
    /// request to come again. Ends when `stop` is there, and lets finish what is in flight.
    pub fn open(
        listener: TcpListener,
        progress: Progress,
        connections: ConnectionLimits,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let entrance = Entrance::new(progress);
        let served = tokio::spawn(api::serve(listener, entrance.clone(), connections, stop));
        Self { entrance, served }
    }

    /// Lets everybody through to the host, from this moment on. What it gives waits until it is
    /// time to stop, then ends the host; it fails if the listener does.
    pub fn lead_to(mut self, host: Host) -> impl Future<Output = io::Result<()>> + Send {
        self.entrance.open(host.state.clone());
        async move {
            let served = finished(&mut self.served).await;
            host.shutdown(GRACE).await;
            served
        }
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// Makes sure that the store is the one that the data folder was used with, and gets the key under
/// which positions are shown.
async fn identify(
    config: &Config,
    store: &Arc<dyn Store>,
) -> Result<(Option<Mark>, Key), StartError> {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        store = %config.store,
        shards = config.shards,
        "starting"
    );
    let mark = match config.place() {
        Some(place) => {
            let store = Arc::clone(store);
            Some(on_own_thread(move || place.check(&*store)).await?)
        }
        None => None,
    };
    let seal = match config.seal_key.clone() {
        Some(path) => on_own_thread(move || Key::kept_in(&path)).await?,
        None => Key::random().map_err(StartError::Random)?,
    };
    Ok((mark, seal))
}

/// Does something that blocks.
async fn on_own_thread<T: Send + 'static>(blocks: impl FnOnce() -> T + Send + 'static) -> T {
    finished(&mut tokio::task::spawn_blocking(blocks)).await
}

/// What a task gives that nobody cancels; its panic goes on here.
async fn finished<T>(task: &mut JoinHandle<T>) -> T {
    let done = task.await;
    done.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))
}

/// Opens the port of a host.
///
/// # Errors
///
/// If it is taken, or may not be opened.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}
