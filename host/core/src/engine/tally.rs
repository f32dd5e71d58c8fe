//! Broadcasts from outside: who was reached, and how each ended.

use std::sync::Arc;

use crate::{
    call::Event,
    effect::{Refused, Reply, Tally},
    engine::{
        Engine, fingerprint,
        recall::Admitted,
        repeats::{Answer, Key},
        selection::{Held, Want},
    },
    id::TenantId,
    input::{Broadcast, Ticket},
    instance::{After, Origin},
    record::{AppendSeq, Disposition, Mail},
    time::Timestamp,
};

/// A broadcast: not settled yet, or settled by records that are not durable yet.
#[derive(Debug)]
pub(crate) struct Counting {
    /// Who waits; nobody once it was answered.
    ticket: Option<Ticket>,
    tally: Tally,
    key: Option<Key>,
    /// Whether a host before this one began it.
    is_repeated: bool,
    /// Whether all instances have been chosen.
    is_chosen: bool,
    /// Whether every instance is settled.
    is_done: bool,
}

impl Engine {
    /// An event for a selection of the instances here.
    pub(crate) fn broadcast(&mut self, ticket: Ticket, tenant: &TenantId, broadcast: Broadcast) {
        let repeatable = broadcast.repeatable;
        if let Err(refused) = self.knows_target(tenant, &broadcast.selector) {
            return self.reply(ticket, Reply::Refused(refused));
        }
        let component = &broadcast.selector.component;
        if self.is_overloaded() && self.has_more_than_its_share(tenant, component) {
            return self.refuse_at_once(ticket, component);
        }
        if let Some(key) = key_of(tenant, &broadcast) {
            let Broadcast {
                selector,
                event,
                payload,
                ..
            } = &broadcast;
            let fingerprint = fingerprint::of_broadcast(selector, event, payload);
            if self.admit(ticket, &key, fingerprint) != Admitted::First {
                return;
            }
        }
        if repeatable && (self.resumed || self.repeats.may_have_forgotten(None)) {
            self.recall_broadcast(ticket, tenant, broadcast);
        } else {
            self.begin_broadcast(ticket, tenant, broadcast);
        }
    }

    /// The same, where nobody has got it.
    pub(crate) fn begin_broadcast(
        &mut self,
        ticket: Ticket,
        tenant: &TenantId,
        broadcast: Broadcast,
    ) {
        let number = self.new_tally(ticket, tenant, &broadcast, None);
        let Broadcast {
            selector, event, ..
        } = &broadcast;
        if self.machine_never_uses(tenant, selector, event.as_str()) {
            let matched = self.count_members(tenant, selector);
            let counting = self.tallies.get_mut(&number).expect("just inserted");
            counting.tally.ignored = matched;
            self.count_ignored(tenant, selector, matched);
            return self.tally_begun(number, matched);
        }
        self.want(Want::Select(Box::new(Held {
            tenant: tenant.clone(),
            selector: Arc::clone(selector),
            mail: broadcast.into_mail(self.now),
            origin: Origin::Tally(number),
            after: After::Nothing,
            is_logged: false,
            rest: None,
        })));
    }

    /// Begins to count; so many were chosen before, if a host before this one began it.
    pub(crate) fn new_tally(
        &mut self,
        ticket: Ticket,
        tenant: &TenantId,
        broadcast: &Broadcast,
        before: Option<u64>,
    ) -> u64 {
        self.last_tally += 1;
        let counting = Counting {
            ticket: Some(ticket),
            tally: Tally {
                matched: before.unwrap_or_default(),
                ..Tally::default()
            },
            key: key_of(tenant, broadcast),
            is_repeated: before.is_some(),
            is_chosen: false,
            is_done: false,
        };
        self.tallies.insert(self.last_tally, counting);
        self.last_tally
    }

    /// So many instances were chosen.
    pub(crate) fn tally_begun(&mut self, number: u64, matched: u64) {
        let counting = self.tallies.get_mut(&number);
        let counting = counting.expect("it is not done before all are chosen");
        counting.tally.matched += matched;
        counting.is_chosen = true;
        self.tally_done(number);
    }

    /// More than `max` instances would be reached.
    pub(crate) fn tally_refused(&mut self, number: u64, max: u64) {
        let counting = self.tallies.remove(&number);
        let counting = counting.expect("it is not done before all are chosen");
        let refused = Refused::TooManyMatched(max);
        self.refuse_all(counting.ticket, counting.key, refused);
    }

    /// One of the instances is settled.
    pub(crate) fn tally_settled(&mut self, number: u64, disposition: Disposition) {
        if let Some(counting) = self.tallies.get_mut(&number) {
            counting.tally.count(disposition);
            self.tally_done(number);
        }
    }

    /// One of the instances left before the event reached it.
    pub(crate) fn tally_gone(&mut self, origin: Origin) {
        if let Origin::Tally(number) = origin {
            self.tally_settled(number, Disposition::Ignored);
        }
    }

    /// What settled one of the instances is void; it will be settled again.
    pub(crate) fn tally_undone(&mut self, origin: Origin, disposition: Disposition) {
        let Origin::Tally(number) = origin else {
            return;
        };
        let Some(counting) = self.tallies.get_mut(&number) else {
            return;
        };
        counting.tally.uncount(disposition);
        if std::mem::take(&mut counting.is_done)
            && let Some(key) = &counting.key
        {
            self.repeats.reopen(key);
        }
    }

    /// Settled broadcasts whose records are durable need not be remembered.
    pub(crate) fn forget_tallies(&mut self, through: AppendSeq) {
        while let Some((seq, number)) = self.tallies_done.front().copied() {
            if seq > through {
                break;
            }
            self.tallies_done.pop_front();
            if self
                .tallies
                .get(&number)
                .is_some_and(|counting| counting.is_done)
            {
                self.tallies.remove(&number);
            }
        }
    }

    fn tally_done(&mut self, number: u64) {
        let Some(counting) = self.tallies.get_mut(&number) else {
            return;
        };
        let tally = counting.tally;
        if counting.is_done || !counting.is_chosen || tally.settled() != tally.matched {
            return;
        }
        counting.is_done = true;
        let (ticket, key) = (counting.ticket.take(), counting.key.clone());
        let is_repeated = counting.is_repeated;
        let reply = |replayed| Reply::Tally { tally, replayed };
        if let Some(key) = key {
            let answer = Answer::Tally(tally, self.outbox.appended());
            for waiting in self.repeats.answered(&key, answer) {
                self.reply(waiting, reply(true));
            }
        }
        if let Some(ticket) = ticket {
            self.reply(ticket, reply(is_repeated));
        }
        self.tallies_done
            .push_back((self.outbox.appended(), number));
        if self.outbox.is_empty() {
            self.forget_tallies(self.outbox.appended());
        }
    }
}

/// The key under which the answer is remembered, if the caller gave one.
fn key_of(tenant: &TenantId, broadcast: &Broadcast) -> Option<Key> {
    let id = broadcast.repeatable.then(|| broadcast.id.clone())?;
    Some((tenant.clone(), None, id))
}

impl Broadcast {
    /// What the instances get.
    pub(crate) fn into_mail(self, now: Timestamp) -> Mail {
        let event = Event {
            id: self.id,
            name: self.event,
            payload: self.payload,
            at: now,
        };
        Mail {
            event,
            cause: self.cause,
            sent_at: None,
        }
    }
}
