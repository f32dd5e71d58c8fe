//! RabbitMQ (AMQP 0-9-1): at least once, and so exactly once with what the hosts know of their
//! streams.
//!
//! One durable queue for each component, `xcomponent.<tenant>.<component>`, a quorum queue where the
//! server has them, one persistent message for each shipment. Who publishes waits for the server's
//! confirmation; the host with the component acknowledges what is durable with it. A queue that is
//! full refuses more, and senders keep what they have. What nobody can read, or was given to hosts
//! too often, goes to the queue `xcomponent.dead` by way of the exchange of the same name.
//!
//! `?queue_type=classic` in the address has queues of the older kind.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    DefaultConnectionBuilder, Error, ExchangeKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        BasicRejectOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    tcp::OwnedTLSConfig,
    types::{AMQPValue, FieldTable},
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    Inlet, SendError, Shipment, Transport,
    broker::{Door, Keeper, Place, plain},
    event::Published,
    intake::Intake,
};
use crate::authorities::Authorities;

/// Messages that may wait in one queue.
const WAITING_MAX: i64 = 100_000;

/// Messages that a host may have at a time.
const PREFETCH: u16 = 64;

/// How often a message is given to a host before it is put aside.
const DELIVER_MAX: i64 = 100;

/// Where that is, exchange and queue.
const DEAD: &str = "xcomponent.dead";

/// Messages that are put aside there at most; the oldest go.
const DEAD_MAX: i64 = 10_000;

/// The exchange on which it is told what happened; the routing key is its kind.
const EVENTS: &str = "xcomponent.events";

/// Most bytes of one message: what a server takes by default.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How long a connection or a confirmation may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Persistent.
const DELIVERY_MODE: u8 = 2;

/// A server.
pub struct Amqp {
    name: String,
    address: String,
    authorities: Authorities,
    is_classic: bool,
    sending: Mutex<Option<Sending>>,
}

/// What messages are published on.
struct Sending {
    /// Ends when it is dropped.
    _connection: Connection,
    channel: Channel,
    /// Queues that are known to be there.
    made: Vec<String>,
}

impl Amqp {
    /// The server at an address such as `amqp://USER:PASSWORD@HOST:PORT/VHOST` or `amqps://…`.
    ///
    /// # Errors
    ///
    /// If it is no address.
    pub fn new(address: &str, authorities: &Authorities) -> Result<Self, String> {
        let (plain, query) = address.split_once('?').unwrap_or((address, ""));
        let kind = "queue_type=";
        let (ours, others): (Vec<&str>, Vec<&str>) = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .partition(|pair| pair.starts_with(kind));
        let is_classic = match ours.first().map(|pair| &pair[kind.len()..]) {
            None | Some("quorum") => false,
            Some("classic") => true,
            Some(_) => return Err("`queue_type`: expected `quorum` or `classic`".to_owned()),
        };
        let address = match others.is_empty() {
            true => plain.to_owned(),
            false => format!("{plain}?{}", others.join("&")),
        };
        let uri: lapin::uri::AMQPUri = address.parse()?;
        Ok(Self {
            name: format!("amqp {}:{}", uri.authority.host, uri.authority.port),
            address,
            authorities: authorities.clone(),
            is_classic,
            sending: Mutex::default(),
        })
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let properties = ConnectionProperties::default().with_connection_name("xcomponent".into());
        let trusted = OwnedTLSConfig {
            cert_chain: self.authorities.pem().map(str::to_owned),
            ..OwnedTLSConfig::default()
        };
        let builder = DefaultConnectionBuilder::new()?
            .with_uri_str(self.address.clone())
            .with_properties(properties)
            .with_tls_config(trusted);
        let connecting = timeout(PATIENCE, builder.connect());
        connecting
            .await
            .unwrap_or_else(|_| Err(slow("a connection")))
    }

    /// Makes a component's queue, if it is not there.
    async fn declare(&self, channel: &Channel, queue: &str) -> Result<(), Error> {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let fanout = ExchangeKind::Fanout;
        let none = FieldTable::default;
        channel
            .exchange_declare(DEAD.into(), fanout, durable, none())
            .await?;
        let dead = table([("x-max-length", DEAD_MAX.into())]);
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel.queue_declare(DEAD.into(), durable, dead).await?;
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(DEAD.into(), DEAD.into(), "".into(), bind, none())
            .await?;
        let text = |text: &str| AMQPValue::LongString(text.into());
        let kind = if self.is_classic { "classic" } else { "quorum" };
        let mut arguments = table([
            ("x-queue-type", text(kind)),
            ("x-dead-letter-exchange", text(DEAD)),
            ("x-max-length", WAITING_MAX.into()),
            ("x-overflow", text("reject-publish")),
            ("x-single-active-consumer", true.into()),
        ]);
        if !self.is_classic {
            arguments.insert("x-delivery-limit".into(), DELIVER_MAX.into());
        }
        channel
            .queue_declare(queue.into(), durable, arguments)
            .await?;
        Ok(())
    }

    async fn deliver(&self, shipment: &Shipment) -> Result<u64, SendError> {
        let text = shipment.to_json();
        if text.len() > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLarge {
                bytes: text.len(),
                most: MESSAGE_BYTES_MAX,
            });
        }
        let queue = queue(&(shipment.tenant.clone(), shipment.component.clone()));
        let mut sending = self.sending.lock().await;
        let published = self.publish(&mut sending, &queue, text.as_bytes());
        let published = match timeout(PATIENCE, published).await {
            Ok(published) => published,
            Err(_) => Err(slow("a confirmation")),
        };
        match published {
            Ok(Confirmation::Ack(None)) => Ok(shipment.last()),
            Ok(_) => Err(SendError::unavailable("the queue takes no more")),
            Err(error) => {
                *sending = None;
                Err(SendError::unavailable(error))
            }
        }
    }

    /// The channel on which messages are published.
    async fn sending<'s>(
        &self,
        sending: &'s mut Option<Sending>,
    ) -> Result<&'s mut Sending, Error> {
        if sending.is_none() {
            let connection = self.connect().await?;
            let channel = connection.create_channel().await?;
            let confirm = ConfirmSelectOptions::default();
            channel.confirm_select(confirm).await?;
            *sending = Some(Sending {
                _connection: connection,
                channel,
                made: Vec::new(),
            });
        }
        sending.as_mut().ok_or_else(|| slow("a connection"))
    }

    /// Publishes what happened on the topic exchange [`EVENTS`].
    async fn announce(
        &self,
        sending: &mut Option<Sending>,
        event: &Published,
    ) -> Result<(), Error> {
        let Sending { channel, made, .. } = self.sending(sending).await?;
        if !made.iter().any(|known| known == EVENTS) {
            let durable = ExchangeDeclareOptions {
                durable: true,
                ..ExchangeDeclareOptions::default()
            };
            let (topic, none) = (ExchangeKind::Topic, FieldTable::default());
            channel
                .exchange_declare(EVENTS.into(), topic, durable, none)
                .await?;
            made.push(EVENTS.to_owned());
        }
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default().with_delivery_mode(DELIVERY_MODE);
        let text = event.text.as_bytes();
        let told =
            channel.basic_publish(EVENTS.into(), event.kind.into(), options, text, properties);
        told.await?.await.map(drop)
    }

    async fn publish(
        &self,
        sending: &mut Option<Sending>,
        queue: &str,
        text: &[u8],
    ) -> Result<Confirmation, Error> {
        let Sending { channel, made, .. } = self.sending(sending).await?;
        if !made.iter().any(|known| known == queue) {
            self.declare(channel, queue).await?;
            made.push(queue.to_owned());
        }
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = BasicProperties::default().with_delivery_mode(DELIVERY_MODE);
        let published = channel.basic_publish("".into(), queue.into(), mandatory, text, properties);
        published.await?.await
    }

    /// Reads until it cannot, and says why.
    async fn read(&self, place: &Place, inlet: Arc<dyn Inlet>) -> Result<(), Error> {
        let queue = queue(place);
        let connection = self.connect().await?;
        let channel = connection.create_channel().await?;
        self.declare(&channel, &queue).await?;
        let qos = BasicQosOptions::default();
        channel.basic_qos(PREFETCH, qos).await?;
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel.basic_consume((&*queue).into(), "".into(), options, none);
        let mut deliveries = consumer.await?.fuse();
        let mut intake: Intake<Delivery> = Intake::new(inlet);
        loop {
            tokio::select! {
                taken_in = intake.next() => {
                    let Ok(deliveries) = taken_in else { return Ok(()) };
                    for delivery in deliveries {
                        delivery.ack(BasicAckOptions::default()).await?;
                    }
                }
                delivery = deliveries.next(), if intake.has_room() => {
                    let Some(delivery) = delivery else {
                        return Err(slow("a message"));
                    };
                    take(&queue, &mut intake, delivery?).await?;
                }
            }
        }
    }
}

/// Hands a message over; what is no shipment is put aside.
async fn take(queue: &str, intake: &mut Intake<Delivery>, delivery: Delivery) -> Result<(), Error> {
    let shipment = std::str::from_utf8(&delivery.data).map_err(|error| error.to_string());
    let shipment =
        shipment.and_then(|text| Shipment::of_json(text).map_err(|error| error.to_string()));
    match shipment {
        Ok(shipment) => intake.push(shipment, delivery),
        Err(error) => {
            tracing::error!(queue, "a message is put aside: {error}");
            delivery
                .reject(BasicRejectOptions { requeue: false })
                .await?;
        }
    }
    Ok(())
}

impl Transport for Amqp {
    fn name(&self) -> &str {
        &self.name
    }

    fn send<'a>(&'a self, shipment: &'a Shipment) -> BoxFuture<'a, Result<u64, SendError>> {
        self.deliver(shipment).boxed()
    }
}

impl Keeper for Amqp {
    fn consume(self: Arc<Self>, place: Place, door: Door) -> BoxFuture<'static, String> {
        async move {
            match self.read(&place, door.inlet).await {
                Ok(()) => "its component is not here any more".to_owned(),
                Err(error) => error.to_string(),
            }
        }
        .boxed()
    }

    fn tell<'a>(&'a self, events: &'a [Published]) -> BoxFuture<'a, Result<(), SendError>> {
        async move {
            let mut sending = self.sending.lock().await;
            for event in events {
                let told = self.announce(&mut sending, event).await;
                if let Err(error) = told {
                    *sending = None;
                    return Err(SendError::unavailable(error));
                }
            }
            Ok(())
        }
        .boxed()
    }
}

/// The queue of a component.
fn queue((tenant, component): &Place) -> String {
    let (tenant, component) = (plain(tenant.as_str()), plain(component.as_str()));
    format!("xcomponent.{tenant}.{component}")
}

fn table<const N: usize>(arguments: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(name.into(), value);
    }
    table
}

/// Something took too long.
fn slow(what: &str) -> Error {
    let why = format!("{what} does not come");
    std::io::Error::new(std::io::ErrorKind::TimedOut, why).into()
}
