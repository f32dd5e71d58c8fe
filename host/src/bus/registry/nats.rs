//! A catalog in NATS: two buckets of its key-value store.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::jetstream::{
    kv::{CreateErrorKind, Entry, Operation, Store, UpdateErrorKind},
    stream::{Config as StreamConfig, DiscardPolicy, StorageType},
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use tokio::sync::Notify;

use super::{Catalog, Kind, Swap, Swapped, Unreachable, View};
use crate::{authorities::Authorities, bus::nats::Server};

const HOSTS: &str = "xcomponent_hosts";
const COMPONENTS: &str = "xcomponent_components";

/// Wait before a server that went away is listened to again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

type Result<T, E = Unreachable> = std::result::Result<T, E>;

/// A catalog in NATS.
pub(super) struct NatsCatalog {
    server: Server,
    replicas: usize,
    /// None until they are made, and again when one of them is not there any more.
    buckets: Mutex<Option<Arc<Buckets>>>,
}

struct Buckets {
    hosts: Store,
    components: Store,
}

impl NatsCatalog {
    /// The servers at an address such as `nats://USER:PASSWORD@HOST:PORT?replicas=3` or `tls://…`.
    pub(super) fn new(address: &str, authorities: &Authorities) -> Result<Self, String> {
        let mut replicas = 1;
        let server = Server::new(address, authorities, "`replicas=N`", |name, value| {
            name == "replicas" && value.parse().map(|value| replicas = value).is_ok()
        })?;
        Ok(Self {
            server,
            replicas,
            buckets: Mutex::default(),
        })
    }

    async fn buckets(&self) -> Result<Arc<Buckets>> {
        let context = self.server.jetstream().await.map_err(Unreachable)?;
        if let Some(buckets) = self.made().as_ref() {
            return Ok(Arc::clone(buckets));
        }
        let bucket = async |name: &str| {
            // As the library would make it, which asks the server for more than older ones say.
            let stream = context.get_or_create_stream(StreamConfig {
                name: format!("KV_{name}"),
                subjects: vec![format!("$KV.{name}.>")],
                max_messages_per_subject: 1,
                discard: DiscardPolicy::New,
                allow_rollup: true,
                deny_delete: true,
                allow_direct: true,
                storage: StorageType::File,
                num_replicas: self.replicas,
                ..StreamConfig::default()
            });
            stream.await.map_err(Unreachable::because)?;
            let bucket = context.get_key_value(name).await;
            bucket.map_err(Unreachable::because)
        };
        let buckets = Arc::new(Buckets {
            hosts: bucket(HOSTS).await?,
            components: bucket(COMPONENTS).await?,
        });
        *self.made() = Some(Arc::clone(&buckets));
        Ok(buckets)
    }

    fn made(&self) -> MutexGuard<'_, Option<Arc<Buckets>>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a failure nobody knows whether they are still there.
    fn forget<T>(&self, asked: Result<T>) -> Result<T> {
        asked.inspect_err(|_| *self.made() = None)
    }

    async fn look(&self, known: Option<u64>) -> Result<View> {
        let buckets = self.buckets().await?;
        // Before the components: what changes in between is looked at again.
        let generation = generation(&buckets.components).await?;
        Ok(View {
            hosts: records(&buckets.hosts).await?,
            generation,
            components: match known == Some(generation) {
                true => None,
                false => Some(records(&buckets.components).await?),
            },
        })
    }

    async fn change(&self, swap: Swap<'_>) -> Result<Swapped> {
        let buckets = self.buckets().await?;
        let bucket = match swap.kind {
            Kind::Host => &buckets.hosts,
            Kind::Component => &buckets.components,
        };
        let found = bucket.entry(swap.key).await;
        let found = found.map_err(Unreachable::because)?.filter(is_there);
        let before = found.as_ref().map(text);
        if before.as_deref() != swap.from {
            return Ok(Swapped::Other(before));
        }
        let is_done = match (found, swap.to) {
            (None, None) => true,
            (None, Some(to)) => match bucket.create(swap.key, to.to_owned().into()).await {
                Ok(_) => true,
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => false,
                Err(error) => return Err(Unreachable::because(error)),
            },
            (Some(entry), Some(to)) => {
                let bytes = to.to_owned().into();
                match bucket.update(swap.key, bytes, entry.revision).await {
                    Ok(_) => true,
                    Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => false,
                    Err(error) => return Err(Unreachable::because(error)),
                }
            }
            // Only who has a record takes it away: nobody changes it in between, or it is looked at
            // again.
            (Some(entry), None) => bucket
                .delete_expect_revision(swap.key, Some(entry.revision))
                .await
                .is_ok(),
        };
        match is_done {
            true => Ok(Swapped::Done),
            false => {
                let now = bucket.entry(swap.key).await;
                let now = now.map_err(Unreachable::because)?.filter(is_there);
                Ok(Swapped::Other(now.as_ref().map(text)))
            }
        }
    }

    /// Listens until it cannot.
    async fn listen(&self, news: &Notify) -> Result<()> {
        let buckets = self.buckets().await?;
        let changes = buckets.components.watch_all().await;
        let mut changes = changes.map_err(Unreachable::because)?;
        loop {
            // What was told before somebody listened is looked for as well.
            news.notify_one();
            match changes.next().await {
                Some(change) => drop(change.map_err(Unreachable::because)?),
                None => return Ok(()),
            }
        }
    }
}

/// The number of a bucket's last change.
async fn generation(bucket: &Store) -> Result<u64> {
    let info = bucket.stream.get_info().await;
    Ok(info.map_err(Unreachable::because)?.state.last_sequence)
}

/// All records of a bucket.
async fn records(bucket: &Store) -> Result<Vec<(String, String)>> {
    let info = bucket.stream.get_info().await;
    if info.map_err(Unreachable::because)?.state.messages == 0 {
        return Ok(Vec::new());
    }
    let entries = bucket.watch_with_history(">").await;
    let mut entries = entries.map_err(Unreachable::because)?;
    let mut records = Vec::new();
    while let Some(entry) = entries.next().await {
        let entry = entry.map_err(Unreachable::because)?;
        let is_last = entry.delta == 0;
        if is_there(&entry) {
            records.push((entry.key.clone(), text(&entry)));
        }
        if is_last {
            return Ok(records);
        }
    }
    Err(Unreachable("the server ended its answer".to_owned()))
}

/// What was deleted leaves an entry that says so.
fn is_there(entry: &Entry) -> bool {
    entry.operation == Operation::Put
}

fn text(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.value).into_owned()
}

impl Catalog for NatsCatalog {
    fn name(&self) -> &str {
        self.server.name()
    }

    fn read(&self, known: Option<u64>) -> BoxFuture<'_, Result<View>> {
        self.look(known).map(|read| self.forget(read)).boxed()
    }

    fn swap<'s>(&'s self, swap: Swap<'s>) -> BoxFuture<'s, Result<Swapped>> {
        self.change(swap).map(|done| self.forget(done)).boxed()
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
