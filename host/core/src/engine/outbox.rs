//! What was appended and is not durable yet, and what happens when it never will be.

use std::{collections::VecDeque, sync::Arc};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use crate::{
    call::Event,
    effect::{Effect, Refused, Reply},
    engine::{
        Engine,
        instances::Slot,
        repeats::Key,
        schedule::Work,
        settle::{may_be_remembered, repeat_key, settled_by},
    },
    id::{InstanceId, TenantId},
    instance::{After, Letter, Origin, Trigger},
    record::{AppendSeq, Body, DeadLetter, Disposition, Mail, Record, Selected, Snapshot, Status},
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
    /// Whether the instance had ended by then: it leaves memory when all its records are durable.
    ended: bool,
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
    /// The replay of a dead letter: its own key, and what the letter's key answered before.
    Replay(Box<Key>, Option<Box<(Key, Reply)>>),
    /// An event from inside or of a broadcast, and what it came to.
    Letter(Box<Letter>, Disposition),
    /// A delivery or broadcast that selected instances.
    Selection(Arc<Selected>, Origin, After),
    /// A delivery that reached nobody.
    Parked(Box<DeadLetter>, Origin, After),
}

impl Source {
    /// What the record of an event came from.
    fn of(letter: &Letter, disposition: Disposition, snapshot: &Snapshot) -> Self {
        match letter.origin {
            Origin::Inside | Origin::Tally(_) => {
                Self::Letter(Box::new(letter.clone()), disposition)
            }
            Origin::Caller { remember: true, .. } => {
                repeat_key(snapshot.tenant(), &snapshot.id, letter)
                    .map_or(Self::Nothing, |key| Self::Remembered(Box::new(key)))
            }
            Origin::Caller { .. } => Self::Nothing,
        }
    }
}

impl Outbox {
    /// The number of the last record.
    pub(crate) fn appended(&self) -> AppendSeq {
        self.appended
    }

    /// The number of the last durable record.
    pub(crate) fn durable(&self) -> AppendSeq {
        let first = self.pending.front();
        first.map_or(self.appended, |pending| AppendSeq(pending.seq.0 - 1))
    }

    /// Whether all records are durable.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
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
    selections: Vec<(TenantId, Arc<Selected>, Origin, After)>,
    parked: Vec<(TenantId, Box<DeadLetter>, Origin, After)>,
}

impl Engine {
    /// What the record of an event came from.
    pub(crate) fn source_of(
        &self,
        slot: Slot,
        letter: &Letter,
        disposition: Disposition,
    ) -> Source {
        let snapshot = &self.instances.expect(slot).snapshot;
        match (
            settled_by(&letter.trigger),
            Source::of(letter, disposition, snapshot),
        ) {
            (Some(of), Source::Remembered(key)) => {
                let of = (key.0.clone(), key.1.clone(), of.clone());
                let before = self.repeats.answer(&of).cloned();
                Source::Replay(key, before.map(|reply| Box::new((of, reply))))
            }
            (_, source) => source,
        }
    }

    /// Appends a record that changes no instance.
    pub(crate) fn append(&mut self, tenant: &TenantId, body: Body, source: Source) -> AppendSeq {
        self.append_from(tenant.clone(), body, None, false, source)
    }

    /// Appends a record about an instance.
    pub(crate) fn append_about(&mut self, slot: Slot, body: Body, source: Source) -> AppendSeq {
        let snapshot = &self.instances.expect(slot).snapshot;
        let (tenant, id) = (snapshot.tenant().clone(), snapshot.id.clone());
        let ended = snapshot.status != Status::Active;
        let seq = self.append_from(tenant, body, Some(id), ended, source);
        self.instances.expect_mut(slot).appended = seq;
        seq
    }

    fn append_from(
        &mut self,
        tenant: TenantId,
        body: Body,
        instance: Option<InstanceId>,
        ended: bool,
        source: Source,
    ) -> AppendSeq {
        let seq = AppendSeq(self.outbox.appended.0 + 1);
        self.outbox.appended = seq;
        self.outbox.pending.push_back(Pending {
            seq,
            tenant: tenant.clone(),
            instance,
            ended,
            source,
        });
        let record = Record {
            tenant,
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
            if pending.ended
                && let Some(id) = &pending.instance
                && let Some(slot) = self.instances.find(&pending.tenant, id)
            {
                self.leave_if_done(slot, through);
            }
        }
        self.forget_tallies(through);
    }

    /// Records after `after` will never be durable. What they touched leaves memory and is read
    /// again from the store; what came from inside, and whose own cause is durable, is done again.
    pub(crate) fn truncated(&mut self, after: AppendSeq, position: u64) {
        let void = |cause: After| cause.is_void(after, position);
        self.take_back_effects(after);
        let undone = self.undo(after, &void);
        self.schedule
            .retain(|work| !matches!(work, Work::Selection(selecting) if void(selecting.after)));
        self.held.retain(|held| !void(held.after));
        self.select_without(&undone.touched);
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
        self.returning.extend(undone.touched.iter().cloned());
        if !undone.touched.is_empty() {
            self.effects.push_back(Effect::Reload {
                instances: undone.touched,
            });
        }
        for (tenant, selected, origin, cause) in undone.selections.into_iter().rev() {
            self.select_again(&tenant, &selected, origin, cause);
        }
        for (tenant, letter, origin, cause) in undone.parked.into_iter().rev() {
            let body = Body::Parked(letter.clone());
            self.append(&tenant, body, Source::Parked(letter, origin, cause));
        }
    }

    /// Effects that nobody has taken yet and that depend on a void record will not be.
    fn take_back_effects(&mut self, after: AppendSeq) {
        let Self {
            effects, outbox, ..
        } = self;
        effects.retain_mut(|effect| match effect {
            Effect::Append { seq, .. } => {
                outbox.appended = outbox.appended.min(AppendSeq(seq.0 - 1));
                false
            }
            Effect::Deliver { after: cause, .. } => *cause <= after,
            Effect::Reply {
                after: needed,
                reply,
                ..
            } => {
                if *needed > after {
                    *needed = after;
                    *reply = Reply::Refused(Refused::NotCommitted);
                }
                true
            }
            Effect::Invoke { .. }
            | Effect::Release { .. }
            | Effect::Reload { .. }
            | Effect::Unused { .. } => true,
        });
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
            match source {
                Source::Nothing => {}
                Source::Remembered(key) => {
                    for ticket in self.repeats.forget(&key) {
                        self.reply(ticket, Reply::Refused(Refused::NotCommitted));
                    }
                }
                Source::Replay(key, before) => {
                    for ticket in self.repeats.forget(&key) {
                        self.reply(ticket, Reply::Refused(Refused::NotCommitted));
                    }
                    if let Some((of, reply)) = before.map(|before| *before) {
                        self.repeats.answered(&of, reply);
                    }
                }
                Source::Letter(letter, disposition) => {
                    self.tally_undone(letter.origin, disposition);
                    let answered = key.as_ref().filter(|_| may_be_remembered(&letter));
                    if let Some((tenant, id)) = answered
                        && let Some(key) = repeat_key(tenant, id, &letter)
                    {
                        self.repeats.reopen(&key);
                    }
                    let again = !void(letter.after) && letter.outlives_its_instance();
                    undone
                        .letters
                        .extend(key.filter(|_| again).map(|key| (key, *letter)));
                }
                Source::Selection(selected, origin, cause) if !void(cause) => {
                    undone.selections.push((tenant, selected, origin, cause));
                }
                Source::Parked(letter, origin, cause) if !void(cause) => {
                    undone.parked.push((tenant, letter, origin, cause));
                }
                Source::Parked(_, origin, _) => {
                    self.tally_undone(origin, Disposition::DeadLettered);
                }
                Source::Selection(..) => {}
            }
        }
        undone.touched.reverse();
        undone
    }

    /// Hands an event again to the instances that a void record had chosen.
    fn select_again(
        &mut self,
        tenant: &TenantId,
        selected: &Arc<Selected>,
        origin: Origin,
        cause: After,
    ) {
        let body = Body::Selected(Arc::clone(selected));
        let source = Source::Selection(Arc::clone(selected), origin, cause);
        let seq = self.append(tenant, body, source);
        for id in &selected.instances {
            let event = Event {
                id: selected.event.id.at(id),
                ..selected.event.clone()
            };
            let mail = Mail {
                event,
                cause: selected.cause.clone(),
                sent_at: None,
            };
            let trigger = Trigger::Selected(Arc::clone(&selected.selector));
            let letter = Letter {
                trigger,
                ..Letter::new(mail, origin, After::Here(seq))
            };
            self.deliver(tenant, id.clone(), letter);
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

    /// Selections that are being handed out know instances that leave memory by their ids.
    fn select_without(&mut self, leaving: &[(TenantId, InstanceId)]) {
        let Self {
            schedule,
            instances,
            ..
        } = self;
        let slots: HashMap<Slot, &InstanceId, FixedState> = leaving
            .iter()
            .filter_map(|(tenant, id)| Some((instances.find(tenant, id)?, id)))
            .collect();
        for selecting in schedule.selections() {
            selecting.leave(|slot| slots.get(&slot).map(|id| (*id).clone()));
        }
    }

    /// Drops events whose cause never happened, also those in a sandbox right now.
    fn drop_void_letters(&mut self, void: &impl Fn(After) -> bool) {
        let mut orphaned = Vec::new();
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
                orphaned.extend(self.instances.remove(slot));
            } else {
                self.reschedule(slot);
            }
        }
        for letters in self.absent.values_mut() {
            letters.retain(|letter| !void(letter.after));
        }
        for unborn in orphaned {
            let (tenant, id) = (unborn.snapshot.tenant().clone(), unborn.snapshot.id.clone());
            for letter in unborn.busy.map(|busy| busy.mailbox).unwrap_or_default() {
                self.deliver(&tenant, id.clone(), letter);
            }
        }
    }
}

impl Letter {
    /// Whether it must wait for an instance that left memory: what the instance's own timers and
    /// deferred events say is read again with it.
    fn outlives_its_instance(&self) -> bool {
        match self.trigger {
            Trigger::Deferred | Trigger::Due | Trigger::Timeout | Trigger::Auto => false,
            Trigger::Event
            | Trigger::Selected(_)
            | Trigger::Expecting(_)
            | Trigger::Create(_)
            | Trigger::Replay { .. } => self.attempts == 0 || self.origin != Origin::Inside,
        }
    }
}
