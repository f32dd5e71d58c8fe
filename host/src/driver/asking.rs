//! What a shard asks the store: who an instance is, what became of an event, whom a broadcast
//! reached. A store that has everything in memory answers at once, any other off the shard.

use std::sync::Arc;

use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    input::{Input, Reached},
    record::Handled,
    time::Timestamp,
};

use super::{
    guests::Guests,
    inbox::Message,
    reached::reached,
    reading::{pieces, read_until_answered},
    shard::Shard,
};
use crate::store::{EventAt, Result, Store};

/// Events in one question: each answer may have a payload.
const EVENTS_AT_ONCE: usize = 8;

/// Questions of a shard to the store.
#[derive(Default)]
pub(super) struct Questions {
    /// About events, until the end of the turn.
    events: Vec<EventAt>,
    /// Pieces of answers that are to come.
    pending: usize,
}

impl Questions {
    /// Whether no answer is to come.
    pub(super) fn are_answered(&self) -> bool {
        self.pending == 0
    }

    /// A piece of an answer came.
    pub(super) fn answered(&mut self) {
        self.pending -= 1;
    }
}

impl<G: Guests> Shard<G> {
    /// Asks who instances are.
    pub(super) fn reload(&mut self, asked: Vec<(TenantId, InstanceId)>, now: Timestamp) {
        if self.shared.store.is_immediate()
            && let Ok(found) = self.shared.store.reload(&asked)
        {
            return self.engine.handle(Input::Reloaded { asked, found }, now);
        }
        // The engine asked for no more than it can take in together.
        let all = asked.len();
        self.ask(
            asked,
            all,
            |store, asked| store.reload(asked),
            |asked| Input::Unread {
                instances: asked.to_vec(),
                broadcasts: Vec::new(),
            },
            |asked, found| vec![Input::Reloaded { asked, found }],
        );
    }

    /// Asks what became of an event, together with the others of this turn.
    pub(super) fn recall_soon(&mut self, asked: EventAt, now: Timestamp) {
        if self.shared.store.is_immediate()
            && let Ok(found) = self.shared.store.recall(std::slice::from_ref(&asked))
        {
            for answer in recalled(vec![asked], found) {
                self.engine.handle(answer, now);
            }
            return;
        }
        self.questions.events.push(asked);
    }

    /// Asks about the events of this turn.
    pub(super) fn recall(&mut self) {
        let asked = std::mem::take(&mut self.questions.events);
        self.ask(
            asked,
            EVENTS_AT_ONCE,
            |store, asked| store.recall(asked),
            |asked| {
                let places = asked.iter();
                let instances = places.map(|(tenant, id, _)| (tenant.clone(), id.clone()));
                Input::Unread {
                    instances: instances.collect(),
                    broadcasts: Vec::new(),
                }
            },
            recalled,
        );
    }

    /// Asks whom a broadcast reached.
    pub(super) fn recall_broadcast(&mut self, asked: (TenantId, EventId)) {
        self.ask(
            vec![asked],
            1,
            reached,
            |asked| Input::Unread {
                instances: Vec::new(),
                broadcasts: asked.to_vec(),
            },
            broadcast_recalled,
        );
    }

    /// Asks a question about several things, so many at once; `unread` tells the engine that callers must not wait
    /// for the answers any longer, `answers` tells it these.
    fn ask<Q: Clone + Send + Sync + 'static, A: Send + 'static>(
        &mut self,
        asked: Vec<Q>,
        at_once: usize,
        question: fn(&dyn Store, &[Q]) -> Result<A>,
        unread: fn(&[Q]) -> Input,
        answers: fn(Vec<Q>, A) -> Vec<Input>,
    ) {
        if asked.is_empty() {
            return;
        }
        self.questions.pending += pieces(asked.len(), at_once);
        let (shared, number) = (Arc::clone(&self.shared), self.number);
        self.lane.spawn(async move {
            let inbox = &shared.posts[number].inbox;
            let refuse = |asked: &[Q]| {
                inbox.put(Message::Unread(unread(asked)));
            };
            let take = |asked: Vec<Q>, found: A| {
                inbox.put(Message::Read(answers(asked, found)));
            };
            read_until_answered(&shared, asked, at_once, question, refuse, take).await;
        });
    }
}

/// What the engine is told of events that it asked about.
fn recalled(asked: Vec<EventAt>, found: Vec<Option<Arc<Handled>>>) -> Vec<Input> {
    let answers = asked.into_iter().zip(found);
    let answers = answers.map(|((tenant, instance, event), handled)| Input::Recalled {
        tenant,
        instance,
        event,
        handled,
    });
    answers.collect()
}

/// What the engine is told of broadcasts that it asked about.
fn broadcast_recalled(asked: Vec<(TenantId, EventId)>, found: Vec<Reached>) -> Vec<Input> {
    let answers = asked.into_iter().zip(found);
    let answers = answers.map(|((tenant, event), reached)| Input::BroadcastRecalled {
        tenant,
        event,
        reached,
    });
    answers.collect()
}
