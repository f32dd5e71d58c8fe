//! Answers given before, so that a repeated event is applied once.
//!
//! A key is the caller's id at one instance. It is entered when its event is accepted; whoever
//! repeats it before there is an answer waits for the same one. Answers that the caller may try
//! again (404, 409, 413, 429, 503) are not remembered.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    effect::Reply,
    id::{EventId, EventName, InstanceId, TenantId, stable_hash},
    input::Ticket,
    json::Json,
    limits::Limits,
    time::Timestamp,
};

/// An id at an instance; of a broadcast, at no instance.
pub(crate) type Key = (TenantId, Option<InstanceId>, EventId);

/// Answers given before.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    entries: HashMap<Key, Entry, FixedState>,
    /// Keys in order of their first use, to forget the oldest.
    order: VecDeque<(Timestamp, Key)>,
}

#[derive(Debug)]
struct Entry {
    fingerprint: u64,
    since: Timestamp,
    state: State,
}

#[derive(Debug)]
enum State {
    Running(Vec<Ticket>),
    Answered(Box<Reply>),
}

/// What a key turned out to be.
#[derive(Debug)]
pub(crate) enum Seen {
    /// New: go on.
    First,
    /// The first one is still running; the ticket waits with it.
    Running,
    /// It was answered before.
    Answered(Box<Reply>),
    /// It was used for something else.
    Reused,
    /// No more keys can be remembered.
    Full,
}

impl Repeats {
    /// Enters a key, or says what became of it.
    pub(crate) fn enter(
        &mut self,
        key: &Key,
        fingerprint: u64,
        ticket: Ticket,
        now: Timestamp,
        limits: &Limits,
    ) -> Seen {
        self.forget_old(now, limits);
        let full = self.entries.len() >= limits.remembered_max;
        match self.entries.get_mut(key) {
            Some(entry) if entry.fingerprint != fingerprint => Seen::Reused,
            Some(Entry {
                state: State::Answered(reply),
                ..
            }) => Seen::Answered(reply.clone()),
            Some(Entry {
                state: State::Running(tickets),
                ..
            }) => {
                tickets.push(ticket);
                Seen::Running
            }
            None if full => Seen::Full,
            None => {
                self.insert(key, fingerprint, now);
                Seen::First
            }
        }
    }

    fn insert(&mut self, key: &Key, fingerprint: u64, now: Timestamp) {
        let entry = Entry {
            fingerprint,
            since: now,
            state: State::Running(Vec::new()),
        };
        self.entries.insert(key.clone(), entry);
        self.order.push_back((now, key.clone()));
    }

    /// The answer is there: it is remembered, and those who waited for it are named.
    pub(crate) fn answered(&mut self, key: &Key, reply: Reply) -> Vec<Ticket> {
        let Some(entry) = self.entries.get_mut(key) else {
            return Vec::new();
        };
        match std::mem::replace(&mut entry.state, State::Answered(Box::new(reply))) {
            State::Running(tickets) => tickets,
            State::Answered(_) => Vec::new(),
        }
    }

    /// The answer is void. Another will come if the event is looked at `again`; else what holds is the
    /// answer before it, which the store knows.
    pub(crate) fn take_back(&mut self, key: &Key, again: bool) {
        if again {
            self.reopen(key);
        } else if self.answer(key).is_some() {
            self.entries.remove(key);
        }
    }

    /// The answer is void; another will come.
    pub(crate) fn reopen(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key)
            && matches!(entry.state, State::Answered(_))
        {
            entry.state = State::Running(Vec::new());
        }
    }

    /// The answer is void; another will come and be remembered, also where this one was not. False
    /// if whoever asked has asked again already, and that is running.
    pub(crate) fn reenter(&mut self, key: &Key, fingerprint: u64, now: Timestamp) -> bool {
        let state = self.entries.get(key).map(|entry| &entry.state);
        match state {
            Some(State::Running(_)) => return false,
            Some(State::Answered(_)) => self.reopen(key),
            None => self.insert(key, fingerprint, now),
        }
        true
    }

    /// The answer that is remembered under a key.
    pub(crate) fn answer(&self, key: &Key) -> Option<&Reply> {
        match &self.entries.get(key)?.state {
            State::Answered(reply) => Some(reply),
            State::Running(_) => None,
        }
    }

    /// The answer is not to be remembered; those who waited for it are named.
    pub(crate) fn forget(&mut self, key: &Key) -> Vec<Ticket> {
        match self.entries.remove(key).map(|entry| entry.state) {
            Some(State::Running(tickets)) => tickets,
            Some(State::Answered(_)) | None => Vec::new(),
        }
    }

    /// Whether the key is known.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    fn forget_old(&mut self, now: Timestamp, limits: &Limits) {
        if self.order.len() > limits.remembered_max.saturating_mul(2) {
            let Self { entries, order } = self;
            order.retain(|(_, key)| entries.contains_key(key));
        }
        while let Some((since, key)) = self.order.front() {
            if now.since(*since) <= limits.dedup_retention {
                break;
            }
            let same = self.entries.get(key).filter(|entry| entry.since == *since);
            match same.map(|entry| &entry.state) {
                Some(State::Running(_)) => break,
                Some(State::Answered(_)) => {
                    self.entries.remove(key);
                }
                None => {}
            }
            self.order.pop_front();
        }
    }
}

/// What tells one use of a key from another.
pub(crate) fn fingerprint(event: &EventName, payload: &Json) -> u64 {
    stable_hash(event.as_str().as_bytes()) ^ stable_hash(payload.as_str().as_bytes()).rotate_left(1)
}
