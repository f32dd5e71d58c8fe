//! A record that the store refuses for what is in it. It will never be durable, so that doing the
//! same again would never end: its event is parked instead, then its event without a payload; and
//! if even that is refused, it is left alone until the host starts anew. What was sent and is not
//! recorded is still owed then.
//!
//! Nothing that is checked on its way in should come to this.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use crate::{
    effect::{Refused, Reply},
    engine::{
        Engine, fingerprint,
        instances::Slot,
        outbox::Source,
        repeats::{Answer, Key},
        run::version_key,
        settle::{Traces, may_be_remembered, repeat_key, settled_by},
    },
    id::{EventId, InstanceId, TenantId},
    instance::{After, Birth, Errand, Letter, Origin, Trigger},
    json::Json,
    record::{
        Body, DeadLetter, Disposition, Handled, Mail, Outgoing, Parked, Record, Selected, Target,
    },
};

/// Events that are left alone at the same time; then all are tried again.
const LEFT_ALONE_MAX: usize = 1_024;

/// Events that the store will not hear of in any form.
pub(crate) type LeftAlone = HashSet<(TenantId, InstanceId, EventId), FixedState>;

impl Engine {
    /// Takes back a record that the store refuses, and says which letter its instance gets instead.
    pub(crate) fn refused(&mut self, record: Record, source: Source) -> Option<Letter> {
        let Record { tenant, body, .. } = record;
        match (source, body) {
            (source, Body::Handled(handled)) => self.handled_refused(&tenant, &handled, source),
            (Source::Selection(origin, after), Body::Selected(selected)) => {
                self.park_selected(&tenant, &selected, origin, after);
                None
            }
            (Source::Parked(origin, after), Body::Parked(letter)) => {
                if letter.why != Parked::Unstorable || letter.event.payload != Json::empty() {
                    let letter = Arc::new(stripped(DeadLetter::clone(&letter)));
                    let source = Source::Parked(origin, after);
                    self.append(&tenant, Body::Parked(letter), source);
                }
                None
            }
            (_, Body::Departed(departed)) => {
                let id = departed.after.id.clone();
                self.leave_alone(tenant, id, departed.outgoing.event.id.clone());
                None
            }
            (Source::Received(before), Body::Received(received)) => {
                self.park_received(&tenant, &received, before);
                None
            }
            (source, _) => {
                self.take_answer_back(source);
                None
            }
        }
    }

    fn handled_refused(
        &mut self,
        tenant: &TenantId,
        handled: &Handled,
        source: Source,
    ) -> Option<Letter> {
        let mail = Mail {
            event: handled.event.clone(),
            cause: handled.cause.clone(),
            sent_at: handled.sent_at,
        };
        let from_outside = Letter::new(mail, Origin::Inside, After::Nothing);
        let mut letter = match &source {
            Source::Letter(errand) => Letter {
                errand: Errand::clone(errand),
                ..from_outside
            },
            Source::Replay(replayed) => from_outside.triggering(Trigger::Replay {
                of: replayed.of.2.clone(),
            }),
            Source::Nothing
            | Source::Remembered(_)
            | Source::Selection(..)
            | Source::Parked(..)
            | Source::Received(_) => from_outside,
        };
        self.tally_undone(letter.errand.origin, handled.disposition);
        let id = &handled.after.id;
        if let Trigger::Create(birth) = &letter.errand.trigger {
            self.park_creation(tenant, id, handled, birth, letter.errand.after);
            return None;
        }
        // Of a caller's creation nothing is left: there is no instance to park it for.
        handled.from?;
        // An operator is told that nothing was committed, and asks again if it is still wanted.
        if handled.is_termination() || handled.is_deletion() {
            return None;
        }
        let mut stripped = false;
        if let Trigger::Unstorable { stripped: all, .. } = letter.errand.trigger {
            if all {
                let key = repeat_key(&letter.errand, handled);
                self.refuse_all(None, key, Refused::NotCommitted);
                self.leave_alone(tenant.clone(), id.clone(), handled.event.id.clone());
                return None;
            }
            stripped = true;
        }
        let of = settled_by(&letter.errand.trigger).cloned();
        letter.errand.trigger = Trigger::Unstorable { of, stripped };
        letter.errand.attempts = handled.attempts;
        self.is_asked_once(handled, source).then_some(letter)
    }

    /// The answer that a record was is void, and the next will be remembered. False if whoever
    /// asked has asked again already: then it is that which is answered.
    fn is_asked_once(&mut self, handled: &Handled, source: Source) -> bool {
        let fingerprint = fingerprint::of_event(&handled.event.name, &handled.event.payload);
        match source {
            Source::Remembered(key) => self.repeats.reenter(&key, fingerprint, self.now),
            Source::Replay(replayed) => {
                let Replayed { key, of, before } = *replayed;
                if let Some(answer) = before {
                    self.repeats.answered(&of, answer);
                }
                self.repeats.reenter(&key, fingerprint, self.now)
            }
            Source::Letter(errand) => {
                let key = repeat_key(&errand, handled);
                if let Some(key) = key.filter(|_| may_be_remembered(&errand)) {
                    self.repeats.reopen(&key);
                }
                true
            }
            Source::Nothing | Source::Selection(..) | Source::Parked(..) | Source::Received(_) => {
                true
            }
        }
    }

    /// Parks an event at its instance, which stays as it is.
    pub(crate) fn park_unstorable(
        &mut self,
        slot: Slot,
        mut letter: Letter,
        without_payload: bool,
    ) {
        if without_payload {
            letter.mail.event.payload = Json::empty();
        } else {
            // A component that makes the store refuse records holds everybody up.
            let version = version_key(&self.instances.expect(slot).snapshot.deployment);
            self.breakers
                .count(version, slot, true, self.now, &self.limits);
        }
        let verdict = Disposition::DeadLettered.into();
        self.settle_or_park(
            slot,
            letter,
            verdict,
            Traces::default(),
            Some(Parked::Unstorable),
        );
    }

    /// Whether an event is left alone. Whoever sends it again is refused.
    pub(crate) fn is_left_alone(&mut self, slot: Slot, letter: &Letter) -> bool {
        if self.left_alone.is_empty() {
            return false;
        }
        let (tenant, id) = self.instances.name(slot);
        let key = (tenant.clone(), id.clone(), letter.mail.event.id.clone());
        let is_left_alone = self.left_alone.contains(&key);
        if let (true, Origin::Caller { ticket, .. }) = (is_left_alone, letter.errand.origin) {
            let (tenant, id, event) = key;
            let key = Some((tenant, Some(id), event));
            self.refuse_all(ticket, key, Refused::NotCommitted);
        }
        is_left_alone
    }

    fn leave_alone(&mut self, tenant: TenantId, instance: InstanceId, event: EventId) {
        if self.left_alone.len() >= LEFT_ALONE_MAX {
            self.left_alone.clear();
        }
        self.left_alone.insert((tenant, instance, event));
    }

    fn park_creation(
        &mut self,
        tenant: &TenantId,
        id: &InstanceId,
        handled: &Handled,
        birth: &Birth,
        after: After,
    ) {
        let to = Target::Create {
            component: birth.component.clone(),
            machine: birth.machine.clone(),
            id: id.clone(),
            parent: birth.parent.clone(),
        };
        let outgoing = Outgoing::underway(to, handled.event.clone(), handled.cause.clone());
        self.park_outgoing(tenant, outgoing, Parked::Unstorable, after);
    }

    /// Parks an event that was to go to a slice of a selection.
    fn park_selected(
        &mut self,
        tenant: &TenantId,
        selected: &Selected,
        origin: Origin,
        after: After,
    ) {
        let to = Target::Selection(Arc::clone(&selected.selector));
        let outgoing = Outgoing::underway(to, selected.event.clone(), selected.cause.clone());
        self.park_from(tenant, outgoing, Parked::Unstorable, origin, after);
        if let Origin::Tally(tally) = origin {
            for _ in &selected.instances {
                self.tally_settled(tally, Disposition::DeadLettered);
            }
        }
    }

    /// The answer that a record was is void: what was answered before it holds again.
    pub(crate) fn take_answer_back(&mut self, source: Source) {
        let (key, before) = match source {
            Source::Remembered(key) => (*key, None),
            Source::Replay(replayed) => {
                let Replayed { key, of, before } = *replayed;
                (key, before.map(|answer| (of, answer)))
            }
            Source::Nothing
            | Source::Letter(_)
            | Source::Selection(..)
            | Source::Parked(..)
            | Source::Received(_) => return,
        };
        for ticket in self.repeats.forget(&key) {
            self.reply(ticket, Reply::Refused(Refused::NotCommitted));
        }
        if let Some((of, answer)) = before {
            self.repeats.answered(&of, answer);
        }
    }
}

/// The replay of a dead letter: what it changes in the answers that are remembered.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// Its own key.
    pub(crate) key: Key,
    /// The letter's key.
    pub(crate) of: Key,
    /// What that answered before.
    pub(crate) before: Option<Answer>,
}

fn stripped(mut letter: DeadLetter) -> DeadLetter {
    letter.event.payload = Json::empty();
    letter.why = Parked::Unstorable;
    letter
}
