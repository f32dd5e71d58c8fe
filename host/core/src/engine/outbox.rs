//! What was appended and is not durable yet, and what happens when it never will be.

use std::{collections::VecDeque, sync::Arc};

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use crate::{
    effect::{Effect, Refused, Reply},
    engine::{Engine, instances::Slot, repeats::Key, schedule::Work, settle::repeat_key},
    id::{InstanceId, TenantId},
    instance::{After, Letter, Origin, Trigger},
    record::{AppendSeq, Body, DeadLetter, Mail, Record, Selected},
};

/// Records on their way to the log.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    appended: AppendSeq,
    pending: VecDeque<Pending>,
}

/// A record on its way, and what must be undone or done again should it not arrive.
#[derive(Debug)]
struct Pending {
    seq: AppendSeq,
    tenant: TenantId,
    /// The instance that it changed.
    instance: Option<InstanceId>,
    /// What caused it and is not lost with it, or must be forgotten with it.
    source: Source,
}

/// What a record came from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Nothing that outlives it.
    Nothing,
    /// An event whose answer is remembered under this key.
    Remembered(Box<Key>),
    /// An event from inside.
    Letter(Box<Letter>),
    /// A delivery that selected instances.
    Selection(Arc<Selected>, After),
    /// A delivery that reached nobody.
    Parked(Box<DeadLetter>, After),
}

impl Source {
    /// What the record of an event came from.
    pub(crate) fn of(letter: &Letter, tenant: &TenantId, instance: &InstanceId) -> Self {
        match letter.origin {
            Origin::Inside => Self::Letter(Box::new(letter.clone())),
            Origin::Caller { remember: true, .. } => repeat_key(tenant, instance, letter)
                .map_or(Self::Nothing, |key| Self::Remembered(Box::new(key))),
            Origin::Caller { .. } | Origin::Tally(_) => Self::Nothing,
        }
    }
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

/// What a truncation leaves to be done.
#[derive(Default)]
struct Undone {
    touched: Vec<(TenantId, InstanceId)>,
    seen: HashSet<(TenantId, InstanceId), FixedState>,
    letters: Vec<((TenantId, InstanceId), Letter)>,
    selections: Vec<(TenantId, Arc<Selected>, After)>,
    parked: Vec<(TenantId, DeadLetter, After)>,
}

impl Engine {
    /// Appends a record that changes no instance.
    pub(crate) fn append(&mut self, tenant: &TenantId, body: Body, source: Source) -> AppendSeq {
        self.append_from(tenant, body, None, source)
    }

    /// Appends a record about an instance.
    pub(crate) fn append_about(&mut self, slot: Slot, body: Body, source: Source) -> AppendSeq {
        let snapshot = &self.instances.expect(slot).snapshot;
        let (tenant, id) = (snapshot.tenant().clone(), snapshot.id.clone());
        let seq = self.append_from(&tenant, body, Some(id), source);
        self.instances.expect_mut(slot).appended = seq;
        seq
    }

    fn append_from(
        &mut self,
        tenant: &TenantId,
        body: Body,
        instance: Option<InstanceId>,
        source: Source,
    ) -> AppendSeq {
        let seq = AppendSeq(self.outbox.appended.0 + 1);
        self.outbox.appended = seq;
        self.outbox.pending.push_back(Pending {
            seq,
            tenant: tenant.clone(),
            instance,
            source,
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
            if let Some(id) = &pending.instance
                && let Some(slot) = self.instances.find(&pending.tenant, id)
            {
                self.leave_if_done(slot, through);
            }
        }
    }

    /// Records after `after` will never be durable. What they touched leaves memory and is read
    /// again from the store; what came from inside, and whose own cause is durable, is done again.
    pub(crate) fn truncated(&mut self, after: AppendSeq, position: u64) {
        let void = |cause: After| cause.is_void(after, position);
        let undone = self.undo(after, &void);
        self.void_tallies(after);
        self.schedule
            .retain(|work| !matches!(work, Work::Selection(selecting) if void(selecting.after)));
        self.drop_void_letters(&void);
        for key in &undone.touched {
            self.evict(key);
        }
        for (key, letter) in undone.letters {
            self.absent.entry(key).or_default().push_front(letter);
        }
        for key in &undone.touched {
            self.absent.entry(key.clone()).or_default();
        }
        if !undone.touched.is_empty() {
            self.effects.push_back(Effect::Reload {
                instances: undone.touched,
            });
        }
        for (tenant, selected, cause) in undone.selections.into_iter().rev() {
            self.select_again(&tenant, &selected, cause);
        }
        for (tenant, letter, cause) in undone.parked.into_iter().rev() {
            let body = Body::Parked(Box::new(letter.clone()));
            self.append(&tenant, body, Source::Parked(Box::new(letter), cause));
        }
    }

    /// Takes the records back that came after `after`, the last first.
    fn undo(&mut self, after: AppendSeq, void: &impl Fn(After) -> bool) -> Undone {
        let mut undone = Undone::default();
        while self
            .outbox
            .pending
            .back()
            .is_some_and(|pending| pending.seq > after)
        {
            let Pending {
                tenant,
                instance,
                source,
                ..
            } = self.outbox.pending.pop_back().expect("just seen");
            let key = instance.map(|id| (tenant.clone(), id));
            if let Some(key) = &key
                && undone.seen.insert(key.clone())
            {
                undone.touched.push(key.clone());
            }
            match (source, key) {
                (Source::Remembered(key), _) => {
                    for ticket in self.repeats.forget(&key) {
                        self.reply(ticket, Reply::Refused(Refused::NotCommitted));
                    }
                }
                (Source::Letter(letter), Some(key)) if !void(letter.after) => {
                    undone.letters.push((key, *letter))
                }
                (Source::Selection(selected, cause), _) if !void(cause) => {
                    undone.selections.push((tenant, selected, cause))
                }
                (Source::Parked(letter, cause), _) if !void(cause) => {
                    undone.parked.push((tenant, *letter, cause))
                }
                _ => {}
            }
        }
        undone.touched.reverse();
        undone
    }

    /// Hands an event again to the instances that a void record had chosen.
    fn select_again(&mut self, tenant: &TenantId, selected: &Arc<Selected>, cause: After) {
        let body = Body::Selected(Arc::clone(selected));
        let seq = self.append(tenant, body, Source::Selection(Arc::clone(selected), cause));
        for id in &selected.instances {
            let mail = Mail {
                event: selected.event.clone(),
                cause: selected.cause.clone(),
                sent_at: None,
            };
            let trigger = Trigger::Selected(Arc::clone(&selected.selector));
            self.deliver(
                tenant,
                id.clone(),
                Letter::inside(mail, trigger, After::Here(seq)),
            );
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
            if self.instances.expect(slot).snapshot.seq == 0 {
                self.instances.remove(slot);
            } else {
                self.reschedule(slot);
            }
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
        match self.trigger {
            Trigger::Deferred | Trigger::Due | Trigger::Timeout(..) | Trigger::Auto(..) => false,
            Trigger::Event
            | Trigger::Selected(_)
            | Trigger::Expecting(_)
            | Trigger::Create(_)
            | Trigger::Replay { .. } => self.attempts == 0 || self.origin != Origin::Inside,
        }
    }
}
