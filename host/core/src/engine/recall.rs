//! Callers' ids that the host before this one may have seen, or this one before a truncation: the
//! store is asked what became of them. Until it answers, everything for the instance waits.

use std::sync::Arc;

use crate::{
    effect::{Effect, HandledReply, Refused, Reply},
    engine::{Engine, repeats::fingerprint, settle::is_remembered},
    id::{EventId, InstanceId, TenantId},
    instance::{Letter, Origin},
    record::Handled,
};

impl Engine {
    /// Whether the store may know of events of an instance that this engine does not remember.
    pub(crate) fn may_have_handled(&self, tenant: &TenantId, instance: &InstanceId) -> bool {
        let inherited = |slot| self.instances.expect(slot).inherited;
        self.resumed && self.born(tenant, instance).is_none_or(inherited)
    }

    /// Asks what became of an event before it is looked at.
    pub(crate) fn recall(&mut self, tenant: &TenantId, instance: InstanceId, letter: Letter) {
        let place = (tenant.clone(), instance);
        if self.absent_is_full(&place, &letter) {
            return self.refuse_absent(tenant, place.1, letter);
        }
        let event = letter.mail.event.id.clone();
        let waiting = self.absent.entry(place.clone()).or_default();
        waiting.push_back(letter, &self.absent_account);
        let (tenant, instance) = place;
        self.recalling
            .insert((tenant.clone(), Some(instance.clone()), event.clone()));
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
            key.is_some_and(|key| self.recalling.contains(&key))
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
        if !self.recalling.remove(&key) {
            return;
        }
        let is_recent = |handled: &Arc<Handled>| {
            self.now.since(handled.event.at) <= self.limits.dedup_retention
                && is_remembered(&key.2, handled)
        };
        let found = found.filter(is_recent);
        if let Some(handled) = found
            && let Some(letters) = self.absent.get_mut(&place)
            && let Some(at) = letters.iter().position(|letter| {
                letter.mail.event.id == key.2
                    && matches!(letter.errand.origin, Origin::Caller { .. })
            })
            && let Some(letter) = letters.remove(at)
        {
            self.answer_again(&key, letter, handled);
        }
        self.hand_over(&place);
    }

    /// Gives the answer that was given before, unless the id was used for something else.
    fn answer_again(&mut self, key: &super::repeats::Key, letter: Letter, handled: Arc<Handled>) {
        let Origin::Caller { ticket, .. } = letter.errand.origin else {
            return;
        };
        let asked = &letter.mail.event;
        let same = fingerprint(&asked.name, &asked.payload)
            == fingerprint(&handled.event.name, &handled.event.payload);
        if !same {
            return self.refuse_all(ticket, Some(key.clone()), Refused::KeyReused);
        }
        self.answer_repeats(key, &handled);
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
