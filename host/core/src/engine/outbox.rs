//! What was appended and is not durable yet, and what happens when it never will be.

use std::{collections::VecDeque, sync::Arc};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use crate::{
    effect::{Effect, Refused, Reply},
    engine::{
        Engine,
        instances::Slot,
        repeats::Key,
        schedule::{LaneIdx, Work},
        settle::{may_be_remembered, repeat_key, settled_by},
        unstorable::Replayed,
    },
    id::{ComponentName, EventId, InstanceId, TenantId},
    instance::{After, Errand, Letter, Origin, Trigger},
    record::{
        AppendSeq, Body, DeadLetter, Disposition, Handled, Mail, Record, Selected, Snapshot, Status,
    },
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
    record: Record,
    /// What caused it and is not lost with it, or must be forgotten with it.
    source: Source,
    /// Whose it is, and how many bytes it is counted as.
    lane: LaneIdx,
    bytes: usize,
}

/// What a record came from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Nothing that outlives it.
    Nothing,
    /// An event whose answer is remembered under this key.
    Remembered(Box<Key>),
    /// The replay of a dead letter.
    Replay(Box<Replayed>),
    /// An event from inside or of a broadcast.
    Letter(Box<Errand>),
    /// A delivery or broadcast that selected instances.
    Selection(Origin, After),
    /// A delivery that reached nobody.
    Parked(Origin, After),
    /// What another host sent, and the number of its stream's parcel before that.
    Received(Option<u64>),
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

    /// The events that records on their way are about.
    pub(crate) fn pending_events(&self) -> HashSet<&EventId, FixedState> {
        let bodies = self.pending.iter().map(|pending| &pending.record.body);
        let events = bodies.filter_map(|body| match body {
            Body::Handled(handled) => Some(&handled.event.id),
            Body::Parked(letter) => Some(&letter.event.id),
            Body::Selected(_)
            | Body::Departed(_)
            | Body::Moved(_)
            | Body::Discarded(_)
            | Body::Received(_) => None,
        });
        events.collect()
    }

    /// What a record on its way says; none if it is durable, or void.
    pub(crate) fn body(&self, seq: AppendSeq) -> Option<&Body> {
        let at = self
            .pending
            .binary_search_by_key(&seq, |pending| pending.seq);
        Some(&self.pending[at.ok()?].record.body)
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
    parked: Vec<(TenantId, Arc<DeadLetter>, Origin, After)>,
}

impl Engine {
    /// What the record of an event came from.
    pub(crate) fn source_of(&self, errand: &Errand, handled: &Handled) -> Source {
        match errand.origin {
            Origin::Inside | Origin::Tally(_) => Source::Letter(Box::new(errand.clone())),
            Origin::Caller { remember: true, .. } => {
                let Some(key) = repeat_key(errand, handled) else {
                    return Source::Nothing;
                };
                let Some(of) = settled_by(&errand.trigger) else {
                    return Source::Remembered(Box::new(key));
                };
                let of = (key.0.clone(), key.1.clone(), of.clone());
                let before = self.repeats.answer(&of);
                Source::Replay(Box::new(Replayed { key, of, before }))
            }
            Origin::Caller { .. } => Source::Nothing,
        }
    }

    /// Appends a record that changes no instance.
    pub(crate) fn append(&mut self, tenant: &TenantId, body: Body, source: Source) -> AppendSeq {
        let component = component_of(&body);
        let lane = component.map_or_else(LaneIdx::default, |component| {
            self.schedule.known_lane(tenant, component)
        });
        self.append_in(lane, tenant, body, source)
    }

    fn append_in(
        &mut self,
        lane: LaneIdx,
        tenant: &TenantId,
        body: Body,
        source: Source,
    ) -> AppendSeq {
        let seq = AppendSeq(self.outbox.appended.0 + 1);
        let record = Record {
            tenant: tenant.clone(),
            at: self.now,
            body,
        };
        let bytes = record.bytes();
        self.schedule.appended(lane, bytes);
        self.outbox.appended = seq;
        self.outbox.pending.push_back(Pending {
            seq,
            record: record.clone(),
            source,
            lane,
            bytes,
        });
        self.effects.push_back(Effect::Append { seq, record });
        seq
    }

    /// Appends a record about an instance.
    pub(crate) fn append_about(&mut self, slot: Slot, body: Body, source: Source) -> AppendSeq {
        let tenant = self.instances.expect(slot).snapshot.tenant().clone();
        let lane = self.lane_of(slot);
        let seq = self.append_in(lane, &tenant, body, source);
        let instance = self.instances.expect_mut(slot);
        instance.appended = seq;
        instance.spared = 0;
        self.instances.weigh(slot);
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
            self.schedule.settled(pending.lane, pending.bytes);
            let ended = |after: &&Snapshot| after.status != Status::Active;
            if let Some(after) = pending.record.body.snapshot().filter(ended)
                && let Some(slot) = self.instances.find(after.tenant(), &after.id)
            {
                self.leave_if_done(slot, through);
            }
        }
        self.forget_tallies(through);
        self.recall_broadcasts_again();
    }

    /// Records after `after` will never be durable. What they touched leaves memory and is read
    /// again from the store; what came from inside, and whose own cause is durable, is done again.
    /// Not so the first of these records if it is `unstorable`.
    pub(crate) fn truncated(&mut self, after: AppendSeq, position: u64, unstorable: bool) {
        let void = |cause: After| cause.is_void(after, position);
        // Answers that are taken back hide earlier ones, which the store knows.
        self.resumed = true;
        self.take_back_effects(after);
        let (undone, refused) = self.undo(after, &void, unstorable);
        self.schedule
            .retain(|work| !matches!(work, Work::Selection(selecting) if void(selecting.after)));
        self.select_without(&undone.touched);
        self.drop_void_letters(&void);
        for key in &undone.touched {
            self.evict(key);
        }
        for (key, letter) in undone.letters {
            self.wait_first(key, letter);
        }
        if let Some(Pending { record, source, .. }) = refused {
            let key = about(&record);
            let letter = self.refused(record, source);
            if let Some((key, letter)) = key.zip(letter) {
                self.wait_first(key, letter);
            }
        }
        for key in &undone.touched {
            self.absent.entry(key.clone()).or_default();
        }
        self.returning.extend(undone.touched.iter().cloned());
        self.ask_for(undone.touched);
        self.unwant(void);
        for (tenant, selected, origin, cause) in undone.selections.into_iter().rev() {
            self.select_again(&tenant, &selected, origin, cause);
        }
        for (tenant, letter, origin, cause) in undone.parked.into_iter().rev() {
            self.append(&tenant, Body::Parked(letter), Source::Parked(origin, cause));
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
            | Effect::Recall { .. }
            | Effect::RecallBroadcast { .. }
            | Effect::Unused { .. } => true,
        });
    }

    /// Takes the records back that came after `after`, the last first; the last of all is left
    /// to the caller if it is `unstorable`.
    fn undo(
        &mut self,
        after: AppendSeq,
        void: &impl Fn(After) -> bool,
        unstorable: bool,
    ) -> (Undone, Option<Pending>) {
        let mut undone = Undone::default();
        while self
            .outbox
            .pending
            .back()
            .is_some_and(|pending| pending.seq > after)
        {
            let pending = self.outbox.pending.pop_back().expect("just seen");
            self.schedule.settled(pending.lane, pending.bytes);
            let key = about(&pending.record);
            if let Some(key) = &key
                && undone.seen.insert(key.clone())
            {
                undone.touched.push(key.clone());
            }
            if unstorable && pending.seq.0 == after.0 + 1 {
                undone.touched.reverse();
                return (undone, Some(pending));
            }
            let Pending { record, source, .. } = pending;
            match (source, record.body) {
                (source @ (Source::Remembered(_) | Source::Replay(_)), _) => {
                    self.take_answer_back(source);
                }
                (Source::Letter(errand), Body::Handled(handled)) => {
                    self.tally_undone(errand.origin, handled.disposition);
                    let again = !void(errand.after) && errand.outlives_its_instance();
                    if may_be_remembered(&errand)
                        && let Some(key) = repeat_key(&errand, &handled)
                    {
                        self.repeats.take_back(&key, again);
                    }
                    let letter = |key| (key, Letter::again(&handled, *errand));
                    undone.letters.extend(key.filter(|_| again).map(letter));
                }
                (Source::Selection(origin, cause), Body::Selected(selected)) if !void(cause) => {
                    let chosen = (record.tenant, selected, origin, cause);
                    undone.selections.push(chosen);
                }
                (Source::Parked(origin, cause), Body::Parked(letter)) if !void(cause) => {
                    undone.parked.push((record.tenant, letter, origin, cause));
                }
                (Source::Parked(origin, _), _) => {
                    self.tally_undone(origin, Disposition::DeadLettered);
                }
                (Source::Received(before), Body::Received(received)) => {
                    self.streams
                        .go_back(&record.tenant, &received.stream, before);
                }
                (
                    Source::Nothing
                    | Source::Letter(_)
                    | Source::Selection(..)
                    | Source::Received(_),
                    _,
                ) => {}
            }
        }
        undone.touched.reverse();
        (undone, None)
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
        let source = Source::Selection(origin, cause);
        let seq = self.append(tenant, body, source);
        for id in &selected.instances {
            let letter = Letter::chosen(selected, id, origin, After::Here(seq));
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
        let Some(mut busy) = instance.busy else {
            return;
        };
        // What waits already came later.
        let later = waiting.drain();
        let mut letters = VecDeque::new();
        if let Some(running) = busy.running {
            self.leases.remove(&running.lease);
            self.effects.push_back(Effect::Release {
                lease: running.lease,
                healthy: false,
            });
            letters.push_back(running.attempt.letter);
        }
        letters.extend(busy.own.drain());
        letters.extend(busy.mailbox.drain());
        letters.retain(|letter| letter.errand.outlives_its_instance());
        for letter in letters.into_iter().chain(later) {
            waiting.push_back(letter, &self.absent_account);
        }
    }

    /// An event waits for an instance that is not in memory, before all others.
    fn wait_first(&mut self, key: (TenantId, InstanceId), letter: Letter) {
        let waiting = self.absent.entry(key).or_default();
        waiting.push_front(letter, &self.absent_account);
    }

    /// Selections that are being handed out know instances that leave memory by their ids.
    pub(crate) fn select_without(&mut self, leaving: &[(TenantId, InstanceId)]) {
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
            busy.own.retain(|letter| !void(letter.errand.after));
            busy.mailbox.retain(|letter| !void(letter.errand.after));
            let Some(running) = busy
                .running
                .take_if(|running| void(running.attempt.letter.errand.after))
            else {
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
            letters.retain(|letter| !void(letter.errand.after));
        }
        for unborn in orphaned {
            let (tenant, id) = (unborn.snapshot.tenant(), &unborn.snapshot.id);
            let waiting = unborn.busy.map(|mut busy| busy.mailbox.drain());
            self.deliver_again(tenant, id, waiting.unwrap_or_default());
        }
    }
}

/// The component that a record is about.
fn component_of(body: &Body) -> Option<&ComponentName> {
    match body {
        Body::Selected(selected) => Some(&selected.selector.component),
        Body::Parked(letter) => Some(&letter.component),
        Body::Received(received) => {
            let first = received.deliveries.first();
            first.map(|outgoing| outgoing.to.component())
        }
        Body::Handled(_) | Body::Departed(_) | Body::Moved(_) | Body::Discarded(_) => {
            body.snapshot().map(Snapshot::component)
        }
    }
}

/// The instance that a record is about.
fn about(record: &Record) -> Option<(TenantId, InstanceId)> {
    let after = record.body.snapshot()?;
    Some((record.tenant.clone(), after.id.clone()))
}

impl Letter {
    /// The letter that a void record was about.
    fn again(handled: &Handled, errand: Errand) -> Self {
        let mail = Mail {
            event: handled.event.clone(),
            cause: handled.cause.clone(),
            sent_at: handled.sent_at,
        };
        Self { mail, errand }
    }
}

impl Errand {
    /// Whether it must wait for an instance that left memory: what the instance's own timers and
    /// deferred events say is read again with it.
    fn outlives_its_instance(&self) -> bool {
        match self.trigger {
            Trigger::Deferred | Trigger::Due | Trigger::Timeout | Trigger::Auto => false,
            Trigger::Unstorable { .. } => true,
            Trigger::Event
            | Trigger::Selected { .. }
            | Trigger::Expecting(_)
            | Trigger::Create(_)
            | Trigger::Terminate
            | Trigger::Delete
            | Trigger::Replay { .. } => self.attempts == 0 || self.origin != Origin::Inside,
        }
    }
}
