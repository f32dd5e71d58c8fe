//! One event at one instance: whether it may be looked at, what it triggers, and the calls it
//! needs. What it comes to is carried out in `apply` (a transition) or `settle` (anything else).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{
    call::{Call, Deployment, Lease, Outcome},
    definition::{EventIdx, Machine, MethodKind, StateIdx, TransitionIdx, TransitionKind},
    effect::Effect,
    engine::{
        Engine,
        breaker::Change,
        cascade::is_host_made,
        instances::Slot,
        schedule::Work,
        versions::{Chosen, context_on, machine_on},
    },
    id::MethodName,
    instance::{
        Attempt, Busy, Letter, Origin, Running, Trigger,
        step::{Decision, Next, Step},
    },
    record::{Reason, Snapshot, Status, Timer, TimerKind},
    time::Timestamp,
};

/// Where an event waits at its instance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// Before everything.
    Next,
    /// Behind what the instance sent to itself.
    OwnLast,
    /// Before everything that others sent.
    First,
    /// Behind everything.
    Last,
}

impl Engine {
    /// Puts an event into an instance's mailbox. What comes from inside always finds a place; over
    /// the budget its payload stays in the log.
    pub(crate) fn post(&mut self, slot: Slot, letter: Letter) {
        let is_full = self.has_no_room(slot, &letter);
        if is_full && matches!(letter.errand.origin, Origin::Caller { .. }) {
            return self.refuse_letter(slot, letter);
        }
        let letter = if is_full {
            self.spill(slot, letter)
        } else {
            letter
        };
        self.enqueue(slot, letter, Place::Last);
        self.reschedule(slot);
    }

    /// Puts an event where it waits.
    pub(crate) fn enqueue(&mut self, slot: Slot, letter: Letter, place: Place) {
        self.lane_of(slot);
        let instance = self.instances.expect_mut(slot);
        let account = self.schedule.account_of_pool(instance.pool);
        let busy = instance.busy.get_or_insert_default();
        match place {
            Place::Next if busy.is_told_to_end() => {
                let end = busy.own.pop_front();
                busy.own.push_front(letter, account);
                if let Some(end) = end {
                    busy.own.push_front(end, account);
                }
            }
            Place::Next => busy.own.push_front(letter, account),
            Place::OwnLast => busy.own.push_back(letter, account),
            Place::First => busy.mailbox.push_front(letter, account),
            Place::Last => busy.mailbox.push_back(letter, account),
        }
    }

    /// Puts an event of the instance's own before all others.
    pub(crate) fn post_own(&mut self, slot: Slot, letter: Letter) {
        self.enqueue(slot, letter, Place::OwnLast);
        self.reschedule(slot);
    }

    /// Puts the `auto` event of the state that was just entered before everything.
    pub(crate) fn post_auto(&mut self, slot: Slot, letter: Letter) {
        self.enqueue(slot, letter, Place::Next);
        self.reschedule(slot);
    }

    /// Gives the instance its turn if it has something to do and is free to do it.
    pub(crate) fn reschedule(&mut self, slot: Slot) {
        let instance = self.instances.expect_mut(slot);
        let Some(busy) = instance.busy.as_mut() else {
            return;
        };
        let has_work = !busy.own.is_empty() || !busy.mailbox.is_empty();
        if has_work && busy.is_free() && !busy.queued {
            if busy.is_spilled() {
                return self.fetch(slot);
            }
            busy.queued = true;
            let lane = self.lane_of(slot);
            self.schedule.push(lane, Work::Instance(slot));
        } else if busy.is_idle() {
            instance.busy = None;
        }
    }

    /// Does the next thing an instance has to do.
    pub(crate) fn run(&mut self, slot: Slot) {
        let Some(busy) = self
            .instances
            .get_mut(slot)
            .and_then(|instance| instance.busy.as_mut())
        else {
            return;
        };
        busy.queued = false;
        if !busy.is_free() {
            return;
        }
        if busy.is_spilled() {
            return self.fetch(slot);
        }
        let letter = busy.own.pop_front().or_else(|| busy.mailbox.pop_front());
        if let Some(letter) = letter {
            self.take(slot, letter);
        }
        if self.instances.get(slot).is_some() {
            self.reschedule(slot);
            self.leave_if_done(slot, self.outbox.durable());
        }
    }

    /// Looks at an event. Nothing else may be running at the instance.
    pub(crate) fn take(&mut self, slot: Slot, letter: Letter) {
        if let Trigger::Create(_) = letter.errand.trigger {
            return self.be_born(slot, letter);
        }
        if let Trigger::Unstorable { stripped, .. } = letter.errand.trigger {
            return self.park_unstorable(slot, letter, stripped);
        }
        if let Trigger::Terminate = letter.errand.trigger {
            return self.terminate(slot, letter);
        }
        if let Trigger::Delete = letter.errand.trigger {
            return self.delete(slot, letter);
        }
        if self.is_left_alone(slot, &letter) {
            return;
        }
        let Some(letter) = self.screen(slot, letter) else {
            return;
        };
        let Chosen {
            deployment,
            state,
            held,
        } = self.version_for(&self.instances.expect(slot).snapshot);
        if let Some(until) = self.breakers.wait(version_key(&deployment), self.now) {
            return self.hold_back(slot, letter, until);
        }
        self.hold_version(slot, held);
        let snapshot = &self.instances.expect(slot).snapshot;
        let machine_idx = machine_on(snapshot, &deployment);
        let machine = deployment.definition.machine(machine_idx);
        let event = machine.find_event(letter.mail.event.name.as_str());
        let candidates = self.candidates(slot, &letter, machine, state, event);
        let defers = |name: &str| machine.state(state).defers(name);
        if candidates.is_empty() {
            let by_itself = matches!(letter.errand.trigger, Trigger::Timeout | Trigger::Auto);
            if by_itself && !Arc::ptr_eq(&deployment, &snapshot.deployment) {
                // The version that the instance is to move to has another timer, or none.
                return self.move_now(slot, &deployment, state);
            }
            if matches!(letter.errand.trigger, Trigger::Deferred) {
                return;
            }
            let name = letter.mail.event.name.as_str();
            if may_be_deferred(&letter.errand.trigger) && defers(name) {
                return self.defer(slot, letter);
            }
        }
        let host_made = is_host_made(&letter.errand.trigger, &letter.mail.event.payload);
        let context = context_on(snapshot, &deployment, machine);
        let attempt = Attempt {
            step: Step::new(machine_idx, state, context, candidates).without_merging(host_made),
            deployment,
            letter,
        };
        self.go(slot, Box::new(attempt), None);
    }

    /// Settles an event that needs no transition to be looked for.
    fn screen(&mut self, slot: Slot, letter: Letter) -> Option<Letter> {
        let snapshot = &self.instances.expect(slot).snapshot;
        if !is_still_waiting(snapshot, &letter) {
            return None;
        }
        if snapshot.status != Status::Active {
            if snapshot.owes(&letter) {
                self.park_deferred(slot, letter);
            } else if snapshot.is_deleted() {
                self.is_gone(slot, letter);
            } else {
                self.reject(slot, letter, Reason::Finished);
            }
            return None;
        }
        match &letter.errand.trigger {
            Trigger::Expecting(state) if *state != snapshot.state().name => {
                let reason = Reason::UnexpectedState(snapshot.state().name.clone());
                self.reject(slot, letter, reason);
            }
            Trigger::Selected { selector, seq, .. }
                if *seq != snapshot.seq
                    && !self.still_selected(slot, selector, &letter.mail.event) =>
            {
                self.ignore(slot, letter, Reason::NoLongerMatches);
            }
            Trigger::Auto => match self.over_budget(&letter.mail.cause) {
                Some(why) => self.stop_auto(slot, letter, &why),
                None => return Some(letter),
            },
            Trigger::Event
            | Trigger::Selected { .. }
            | Trigger::Expecting(_)
            | Trigger::Deferred
            | Trigger::Due
            | Trigger::Timeout
            | Trigger::Create(_)
            | Trigger::Replay { .. }
            | Trigger::Terminate
            | Trigger::Delete
            | Trigger::Unstorable { .. } => return Some(letter),
        }
        None
    }

    /// Notes why an instance stays on an older version, or that it no longer does.
    fn hold_version(&mut self, slot: Slot, held: Option<Arc<str>>) {
        let known = self
            .instances
            .expect(slot)
            .snapshot
            .extra
            .as_ref()
            .is_some_and(|extra| extra.held.is_some());
        if held.is_some() || known {
            self.extra(slot).held = held;
        }
    }

    /// The transitions that an event may take, in the order in which they are tried.
    fn candidates(
        &self,
        slot: Slot,
        letter: &Letter,
        machine: &Machine,
        state: StateIdx,
        event: Option<EventIdx>,
    ) -> SmallVec<[TransitionIdx; 4]> {
        let snapshot = &self.instances.expect(slot).snapshot;
        let old = snapshot.machine();
        let by_itself = matches!(letter.errand.trigger, Trigger::Timeout | Trigger::Auto);
        let timer = |timer: &&Timer| by_itself && timer.id == letter.mail.event.id;
        let timer = snapshot.timers.iter().find(timer);
        match timer.map(|timer| &timer.kind) {
            Some(TimerKind::Timeout { transition, .. }) => {
                let wanted = old.transition(*transition);
                let same = |idx: &&TransitionIdx| {
                    let other = machine.transition(**idx);
                    machine.event(other.event) == old.event(wanted.event)
                        && same_delay(&other.kind, &wanted.kind)
                };
                // Several may have the same event and delay: then the place among these tells.
                let alike = |idx: &&TransitionIdx| {
                    let other = old.transition(**idx);
                    other.event == wanted.event && same_delay(&other.kind, &wanted.kind)
                };
                let before = old.state(snapshot.state).timeouts.iter();
                let before = before.take_while(|idx| *idx != transition).filter(alike);
                machine
                    .state(state)
                    .timeouts
                    .iter()
                    .filter(same)
                    .nth(before.count())
                    .copied()
                    .into_iter()
                    .collect()
            }
            Some(TimerKind::Auto { transition, .. }) => {
                let wanted = &old.transition(*transition).kind;
                let same = |idx: &TransitionIdx| same_delay(&machine.transition(*idx).kind, wanted);
                machine
                    .state(state)
                    .autos
                    .iter()
                    .copied()
                    .filter(same)
                    .collect()
            }
            None => event.map_or_else(SmallVec::new, |event| machine.candidates(state, event)),
        }
    }

    /// Goes on with an event until it needs a sandbox or is decided.
    pub(crate) fn go(&mut self, slot: Slot, mut attempt: Box<Attempt>, lease: Option<Lease>) {
        match attempt.advance() {
            Next::Ask {
                kind,
                method,
                target,
            } => {
                let lease = lease.unwrap_or_else(|| self.new_lease(slot));
                let call = self.call(slot, &attempt, kind, method, target);
                self.effects.push_back(Effect::Invoke {
                    lease,
                    call: Box::new(call),
                });
                self.busy(slot).running = Some(Running { lease, attempt });
            }
            Next::Done(decision) => self.decide(slot, attempt, lease, decision),
        }
    }

    /// A sandbox has answered.
    pub(crate) fn outcome(&mut self, lease: Lease, outcome: Outcome) {
        let Some(slot) = self.leases.get(&lease).copied() else {
            return;
        };
        let running = self
            .instances
            .expect_mut(slot)
            .busy
            .as_mut()
            .and_then(|busy| busy.running.take());
        let running = running.expect("a lease belongs to a running event");
        let mut attempt = running.attempt;
        match attempt.step.absorb(outcome) {
            Some(decision) => self.decide(slot, attempt, Some(lease), decision),
            None => self.go(slot, attempt, Some(lease)),
        }
        if self.instances.get(slot).is_some() {
            self.reschedule(slot);
        }
    }

    /// Carries out what an event came to, and gives its sandbox back.
    fn decide(
        &mut self,
        slot: Slot,
        attempt: Box<Attempt>,
        lease: Option<Lease>,
        decision: Decision,
    ) {
        let too_much = match &decision {
            Decision::Take { .. } => self.too_much_waits(slot, &attempt.step),
            Decision::Ignore(_) | Decision::Reject(_) | Decision::Fault(_) => None,
        };
        let decision = too_much.map_or(decision, Decision::Fault);
        if let Some(lease) = lease {
            self.leases.remove(&lease);
            let healthy = matches!(decision, Decision::Take { .. } | Decision::Ignore(_));
            self.effects.push_back(Effect::Release { lease, healthy });
        }
        let faulted =
            matches!(&decision, Decision::Fault(fault) if fault.code.counts_for_breaker());
        self.figures(slot).use_fuel(attempt.step.fuel);
        if let Decision::Fault(fault) = &decision {
            self.figures(slot).fault(fault.code);
        }
        if attempt.step.calls > 0 {
            self.count_for_breaker(slot, &attempt.deployment, faulted);
        }
        let deployment = faulted.then(|| Arc::clone(&attempt.deployment));
        self.count_faults(slot, matches!(decision, Decision::Fault(_)) && faulted);
        match decision {
            Decision::Take { transition, to } => self.apply(slot, attempt, transition, to),
            Decision::Ignore(reason) => self.ignored(slot, *attempt, reason),
            Decision::Reject(reason) => self.rejected(slot, *attempt, reason),
            Decision::Fault(fault) => self.faulted(slot, attempt, fault),
        }
        if let Some(deployment) = deployment {
            self.note_suspension(slot, &deployment);
        }
    }

    fn count_for_breaker(&mut self, slot: Slot, deployment: &Arc<Deployment>, faulted: bool) {
        let version = version_key(deployment);
        let change = self
            .breakers
            .count(version, slot, faulted, self.now, &self.limits);
        let until = match change {
            None => return,
            Some(Change::Suspended { until }) => Some(until),
            Some(Change::GoesOn) => None,
        };
        self.suspensions.note(deployment, None, until);
    }

    fn call(
        &self,
        slot: Slot,
        attempt: &Attempt,
        kind: MethodKind,
        method: MethodName,
        target: StateIdx,
    ) -> Call {
        let Attempt {
            deployment,
            step,
            letter,
        } = attempt;
        let snapshot = &self.instances.expect(slot).snapshot;
        Call {
            deployment: Arc::clone(deployment),
            kind,
            method,
            instance: snapshot.id.clone(),
            machine: step.machine,
            state: step.from.unwrap_or(target),
            target,
            context: step.context.clone(),
            created: snapshot.created,
            seq: snapshot.seq,
            event: letter.mail.event.clone(),
            attempt: letter.errand.attempts + 1,
            cause: letter.mail.cause.event.clone(),
            trace_parent: letter.mail.cause.trace_parent.clone(),
            sends: step.numbered_sends(),
        }
    }

    fn new_lease(&mut self, slot: Slot) -> Lease {
        self.last_lease += 1;
        let lease = Lease(self.last_lease);
        self.leases.insert(lease, slot);
        lease
    }

    /// What the instance is doing; made if it was idle.
    pub(crate) fn busy(&mut self, slot: Slot) -> &mut Busy {
        self.instances.expect_mut(slot).busy.get_or_insert_default()
    }

    /// An instance that faults too often in a row is left alone for a while.
    fn count_faults(&mut self, slot: Slot, faulted: bool) {
        let (limit, until) = (
            self.limits.faults_in_row_max,
            self.now.after(self.limits.suspend_for),
        );
        if !faulted {
            if let Some(busy) = self.instances.expect_mut(slot).busy.as_mut() {
                busy.faults_in_row = 0;
            }
            return;
        }
        if !self.limits.breaker {
            return;
        }
        let busy = self.busy(slot);
        busy.faults_in_row = busy.faults_in_row.saturating_add(1);
        if busy.faults_in_row >= limit {
            busy.blocked_until = Some(until);
            self.timers.set(until, slot);
        }
    }

    /// The event goes back to the front, and the instance waits.
    fn hold_back(&mut self, slot: Slot, letter: Letter, until: Timestamp) {
        if matches!(letter.errand.origin, Origin::Caller { .. }) {
            return self.refuse_suspended(letter, slot, until);
        }
        self.enqueue(slot, letter, Place::Next);
        let busy = self.busy(slot);
        busy.blocked_until = Some(until);
        self.timers.set(until, slot);
    }
}

/// What a breaker knows a version by.
pub(crate) fn version_key(deployment: &Arc<Deployment>) -> usize {
    Arc::as_ptr(deployment) as usize
}

impl Snapshot {
    /// Whether an event waited at the instance, deferred or to be tried again: once the instance
    /// has ended, it is parked.
    fn owes(&self, letter: &Letter) -> bool {
        let retry = self.extra.as_ref().and_then(|extra| extra.retry.as_ref());
        matches!(letter.errand.trigger, Trigger::Deferred)
            || retry.is_some_and(|retry| retry.mail.event.id == letter.mail.event.id)
    }
}

/// Whether the timer or deferred entry that an event came from is still there.
fn is_still_waiting(snapshot: &Snapshot, letter: &Letter) -> bool {
    let id = &letter.mail.event.id;
    let extra = snapshot.extra.as_ref();
    match letter.errand.trigger {
        Trigger::Timeout | Trigger::Auto => snapshot.timers.iter().any(|timer| timer.id == *id),
        Trigger::Due => snapshot.has_send(id),
        Trigger::Deferred => {
            extra.is_some_and(|extra| extra.deferred.iter().any(|mail| mail.event.id == *id))
        }
        Trigger::Event
        | Trigger::Selected { .. }
        | Trigger::Expecting(_)
        | Trigger::Create(_)
        | Trigger::Replay { .. }
        | Trigger::Terminate
        | Trigger::Delete
        | Trigger::Unstorable { .. } => true,
    }
}

fn may_be_deferred(trigger: &Trigger) -> bool {
    !matches!(
        trigger,
        Trigger::Timeout | Trigger::Auto | Trigger::Deferred | Trigger::Create(_)
    )
}

/// Whether two transitions fire by themselves after the same time.
pub(crate) fn same_delay(left: &TransitionKind, right: &TransitionKind) -> bool {
    match (left, right) {
        (TransitionKind::Auto { after: left }, TransitionKind::Auto { after: right })
        | (
            TransitionKind::Timeout { after: left, .. },
            TransitionKind::Timeout { after: right, .. },
        ) => left == right,
        _ => false,
    }
}
