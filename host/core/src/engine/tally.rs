//! Broadcasts from outside: who was reached, and how each ended.

use crate::{
    call::Event,
    effect::{Refused, Reply, Tally},
    engine::{
        Engine,
        outbox::Source,
        repeats::{Key, fingerprint},
    },
    id::TenantId,
    input::{Broadcast, Ticket},
    instance::{After, Origin},
    record::{AppendSeq, Disposition, Mail},
};

/// A broadcast that is not settled yet.
#[derive(Debug)]
pub(crate) struct Counting {
    ticket: Ticket,
    tally: Tally,
    key: Option<Key>,
    /// The first record that belongs to it: if that is void, so is the answer.
    first: AppendSeq,
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
        let first = AppendSeq(self.outbox.appended().0 + 1);
        self.tallies.insert(
            number,
            Counting {
                ticket,
                tally: Tally::default(),
                key,
                first,
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
        let matched = self.select(
            tenant,
            selector,
            mail,
            Origin::Tally(number),
            After::Nothing,
        );
        self.tally_begun(number, matched);
    }

    /// So many instances were chosen; none = too many.
    fn tally_begun(&mut self, number: u64, matched: Option<u64>) {
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

    /// What the records of a broadcast come from: its id, if that is remembered.
    pub(crate) fn tally_source(&self, number: u64) -> Source {
        let key = self
            .tallies
            .get(&number)
            .and_then(|counting| counting.key.clone());
        key.map_or(Source::Nothing, |key| Source::Remembered(Box::new(key)))
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

    /// Broadcasts whose records will never be durable are not answered with numbers.
    pub(crate) fn void_tallies(&mut self, after: AppendSeq) {
        let mut void: Vec<u64> = self
            .tallies
            .iter()
            .filter(|(_, counting)| counting.first > after)
            .map(|(number, _)| *number)
            .collect();
        void.sort_unstable();
        for number in void {
            let counting = self.tallies.remove(&number).expect("just seen");
            self.refuse_all(counting.ticket, counting.key, Refused::NotCommitted);
        }
    }

    fn tally_done(&mut self, number: u64) {
        let done = |counting: &Counting| counting.tally.settled() == counting.tally.matched;
        if !self.tallies.get(&number).is_some_and(done) {
            return;
        }
        let Counting {
            ticket, tally, key, ..
        } = self.tallies.remove(&number).expect("just seen");
        if let Some(key) = key {
            for waiting in self.repeats.answered(
                &key,
                Reply::Tally {
                    tally,
                    replayed: true,
                },
            ) {
                self.reply(
                    waiting,
                    Reply::Tally {
                        tally,
                        replayed: true,
                    },
                );
            }
        }
        self.reply(
            ticket,
            Reply::Tally {
                tally,
                replayed: false,
            },
        );
    }
}
