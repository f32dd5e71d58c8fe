//! Everything a host can be told, with its defaults.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use xcomponent_core::{id::PartitionCount, limits::Limits};

use super::{LinksConfig, mark::Place};
use crate::{
    api::{self, ConnectionLimits},
    cache,
    driver::{
        self, Progress,
        clock::{Clock, SystemClock},
    },
    memory::{Memory, Purpose},
    sandbox,
    store::{postgres, retention::Retention, sqlite},
    telemetry::{self, Tracer},
    tenancy::Leniency,
};

/// Where a host keeps what it must not lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// Nowhere: it is gone when the host ends.
    Memory,
    /// In an embedded database, in this file.
    Sqlite(PathBuf),
    /// In a PostgreSQL database.
    Postgres {
        /// Where everything is written.
        primary: postgres::Target,
        /// A server that follows it, for questions of people.
        replica: Option<postgres::Target>,
    },
}

impl fmt::Display for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres { primary, .. } => primary.fmt(f),
        }
    }
}

/// What a host is started with.
#[derive(Clone)]
pub struct Config {
    /// Engines, each with a thread of its own.
    pub shards: usize,
    /// Into how many partitions the instances are divided.
    pub partitions: PartitionCount,
    /// What the engines accept.
    pub limits: Limits,
    /// Where the engines' chance comes from; none = the clock.
    pub seed: Option<u64>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Threads for calls that yield.
    pub slow_threads: usize,
    /// How many bytes each part of the host may hold.
    pub memory: Memory,
    /// The sandboxes.
    pub sandbox: sandbox::Config,
    /// How strictly uploads are judged.
    pub leniency: Leniency,
    /// Where instances and their history are kept.
    pub store: StoreConfig,
    /// File with the key under which callers are shown positions and cursors, made if it is not
    /// there: what they were given stays good as long as it is kept. None = a key for this process.
    pub seal_key: Option<PathBuf>,
    /// Whether a store is taken as it is that is empty, older, or another than the one that the
    /// folder of the key was used with.
    pub accepts_new_store: bool,
    /// Records of an instance after which a store on a disk keeps its newest state.
    pub snapshot_interval: u64,
    /// How much history is kept.
    pub retention: Retention,
    /// Bytes of history the memory store keeps; finished instances go first.
    pub history_bytes_max: usize,
    /// Address and port that callers see, for `/api/runtimes`.
    pub public_address: Option<(String, u16)>,
    /// Names under which this host may be addressed besides loopback ones; without keys no other
    /// `Host` header is served.
    pub allowed_hosts: Vec<String>,
    /// The hosts it knows.
    pub links: LinksConfig,
    /// Where the newest states of instances are copied to, if anywhere.
    pub cache: Option<cache::Config>,
    /// Where spans go, if they go anywhere.
    pub telemetry: Option<telemetry::Config>,
    /// Told how far the host is while it starts.
    pub progress: Progress,
    /// How long requests are taken after the signal to end, while `/readyz` says `draining`: until
    /// whoever spreads requests over hosts has seen that.
    pub drain_wait: Duration,
    /// How many connections there may be.
    pub connections: ConnectionLimits,
    /// After how long without a record a stream says that it is still there.
    pub heartbeat: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            shards: cores,
            partitions: PartitionCount::DEFAULT,
            limits: Limits::default(),
            seed: None,
            clock: Arc::new(SystemClock::start()),
            slow_threads: cores.max(2),
            memory: Memory::of_this_machine(),
            sandbox: sandbox::Config::default(),
            leniency: Leniency::default(),
            store: StoreConfig::Memory,
            seal_key: None,
            accepts_new_store: false,
            snapshot_interval: sqlite::Config::default().snapshot_interval,
            retention: Retention::default(),
            history_bytes_max: 4 << 30,
            public_address: None,
            allowed_hosts: Vec::new(),
            links: LinksConfig::default(),
            cache: None,
            telemetry: None,
            progress: Progress::default(),
            drain_wait: Duration::ZERO,
            connections: ConnectionLimits::default(),
            heartbeat: Duration::from_secs(15),
        }
    }
}

impl Config {
    /// The driver's part.
    pub(super) fn driver(&self) -> driver::Config {
        let keys_bytes_max = self.memory.max(Purpose::Keys) / self.shards.max(1);
        driver::Config {
            shards: self.shards,
            partitions: self.partitions,
            limits: Limits {
                remembered_bytes_max: self.limits.remembered_bytes_max.min(keys_bytes_max),
                ..self.limits.clone()
            },
            // Nobody outside may guess it: keys are hashed under it.
            seed: self.seed.unwrap_or_else(|| RandomState::new().hash_one(0)),
            clock: Arc::clone(&self.clock),
            slow_threads: self.slow_threads,
            retention: self.retention,
            memory: self.memory.clone(),
        }
    }

    /// What is to be known of the store before it is used.
    pub(super) fn place(&self) -> Option<Place> {
        Place::of(
            self.seal_key.as_deref(),
            &self.store,
            self.accepts_new_store,
        )
    }

    /// The API's part; `cache` says how the cache is written, if there is one.
    pub(super) fn api(
        &self,
        cache: Option<Arc<cache::Numbers>>,
        tracer: Option<Tracer>,
    ) -> api::Config {
        api::Config {
            public_address: self.public_address.clone(),
            allowed_hosts: self.allowed_hosts.clone(),
            memory: self.memory.clone(),
            connections: self.connections,
            heartbeat: self.heartbeat,
            link_key: self.links.trust.key.clone(),
            cache,
            drain_wait: self.drain_wait,
            tracer,
        }
    }
}
