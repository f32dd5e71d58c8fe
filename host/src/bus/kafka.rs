//! Kafka: at least once, and so exactly once with what the hosts know of their streams.
//!
//! One topic for each component, `xcomponent.<tenant>.<component>`, one message for each shipment,
//! whose key is its stream. All that one host sends to one component is so in one partition, in
//! order, and goes to one member of the consumer group, whose store knows how far it is. A key for
//! each instance would spread a stream over partitions: what is read of one could then only be taken
//! in when what came before it was read of the others, for which it would have to be kept in memory
//! without a bound, and two members of a group would each miss what the other has.
//!
//! A sender waits until all replicas that are in sync have a message (`acks=all`), and is idempotent.
//! A broker without replicas (`?replicas=1`) answers before it has written it: what it answered within
//! the last half minute is sent to it again after it was away.
//! The host with the component reads as a member of the group of the topic's name. An offset is given
//! to the group only after everything before it is durable at the host: it says from where on is read
//! again; what of that is new is said by the number that the host keeps with its state. A host is the
//! same member of its groups after each start on the same store (KIP-345): one that was killed goes on
//! where it was, and nobody waits until the cluster has missed it.
//!
//! A topic that a host makes has `?partitions=N` partitions and `?replicas=N` replicas, and keeps what
//! nobody has taken in for as long as that takes; what is taken in is deleted by and by.

mod address;
mod past;
mod progress;
mod reader;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use rdkafka::{
    ClientConfig, ClientContext, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, FutureRecord, Producer as _},
};
use sha2::{Digest as _, Sha256};

use self::{address::Address, reader::Reader};
use super::{
    SendError, Shipment, Transport,
    broker::{Door, Keeper, Place},
    event::Published,
};
use crate::authorities::Authorities;

/// Most bytes of one message, in topics that a host makes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Bytes of a message besides its text, at most.
const MESSAGE_BYTES_BESIDES: usize = 1 << 10;

/// How long a message or a question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Wait before a connection that was lost is tried again: doubled from the first to the last.
const RECONNECT_MS: [&str; 2] = ["50", "1000"];

/// Bytes of messages that are sent and not acknowledged, at most.
const SENDING_KIB_MAX: &str = "65536";

/// Most bytes of a topic's name.
const TOPIC_BYTES_MAX: usize = 249;

/// After that an operating system has written what a broker without replicas has acknowledged.
const SETTLES_AFTER: Duration = Duration::from_secs(30);

/// Where what nobody can read is put aside.
const DEAD: &str = "xcomponent.dead";

type Producer = FutureProducer<Ear>;

/// A cluster.
pub struct Kafka {
    name: String,
    address: Address,
    authorities: Authorities,
    ear: Ear,
    sending: Mutex<Option<Producer>>,
    admin: OnceLock<AdminClient<Ear>>,
    /// Topics that are known to be there.
    made: Mutex<HashSet<String>>,
}

/// How long a topic keeps what is in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// Until it is deleted.
    Everything,
    /// As long as the cluster does with topics of which nothing is said.
    Some,
}

impl Kafka {
    /// The cluster at an address such as `kafka://USER:PASSWORD@HOST:PORT,HOST:PORT?partitions=6` or
    /// `kafka+tls://…`.
    ///
    /// # Errors
    ///
    /// If it is no address, or what it says cannot be used.
    pub fn new(address: &str, authorities: &Authorities) -> Result<Self, String> {
        let address: Address = address.parse()?;
        let kafka = Self {
            name: format!("kafka {}", address.servers),
            address,
            authorities: authorities.clone(),
            ear: Ear::default(),
            sending: Mutex::default(),
            admin: OnceLock::new(),
            made: Mutex::default(),
        };
        // Says now what is wrong with it.
        let made = kafka.producer().map(drop);
        made.map_err(|error| error.to_string())?;
        Ok(kafka)
    }

    /// What every client of the cluster is told.
    fn config(&self) -> ClientConfig {
        let mut config = self.address.config(&self.authorities);
        config
            .set("client.id", "xcomponent")
            .set("reconnect.backoff.ms", RECONNECT_MS[0])
            .set("reconnect.backoff.max.ms", RECONNECT_MS[1])
            .set("allow.auto.create.topics", "false")
            .set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// What messages are sent with.
    fn producer(&self) -> Result<Producer, KafkaError> {
        let mut sending = locked(&self.sending);
        // One that has lost count of what the cluster has is of no use any more.
        sending.take_if(|producer| producer.client().fatal_error().is_some());
        if let Some(producer) = &*sending {
            return Ok(producer.clone());
        }
        let mut config = self.config();
        let producer: Producer = config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
            .set("queue.buffering.max.kbytes", SENDING_KIB_MAX)
            .set("delivery.timeout.ms", PATIENCE.as_millis().to_string())
            .create_with_context(self.ear.clone())?;
        *sending = Some(producer.clone());
        Ok(producer)
    }

    fn admin(&self) -> Result<&AdminClient<Ear>, KafkaError> {
        if let Some(admin) = self.admin.get() {
            return Ok(admin);
        }
        let made: AdminClient<Ear> = self.config().create_with_context(self.ear.clone())?;
        Ok(self.admin.get_or_init(|| made))
    }

    /// Makes a topic, if it is not there.
    async fn make(&self, topic: &str, keeps: Keeps) -> Result<(), String> {
        if locked(&self.made).contains(topic) {
            return Ok(());
        }
        let [partitions, replicas] = [self.address.partitions, self.address.replicas];
        let in_sync = replicas.saturating_sub(1).max(1).to_string();
        let bytes = MESSAGE_BYTES_MAX.to_string();
        let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
        if keeps == Keeps::Everything {
            wanted = wanted
                .set("cleanup.policy", "delete")
                .set("retention.ms", "-1")
                .set("retention.bytes", "-1")
                .set("max.message.bytes", &bytes)
                .set("min.insync.replicas", &in_sync);
        }
        let made = async { self.admin()?.create_topics([&wanted], &patient()).await };
        let made = made.await.map_err(|error| self.explain(&error))?;
        for answer in made {
            use RDKafkaErrorCode::{
                ClusterAuthorizationFailed, TopicAlreadyExists, TopicAuthorizationFailed,
            };
            match answer {
                // Who may not make topics finds those that others have made.
                Ok(_)
                | Err((
                    _,
                    TopicAlreadyExists | TopicAuthorizationFailed | ClusterAuthorizationFailed,
                )) => {}
                Err((_, code)) => return Err(format!("topic {topic} cannot be made: {code}")),
            }
        }
        locked(&self.made).insert(topic.to_owned());
        Ok(())
    }

    /// Sends one message, and waits until the cluster has it.
    async fn send_to(&self, topic: &str, key: &str, text: &str) -> Result<(), SendError> {
        let bytes = text.len();
        let too_large = |most| SendError::TooLarge { bytes, most };
        let most = MESSAGE_BYTES_MAX - MESSAGE_BYTES_BESIDES;
        if bytes > most {
            return Err(too_large(most));
        }
        let producer = self.producer().map_err(SendError::unavailable)?;
        let record = FutureRecord::to(topic).key(key).payload(text);
        let Err((error, _)) = producer.send(record, PATIENCE).await else {
            return Ok(());
        };
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                return Err(too_large(bytes.saturating_sub(1)));
            }
            // It was deleted, and is made again.
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                self.unmake(topic);
            }
            Some(_) | None => {}
        }
        Err(SendError::Unavailable(self.explain(&error)))
    }

    /// From now on it is not known whether there is a topic.
    fn unmake(&self, topic: &str) {
        locked(&self.made).remove(topic);
    }

    /// Deletes what is before these places.
    async fn delete_before(&self, places: &TopicPartitionList) -> Result<(), KafkaError> {
        let answer = self.admin()?.delete_records(places, &patient()).await?;
        let elements = answer.elements();
        elements.iter().try_for_each(|element| element.error())
    }

    async fn deliver(&self, shipment: &Shipment) -> Result<u64, SendError> {
        let topic = topic(&(shipment.tenant.clone(), shipment.component.clone()));
        let made = self.make(&topic, Keeps::Everything).await;
        made.map_err(SendError::Unavailable)?;
        let stream = shipment.receive.stream.to_string();
        self.send_to(&topic, &stream, &shipment.to_json()).await?;
        Ok(shipment.last())
    }

    /// Keeps for people what is no shipment.
    async fn put_aside(&self, topic: &str, text: &str) -> Result<(), SendError> {
        let made = self.make(DEAD, Keeps::Some).await;
        made.map_err(SendError::Unavailable)?;
        self.send_to(DEAD, topic, text).await
    }

    async fn announce(&self, event: &Published) -> Result<(), SendError> {
        let topic = format!("xcomponent.events.{}", event.kind);
        let made = self.make(&topic, Keeps::Some).await;
        made.map_err(SendError::Unavailable)?;
        let instance = event.instance.to_string();
        self.send_to(&topic, &instance, &event.text).await
    }

    /// An error, and what the client said of its connections lately.
    fn explain(&self, error: &KafkaError) -> String {
        match self.ear.lately() {
            Some(problem) => format!("{error}: {problem}"),
            None => error.to_string(),
        }
    }
}

impl Transport for Kafka {
    fn name(&self) -> &str {
        &self.name
    }

    /// With replicas, others have it.
    fn settles_after(&self) -> Duration {
        match self.address.replicas {
            1 => SETTLES_AFTER,
            _ => Duration::ZERO,
        }
    }

    fn absences(&self) -> u64 {
        self.ear.0.absences.load(Relaxed)
    }

    fn send<'a>(&'a self, shipment: &'a Shipment) -> BoxFuture<'a, Result<u64, SendError>> {
        self.deliver(shipment).boxed()
    }
}

impl Keeper for Kafka {
    fn consume(self: Arc<Self>, place: Place, door: Door) -> BoxFuture<'static, String> {
        async move {
            let read = Reader::run(&self, topic(&place), &door).await;
            read.err().unwrap_or_else(|| "it ended".to_owned())
        }
        .boxed()
    }

    /// On the topics `xcomponent.events.<kind>`; the key is the instance.
    fn tell<'a>(&'a self, events: &'a [Published]) -> BoxFuture<'a, Result<(), SendError>> {
        async move {
            let told = join_all(events.iter().map(|event| self.announce(event))).await;
            told.into_iter().collect()
        }
        .boxed()
    }
}

/// Hears what a client says beside its answers.
#[derive(Clone, Default)]
struct Ear(Arc<Heard>);

#[derive(Default)]
struct Heard {
    /// What it complained about last.
    problem: Mutex<Option<String>>,
    /// How often all of the cluster was away.
    absences: AtomicU64,
}

impl Ear {
    fn lately(&self) -> Option<String> {
        locked(&self.0.problem).take()
    }
}

impl ClientContext for Ear {
    /// What goes wrong is said by who waits for it; the client's own words are for who looks closer.
    fn log(&self, _: RDKafkaLogLevel, topic: &str, text: &str) {
        tracing::debug!(topic, "{text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{error}: {reason}");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.0.absences.fetch_add(1, Relaxed);
        }
        *locked(&self.0.problem) = Some(reason.to_owned());
    }
}

impl ConsumerContext for Ear {}

/// The topic of a component, which is also the name of the group that reads it. A name that Kafka
/// does not take is replaced by its digest.
fn topic((tenant, component): &Place) -> String {
    let topic = format!("xcomponent.{tenant}.{component}");
    let names = [tenant.as_str(), component.as_str()];
    let is_taken = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if topic.len() <= TOPIC_BYTES_MAX && names.iter().all(|name| name.bytes().all(is_taken)) {
        return topic;
    }
    let digest = Sha256::digest(names.join("\0"));
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    format!("xcomponent-{}", digits.collect::<String>())
}

/// How long a question to the cluster may take.
fn patient() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use xcomponent_core::id::{ComponentName, TenantId};

    use super::{TOPIC_BYTES_MAX, topic};

    fn of(component: &str) -> String {
        topic(&(TenantId::default_tenant(), ComponentName::new(component)))
    }

    #[test]
    fn topics_have_the_names_of_their_components() {
        assert_eq!(of("Order_2-a"), "xcomponent.default.Order_2-a");
    }

    #[test]
    fn what_kafka_does_not_take_has_a_name_of_its_own() {
        let names = ["a.b", "a b", "é", &"x".repeat(TOPIC_BYTES_MAX)].map(of);
        for (n, name) in names.iter().enumerate() {
            assert!(name.len() <= TOPIC_BYTES_MAX);
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            );
            assert!(!names[..n].contains(name));
        }
    }
}
