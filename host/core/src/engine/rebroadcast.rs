//! Broadcasts that the host before this one may have begun. The store is asked whom they reached
//! and how that ended; nobody gets the event twice, and whoever is meant and has not got it gets it
//! now. What is on its way is waited for: it was handed out again at the start.

use std::{collections::BTreeSet, sync::Arc};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use crate::{
    effect::{Effect, Refused},
    engine::{
        Engine, fingerprint,
        redeliver::Rest,
        selection::{Held, Want},
    },
    id::{EventId, InstanceId, TenantId},
    input::{Broadcast, Reached, Ticket},
    instance::{After, Letter, Origin, mailbox::Mailbox},
    record::{AppendSeq, Disposition, Selected},
};

/// Broadcasts that the store is asked about.
#[derive(Debug, Default)]
pub(crate) struct Rebroadcasts {
    by_id: HashMap<(TenantId, EventId), Rebroadcast, FixedState>,
}

#[derive(Debug)]
enum Rebroadcast {
    /// It is not known whether it was begun.
    Asked {
        /// Who waits.
        ticket: Ticket,
        /// What is to be sent.
        broadcast: Box<Broadcast>,
        /// The last record that was durable when the store was asked.
        asked_at: AppendSeq,
    },
    /// It was, and some of those it reached are not settled.
    Settling {
        /// What counts it.
        tally: u64,
        /// Who they are.
        left: HashSet<InstanceId, FixedState>,
        /// The last record that was durable when the store was asked last.
        asked_at: AppendSeq,
        /// Whether the store has not answered.
        is_asked: bool,
    },
}

impl Rebroadcasts {
    /// Forgets a broadcast of which it is not known whether it was begun, and says who waits for it.
    pub(crate) fn forget_asked(&mut self, tenant: &TenantId, event: &EventId) -> Option<Ticket> {
        let key = (tenant.clone(), event.clone());
        match self.by_id.get(&key)? {
            Rebroadcast::Asked { ticket, .. } => {
                let ticket = *ticket;
                self.by_id.remove(&key);
                Some(ticket)
            }
            Rebroadcast::Settling { .. } => None,
        }
    }
}

impl Engine {
    /// Asks the store about a broadcast before it begins.
    pub(crate) fn recall_broadcast(
        &mut self,
        ticket: Ticket,
        tenant: &TenantId,
        broadcast: Broadcast,
    ) {
        let event = broadcast.id.clone();
        let key = (tenant.clone(), event.clone());
        let asked = Rebroadcast::Asked {
            ticket,
            broadcast: Box::new(broadcast),
            asked_at: self.outbox.durable(),
        };
        self.rebroadcasts.by_id.insert(key, asked);
        let tenant = tenant.clone();
        self.effects
            .push_back(Effect::RecallBroadcast { tenant, event });
    }

    /// The store has answered whom a broadcast reached.
    pub(crate) fn broadcast_recalled(
        &mut self,
        tenant: TenantId,
        event: EventId,
        reached: &Reached,
    ) {
        let key = (tenant, event);
        match self.rebroadcasts.by_id.remove(&key) {
            Some(Rebroadcast::Asked {
                ticket,
                broadcast,
                asked_at,
            }) => self.broadcast_rest(ticket, key.0, *broadcast, asked_at, reached),
            Some(Rebroadcast::Settling {
                tally,
                left,
                asked_at,
                ..
            }) => self.settle_rest(key, tally, left, asked_at, reached),
            None => {}
        }
    }

    /// More is durable: whoever waits for that asks again.
    pub(crate) fn recall_broadcasts_again(&mut self) {
        let now = self.outbox.durable();
        for ((tenant, event), rebroadcast) in &mut self.rebroadcasts.by_id {
            if let Rebroadcast::Settling {
                asked_at, is_asked, ..
            } = rebroadcast
                && !*is_asked
                && *asked_at != now
            {
                (*asked_at, *is_asked) = (now, true);
                let (tenant, event) = (tenant.clone(), event.clone());
                self.effects
                    .push_back(Effect::RecallBroadcast { tenant, event });
            }
        }
    }

    fn broadcast_rest(
        &mut self,
        ticket: Ticket,
        tenant: TenantId,
        broadcast: Broadcast,
        asked_at: AppendSeq,
        reached: &Reached,
    ) {
        let is_recent = |selected: &&Arc<Selected>| {
            self.now.since(selected.event.at) <= self.limits.dedup_retention
        };
        let before: Vec<_> = reached.selected.iter().filter(is_recent).collect();
        let Some(first) = before.first() else {
            return self.begin_broadcast(ticket, &tenant, broadcast);
        };
        let Broadcast {
            selector,
            event,
            payload,
            ..
        } = &broadcast;
        let asked = fingerprint::of_broadcast(selector, event, payload);
        let Selected {
            selector, event, ..
        } = &***first;
        if asked != fingerprint::of_broadcast(selector, &event.name, &event.payload) {
            let key = (tenant, None, broadcast.id);
            return self.refuse_all(ticket, Some(key), Refused::KeyReused);
        }
        let all = before.iter().flat_map(|selected| &selected.instances);
        let here = |id: &&InstanceId| self.owns(self.partitions.partition(id));
        let chosen: BTreeSet<InstanceId> = all.filter(here).cloned().collect();
        let count = Some(chosen.len() as u64);
        let number = self.new_tally(ticket, &tenant, &broadcast, count);
        let key = (tenant.clone(), broadcast.id.clone());
        let left = chosen.iter().cloned().collect();
        self.settle_rest(key, number, left, asked_at, reached);
        if !self.resumed {
            // This engine began it, and forgot it for lack of memory when it was done.
            return self.tally_begun(number, 0);
        }
        let selector = Arc::clone(&broadcast.selector);
        self.want(Want::Select(Box::new(Held {
            tenant,
            selector,
            mail: broadcast.into_mail(self.now),
            origin: Origin::Tally(number),
            after: After::Nothing,
            is_logged: false,
            rest: Some(Box::new(Rest::besides(self.partitions, chosen))),
        })));
    }

    /// Counts those that are settled by now, and waits for the others.
    fn settle_rest(
        &mut self,
        key: (TenantId, EventId),
        tally: u64,
        mut left: HashSet<InstanceId, FixedState>,
        asked_at: AppendSeq,
        reached: &Reached,
    ) {
        for (id, disposition) in &reached.settled {
            if left.remove(id) {
                self.tally_settled(tally, *disposition);
            }
        }
        let is_up_to_date = self.outbox.durable() == asked_at;
        if is_up_to_date {
            // Nothing is recorded of the others, and nothing will be: they were gone when it came.
            let before = left.len();
            let pending = self.outbox.pending_events();
            left.retain(|id| {
                let event = key.1.at(id);
                pending.contains(&event) || self.is_on_its_way(&key.0, id, &event)
            });
            drop(pending);
            for _ in left.len()..before {
                self.tally_settled(tally, Disposition::Ignored);
            }
        }
        if left.is_empty() {
            return;
        }
        let settling = Rebroadcast::Settling {
            tally,
            left,
            asked_at,
            is_asked: false,
        };
        self.rebroadcasts.by_id.insert(key, settling);
        if !is_up_to_date {
            self.recall_broadcasts_again();
        }
    }

    /// Whether an event waits for an instance, or at it.
    fn is_on_its_way(&self, tenant: &TenantId, id: &InstanceId, event: &EventId) -> bool {
        let is_it = |letter: &Letter| letter.mail.event.id == *event;
        let place = (tenant.clone(), id.clone());
        let is_absent = |letters: &Mailbox| letters.iter().any(is_it);
        let slot = self.instances.find(tenant, id);
        let instance = slot.and_then(|slot| self.instances.get(slot));
        let busy = instance.and_then(|instance| instance.busy.as_ref());
        self.absent.get(&place).is_some_and(is_absent)
            || busy.is_some_and(|busy| busy.letters().any(is_it))
    }
}
