//! Reads the topic of one component, and hands over what is in it.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, pending},
};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{
    Ear, Kafka, Keeps, SETTLES_AFTER,
    past::Past,
    progress::{At, Progress},
};
use crate::bus::{Inlet, Shipment, broker::Door, intake::Intake};

/// After so long without a word, a member of a group is no longer one: what it had goes to another
/// host with the component. It is the least that servers take.
const SESSION_MS: &str = "6000";

/// How often it says that it is still there.
const HEARTBEAT_MS: &str = "2000";

/// How often a group is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Bytes that are read ahead.
const AHEAD_KIB_MAX: &str = "16384";

/// How often is looked whether anything was read, and for how long it may be that nothing was.
const LOOK: Duration = Duration::from_secs(3);

/// How often what is taken in is deleted from the topic.
const DELETE_EVERY: Duration = Duration::from_secs(60);

/// How long a host that ends waits until it has left a group.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Reads one topic.
pub(super) struct Reader<'k> {
    kafka: &'k Kafka,
    topic: String,
    member: Member,
    inlet: Arc<dyn Inlet>,
    intake: Intake<At>,
    progress: Progress,
    past: Past,
    /// What the group is to be told.
    untold: BTreeMap<i32, i64>,
    /// Whether it was looked for messages since the last look.
    has_asked: bool,
    is_paused: bool,
    /// Whether the cluster was away: nothing came since.
    is_away: bool,
}

impl<'k> Reader<'k> {
    /// Reads until it cannot, and says why.
    pub(super) async fn run(kafka: &'k Kafka, topic: String, door: &Door) -> Result<(), String> {
        kafka.make(&topic, Keeps::Everything).await?;
        let mut reader = Self {
            member: Member::join(kafka, &topic, &door.runtime.id)
                .map_err(|error| error.to_string())?,
            kafka,
            topic,
            inlet: Arc::clone(&door.inlet),
            intake: Intake::new(Arc::clone(&door.inlet)),
            progress: Progress::default(),
            past: Past::new(SETTLES_AFTER),
            untold: BTreeMap::new(),
            has_asked: false,
            is_paused: false,
            is_away: false,
        };
        reader.read().await
    }

    async fn read(&mut self) -> Result<(), String> {
        let consumer = Arc::clone(self.member.consumer());
        let now = Instant::now();
        let mut look = interval_at(now + LOOK, LOOK);
        let mut tell = interval_at(now + TELL_EVERY, TELL_EVERY);
        let mut delete = interval_at(now + DELETE_EVERY, DELETE_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        delete.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut deleting = pending().boxed();
        loop {
            let has_room = self.intake.has_room();
            if has_room && self.is_paused {
                self.resume().map_err(|error| error.to_string())?;
            }
            let asks = has_room || self.is_paused;
            self.has_asked |= asks;
            tokio::select! {
                taken_in = self.intake.next() => {
                    for at in taken_in.map_err(|gone| gone.to_string())? {
                        self.taken_in(at);
                    }
                }
                message = consumer.recv(), if asks => match message {
                    Ok(message) => self.take(&message).await?,
                    Err(error) => self.overlook(&error)?,
                },
                _ = look.tick() => {
                    if !std::mem::take(&mut self.has_asked) {
                        self.pause().map_err(|error| error.to_string())?;
                    }
                }
                _ = tell.tick() => self.tell(),
                _ = delete.tick() => deleting = self.delete(),
                () = &mut deleting => deleting = pending().boxed(),
            }
        }
    }

    /// Hands a message over; what is no shipment is put aside.
    async fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<(), String> {
        let at = At {
            partition: message.partition(),
            offset: message.offset(),
        };
        if self.is_away {
            return self.rewind().map_err(|error| error.to_string());
        }
        self.progress.began(at);
        let text = std::str::from_utf8(message.payload().unwrap_or_default());
        let shipment = match text {
            Ok(text) => Shipment::of_json(text).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match shipment {
            Ok(shipment) => self.intake.push(shipment, at),
            Err(error) => {
                tracing::error!(topic = self.topic, "a message is put aside: {error}");
                let text = String::from_utf8_lossy(message.payload().unwrap_or_default());
                let kept = self.kafka.put_aside(&self.topic, &text).await;
                kept.map_err(|error| error.to_string())?;
                self.taken_in(at);
            }
        }
        Ok(())
    }

    /// Notes for the group what it is told next.
    fn taken_in(&mut self, at: At) {
        if let Some(At { partition, offset }) = self.progress.done(at) {
            self.untold.insert(partition, offset);
        }
    }

    /// Notes how far it is, and tells the group: it may be less far than it was, see [`Self::rewind`].
    fn tell(&mut self) {
        self.past
            .mark(Instant::now().into_std(), self.progress.through());
        let mut told = TopicPartitionList::new();
        for (partition, offset) in std::mem::take(&mut self.untold) {
            let next = Offset::Offset(offset + 1);
            if let Err(error) = told.add_partition_offset(&self.topic, partition, next) {
                tracing::debug!(topic = self.topic, partition, "{error}");
            }
        }
        if told.count() > 0
            && let Err(error) = self.member.consumer().commit(&told, CommitMode::Async)
        {
            // Another member reads it now.
            tracing::debug!(topic = self.topic, "{error}");
        }
    }

    /// Goes back to where it was before [`SETTLES_AFTER`]. A cluster that was away and has forgotten the
    /// last of what it had gives the same offsets to other messages: what is there now is read again, and
    /// known again as far as it is the same.
    fn rewind(&mut self) -> Result<(), KafkaError> {
        let consumer = self.member.consumer();
        for element in consumer.assignment()?.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let through = self.past.place(partition, Instant::now().into_std());
            let from = through.map_or(Offset::Beginning, |through| Offset::Offset(through + 1));
            consumer.seek(topic, partition, from, Duration::ZERO)?;
        }
        self.intake = Intake::new(Arc::clone(&self.inlet));
        self.progress = Progress::default();
        self.past = Past::new(SETTLES_AFTER);
        self.untold.clear();
        self.is_away = false;
        Ok(())
    }

    /// Goes on after what passes by itself.
    fn overlook(&mut self, error: &KafkaError) -> Result<(), String> {
        use RDKafkaErrorCode::{
            AllBrokersDown, Authentication, GroupAuthorizationFailed, TopicAuthorizationFailed,
            UnknownTopic, UnknownTopicOrPartition,
        };
        let code = match error {
            KafkaError::MessageConsumption(code) => *code,
            KafkaError::MessageConsumptionFatal(_) => return Err(self.kafka.explain(error)),
            _ => return Ok(()),
        };
        match code {
            Authentication | GroupAuthorizationFailed | TopicAuthorizationFailed => {
                Err(self.kafka.explain(error))
            }
            UnknownTopic | UnknownTopicOrPartition => {
                self.kafka.unmake(&self.topic);
                Err(self.kafka.explain(error))
            }
            AllBrokersDown if !self.is_away => {
                self.is_away = true;
                let why = self.kafka.explain(error);
                tracing::warn!(topic = self.topic, "nothing is received: {why}");
                Ok(())
            }
            _ => {
                tracing::debug!(topic = self.topic, "{error}");
                Ok(())
            }
        }
    }

    /// Lets nothing come while there is no room, so that it can be asked what else there is: who asks
    /// nothing is soon no member any more.
    fn pause(&mut self) -> Result<(), KafkaError> {
        let consumer = self.member.consumer();
        consumer.pause(&consumer.assignment()?)?;
        self.is_paused = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), KafkaError> {
        let consumer = self.member.consumer();
        consumer.resume(&consumer.assignment()?)?;
        self.is_paused = false;
        Ok(())
    }

    /// Deletes what is taken in, for as long as this is polled.
    fn delete(&mut self) -> BoxFuture<'k, ()> {
        let (kafka, topic) = (self.kafka, self.topic.clone());
        let mut before = TopicPartitionList::new();
        for At { partition, offset } in self.progress.take_done() {
            let offset = Offset::Offset(offset + 1);
            if let Err(error) = before.add_partition_offset(&topic, partition, offset) {
                tracing::debug!(topic, partition, "{error}");
            }
        }
        async move {
            if before.count() > 0
                && let Err(error) = kafka.delete_before(&before).await
            {
                tracing::debug!(topic, "what is taken in is not deleted: {error}");
            }
        }
        .boxed()
    }
}

/// A member of a group; none once it leaves.
struct Member(Option<Arc<StreamConsumer<Ear>>>);

impl Member {
    /// Joins the group of a topic, or goes on as the member of that name.
    fn join(kafka: &Kafka, topic: &str, name: &str) -> Result<Self, KafkaError> {
        let mut config = kafka.config();
        let consumer: StreamConsumer<Ear> = config
            .set("group.id", topic)
            .set("group.instance.id", name)
            .set("session.timeout.ms", SESSION_MS)
            .set("heartbeat.interval.ms", HEARTBEAT_MS)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", AHEAD_KIB_MAX)
            .create_with_context(kafka.ear.clone())?;
        consumer.subscribe(&[topic])?;
        Ok(Self(Some(Arc::new(consumer))))
    }

    fn consumer(&self) -> &Arc<StreamConsumer<Ear>> {
        let consumer = self.0.as_ref();
        consumer.expect("nobody asks who has left")
    }
}

impl Drop for Member {
    /// To leave takes a while, and never ends while the cluster is away: who ends waits for
    /// [`LEAVE_MAX`].
    fn drop(&mut self) {
        let consumer = self.0.take();
        let (left, has_left) = mpsc::sync_channel::<()>(1);
        let leave = move || {
            drop(consumer);
            drop(left);
        };
        if let Err(error) = thread::Builder::new().name("leave".to_owned()).spawn(leave) {
            tracing::debug!("a group is not left: {error}");
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // An end of the wait by either side is all that is waited for.
            runtime.spawn_blocking(move || has_left.recv_timeout(LEAVE_MAX).ok());
        }
    }
}
