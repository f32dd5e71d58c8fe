//! NATS JetStream: at least once, and so exactly once with what the hosts know of their streams.
//!
//! One stream for each component, `xcomponent_<tenant>_<component>`, on disk, one message for each
//! shipment. The host with the component pulls through a durable consumer and acknowledges what is
//! durable with it; the server removes that from the stream. A stream that is full refuses more, and
//! senders keep what they have. A message that was published twice, because the acknowledgement got
//! lost, is known to the server by its id, and to the host anyhow.
//!
//! `?replicas=3` in the address has streams kept by several servers, `?max_deliver=N` says how often
//! a message is given to a host before it is put aside, in `xcomponent_dead`.

mod server;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::jetstream::{
    AckKind, Context,
    consumer::{AckPolicy, PullConsumer, pull},
    context::PublishErrorKind,
    message::{Message, PublishMessage},
    stream::{Config as StreamConfig, DiscardPolicy, RetentionPolicy, StorageType},
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};

pub(super) use self::server::Server;
use super::{
    Inlet, SendError, Shipment, Transport,
    broker::{Door, Keeper, Place, plain},
    event::Published,
    intake::Intake,
};
use crate::authorities::Authorities;

/// Bytes that may wait in one stream.
const STREAM_BYTES_MAX: i64 = 4 << 30;

/// How long the server knows the ids of messages.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// How long a host may have a message before it is given out again.
const ACK_WAIT: Duration = Duration::from_secs(3);

/// Messages that a host may have at a time.
const ACK_PENDING_MAX: i64 = 64;

/// How often a message is given to a host, where the address says nothing.
const DELIVER_MAX: i64 = 100;

/// After that a server has written what it acknowledged.
const SETTLES_AFTER: Duration = Duration::from_secs(3);

/// Where what nobody can read is put aside.
const DEAD: &str = "xcomponent_dead";

/// Messages that are put aside there at most; the oldest go.
const DEAD_MAX: i64 = 10_000;

/// JetStream on a server or several.
pub struct Nats {
    server: Server,
    replicas: usize,
    max_deliver: i64,
    /// Streams that are known to be there.
    made: Mutex<HashSet<String>>,
}

impl Nats {
    /// The servers at an address such as `nats://USER:PASSWORD@HOST:PORT?replicas=3` or `tls://…`.
    ///
    /// # Errors
    ///
    /// If it is no address.
    pub fn new(address: &str, authorities: &Authorities) -> Result<Self, String> {
        let (mut replicas, mut max_deliver) = (1, DELIVER_MAX);
        let options = "`replicas=N` or `max_deliver=N`";
        let server = Server::new(address, authorities, options, |name, value| match name {
            "replicas" => value.parse().map(|value| replicas = value).is_ok(),
            "max_deliver" => value.parse().map(|value| max_deliver = value).is_ok(),
            _ => false,
        })?;
        Ok(Self {
            server,
            replicas,
            max_deliver,
            made: Mutex::default(),
        })
    }

    /// Makes the stream of a component, if it is not there.
    async fn stream(&self, context: &Context, name: &str) -> Result<(), String> {
        if self.made().contains(name) {
            return Ok(());
        }
        let made = context.get_or_create_stream(StreamConfig {
            name: name.to_owned(),
            subjects: vec![name.to_owned()],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            max_bytes: STREAM_BYTES_MAX,
            duplicate_window: DUPLICATE_WINDOW,
            num_replicas: self.replicas,
            ..StreamConfig::default()
        });
        made.await.map_err(|error| error.to_string())?;
        self.made().insert(name.to_owned());
        Ok(())
    }

    fn made(&self) -> MutexGuard<'_, HashSet<String>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn deliver(&self, shipment: &Shipment) -> Result<u64, SendError> {
        let context = self
            .server
            .jetstream()
            .await
            .map_err(SendError::Unavailable)?;
        let name = stream(&(shipment.tenant.clone(), shipment.component.clone()));
        let made = self.stream(&context, &name).await;
        made.map_err(SendError::Unavailable)?;
        let text = shipment.to_json();
        let bytes = text.len();
        let receive = &shipment.receive;
        let first = receive.parcels.first().map_or(0, |parcel| parcel.number);
        let id = format!("{}:{first}-{}", receive.stream, shipment.last());
        let message = PublishMessage::build().payload(text.into()).message_id(id);
        let published = async { context.send_publish(name.clone(), message).await?.await };
        match published.await {
            Ok(_) => Ok(shipment.last()),
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                Err(SendError::TooLarge {
                    bytes,
                    most: context.client().server_info().max_payload,
                })
            }
            Err(error) => {
                if error.kind() == PublishErrorKind::StreamNotFound {
                    self.made().remove(&name);
                }
                Err(SendError::unavailable(error))
            }
        }
    }

    /// Reads until it cannot, and says why.
    async fn read(&self, place: &Place, inlet: Arc<dyn Inlet>) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let context = self.server.jetstream().await?;
        let name = stream(place);
        self.stream(&context, &name).await?;
        let config = pull::Config {
            durable_name: Some("host".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: ACK_PENDING_MAX,
            ..pull::Config::default()
        };
        let consumer: PullConsumer = context
            .create_consumer_on_stream(config, &*name)
            .await
            .map_err(|error| text(&error))?;
        let messages = consumer.messages().await.map_err(|error| text(&error))?;
        let mut messages = messages.fuse();
        let mut intake: Intake<Message> = Intake::new(inlet);
        let mut still_here = tokio::time::interval(ACK_WAIT / 3);
        loop {
            tokio::select! {
                taken_in = intake.next() => {
                    for message in taken_in.map_err(|gone| gone.to_string())? {
                        message.ack().await.map_err(|error| error.to_string())?;
                    }
                }
                message = messages.select_next_some(), if intake.has_room() => {
                    let message = message.map_err(|error| text(&error))?;
                    self.take(&context, &mut intake, message).await?;
                }
                _ = still_here.tick() => {
                    let messages: Vec<Message> = intake.tokens().cloned().collect();
                    for message in messages {
                        let working = message.ack_with(AckKind::Progress).await;
                        working.map_err(|error| error.to_string())?;
                    }
                }
            }
        }
    }

    /// Hands a message over; what is no shipment is put aside.
    async fn take(
        &self,
        context: &Context,
        intake: &mut Intake<Message>,
        message: Message,
    ) -> Result<(), String> {
        let times = message.info().map_or(1, |info| info.delivered);
        let shipment = match std::str::from_utf8(&message.payload) {
            Ok(_) if times > self.max_deliver => Err(format!("it was given out {times} times")),
            Ok(text) => Shipment::of_json(text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match shipment {
            Ok(shipment) => {
                intake.push(shipment, message);
                Ok(())
            }
            Err(error) => {
                tracing::error!(subject = %message.subject, "a message is put aside: {error}");
                let made = context.get_or_create_stream(StreamConfig {
                    name: DEAD.to_owned(),
                    subjects: vec![DEAD.to_owned()],
                    max_messages: DEAD_MAX,
                    num_replicas: self.replicas,
                    ..StreamConfig::default()
                });
                made.await.map_err(|error| error.to_string())?;
                let kept = context.publish(DEAD, message.payload.clone()).await;
                let kept = kept.map_err(|error| error.to_string())?;
                kept.await.map_err(|error| error.to_string())?;
                let put_aside = message.ack_with(AckKind::Term).await;
                put_aside.map_err(|error| error.to_string())
            }
        }
    }
}

impl Transport for Nats {
    fn name(&self) -> &str {
        self.server.name()
    }

    /// A server by itself writes what it has acknowledged a little later.
    fn settles_after(&self) -> Duration {
        SETTLES_AFTER
    }

    fn absences(&self) -> u64 {
        self.server.reconnects()
    }

    fn send<'a>(&'a self, shipment: &'a Shipment) -> BoxFuture<'a, Result<u64, SendError>> {
        self.deliver(shipment).boxed()
    }
}

impl Keeper for Nats {
    fn consume(self: Arc<Self>, place: Place, door: Door) -> BoxFuture<'static, String> {
        async move {
            let why = self.read(&place, door.inlet).await;
            why.err().unwrap_or_else(|| "it ended".to_owned())
        }
        .boxed()
    }

    /// On the subjects `xcomponent.events.<kind>`, for whoever listens at that moment.
    fn tell<'a>(&'a self, events: &'a [Published]) -> BoxFuture<'a, Result<(), SendError>> {
        async move {
            let context = self
                .server
                .jetstream()
                .await
                .map_err(SendError::Unavailable)?;
            let client = context.client();
            for event in events {
                let subject = format!("xcomponent.events.{}", event.kind);
                let told = client.publish(subject, event.text.clone().into()).await;
                told.map_err(SendError::unavailable)?;
            }
            client.flush().await.map_err(SendError::unavailable)
        }
        .boxed()
    }
}

/// The stream of a component, and its only subject.
fn stream((tenant, component): &Place) -> String {
    let (tenant, component) = (plain(tenant.as_str()), plain(component.as_str()));
    format!("xcomponent_{tenant}_{component}")
}
