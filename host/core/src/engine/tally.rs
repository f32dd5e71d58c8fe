//! Broadcasts from outside: who was reached, and how each ended.

use crate::{
    call::Event,
    effect::{Refused, Reply, Tally},
    engine::{
        Engine,
        repeats::{Key, fingerprint},
        selection::{Held, Want},
    },
    id::TenantId,
    input::{Broadcast, Ticket},
    instance::{After, Origin},
    record::{AppendSeq, Disposition, Mail},
};

/// A broadcast: not settled yet, or settled by records that are not durable yet.
#[derive(Debug)]
pub(crate) struct Counting {
    /// Who waits; nobody once it was answered.
    ticket: Option<Ticket>,
    tally: Tally,
    key: Option<Key>,
    /// Whether every instance is settled.
    is_done: bool,
}

impl Engine {
    /// An event for a selection of the instances here.
    pub(crate) fn broadcast(&mut self, ticket: Ticket, tenant: &TenantId, broadcast: Broadcast) {
        let Broadcast {
            selector,
            event,
            payload,
            id,
            repeatable,
            cause,
        } = broadcast;
        if let Err(refused) = self.knows_target(tenant, &selector) {
            return self.reply(ticket, Reply::Refused(refused));
        }
        let key = repeatable.then(|| (tenant.clone(), None, id.clone()));
        if let Some(key) = &key
            && !self.is_first(ticket, key, fingerprint(&event, &payload))
        {
            return;
        }
        let counted_only = self.machine_never_uses(tenant, &selector, event.as_str());
        let event = Event {
            id,
            name: event,
            payload,
            at: self.now,
        };
        self.last_tally += 1;
        let number = self.last_tally;
        self.tallies.insert(
            number,
            Counting {
                ticket: Some(ticket),
                tally: Tally::default(),
                key,
                is_done: false,
            },
        );
        if counted_only {
            let matched = self.count_members(tenant, &selector);
            let counting = self.tallies.get_mut(&number).expect("just inserted");
            counting.tally.matched = matched;
            counting.tally.ignored = matched;
            self.counters.add(Disposition::Ignored, matched);
            return self.tally_done(number);
        }
        let mail = Mail {
            event,
            cause,
            sent_at: None,
        };
        self.want(Want::Select(Box::new(Held {
            tenant: tenant.clone(),
            selector,
            mail,
            origin: Origin::Tally(number),
            after: After::Nothing,
            rest: None,
        })));
    }

    /// So many instances were chosen; none = too many.
    pub(crate) fn tally_begun(&mut self, number: u64, matched: Option<u64>) {
        if let Some(matched) = matched {
            let counting = self.tallies.get_mut(&number);
            counting
                .expect("nothing has been settled yet")
                .tally
                .matched = matched;
            return self.tally_done(number);
        }
        let counting = self.tallies.remove(&number);
        let counting = counting.expect("nothing has been settled yet");
        let refused = Refused::TooManyMatched(self.limits.broadcast_matched_max as u64);
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
        if counting.is_done || tally.settled() != tally.matched {
            return;
        }
        counting.is_done = true;
        let (ticket, key) = (counting.ticket.take(), counting.key.clone());
        let reply = |replayed| Reply::Tally { tally, replayed };
        if let Some(key) = key {
            for waiting in self.repeats.answered(&key, reply(true)) {
                self.reply(waiting, reply(true));
            }
        }
        if let Some(ticket) = ticket {
            self.reply(ticket, reply(false));
        }
        self.tallies_done
            .push_back((self.outbox.appended(), number));
        if self.outbox.is_empty() {
            self.forget_tallies(self.outbox.appended());
        }
    }
}
