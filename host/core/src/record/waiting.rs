//! What waits at an instance together with what it carries: deferred events, delayed sends, the
//! event of a retry. Each is a row of its own in a store.
//!
//! Whatever waits is shared and never changed, so that a copy of an instance copies no payload. A
//! record repeats none of it: it says what began to wait and what stopped waiting.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::{Body, Mail, Outgoing, Record, Snapshot};
use crate::{
    id::EventId, json::Json, limits::WAITING_OVERHEAD_BYTES, text::stable_text, time::Timestamp,
};

/// Why something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WaitingKind {
    /// An event that no state so far handled.
    Deferred,
    /// An event that faulted.
    Retry,
    /// A delayed send.
    Send,
}

stable_text!(WaitingKind {
    Deferred = "deferred",
    Retry = "retry",
    Send = "send",
});

/// Something that waits at an instance. Its kind and the id of its event name it there.
#[derive(Clone, Debug)]
pub enum Waiting {
    /// An event kept for a later state.
    Deferred(Arc<Mail>),
    /// An event that faulted and waits for its next attempt.
    Retry(Arc<Retry>),
    /// A delayed send.
    Send(Delayed),
}

/// An event that waits for its next attempt; the instance is blocked until then.
#[derive(Clone, Debug)]
pub struct Retry {
    /// The event.
    pub mail: Mail,
    /// When it is tried again.
    pub at: Timestamp,
    /// Attempts made.
    pub attempts: u32,
    /// The dead letter that it is the replay of.
    pub replays: Option<EventId>,
}

/// A send that leaves later, under the id of its event.
#[derive(Clone, Debug)]
pub struct Delayed {
    /// When.
    pub due: Timestamp,
    /// What.
    pub outgoing: Arc<Outgoing>,
    /// Whether it is due and its event waits in the mailbox. False when read from a store.
    pub fired: bool,
}

impl Waiting {
    /// Why it waits.
    pub fn kind(&self) -> WaitingKind {
        match self {
            Self::Deferred(_) => WaitingKind::Deferred,
            Self::Retry(_) => WaitingKind::Retry,
            Self::Send(_) => WaitingKind::Send,
        }
    }

    /// The event.
    pub fn event(&self) -> &crate::call::Event {
        match self {
            Self::Deferred(mail) => &mail.event,
            Self::Retry(retry) => &retry.mail.event,
            Self::Send(delayed) => &delayed.outgoing.event,
        }
    }

    /// Until when it waits, if that is known.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Deferred(_) => None,
            Self::Retry(retry) => Some(retry.at),
            Self::Send(delayed) => Some(delayed.due),
        }
    }

    /// What it counts for where bytes are limited.
    pub fn weight(&self) -> usize {
        weight(&self.event().payload)
    }

    /// The same with another payload.
    #[must_use]
    pub fn carrying(self, payload: Json) -> Self {
        match self {
            Self::Deferred(mut mail) => {
                Arc::make_mut(&mut mail).event.payload = payload;
                Self::Deferred(mail)
            }
            Self::Retry(mut retry) => {
                Arc::make_mut(&mut retry).mail.event.payload = payload;
                Self::Retry(retry)
            }
            Self::Send(mut delayed) => {
                Arc::make_mut(&mut delayed.outgoing).event.payload = payload;
                Self::Send(delayed)
            }
        }
    }
}

/// What something with this payload counts for while it waits.
pub(crate) fn weight(payload: &Json) -> usize {
    payload.len() + WAITING_OVERHEAD_BYTES
}

/// What few instances have.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Events kept for a later state, in order of arrival. When there will be none, they are parked
    /// one by one.
    pub deferred: Vec<Arc<Mail>>,
    /// Delayed sends, in the order in which they were made.
    pub sends: Vec<Delayed>,
    /// An event that faulted and waits for its next attempt.
    pub retry: Option<Arc<Retry>>,
    /// Bytes of all that waits, as [`Waiting::weight`] counts them. A record that was read from a
    /// log has this number only; what waited then is not in it.
    pub waiting: u64,
    /// Why it stays on an older version.
    pub held: Option<Arc<str>>,
}

impl Extra {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        !self.has_waiting() && self.waiting == 0 && self.held.is_none()
    }

    /// Whether anything is here that waits.
    fn has_waiting(&self) -> bool {
        !self.deferred.is_empty() || !self.sends.is_empty() || self.retry.is_some()
    }

    /// Everything that waits.
    pub fn items(&self) -> impl Iterator<Item = Waiting> {
        let deferred = self.deferred.iter().cloned().map(Waiting::Deferred);
        let sends = self.sends.iter().cloned().map(Waiting::Send);
        let retry = self.retry.iter().cloned().map(Waiting::Retry);
        deferred.chain(sends).chain(retry)
    }

    /// What all of it counts for.
    pub(crate) fn weigh(&self) -> usize {
        let deferred = self.deferred.iter().map(|mail| &mail.event.payload);
        let sends = self.sends.iter();
        let sends = sends.map(|delayed| &delayed.outgoing.event.payload);
        let retry = self.retry.iter().map(|retry| &retry.mail.event.payload);
        deferred.chain(sends).chain(retry).map(weight).sum()
    }

    /// Something begins to wait. What waits already under the same name is replaced.
    fn put(&mut self, item: Waiting) {
        self.remove(item.kind(), &item.event().id);
        match item {
            Waiting::Deferred(mail) => self.deferred.push(mail),
            Waiting::Retry(retry) => self.retry = Some(retry),
            Waiting::Send(delayed) => self.sends.push(delayed),
        }
    }

    fn remove(&mut self, kind: WaitingKind, id: &EventId) {
        match kind {
            WaitingKind::Deferred => self.deferred.retain(|mail| mail.event.id != *id),
            WaitingKind::Retry => {
                self.retry.take_if(|retry| retry.mail.event.id == *id);
            }
            WaitingKind::Send => self
                .sends
                .retain(|delayed| delayed.outgoing.event.id != *id),
        }
    }

    fn without_waiting(&self) -> Option<Arc<Self>> {
        let named = Self {
            waiting: self.waiting,
            held: self.held.clone(),
            ..Self::default()
        };
        (!named.is_empty()).then(|| Arc::new(named))
    }
}

/// What a record changes of what waits at its instance.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// What began to wait, in order; it replaces what waits under the same name.
    pub began: Vec<Began>,
    /// What stopped waiting.
    pub ended: Vec<(WaitingKind, EventId)>,
}

/// Something that began to wait.
#[derive(Clone, Debug)]
pub struct Began {
    /// Why.
    pub kind: WaitingKind,
    /// Its event.
    pub id: EventId,
    /// Until when, if that is known.
    pub due: Option<Timestamp>,
    /// The thing itself; none in a record that was read from a log.
    pub what: Option<Waiting>,
}

impl From<Waiting> for Began {
    fn from(waiting: Waiting) -> Self {
        Self {
            kind: waiting.kind(),
            id: waiting.event().id.clone(),
            due: waiting.due(),
            what: Some(waiting),
        }
    }
}

impl Waits {
    /// What is different; none if nothing is.
    pub(crate) fn between(before: Option<&Extra>, after: Option<&Extra>) -> Option<Box<Self>> {
        let nothing = Extra::default();
        let (before, after) = (before.unwrap_or(&nothing), after.unwrap_or(&nothing));
        let mut waits = Self::default();
        waits.compare(
            &before.deferred,
            &after.deferred,
            Arc::ptr_eq,
            Waiting::Deferred,
        );
        let same_send =
            |one: &Delayed, other: &Delayed| Arc::ptr_eq(&one.outgoing, &other.outgoing);
        waits.compare(&before.sends, &after.sends, same_send, Waiting::Send);
        waits.compare(
            before.retry.as_slice(),
            after.retry.as_slice(),
            Arc::ptr_eq,
            Waiting::Retry,
        );
        if !waits.began.is_empty() && !waits.ended.is_empty() {
            let Self { began, ended } = &mut waits;
            let again: HashSet<(WaitingKind, &EventId), FixedState> =
                began.iter().map(|began| (began.kind, &began.id)).collect();
            ended.retain(|(kind, id)| !again.contains(&(*kind, id)));
        }
        let changed = !waits.began.is_empty() || !waits.ended.is_empty();
        changed.then(|| Box::new(waits))
    }

    /// What stays keeps its order, and what is new comes after it.
    fn compare<T: Clone>(
        &mut self,
        before: &[T],
        after: &[T],
        same: impl Fn(&T, &T) -> bool,
        waiting: impl Fn(T) -> Waiting,
    ) {
        let mut after = after.iter().peekable();
        for old in before {
            if after.next_if(|new| same(old, new)).is_none() {
                let ended = waiting(old.clone());
                self.ended.push((ended.kind(), ended.event().id.clone()));
            }
        }
        let new = after.cloned().map(|new| Began::from(waiting(new)));
        self.began.extend(new);
    }

    /// The same as a log gives it back: what began is only named.
    fn named(&self) -> Self {
        let began = self.began.iter().map(|began| Began {
            what: None,
            ..began.clone()
        });
        Self {
            began: began.collect(),
            ended: self.ended.clone(),
        }
    }
}

impl Snapshot {
    /// Its delayed sends.
    pub fn sends(&self) -> &[Delayed] {
        self.extra.as_ref().map_or(&[][..], |extra| &extra.sends)
    }

    /// Everything that waits at it, as far as it is here.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting> {
        self.extra.iter().flat_map(|extra| extra.items())
    }

    /// Bytes of what waits at it, here or in a store.
    pub fn waiting_bytes(&self) -> u64 {
        self.extra.as_ref().map_or(0, |extra| extra.waiting)
    }

    /// When it has something to do, in no order.
    pub fn deadlines(&self) -> impl Iterator<Item = Timestamp> {
        let timers = self.timers.iter().map(|timer| timer.due);
        timers.chain(self.sends().iter().map(|delayed| delayed.due))
    }

    /// The same with what waits at it, in its order, which a store keeps apart.
    #[must_use]
    pub fn with_waiting(mut self, waiting: impl IntoIterator<Item = Waiting>) -> Self {
        let mut extra = Extra {
            held: self.extra.and_then(|extra| extra.held.clone()),
            ..Extra::default()
        };
        // A store has each name once.
        for item in waiting {
            match item {
                Waiting::Deferred(mail) => extra.deferred.push(mail),
                Waiting::Retry(retry) => extra.retry = Some(retry),
                Waiting::Send(delayed) => extra.sends.push(delayed),
            }
        }
        extra.waiting = extra.weigh() as u64;
        self.extra = (!extra.is_empty()).then(|| Arc::new(extra));
        self
    }

    /// The same as a store keeps it with a record: what waits at it is rows of their own.
    #[must_use]
    pub fn without_waiting(&self) -> Self {
        let mut named = self.clone();
        if let Some(extra) = self.extra.as_ref().filter(|extra| extra.has_waiting()) {
            named.extra = extra.without_waiting();
        }
        named
    }

    /// Carries out what a record changes.
    pub fn wait(&mut self, body: &Body) {
        let mut extra = self.extra.take().unwrap_or_default();
        let changed = Arc::make_mut(&mut extra);
        for (kind, id) in body.ended() {
            changed.remove(kind, id);
        }
        for began in body.began() {
            if let Some(what) = began.what.clone() {
                changed.put(what);
            }
        }
        changed.waiting = changed.weigh() as u64;
        self.extra = (!extra.is_empty()).then_some(extra);
    }

    fn has_waiting(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.has_waiting())
    }
}

impl Body {
    /// What began to wait at the instance.
    pub fn began(&self) -> &[Began] {
        match self {
            Self::Handled(handled) => {
                let waits = handled.waits.as_ref();
                waits.map_or(&[][..], |waits| &waits.began)
            }
            Self::Selected(_)
            | Self::Departed(_)
            | Self::Moved(_)
            | Self::Parked(_)
            | Self::Discarded(_)
            | Self::Received(_) => &[],
        }
    }

    /// What stopped waiting there.
    pub fn ended(&self) -> impl Iterator<Item = (WaitingKind, &EventId)> {
        let (many, one): (&[_], _) = match self {
            Self::Handled(handled) => {
                let waits = handled.waits.as_ref();
                (waits.map_or(&[][..], |waits| &waits.ended), None)
            }
            Self::Departed(departed) => {
                let event = &departed.outgoing.event;
                (&[], Some((WaitingKind::Send, &event.id)))
            }
            Self::Selected(_)
            | Self::Moved(_)
            | Self::Parked(_)
            | Self::Discarded(_)
            | Self::Received(_) => (&[], None),
        };
        many.iter().map(|(kind, id)| (*kind, id)).chain(one)
    }

    /// The same without what waits at the instance: as it may be kept for long.
    #[must_use]
    pub fn without_waiting(&self) -> Self {
        let has_waiting = self.snapshot().is_some_and(Snapshot::has_waiting);
        if !has_waiting && self.began().is_empty() {
            return self.clone();
        }
        match self {
            Self::Handled(handled) => {
                let mut named = super::Handled::clone(handled);
                named.after = handled.after.without_waiting();
                named.waits = handled.waits.as_ref().map(|waits| Box::new(waits.named()));
                Self::Handled(Arc::new(named))
            }
            Self::Departed(departed) => Self::Departed(Arc::new(super::Departed {
                after: departed.after.without_waiting(),
                outgoing: departed.outgoing.clone(),
            })),
            Self::Moved(after) => Self::Moved(Arc::new(after.without_waiting())),
            Self::Selected(_) | Self::Parked(_) | Self::Discarded(_) | Self::Received(_) => {
                self.clone()
            }
        }
    }
}

impl Record {
    /// The same without what waits at the instance: as it may be kept for long.
    #[must_use]
    pub fn without_waiting(&self) -> Self {
        Self {
            tenant: self.tenant.clone(),
            at: self.at,
            body: self.body.without_waiting(),
        }
    }
}
