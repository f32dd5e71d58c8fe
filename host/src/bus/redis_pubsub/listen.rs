//! Listens: for what other hosts send, for what Node runtimes say, and for whoever asks who is here.

use std::{
    collections::HashSet,
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt as _;
use redis::{
    RedisError,
    aio::{PubSubSink, PubSubStream},
};
use serde_json::json;
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{self, Receiver, Sender},
};
use xcomponent_core::id::EventId;

use super::{
    HOSTS, HOSTS_WITH_API, MESSAGE_BYTES_MAX, RedisPubSub, heard,
    message::{BROADCASTS, CASCADES, COMMANDS, CREATE, CROSS},
    shipments,
};
use crate::bus::{
    Shipment, TakeInError,
    broker::{Door, Place},
    now,
};

/// Wait before a server that went away is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How often a host says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Messages that wait to be taken in, and their bytes.
const WAITING_MAX: usize = 16_384;
const WAITING_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// Whoever asks who is here.
const DISCOVER: &str = "fsm:registry:discover";

/// How often something that cannot be taken in now is tried again.
const ATTEMPTS_MAX: u32 = 100;

/// Wait between two attempts.
const ATTEMPT_AFTER: Duration = Duration::from_millis(20);

/// Listens for as long as this is polled.
pub(super) async fn listen(broker: Arc<RedisPubSub>, mut door: Door) {
    loop {
        let why = Listener::run(&broker, &mut door).await;
        if let Err(error) = why {
            tracing::warn!(broker = broker.server.name(), "listening stopped: {error}");
        }
        door.listening.stopped(broker.server.name());
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// A message, and its room among those that wait.
struct Heard {
    channel: String,
    text: String,
    _room: OwnedSemaphorePermit,
}

/// Keeps what is said until it is taken in, up to so many messages and bytes; beyond that it is lost. The client
/// library would keep everything. Ends the queue when nothing more comes, and then never returns.
async fn keep_hearing(messages: &mut PubSubStream, queue: Sender<Heard>) -> Infallible {
    let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
    let mut lost = 0_u64;
    while let Some(message) = messages.next().await {
        let channel = message.get_channel_name().to_owned();
        if [HOSTS, HOSTS_WITH_API].contains(&&*channel) {
            continue;
        }
        let bytes = message.get_payload_bytes().len() + channel.len();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = Arc::clone(&room).try_acquire_many_owned(bytes);
        let (Ok(permit), Ok(place)) = (permit, queue.try_reserve()) else {
            lost += 1;
            if lost.is_power_of_two() {
                tracing::error!(
                    channel,
                    lost,
                    "messages are lost: more come than are taken in, or larger ones than fit"
                );
            }
            continue;
        };
        if let Ok(text) = message.get_payload() {
            place.send(Heard {
                channel,
                text,
                _room: permit,
            });
        }
    }
    drop(queue);
    std::future::pending().await
}

struct Listener<'b> {
    broker: &'b RedisPubSub,
    sink: PubSubSink,
    subscribed: HashSet<Place>,
    ids: Ids,
}

impl Listener<'_> {
    async fn run(broker: &RedisPubSub, door: &mut Door) -> Result<(), RedisError> {
        let (sink, mut messages) = broker.server.client().get_async_pubsub().await?.split();
        let mut listener = Listener {
            broker,
            sink,
            subscribed: HashSet::new(),
            ids: Ids::default(),
        };
        let mut common = vec![CREATE, CROSS, DISCOVER, HOSTS];
        if door.external_api {
            common.extend(COMMANDS.iter().chain(&BROADCASTS));
            common.push(HOSTS_WITH_API);
        }
        listener.sink.subscribe(common).await?;
        listener.follow(door).await?;
        door.listening.goes_on(broker.server.name());
        let (queue, heard) = mpsc::channel(WAITING_MAX);
        let told = tokio::select! {
            told = listener.serve(door, heard) => told,
            never = keep_hearing(&mut messages, queue) => match never {},
        };
        // Whoever keeps a list takes this host off it; one that does not hear it finds out.
        let _ = listener.announce(door, "shutdown").await;
        told
    }

    async fn serve(
        &mut self,
        door: &mut Door,
        mut heard: Receiver<Heard>,
    ) -> Result<(), RedisError> {
        let mut beat = tokio::time::interval(HEARTBEAT);
        loop {
            tokio::select! {
                message = heard.recv() => {
                    let Some(Heard { channel, text, .. }) = message else { return Ok(()) };
                    if channel == DISCOVER {
                        self.announce(door, "announce").await?;
                    } else {
                        self.hear(door, &channel, &text).await;
                    }
                }
                changed = door.here.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.follow(door).await?;
                }
                _ = beat.tick() => self.announce(door, "heartbeat").await?,
            }
        }
    }

    /// Listens for the components that are here, and says so.
    async fn follow(&mut self, door: &mut Door) -> Result<(), RedisError> {
        let here = door.here.borrow_and_update().clone();
        for place in here.difference(&self.subscribed) {
            let channels = [shipments(place), format!("{CASCADES}{}", place.1)];
            self.sink.subscribe(&channels[..]).await?;
        }
        for place in self.subscribed.difference(&here) {
            let channels = [shipments(place), format!("{CASCADES}{}", place.1)];
            self.sink.unsubscribe(&channels[..]).await?;
        }
        self.subscribed = here;
        self.announce(door, "announce").await
    }

    /// Takes in what was said on a channel.
    async fn hear(&mut self, door: &Door, channel: &str, text: &str) {
        let shipment = if channel.starts_with("xcomponent:shipments:") {
            let shipment = Shipment::of_json(text).map_err(|error| error.to_string());
            shipment.map(|mut shipment| {
                // What was lost is lost.
                let parcels = shipment.receive.parcels.iter_mut();
                parcels.for_each(|parcel| parcel.before = None);
                shipment
            })
        } else {
            heard(channel, text, self.ids.next())
        };
        let shipment = match shipment {
            Ok(shipment) => shipment,
            Err(error) => {
                return tracing::warn!(channel, "a message is left out: {error}");
            }
        };
        for _ in 0..ATTEMPTS_MAX {
            match door.inlet.take_in(shipment.clone()).await {
                Ok(_) | Err(TakeInError::NotHere(_) | TakeInError::Gap { .. }) => return,
                Err(TakeInError::Busy(_) | TakeInError::TooManyStreams) => {
                    tokio::time::sleep(ATTEMPT_AFTER).await
                }
            }
        }
        tracing::error!(
            channel,
            "a message is lost: the host is too busy to take it in"
        );
    }

    /// Says who is here.
    async fn announce(&self, door: &Door, what: &str) -> Result<(), RedisError> {
        let (host, port) = door.runtime.address.clone().unzip();
        let messages = self.subscribed.iter().map(|(_, component)| {
            let message = json!({
                "runtimeId": format!("{}:{component}", door.runtime.id),
                "componentName": component.as_str(),
                "host": host,
                "port": port,
                "timestamp": now().0,
            });
            (format!("fsm:registry:{what}"), message.to_string())
        });
        let messages: Vec<_> = messages.collect();
        if !messages.is_empty() {
            self.broker.publish(&messages).await?;
        }
        Ok(())
    }
}

/// Makes ids that nobody can guess.
#[derive(Default)]
struct Ids {
    high: RandomState,
    low: RandomState,
    made: u64,
}

impl Ids {
    fn next(&mut self) -> EventId {
        self.made += 1;
        let (high, low) = (self.high.hash_one(self.made), self.low.hash_one(self.made));
        EventId::made(now(), u128::from(high) << 64 | u128::from(low))
    }
}
