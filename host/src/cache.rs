//! The newest state of each instance, copied to Redis for readers that would otherwise ask the host.
//!
//! A copy is never the truth, and no host reads it. It is written after the commit, and three things
//! keep it from being old for long:
//!
//! * A value is written unless there is one with a higher `seq`: a host that stood still while
//!   another went on does not undo what that wrote.
//! * Each new connection begins with removing all values. So what the host before this one did not
//!   get to write is not there, nor what a Redis lost that was killed.
//! * A value lives for a limited time.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{Client, Cmd, Pipeline, RedisError, aio::MultiplexedConnection, cmd};
use xcomponent_core::id::{InstanceId, TenantId};

use crate::{address::Address, authorities::Authorities, redis_client::redis_client};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Values that are written at once: as many as Redis works on for some milliseconds.
const VALUES_MAX: usize = 256;

/// Bytes that are written at once, unless one value has more.
const BYTES_MAX: usize = 1 << 20;

/// Keys that Redis looks at for one answer while they are removed.
const SCANNED: usize = 1_000;

/// Writes a value, or removes what is there, unless that has a higher `seq`.
const WRITE: &str = "
local found = redis.call('GET', KEYS[1])
if found then
  local ok, value = pcall(cjson.decode, found)
  local seq = ok and type(value) == 'table' and tonumber(value.seq)
  if seq and seq > tonumber(ARGV[2]) then return 0 end
end
if ARGV[1] == '' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3]) end
return 1";

/// Where copies go, and how long they live.
#[derive(Clone, Debug)]
pub struct Config {
    /// `redis://…` or `rediss://…`; it may have a password in it.
    pub address: Address,
    /// How long a value lives after it was written.
    pub ttl: Duration,
    /// Who vouches for the server.
    pub authorities: Authorities,
}

/// A text is no address of a Redis. It may have a password in it, which is why it is not shown.
#[derive(Debug, thiserror::Error)]
#[error("invalid cache address: expected `redis://HOST:PORT` or `rediss://HOST:PORT`")]
pub struct InvalidAddress(#[from] RedisError);

impl Config {
    /// Whether the address is one.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn check(&self) -> Result<(), InvalidAddress> {
        redis_client(self.address.exposed(), &self.authorities)?;
        Ok(())
    }
}

/// An instance as it is.
#[derive(Debug)]
pub struct Value {
    /// Which.
    pub id: InstanceId,
    /// Events that it has seen.
    pub seq: u64,
    /// What the API shows of it; empty if it was deleted: then the value is removed.
    pub json: String,
}

/// What was done so far, for whoever looks after the host.
#[derive(Debug, Default)]
pub struct Numbers {
    written: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Numbers {
    /// Values that were written.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// States that were not, since too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Attempts that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Why nothing is written at the moment, if so.
    pub fn problem(&self) -> Option<String> {
        let problem = self.problem.lock();
        problem.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// So many states will not be written.
    pub fn add_dropped(&self, states: u64) {
        self.dropped.fetch_add(states, Relaxed);
    }

    /// Notes how the last attempt went, and says so where that is new.
    fn note(&self, outcome: &Result<(), RedisError>) {
        let problem = self.problem.lock();
        let mut problem = problem.unwrap_or_else(PoisonError::into_inner);
        match (outcome, problem.is_some()) {
            (Ok(()), true) => {
                tracing::info!("the cache is written again");
                *problem = None;
            }
            (Ok(()), false) => {}
            (Err(error), was_known) => {
                self.failures.fetch_add(1, Relaxed);
                *problem = Some(error.to_string());
                if !was_known {
                    tracing::warn!("the cache is not written: {error}");
                }
            }
        }
    }
}

/// Writes copies of one tenant's instances.
pub struct Cache {
    client: Client,
    /// What the keys begin with.
    prefix: String,
    ttl: Duration,
    numbers: Arc<Numbers>,
    connection: Option<Connection>,
}

struct Connection {
    redis: MultiplexedConnection,
    /// The name of [`WRITE`] there.
    script: String,
}

impl Cache {
    /// One that is not connected yet.
    ///
    /// # Errors
    ///
    /// If the address is none.
    pub fn new(
        config: &Config,
        tenant: &TenantId,
        numbers: Arc<Numbers>,
    ) -> Result<Self, InvalidAddress> {
        Ok(Self {
            client: redis_client(config.address.exposed(), &config.authorities)?,
            prefix: format!("xcomponent:instance:{tenant}:"),
            ttl: config.ttl,
            numbers,
            connection: None,
        })
    }

    /// Writes these values; if that fails, some may be written, and the next attempt begins with
    /// removing all.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or does not want them.
    pub async fn write(&mut self, values: &[Value]) -> Result<(), RedisError> {
        let written = self.try_write(values).await;
        self.numbers.note(&written);
        if written.is_err() {
            self.connection = None;
        }
        written
    }

    /// Some of what changed will not be written: nothing that is there may stay.
    pub fn forget(&mut self) {
        self.connection = None;
    }

    async fn try_write(&mut self, values: &[Value]) -> Result<(), RedisError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let ttl = self.ttl.as_millis().to_string();
        let mut rest = values;
        while let Some(first) = rest.first() {
            let mut bytes = first.json.len();
            let others = rest[1..].iter().take(VALUES_MAX - 1).take_while(|value| {
                bytes += value.json.len();
                bytes <= BYTES_MAX
            });
            let (some, others) = rest.split_at(1 + others.count());
            rest = others;
            let mut pipeline = Pipeline::with_capacity(some.len());
            for value in some {
                let key = format!("{}{}", self.prefix, value.id);
                pipeline.add_command(evaluate(&connection.script, &key, value, &ttl));
            }
            let _: Vec<u64> = pipeline.query_async(&mut connection.redis).await?;
            let written = some.len() as u64;
            self.numbers.written.fetch_add(written, Relaxed);
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Connects, and removes what is there.
    async fn connect(&self) -> Result<Connection, RedisError> {
        let settings = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_MAX))
            .set_response_timeout(Some(ANSWER_MAX));
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&settings);
        let mut redis = connecting.await?;
        let mut cursor = 0_u64;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(format!("{}*", self.prefix));
            scan.arg("COUNT").arg(SCANNED);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut redis).await?;
            if !keys.is_empty() {
                let _: u64 = cmd("UNLINK").arg(keys).query_async(&mut redis).await?;
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let mut load = cmd("SCRIPT");
        let script = load.arg("LOAD").arg(WRITE).query_async(&mut redis).await?;
        Ok(Connection { redis, script })
    }
}

fn evaluate(script: &str, key: &str, value: &Value, ttl: &str) -> Cmd {
    let mut evaluate = cmd("EVALSHA");
    evaluate.arg(script).arg(1).arg(key);
    evaluate.arg(&value.json).arg(value.seq).arg(ttl);
    evaluate
}
