//! What was appended and is not durable yet, and what happens when it never will be.

use std::collections::VecDeque;

use crate::{
    effect::Effect,
    engine::{Engine, instances::Slot, schedule::Work},
    id::{InstanceId, TenantId},
    instance::{After, Letter, Origin},
    record::{AppendSeq, Body, Record},
};

/// Records on their way to the log.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    appended: AppendSeq,
    pending: VecDeque<Pending>,
}

/// A record on its way, and what must be undone should it not arrive.
#[derive(Debug)]
struct Pending {
    seq: AppendSeq,
    /// The instance that it changed.
    instance: Option<(TenantId, InstanceId)>,
    /// The event from inside that it used up.
    letter: Option<Letter>,
}

impl Outbox {
    /// The number of the last record.
    pub(crate) fn appended(&self) -> AppendSeq {
        self.appended
    }

    /// How many records are on their way.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }
}

impl Engine {
    /// Appends a record that changes no instance.
    pub(crate) fn append(&mut self, tenant: &TenantId, body: Body) -> AppendSeq {
        self.append_using(tenant, body, None, None)
    }

    /// Appends a record about an instance, made by a letter.
    pub(crate) fn append_about(
        &mut self,
        slot: Slot,
        body: Body,
        letter: Option<Letter>,
    ) -> AppendSeq {
        let snapshot = &self.instances.expect(slot).snapshot;
        let (tenant, id) = (snapshot.tenant().clone(), snapshot.id.clone());
        let seq = self.append_using(&tenant, body, Some(id), letter);
        self.instances.expect_mut(slot).appended = seq;
        seq
    }

    fn append_using(
        &mut self,
        tenant: &TenantId,
        body: Body,
        instance: Option<InstanceId>,
        letter: Option<Letter>,
    ) -> AppendSeq {
        let seq = AppendSeq(self.outbox.appended.0 + 1);
        self.outbox.appended = seq;
        let instance = instance.map(|id| (tenant.clone(), id));
        self.outbox.pending.push_back(Pending {
            seq,
            instance,
            letter,
        });
        let record = Record {
            tenant: tenant.clone(),
            at: self.now,
            body,
        };
        self.effects.push_back(Effect::Append { seq, record });
        seq
    }

    /// Records up to `through` are durable: finished instances among them may leave memory.
    pub(crate) fn durable(&mut self, through: AppendSeq) {
        while self
            .outbox
            .pending
            .front()
            .is_some_and(|pending| pending.seq <= through)
        {
            let pending = self.outbox.pending.pop_front().expect("just seen");
            if let Some((tenant, id)) = &pending.instance
                && let Some(slot) = self.instances.find(tenant, id)
            {
                self.leave_if_done(slot, through);
            }
        }
    }

    /// Records after `after` will never be durable. What they touched leaves memory and is read
    /// again from the store; events from inside that they used up, and whose own cause is
    /// durable, wait for it.
    pub(crate) fn truncated(&mut self, after: AppendSeq, position: u64) {
        let void = |cause: After| cause.is_void(after, position);
        let mut touched: Vec<(TenantId, InstanceId)> = Vec::new();
        let mut used: Vec<((TenantId, InstanceId), Letter)> = Vec::new();
        while self
            .outbox
            .pending
            .back()
            .is_some_and(|pending| pending.seq > after)
        {
            let pending = self.outbox.pending.pop_back().expect("just seen");
            let Some(key) = pending.instance else {
                continue;
            };
            if let Some(letter) = pending.letter.filter(|letter| !void(letter.after)) {
                used.push((key.clone(), letter));
            }
            if !touched.contains(&key) {
                touched.push(key);
            }
        }
        self.void_tallies(after);
        self.schedule
            .retain(|work| !matches!(work, Work::Selection(selecting) if void(selecting.after)));
        self.drop_void_letters(&void);
        touched.reverse();
        for key in &touched {
            self.evict(key);
        }
        for (key, letter) in used {
            self.absent.entry(key).or_default().push_front(letter);
        }
        for key in &touched {
            self.absent.entry(key.clone()).or_default();
        }
        if !touched.is_empty() {
            self.effects
                .push_back(Effect::Reload { instances: touched });
        }
    }

    /// Lets an instance leave memory; its unfinished events wait until it is back.
    fn evict(&mut self, key: &(TenantId, InstanceId)) {
        let Some(slot) = self.instances.find(&key.0, &key.1) else {
            return;
        };
        let Some(instance) = self.instances.remove(slot) else {
            return;
        };
        let waiting = self.absent.entry(key.clone()).or_default();
        let Some(busy) = instance.busy else { return };
        if let Some(running) = busy.running {
            self.leases.remove(&running.lease);
            self.effects.push_back(Effect::Release {
                lease: running.lease,
                healthy: false,
            });
            waiting.push_back(running.letter);
        }
        waiting.extend(busy.own);
        waiting.extend(busy.mailbox);
        waiting.retain(Letter::outlives_its_instance);
    }

    /// Drops events whose cause never happened, also those in a sandbox right now.
    fn drop_void_letters(&mut self, void: &impl Fn(After) -> bool) {
        for slot in self.instances.slots().collect::<Vec<_>>() {
            let Some(busy) = self.instances.expect_mut(slot).busy.as_mut() else {
                continue;
            };
            busy.own.retain(|letter| !void(letter.after));
            busy.mailbox.retain(|letter| !void(letter.after));
            let Some(running) = busy.running.take_if(|running| void(running.letter.after)) else {
                continue;
            };
            self.leases.remove(&running.lease);
            self.effects.push_back(Effect::Release {
                lease: running.lease,
                healthy: false,
            });
            self.reschedule(slot);
        }
        for letters in self.absent.values_mut() {
            letters.retain(|letter| !void(letter.after));
        }
    }
}

impl Letter {
    /// Whether it must wait for an instance that left memory: what the instance's own timers and
    /// deferred events say is read again with it.
    fn outlives_its_instance(&self) -> bool {
        use crate::instance::Trigger::{
            Auto, Create, Deferred, Due, Event, Expecting, Replay, Selected, Timeout,
        };
        match self.trigger {
            Deferred | Due | Timeout(..) | Auto(..) => false,
            Event | Selected(_) | Expecting(_) | Create(_) | Replay { .. } => {
                self.attempts == 0 || self.origin != Origin::Inside
            }
        }
    }
}
