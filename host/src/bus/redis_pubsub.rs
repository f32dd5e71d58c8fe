//! Redis Pub/Sub, with the messages of xcomponent-ai: a Node runtime and this host can share a Redis.
//!
//! **At most once.** Redis keeps nothing: what nobody listens to at that moment waits at the sender,
//! but what is lost between Redis and whoever listened is lost. Two hosts of this program tell each
//! other of what they send and take it in once; what a Node runtime gets is one message for each
//! event.
//!
//! Redis says how many listen to a channel. A shipment is therefore published for hosts of this
//! program first, and in the messages of xcomponent-ai where none of them has the component.

mod lenient;
mod listen;
mod message;

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use redis::RedisError;
use xcomponent_core::{
    id::{ComponentName, EventId, StreamId, TenantId},
    input::{Parcel, Receive},
    record::Outgoing,
};

use self::message::{COMMANDS, CREATE, CROSS, Message};
use super::{
    SendError, Shipment, Transport,
    broker::{Broker, Door, Place, plain},
    event::Published,
    now,
    redis_server::RedisServer,
    redis_streams,
};
use crate::authorities::Authorities;

/// A channel that every host of this program listens to, that those with an external API do, and that
/// nobody does: so many do not count.
const HOSTS: &str = "xcomponent:hosts";
const HOSTS_WITH_API: &str = "xcomponent:hosts:external";
const NOBODY: &str = "xcomponent:nobody";

/// Most bytes of one message.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What a message of xcomponent-ai asks for, as a shipment without a number: its event gets this id.
///
/// # Errors
///
/// If it is no such message: why.
pub fn heard(channel: &str, text: &str, id: EventId) -> Result<Shipment, String> {
    let message = Message::read(channel, text)?;
    let component = message.component();
    let outgoing = message.outgoing(id, now())?;
    Ok(Shipment {
        tenant: TenantId::default_tenant(),
        component,
        receive: Receive {
            stream: StreamId::none(),
            parcels: vec![Parcel {
                number: 0,
                before: None,
                source: None,
                deliveries: vec![outgoing],
            }],
        },
    })
}

/// The message of xcomponent-ai that asks for this, and before it the channel it is published on.
pub fn said(outgoing: &Outgoing, source: Option<&ComponentName>) -> (String, String) {
    Message::of(outgoing, source).published()
}

/// Redis Pub/Sub on one server.
pub struct RedisPubSub {
    server: RedisServer,
}

impl RedisPubSub {
    /// The server at an address such as `redis://USER:PASSWORD@HOST:PORT/0` or `rediss://…`.
    ///
    /// # Errors
    ///
    /// If it is no address.
    pub fn new(address: &str, authorities: &Authorities) -> Result<Self, RedisError> {
        let server = RedisServer::new("redis", address, authorities)?;
        Ok(Self { server })
    }

    /// Publishes messages in order, and says how many listened to each.
    async fn publish(&self, messages: &[(String, String)]) -> Result<Vec<u64>, RedisError> {
        let mut publish = redis::pipe();
        for (channel, text) in messages {
            publish.cmd("PUBLISH").arg(channel).arg(text);
        }
        publish
            .query_async(&mut self.server.connection().await?)
            .await
    }

    /// Says what is in a parcel as xcomponent-ai does; whether anybody heard all of it. Hosts of this
    /// program listen to some of its channels too, for whatever they have, and do not count.
    async fn tell_foreign(&self, parcel: &Parcel) -> Result<bool, RedisError> {
        for outgoing in &parcel.deliveries {
            let (channel, text) = said(outgoing, parcel.source.as_ref());
            let hosts = match &*channel {
                CREATE | CROSS => HOSTS,
                channel if COMMANDS.contains(&channel) => HOSTS_WITH_API,
                _ => NOBODY,
            };
            let both = [(hosts.to_owned(), String::new()), (channel, text)];
            if let [hosts, all] = *self.publish(&both).await?
                && all <= hosts
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn deliver(&self, shipment: &Shipment) -> Result<u64, SendError> {
        let text = shipment.to_json();
        if text.len() > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLarge {
                bytes: text.len(),
                most: MESSAGE_BYTES_MAX,
            });
        }
        let place = (shipment.tenant.clone(), shipment.component.clone());
        let ours = [(shipments(&place), text)];
        let listening = self.publish(&ours).await;
        if listening.map_err(SendError::unavailable)? != [0] {
            return Ok(shipment.last());
        }
        // Parcel by parcel, so that what was heard is not said again.
        let mut heard = 0;
        for parcel in &shipment.receive.parcels {
            let is_heard = self.tell_foreign(parcel).await;
            if !is_heard.map_err(SendError::unavailable)? {
                break;
            }
            heard = parcel.number;
        }
        match heard {
            0 => Err(SendError::unavailable("nobody listens for it")),
            heard => Ok(heard),
        }
    }
}

/// Where hosts of this program listen for what is for a component.
fn shipments((tenant, component): &Place) -> String {
    let (tenant, component) = (plain(tenant.as_str()), plain(component.as_str()));
    format!("xcomponent:shipments:{tenant}:{component}")
}

impl Transport for RedisPubSub {
    fn name(&self) -> &str {
        self.server.name()
    }

    fn send<'a>(&'a self, shipment: &'a Shipment) -> BoxFuture<'a, Result<u64, SendError>> {
        self.deliver(shipment).boxed()
    }
}

impl Broker for RedisPubSub {
    fn listen(self: Arc<Self>, door: Door) -> BoxFuture<'static, ()> {
        tracing::warn!(
            broker = self.server.name(),
            "Redis Pub/Sub delivers at most once: what is lost on the way is lost; \
             `redis+streams://` loses nothing"
        );
        listen::listen(self, door).boxed()
    }

    fn publish<'a>(&'a self, events: &'a [Published]) -> BoxFuture<'a, Result<(), SendError>> {
        async move {
            let connection = self.server.connection().await;
            let mut connection = connection.map_err(SendError::unavailable)?;
            let publish = redis_streams::publish(events);
            let told = publish.query_async(&mut connection).await;
            told.map_err(SendError::unavailable)
        }
        .boxed()
    }
}
