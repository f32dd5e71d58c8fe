//! Redis Streams: at least once, and so exactly once with what the hosts know of their streams.
//!
//! One stream of Redis for each component, `xcomponent:stream:<tenant>:<component>`, one message for
//! each shipment. The host with the component reads as the one consumer of a group: what it was given
//! and did not acknowledge it is given again. What is acknowledged is deleted, so a stream holds what
//! nobody has taken in; beyond [`WAITING_MAX`] messages it is full, and senders keep what they have.
//!
//! What Redis has acknowledged survives the end of its process with `appendonly yes`, and that of its
//! machine with `appendfsync always` only.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use redis::{
    ErrorKind, FromRedisValue as _, RedisError, Value, aio::MultiplexedConnection,
    streams::StreamReadReply,
};

use super::{
    Inlet, SendError, Shipment, Transport,
    broker::{Door, Keeper, Place, plain},
    event::Published,
    intake::Intake,
    redis_server::RedisServer,
};
use crate::authorities::Authorities;

/// Messages that may wait in one stream.
pub const WAITING_MAX: u64 = 100_000;

/// Messages of one answer at most.
const READ_MAX: usize = 32;

/// How long one question waits for news.
const BLOCK: Duration = Duration::from_secs(2);

/// The group that reads, and the one consumer in it.
const GROUP: &str = "xcomponent";
const CONSUMER: &str = "host";

/// The member of a message that is a shipment.
const SHIPMENT: &str = "shipment";

/// Most bytes of one message.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Redis Streams on one server.
pub struct RedisStreams {
    server: RedisServer,
}

impl RedisStreams {
    /// The server at an address such as `redis://USER:PASSWORD@HOST:PORT/0` or `rediss://…`.
    ///
    /// # Errors
    ///
    /// If it is no address.
    pub fn new(address: &str, authorities: &Authorities) -> Result<Self, RedisError> {
        let server = RedisServer::new("redis+streams", address, authorities)?;
        Ok(Self { server })
    }

    async fn deliver(&self, shipment: &Shipment) -> Result<u64, SendError> {
        let text = shipment.to_json();
        if text.len() > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLarge {
                bytes: text.len(),
                most: MESSAGE_BYTES_MAX,
            });
        }
        let key = key(&(shipment.tenant.clone(), shipment.component.clone()));
        let sent = async {
            let mut connection = self.server.connection().await?;
            let waiting: u64 = redis::cmd("XLEN")
                .arg(&key)
                .query_async(&mut connection)
                .await?;
            if waiting >= WAITING_MAX {
                return Ok(Err(waiting));
            }
            let mut add = redis::cmd("XADD");
            add.arg(&key).arg("*").arg(SHIPMENT).arg(&text);
            let _: String = add.query_async(&mut connection).await?;
            Ok(Ok(()))
        };
        let sent: Result<_, RedisError> = sent.await;
        match sent.map_err(SendError::unavailable)? {
            Ok(()) => Ok(shipment.last()),
            Err(waiting) => {
                let full = format!("{waiting} messages wait, which is all that may");
                Err(SendError::Unavailable(full))
            }
        }
    }

    /// Reads until it cannot, and says why.
    async fn read(&self, place: &Place, inlet: Arc<dyn Inlet>) -> Result<(), RedisError> {
        let key = key(place);
        let mut connection = self.server.connect().await?;
        let mut make = redis::cmd("XGROUP");
        make.arg("CREATE")
            .arg(&key)
            .arg(GROUP)
            .arg("0")
            .arg("MKSTREAM");
        let made: Result<(), RedisError> = make.query_async(&mut connection).await;
        match made {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut reader = Reader {
            acknowledging: self.server.connect().await?,
            reading: connection,
            intake: Intake::new(inlet),
            // What was given to a host before this one, then what is new.
            after: Some("0".to_owned()),
            key,
        };
        reader.run().await
    }
}

/// A message: its id, and what should be a shipment.
type Found = (String, Option<String>);

/// Reads one stream.
struct Reader {
    key: String,
    reading: MultiplexedConnection,
    acknowledging: MultiplexedConnection,
    intake: Intake<String>,
    /// Where what was given before goes on; none = it is over.
    after: Option<String>,
}

impl Reader {
    async fn run(&mut self) -> Result<(), RedisError> {
        let mut answer = self.ask();
        loop {
            tokio::select! {
                taken_in = self.intake.next() => match taken_in {
                    Ok(ids) => self.acknowledge(&ids).await?,
                    Err(gone) => return Err((ErrorKind::Client, "stopped", gone.to_string()).into()),
                },
                found = &mut answer, if self.intake.has_room() => {
                    self.take(found?).await?;
                    answer = self.ask();
                }
            }
        }
    }

    /// Asks for what comes next.
    fn ask(&self) -> BoxFuture<'static, Result<Vec<Found>, RedisError>> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP")
            .arg(GROUP)
            .arg(CONSUMER)
            .arg("COUNT")
            .arg(READ_MAX);
        if self.after.is_none() {
            read.arg("BLOCK").arg(BLOCK.as_millis() as usize);
        }
        let after = self.after.as_deref().unwrap_or(">");
        read.arg("STREAMS").arg(&self.key).arg(after);
        let mut connection = self.reading.clone();
        async move {
            let value: Value = read.query_async(&mut connection).await?;
            if value == Value::Nil {
                return Ok(Vec::new());
            }
            let reply = StreamReadReply::from_redis_value(value)?;
            let messages = reply.keys.into_iter().flat_map(|key| key.ids);
            Ok(messages
                .map(|message| {
                    let text = message.get(SHIPMENT);
                    (message.id, text)
                })
                .collect())
        }
        .boxed()
    }

    /// Hands over what was read.
    async fn take(&mut self, messages: Vec<Found>) -> Result<(), RedisError> {
        if let Some(after) = &mut self.after {
            match messages.last() {
                Some((last, _)) => after.clone_from(last),
                None => self.after = None,
            }
        }
        for (id, text) in messages {
            let text = text.unwrap_or_default();
            match Shipment::of_json(&text) {
                Ok(shipment) => self.intake.push(shipment, id),
                Err(error) => {
                    tracing::error!(stream = self.key, id, "a message is put aside: {error}");
                    self.put_aside(&id, &text).await?;
                }
            }
        }
        Ok(())
    }

    async fn acknowledge(&mut self, ids: &[String]) -> Result<(), RedisError> {
        let mut both = redis::pipe();
        both.cmd("XACK").arg(&self.key).arg(GROUP).arg(ids).ignore();
        both.cmd("XDEL").arg(&self.key).arg(ids).ignore();
        both.query_async(&mut self.acknowledging).await
    }

    /// Keeps for people what is no shipment.
    async fn put_aside(&mut self, id: &str, text: &str) -> Result<(), RedisError> {
        let mut add = redis::cmd("XADD");
        add.arg(format!("{}:dead", self.key))
            .arg("MAXLEN")
            .arg("~")
            .arg(10_000);
        add.arg("*").arg("id").arg(id).arg(SHIPMENT).arg(text);
        let _: String = add.query_async(&mut self.acknowledging).await?;
        self.acknowledge(&[id.to_owned()]).await
    }
}

impl Transport for RedisStreams {
    fn name(&self) -> &str {
        self.server.name()
    }

    fn send<'a>(&'a self, shipment: &'a Shipment) -> BoxFuture<'a, Result<u64, SendError>> {
        self.deliver(shipment).boxed()
    }
}

impl Keeper for RedisStreams {
    fn consume(self: Arc<Self>, place: Place, door: Door) -> BoxFuture<'static, String> {
        async move {
            match self.read(&place, door.inlet).await {
                Ok(()) => "it ended".to_owned(),
                Err(error) => error.to_string(),
            }
        }
        .boxed()
    }

    fn tell<'a>(&'a self, events: &'a [Published]) -> BoxFuture<'a, Result<(), SendError>> {
        async move {
            let connection = self.server.connection().await;
            let mut connection = connection.map_err(SendError::unavailable)?;
            let told = publish(events).query_async(&mut connection).await;
            told.map_err(SendError::unavailable)
        }
        .boxed()
    }
}

/// Publishes what happened on the channels of xcomponent-ai.
pub(super) fn publish(events: &[Published]) -> redis::Pipeline {
    let mut publish = redis::pipe();
    for event in events {
        let channel = format!("xcomponent:events:{}", event.kind);
        publish
            .cmd("PUBLISH")
            .arg(channel)
            .arg(&event.text)
            .ignore();
    }
    publish
}

/// The stream of a component.
fn key((tenant, component): &Place) -> String {
    let (tenant, component) = (plain(tenant.as_str()), plain(component.as_str()));
    format!("xcomponent:stream:{tenant}:{component}")
}
