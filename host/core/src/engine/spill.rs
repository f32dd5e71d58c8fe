//! Payloads that stay in the log. What was accepted is never dropped, so an internal delivery
//! always gets its place in the mailbox; but over the budget its payload is not kept in memory. The
//! record that sent the delivery has it: when the delivery is next, it is read from there. The
//! places in the mailbox keep the order, and the delivery is owed until it is settled, so retention
//! leaves that record alone.

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use crate::{
    engine::{Engine, instances::Slot, repeats::Key},
    id::InstanceId,
    instance::{Letter, Payload},
    json::Json,
    record::{Handled, Target},
    time::Duration,
};

/// Payloads that are read for one instance at a time, and how many bytes they have at most.
const FETCHED_MAX: usize = 64;
const FETCHED_BYTES_MAX: usize = 1 << 20;

/// When a record is looked for again that is not durable yet.
const AGAIN_AFTER: Duration = Duration(20);

impl Engine {
    /// Leaves the payload of an event in the log, if it is there.
    pub(crate) fn spill(&mut self, slot: Slot, mut letter: Letter) -> Letter {
        let instance = self.instances.expect(slot);
        let bytes = letter.mail.event.payload.len();
        let is_large = self.limits.spills_from.is_some_and(|min| bytes >= min);
        let is_there = letter.errand.payload == Payload::Logged;
        // An instance whose creation may be void can vanish, and then its events are parked.
        let is_born = instance.snapshot.seq > 0 && instance.appended <= self.outbox.durable();
        if is_large && is_there && is_born {
            letter.mail.event.payload = Json::empty();
            letter.errand.payload = Payload::Spilled(u32::try_from(bytes).unwrap_or(u32::MAX));
            self.counters.spilled += 1;
        }
        letter
    }

    /// Asks for the payloads of the events that are next at an instance.
    pub(crate) fn fetch(&mut self, slot: Slot) {
        let (tenant, id) = self.instances.name(slot);
        let (tenant, id) = (tenant.clone(), id.clone());
        let Some(busy) = &mut self.instances.expect_mut(slot).busy else {
            return;
        };
        if self.forgets_spilled {
            return busy.mailbox.retain(|letter| !letter.is_spilled());
        }
        let mut bytes = 0;
        let mut keys: HashSet<Key, FixedState> = HashSet::default();
        for letter in busy.mailbox.iter().take(FETCHED_MAX) {
            let (Payload::Spilled(more), Some(key)) = (letter.errand.payload, letter.sent_by())
            else {
                break;
            };
            bytes += more as usize;
            if bytes > FETCHED_BYTES_MAX && !keys.is_empty() {
                break;
            }
            keys.insert((tenant.clone(), Some(key.0), key.1));
        }
        busy.fetching = keys.len();
        let mut keys: Vec<Key> = keys.into_iter().collect();
        keys.sort_unstable_by(|one, other| (&one.1, &one.2).cmp(&(&other.1, &other.2)));
        for key in keys {
            let (_, instance, event) = key.clone();
            let waiting = self.fetching.entry(key).or_default();
            waiting.push(id.clone());
            if let (Some(instance), 1) = (instance, waiting.len()) {
                self.ask_what_became_of(tenant.clone(), instance, event);
            }
        }
    }

    /// The store has answered what became of an event: if its record sent payloads that instances
    /// wait for, these have them now.
    pub(crate) fn fetched(&mut self, key: &Key, found: Option<&Handled>) {
        let Some(waiting) = self.fetching.remove(key) else {
            return;
        };
        for id in waiting {
            let Some(slot) = self.instances.find(&key.0, &id) else {
                continue;
            };
            let again = self.now.after(AGAIN_AFTER);
            let Some(busy) = &mut self.instances.expect_mut(slot).busy else {
                continue;
            };
            if let Some(handled) = found {
                let mut left = FETCHED_MAX;
                busy.mailbox.change(|letter| {
                    letter.fill(&id, key, handled);
                    left -= 1;
                    left > 0
                });
            }
            busy.fetching = busy.fetching.saturating_sub(1);
            if busy.is_free() && busy.is_spilled() && found.is_none() {
                busy.blocked_until = Some(again);
                self.timers.set(again, slot);
            }
            self.reschedule(slot);
        }
    }
}

impl Letter {
    fn is_spilled(&self) -> bool {
        matches!(self.errand.payload, Payload::Spilled(_))
    }

    /// The record that sent it: the instance there, and its event.
    fn sent_by(&self) -> Option<(InstanceId, crate::id::EventId)> {
        let cause = &self.mail.cause;
        Some((cause.instance.clone()?, cause.event.clone()?))
    }

    /// Takes the payload from the record that sent it, if that is this one.
    fn fill(&mut self, to: &InstanceId, key: &Key, handled: &Handled) {
        let cause = &self.mail.cause;
        if !self.is_spilled() || cause.instance != key.1 || cause.event.as_ref() != Some(&key.2) {
            return;
        }
        let event = &mut self.mail.event;
        let sent = handled
            .deliveries
            .iter()
            .find(|outgoing| match outgoing.to {
                Target::Selection(_) => outgoing.event.id.at(to) == event.id,
                Target::Instance { .. } | Target::Create { .. } => outgoing.event.id == event.id,
            });
        if let Some(outgoing) = sent {
            event.payload = outgoing.event.payload.clone();
            self.errand.payload = Payload::Logged;
        }
    }
}
