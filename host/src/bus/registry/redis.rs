//! A catalog in Redis: two hashes, a number that counts changes, and a channel that tells of them.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use redis::{Pipeline, RedisError};
use tokio::sync::Notify;

use super::{Catalog, Kind, Swap, Swapped, Unreachable, View};
use crate::{authorities::Authorities, bus::redis_server::RedisServer};

const HOSTS: &str = "xcomponent:registry:hosts";
const COMPONENTS: &str = "xcomponent:registry:components";

/// Counts changes.
const GENERATION: &str = "xcomponent:registry:generation";

/// Tells of changes.
const CHANGES: &str = "xcomponent:registry:changes";

/// Changes a record if it is as expected. The count begins with the time, so that one that was lost
/// does not come by a number that somebody knows.
const SWAP: &str = "
local now = redis.call('HGET', KEYS[1], ARGV[1])
if now ~= (ARGV[2] == '1' and ARGV[3]) then return now or '' end
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[5])
else redis.call('HDEL', KEYS[1], ARGV[1]) end
if ARGV[6] == '1' then
  if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('SET', KEYS[2], redis.call('TIME')[1] .. '000000')
  end
  redis.call('INCR', KEYS[2])
  redis.call('PUBLISH', ARGV[7], ARGV[1])
end
return false";

/// Wait before a server that went away is listened to again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A catalog in Redis.
pub(super) struct RedisCatalog {
    server: RedisServer,
}

impl RedisCatalog {
    /// The server at an address such as `redis://USER:PASSWORD@HOST:PORT/0` or `rediss://…`.
    pub(super) fn new(address: &str, authorities: &Authorities) -> Result<Self, RedisError> {
        let server = RedisServer::new("redis", address, authorities)?;
        Ok(Self { server })
    }

    async fn look(&self, known: Option<u64>) -> Result<View, RedisError> {
        let mut connection = self.server.connection().await?;
        // Before the components: what changes in between is looked at again.
        let (generation, hosts): (Option<u64>, Vec<(String, String)>) = Pipeline::new()
            .get(GENERATION)
            .hgetall(HOSTS)
            .query_async(&mut connection)
            .await?;
        let generation = generation.unwrap_or_default();
        let components = if known == Some(generation) {
            None
        } else {
            let mut read = redis::cmd("HGETALL");
            read.arg(COMPONENTS);
            Some(read.query_async(&mut connection).await?)
        };
        Ok(View {
            hosts,
            generation,
            components,
        })
    }

    async fn change(&self, swap: Swap<'_>) -> Result<Swapped, RedisError> {
        let flag = |is_so: bool| if is_so { "1" } else { "0" };
        let mut run = redis::cmd("EVAL");
        run.arg(SWAP).arg(2);
        run.arg(match swap.kind {
            Kind::Host => HOSTS,
            Kind::Component => COMPONENTS,
        });
        run.arg(GENERATION).arg(swap.key);
        for text in [swap.from, swap.to] {
            run.arg(flag(text.is_some())).arg(text.unwrap_or_default());
        }
        run.arg(flag(swap.tell)).arg(CHANGES);
        let mut connection = self.server.connection().await?;
        let other: Option<String> = run.query_async(&mut connection).await?;
        Ok(match other {
            None => Swapped::Done,
            Some(other) => Swapped::Other((!other.is_empty()).then_some(other)),
        })
    }

    /// Listens until it cannot.
    async fn listen(&self, news: &Notify) -> Result<(), RedisError> {
        let mut listening = self.server.client().get_async_pubsub().await?;
        listening.subscribe(CHANGES).await?;
        let mut messages = listening.on_message();
        loop {
            // What was told before somebody listened is looked for as well.
            news.notify_one();
            if messages.next().await.is_none() {
                return Ok(());
            }
        }
    }
}

impl Catalog for RedisCatalog {
    fn name(&self) -> &str {
        self.server.name()
    }

    fn read(&self, known: Option<u64>) -> BoxFuture<'_, Result<View, Unreachable>> {
        async move { self.look(known).await.map_err(Unreachable::because) }.boxed()
    }

    fn swap<'s>(&'s self, swap: Swap<'s>) -> BoxFuture<'s, Result<Swapped, Unreachable>> {
        async move { self.change(swap).await.map_err(Unreachable::because) }.boxed()
    }

    fn watch(self: Arc<Self>, news: Arc<Notify>) -> BoxFuture<'static, ()> {
        async move {
            loop {
                if let Err(error) = self.listen(&news).await {
                    tracing::debug!(registry = self.name(), "listening stopped: {error}");
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
        .boxed()
    }
}
