//! Callers' keys: whether a request is carried out, waits for the same one, or was answered before.
//!
//! Of ids that the store alone may know it is asked what became of them: those of the host before
//! this one, of this one before a truncation, and those that no memory is left for. Until it answers,
//! everything for the instance waits.

use std::sync::Arc;

use crate::{
    effect::{Effect, HandledReply, Refused, Reply},
    engine::{
        Engine, fingerprint,
        repeats::{Answer, Key, Seen},
        settle::is_remembered,
    },
    id::{EventId, InstanceId, TenantId},
    input::Ticket,
    instance::{Letter, Origin},
    record::{AppendSeq, Body, Handled},
};

/// What becomes of a request with a caller's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It is carried out.
    First,
    /// It was answered before, and the store has the answer.
    Stored,
    /// It is answered, or waits for an answer.
    No,
}

impl Engine {
    /// Enters a caller's key; if it was used before, the caller is answered or waits.
    pub(crate) fn admit(&mut self, ticket: Ticket, key: &Key, fingerprint: u64) -> Admitted {
        let times = (self.now, self.outbox.durable());
        match self
            .repeats
            .enter(key, fingerprint, ticket, times, &self.limits)
        {
            Seen::First => return Admitted::First,
            Seen::Running => {}
            Seen::Answered(answer) => match self.remembered(answer) {
                Some(reply) => self.reply(ticket, reply),
                None => {
                    self.repeats.reopen(key);
                    return Admitted::Stored;
                }
            },
            Seen::Reused => self.reply(ticket, Reply::Refused(Refused::KeyReused)),
            Seen::Full => {
                let why = "no more ids can be remembered; send without an id or try again later";
                self.reply(ticket, Reply::Refused(Refused::Busy(why.into())));
            }
        }
        Admitted::No
    }

    /// An answer once more; none if only the store has it.
    fn remembered(&self, answer: Answer) -> Option<Reply> {
        match answer {
            Answer::Record(seq) => match self.outbox.body(seq)? {
                Body::Handled(handled) => Some(Reply::Handled(HandledReply {
                    handled: Arc::clone(handled),
                    replayed: true,
                })),
                Body::Selected(_)
                | Body::Departed(_)
                | Body::Moved(_)
                | Body::Parked(_)
                | Body::Discarded(_)
                | Body::Received(_) => None,
            },
            Answer::Tally(tally, _) => Some(Reply::Tally {
                tally,
                replayed: true,
            }),
            Answer::Resent(_) => Some(Reply::Discarded),
        }
    }

    /// Whether the store may know of events of an instance that this engine does not remember.
    pub(crate) fn may_have_handled(&self, tenant: &TenantId, instance: &InstanceId) -> bool {
        if !self.resumed && !self.repeats.may_have_forgotten(None) {
            return false;
        }
        let known = self.born(tenant, instance);
        let known = known.map(|slot| self.instances.expect(slot));
        let created = known.map(|known| known.snapshot.created);
        self.resumed && known.is_none_or(|known| known.inherited)
            || self.repeats.may_have_forgotten(created)
    }

    /// Asks what became of an event before it is looked at. If `is_stored`, it was answered.
    pub(crate) fn recall(
        &mut self,
        tenant: &TenantId,
        instance: InstanceId,
        letter: Letter,
        is_stored: bool,
    ) {
        let place = (tenant.clone(), instance);
        if self.absent_is_full(&place, &letter) {
            if is_stored && let Some(key) = letter.repeat_key(tenant, &place.1) {
                let stored = Answer::Record(AppendSeq(0));
                let others = self.repeats.answered(&key, stored);
                let first = letter.errand.origin.ticket();
                for ticket in first.into_iter().chain(others) {
                    let why = "too many events wait at this instance".into();
                    self.reply(ticket, Reply::Refused(Refused::Busy(why)));
                }
                return;
            }
            return self.refuse_absent(tenant, place.1, letter);
        }
        let event = letter.mail.event.id.clone();
        let waiting = self.absent.entry(place.clone()).or_default();
        waiting.push_back(letter, &self.absent_account);
        let (tenant, instance) = place;
        let key = (tenant.clone(), Some(instance.clone()), event.clone());
        self.recalling.insert(key, is_stored);
        self.ask_what_became_of(tenant, instance, event);
    }

    /// Asks the store what became of an event at an instance.
    pub(crate) fn ask_what_became_of(
        &mut self,
        tenant: TenantId,
        instance: InstanceId,
        event: EventId,
    ) {
        self.effects.push_back(Effect::Recall {
            tenant,
            instance,
            event,
        });
    }

    /// Whether the store has not answered yet what became of an event.
    pub(crate) fn is_recalled(&self, place: &(TenantId, InstanceId), letter: &Letter) -> bool {
        let is_pending = || {
            let key = letter.repeat_key(&place.0, &place.1);
            key.is_some_and(|key| self.recalling.contains_key(&key))
        };
        !self.recalling.is_empty() && is_pending()
    }

    /// The store has answered what became of an event; none = it never saw it.
    pub(crate) fn recalled(
        &mut self,
        tenant: TenantId,
        instance: InstanceId,
        event: EventId,
        found: Option<Arc<Handled>>,
    ) {
        let place = (tenant, instance);
        let key = (place.0.clone(), Some(place.1.clone()), event);
        self.fetched(&key, found.as_deref());
        let Some(is_stored) = self.recalling.remove(&key) else {
            return;
        };
        let is_lost = is_stored && found.is_none();
        let is_recent = |handled: &Arc<Handled>| {
            self.now.since(handled.event.at) <= self.limits.dedup_retention
                && is_remembered(&key.2, handled)
        };
        let found = found.filter(is_recent);
        if let Some(handled) = found {
            if let Some(letter) = self.take_recalled(&place, &key) {
                self.answer_again(&key, letter, handled);
            }
        } else if is_lost && let Some(letter) = self.take_recalled(&place, &key) {
            self.answer_is_lost(&key, &letter);
        }
        self.hand_over(&place);
    }

    /// Takes the event out of those that wait for the instance.
    fn take_recalled(&mut self, place: &(TenantId, InstanceId), key: &Key) -> Option<Letter> {
        let letters = self.absent.get_mut(place)?;
        let at = letters.iter().position(|letter| {
            letter.mail.event.id == key.2 && matches!(letter.errand.origin, Origin::Caller { .. })
        })?;
        letters.remove(at)
    }

    /// The event was applied, and the store has no record of it any more: it is not applied again.
    fn answer_is_lost(&mut self, key: &Key, letter: &Letter) {
        let waiting = self.repeats.answered(key, Answer::Record(AppendSeq(0)));
        let first = letter.errand.origin.ticket();
        for ticket in first.into_iter().chain(waiting) {
            self.reply(ticket, Reply::Refused(Refused::AnswerLost));
        }
    }

    /// Gives the answer that was given before, unless the id was used for something else.
    fn answer_again(&mut self, key: &Key, letter: Letter, handled: Arc<Handled>) {
        let Origin::Caller { ticket, .. } = letter.errand.origin else {
            return;
        };
        let asked = &letter.mail.event;
        let before = &handled.event;
        let same = fingerprint::of_event(&asked.name, &asked.payload)
            == fingerprint::of_event(&before.name, &before.payload);
        if !same {
            return self.refuse_all(ticket, Some(key.clone()), Refused::KeyReused);
        }
        self.answer_repeats(key, &handled, AppendSeq(0));
        let replayed = true;
        self.reply(ticket, Reply::Handled(HandledReply { handled, replayed }));
    }

    /// Hands over what waited for an answer, up to the next that waits for one.
    fn hand_over(&mut self, place: &(TenantId, InstanceId)) {
        if self.returning.contains(place) {
            return;
        }
        let Some(mut letters) = self.absent.remove(place) else {
            return;
        };
        while let Some(letter) = letters.pop_front() {
            let slot = self.instances.find(&place.0, &place.1);
            match slot.filter(|_| !self.is_recalled(place, &letter)) {
                Some(slot) => self.arrive(slot, letter),
                None => {
                    let waits_for_an_answer = self.is_recalled(place, &letter);
                    letters.push_front(letter, &self.absent_account);
                    self.absent.insert(place.clone(), letters);
                    if !waits_for_an_answer {
                        self.ask_for([place.clone()]);
                    }
                    return;
                }
            }
        }
    }
}
