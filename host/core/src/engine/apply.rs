//! A transition that was taken: the new state, its timers, what it sends, the record, the answer.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use thin_vec::ThinVec;

use crate::{
    call::{Event, Fault, Send, child_id},
    definition::{Machine, StateIdx, TransitionIdx, TransitionKind},
    effect::Reply,
    engine::{
        Engine,
        budget::{exhausted, paid},
        cascade::{caused_by, restarted, timeout_payload},
        instances::Slot,
        outgoing::{Sender, broadcast, creation, parent_of},
        run::{Place, same_delay},
        settle::settled_by,
        versions::{context_on, move_to},
    },
    id::{ComponentName, EventId, EventName, InstanceId, TenantId},
    instance::{After, Attempt, Errand, Letter, Origin, Trigger},
    json::Json,
    record::{
        AppendSeq, Delayed, Disposition, Extra, Handled, Mail, Outgoing, Snapshot, Status, Target,
        Timer, TimerKind,
    },
    time::{Duration, Timestamp},
};

/// What a transition does to its instance.
#[derive(Clone, Copy)]
struct Move {
    transition: Option<TransitionIdx>,
    to: StateIdx,
    internal: bool,
    /// Whether deadlines of the state go on: a self-loop with `resetOnTransition: false`.
    same_state: bool,
}

impl Engine {
    /// Carries out a transition (or a creation, without one).
    pub(crate) fn apply(
        &mut self,
        slot: Slot,
        mut attempt: Box<Attempt>,
        transition: Option<TransitionIdx>,
        to: StateIdx,
    ) {
        let taken = transition.map(|idx| &attempt.machine().transition(idx).kind);
        let moved = Move {
            transition,
            to,
            internal: matches!(taken, Some(TransitionKind::Internal)),
            same_state: attempt.step.from == Some(to),
        };
        self.enter(slot, &mut attempt, moved);
        self.commit(slot, attempt, moved, None);
    }

    /// A fault moves the instance to an error state, without asking its methods.
    pub(crate) fn fail_into(
        &mut self,
        slot: Slot,
        mut attempt: Box<Attempt>,
        fault: Fault,
        to: StateIdx,
    ) {
        let snapshot = &self.instances.expect(slot).snapshot;
        attempt.step.context = context_on(snapshot, &attempt.deployment, attempt.machine());
        attempt.step.sends.clear();
        let moved = Move {
            transition: None,
            to,
            internal: false,
            same_state: false,
        };
        self.enter(slot, &mut attempt, moved);
        self.commit(slot, attempt, moved, Some(fault));
    }

    /// The instance is in its new state: context, entry number, timers. The step keeps the context
    /// that it had.
    fn enter(&mut self, slot: Slot, attempt: &mut Attempt, moved: Move) {
        let now = self.now;
        let Attempt {
            deployment,
            step,
            letter,
        } = attempt;
        let snapshot = &mut self.instances.expect_mut(slot).snapshot;
        // A move comes first: the timer that fired is one of those that it matches.
        if !Arc::ptr_eq(&snapshot.deployment, deployment) {
            let from = step
                .from
                .expect("only an instance that exists is on an older version");
            move_to(snapshot, deployment, from);
        }
        self.forget_waiting(slot, letter);
        let machine = deployment.definition.machine(step.machine);
        let snapshot = &mut self.instances.expect_mut(slot).snapshot;
        std::mem::swap(&mut snapshot.context, &mut step.context);
        snapshot.state = moved.to;
        snapshot.seq += 1;
        snapshot.updated = now;
        snapshot.status = match machine.state(moved.to).kind {
            crate::definition::StateKind::Final => Status::Completed,
            crate::definition::StateKind::Error => Status::Error,
            crate::definition::StateKind::Entry | crate::definition::StateKind::Regular => {
                Status::Active
            }
        };
        if moved.internal {
            return;
        }
        snapshot.entry += 1;
        snapshot.entered = now;
        retain_timers(snapshot, machine, moved);
        if snapshot.status == Status::Active {
            arm(snapshot, machine, &letter.mail, now);
        }
    }

    /// Records the transition and sends what it sends.
    fn commit(&mut self, slot: Slot, attempt: Box<Attempt>, moved: Move, fault: Option<Fault>) {
        let (mut deliveries, mut own, mut cancels) = (Vec::new(), Vec::new(), ThinVec::new());
        let mut over = Vec::new();
        if has_effects(&attempt, moved, &self.instances.expect(slot).snapshot) {
            (deliveries, own, cancels) = self.deliveries(slot, &attempt, moved);
            let is_over = |outgoing: &mut Outgoing| exhausted(&outgoing.cause).is_some();
            over.extend(deliveries.extract_if(.., is_over));
            over.extend(own.extract_if(.., is_over));
        }
        let finished = self.instances.expect(slot).snapshot.status != Status::Active;
        if finished {
            self.finish(slot);
        }
        let Attempt { step, letter, .. } = *attempt;
        let Letter { mail, errand } = letter;
        let created = matches!(errand.trigger, Trigger::Create(_));
        let (after, waits) = self.recorded(slot);
        let is_found_elsewhere = created || finished || !after.context.same(&step.context);
        let handled = Handled {
            event: mail.event,
            sent_at: mail.sent_at,
            disposition: Disposition::Transitioned,
            reason: None,
            from: step.from.filter(|_| !created),
            to: moved.to,
            after,
            cause: mail.cause,
            deliveries: deliveries.iter().chain(&own).cloned().collect(),
            waits,
            fault: fault.map(Box::new),
            logs: step.logs.into(),
            fuel: step.fuel,
            attempts: errand.attempts + 1,
            parked: None,
            settles: settled_by(&errand.trigger).cloned(),
            cancels,
        };
        let (handled, seq) = self.append_handled(slot, &errand, handled);
        if is_found_elsewhere {
            self.instances.refresh(slot);
        }
        let tenant = handled.after.tenant().clone();
        let here: Vec<Outgoing> = deliveries
            .into_iter()
            .filter_map(|outgoing| self.send_out(&tenant, outgoing))
            .collect();
        for outgoing in own {
            self.send_to_self(slot, &tenant, outgoing, After::Here(seq));
        }
        self.answer(&errand, handled, seq);
        for outgoing in here {
            self.receive(&tenant, outgoing, After::Here(seq));
        }
        self.stop(&tenant, over, After::Here(seq));
        self.fire_due(slot);
        self.redeliver_deferred(slot);
    }

    /// An undelayed send to itself comes before events from outside, within the chain's budget.
    pub(crate) fn send_to_self(
        &mut self,
        slot: Slot,
        tenant: &TenantId,
        outgoing: Outgoing,
        after: After,
    ) {
        if let Some(why) = self.over_budget(&outgoing.cause) {
            return self.park_over_budget(tenant, outgoing, why, after);
        }
        let Outgoing { event, cause, .. } = outgoing;
        let mail = Mail {
            event,
            cause,
            sent_at: None,
        };
        self.post_own(slot, Letter::inside(mail, Trigger::Event, after));
    }

    fn answer(&mut self, errand: &Errand, handled: Arc<Handled>, seq: AppendSeq) {
        if let (Trigger::Create(_), Origin::Caller { ticket, .. }) =
            (&errand.trigger, errand.origin)
        {
            self.counters.count(handled.disposition);
            let instance = Box::new(handled.after.clone());
            return self.reply(
                ticket,
                Reply::Created {
                    instance,
                    existing: false,
                },
            );
        }
        self.answer_handled(errand, handled, seq);
    }

    /// What goes out, in the order of the rules: to the parent, to a child, across components, by
    /// cascading rules, by the methods' sends. What goes to the instance itself is apart.
    fn deliveries(
        &mut self,
        slot: Slot,
        attempt: &Attempt,
        moved: Move,
    ) -> (Vec<Outgoing>, Vec<Outgoing>, ThinVec<EventId>) {
        let now = self.now;
        let (step, letter, machine) = (&attempt.step, &attempt.letter, attempt.machine());
        let transition = moved.transition.map(|idx| machine.transition(idx));
        let snapshot = &self.instances.expect(slot).snapshot;
        let mut sender = Sender::new(snapshot, &letter.mail, step.numbered_sends(), now);
        if let Some(from) = step.from {
            sender.notify_parent(machine, transition, from, moved.to, moved.internal);
        }
        if let Some(transition) = transition {
            sender.across(&transition.kind);
        }
        if !moved.internal {
            sender.cascades(machine.state(moved.to));
        }
        let (mut deliveries, mut own, mut delayed, mut cancelled) =
            (sender.out, Vec::new(), Vec::new(), Vec::new());
        let mut n = 0;
        for send in &step.sends {
            if let Send::Cancel { id } = send {
                cancelled.push(id.clone());
                continue;
            }
            n += 1;
            let outgoing = outgoing_of(snapshot, &letter.mail, n, send, now);
            match (delay_of(send), send) {
                (Some(delay), _) => delayed.push((now.after(delay), outgoing)),
                (None, Send::ToSelf { .. }) => own.push(outgoing),
                (None, _) => deliveries.push(outgoing),
            }
        }
        deliveries.retain(|outgoing| !cancelled.contains(&outgoing.event.id));
        own.retain(|outgoing| !cancelled.contains(&outgoing.event.id));
        delayed.retain(|(_, outgoing)| !cancelled.contains(&outgoing.event.id));
        let count = u32::try_from(deliveries.len() + own.len())
            .unwrap_or(u32::MAX)
            .max(1);
        for outgoing in deliveries.iter_mut().chain(&mut own) {
            let share = letter.mail.cause.credits / count;
            outgoing.cause.credits = paid(share, outgoing.event.payload.len());
        }
        let tenant = self.instances.expect(slot).snapshot.tenant().clone();
        for outgoing in &mut deliveries {
            self.aim(&tenant, outgoing);
        }
        let taken_back = self.cancel(slot, &cancelled);
        self.delay(slot, delayed);
        (deliveries, own, taken_back)
    }

    /// Takes own sends back that have not been handled yet, and says which of them waited in the
    /// mailbox.
    fn cancel(&mut self, slot: Slot, ids: &[EventId]) -> ThinVec<EventId> {
        let mut taken_back = ThinVec::new();
        if ids.is_empty() {
            return taken_back;
        }
        let instance = self.instances.expect_mut(slot);
        let stays = |delayed: &Delayed| !ids.contains(&delayed.outgoing.event.id);
        Extra::retain_sends(&mut instance.snapshot.extra, stays);
        let Some(busy) = &mut instance.busy else {
            return taken_back;
        };
        let own = instance.snapshot.id.clone();
        let mut stays = |letter: &Letter| {
            let id = &letter.mail.event.id;
            let cancelled = ids.contains(id) && letter.mail.cause.instance.as_ref() == Some(&own);
            taken_back.extend(cancelled.then(|| id.clone()));
            !cancelled
        };
        busy.own.retain(&mut stays);
        busy.mailbox.retain(&mut stays);
        taken_back
    }

    fn delay(&mut self, slot: Slot, delayed: Vec<(Timestamp, Outgoing)>) {
        if delayed.is_empty() {
            return;
        }
        let sends = &mut self.extra(slot).sends;
        // Each id waits once.
        let ids: HashSet<EventId, FixedState> = delayed
            .iter()
            .map(|(_, outgoing)| outgoing.event.id.clone())
            .collect();
        sends.retain(|delayed| !ids.contains(&delayed.outgoing.event.id));
        sends.extend(delayed.into_iter().map(|(due, mut outgoing)| {
            outgoing.cause = restarted(outgoing.cause);
            Delayed {
                due,
                outgoing: Arc::new(outgoing),
                fired: false,
            }
        }));
    }

    /// The instance has ended: what it was waiting for is void, except what it owes to others. What
    /// it deferred is parked next.
    pub(crate) fn finish(&mut self, slot: Slot) {
        let instance = self.instances.expect_mut(slot);
        let snapshot = &mut instance.snapshot;
        let own = snapshot.id.clone();
        if let Some(busy) = &mut instance.busy {
            busy.faults_in_row = 0;
            busy.blocked_until = None;
        }
        snapshot.timers.clear();
        Extra::retain_sends(&mut snapshot.extra, |delayed| !delayed.is_to(&own));
        if let Some(extra) = &mut snapshot.extra
            && (extra.retry.is_some() || extra.held.is_some())
        {
            let extra = Arc::make_mut(extra);
            extra.retry = None;
            extra.held = None;
        }
    }

    /// Deferred events that the new state handles come before everything in the mailbox; when
    /// there is no more state to come, all of them.
    pub(crate) fn redeliver_deferred(&mut self, slot: Slot) {
        let snapshot = &self.instances.expect(slot).snapshot;
        let Some(extra) = &snapshot.extra else { return };
        let (machine, state) = (snapshot.machine(), snapshot.state);
        let has_ended = snapshot.status != Status::Active;
        let handles = |mail: &&Arc<Mail>| {
            has_ended
                || machine
                    .find_event(mail.event.name.as_str())
                    .is_some_and(|event| machine.handles(state, event))
        };
        let retried = extra.retry.as_ref().map(|retry| &retry.mail.event.id);
        let due: Vec<Arc<Mail>> = extra
            .deferred
            .iter()
            .filter(handles)
            .filter(|mail| retried != Some(&mail.event.id))
            .cloned()
            .collect();
        for mail in due.into_iter().rev() {
            let is_it = |letter: &Letter| letter.mail.event.id == mail.event.id;
            if !self.busy(slot).mailbox.iter().any(is_it) {
                let mail = Mail::clone(&mail);
                let letter = Letter::inside(mail, Trigger::Deferred, After::Nothing);
                self.enqueue(slot, letter, Place::First);
            }
        }
        self.reschedule(slot);
    }
}

/// Whether a transition sends anything at all; nearly always it does not.
fn has_effects(attempt: &Attempt, moved: Move, snapshot: &Snapshot) -> bool {
    let machine = attempt.machine();
    let kind_sends = moved.transition.is_some_and(|idx| {
        matches!(
            machine.transition(idx).kind,
            TransitionKind::InterMachine { .. }
                | TransitionKind::CreateAcross { .. }
                | TransitionKind::SendAcross { .. }
        )
    });
    let cascades = !moved.internal && !machine.state(moved.to).cascades.is_empty();
    !attempt.step.sends.is_empty() || kind_sends || cascades || snapshot.parent.is_some()
}

/// Timers of the state that was left are void; on a self-loop those go on that say so.
fn retain_timers(snapshot: &mut Snapshot, machine: &Machine, moved: Move) {
    let entry = snapshot.entry;
    snapshot.timers.retain_mut(|timer| match &mut timer.kind {
        TimerKind::Auto { .. } => false,
        TimerKind::Timeout {
            transition,
            entry: armed,
        } => {
            let goes_on = moved.same_state
                && matches!(
                    machine.transition(*transition).kind,
                    TransitionKind::Timeout { reset: false, .. }
                );
            *armed = entry;
            goes_on
        }
    });
}

/// Arms the timers of the state that was entered. `auto` transitions without a delay are timers
/// that are due at once.
fn arm(snapshot: &mut Snapshot, machine: &Machine, mail: &Mail, now: Timestamp) {
    let state = machine.state(snapshot.state);
    if state.autos.is_empty() && state.timeouts.is_empty() {
        return;
    }
    let mut n = 0;
    let mut set = |timers: &mut ThinVec<Timer>, after: Duration, kind: TimerKind| {
        n += 1;
        let cause = caused_by(mail, &snapshot.id, mail.cause.credits);
        let cause = if after == Duration::ZERO {
            cause
        } else {
            restarted(cause)
        };
        timers.push(Timer {
            due: now.after(after),
            kind,
            id: mail.event.id.timer(n),
            cause,
            fired: false,
        });
    };
    let entry = snapshot.entry;
    let mut timers = std::mem::take(&mut snapshot.timers);
    for (position, idx) in state.autos.iter().enumerate() {
        let TransitionKind::Auto { after } = machine.transition(*idx).kind else {
            continue;
        };
        let earlier = &state.autos[..position];
        if !earlier.iter().any(|other| {
            same_delay(
                &machine.transition(*other).kind,
                &machine.transition(*idx).kind,
            )
        }) {
            set(
                &mut timers,
                after,
                TimerKind::Auto {
                    transition: *idx,
                    entry,
                },
            );
        }
    }
    for idx in &state.timeouts {
        let TransitionKind::Timeout { after, .. } = machine.transition(*idx).kind else {
            continue;
        };
        let goes_on = |timer: &Timer| matches!(timer.kind, TimerKind::Timeout { transition, .. } if transition == *idx);
        if !timers.iter().any(goes_on) {
            set(
                &mut timers,
                after,
                TimerKind::Timeout {
                    transition: *idx,
                    entry,
                },
            );
        }
    }
    snapshot.timers = timers;
}

/// The event of a deadline.
pub(crate) fn timer_mail(snapshot: &Snapshot, timer: &Timer, now: Timestamp) -> Mail {
    let machine = snapshot.machine();
    let (transition, payload) = match &timer.kind {
        TimerKind::Timeout { transition, .. } => (*transition, timeout_payload()),
        TimerKind::Auto { transition, .. } => (*transition, Json::empty()),
    };
    let name = machine.event(machine.transition(transition).event).clone();
    let event = Event {
        id: timer.id.clone(),
        name,
        payload,
        at: now,
    };
    Mail {
        event,
        cause: timer.cause.clone(),
        sent_at: None,
    }
}

/// How long a send waits, if it does.
pub(crate) fn delay_of(send: &Send) -> Option<Duration> {
    match send {
        Send::ToSelf { delay, .. }
        | Send::ToInstance { delay, .. }
        | Send::Broadcast { delay, .. } => *delay,
        Send::Create { .. } | Send::Cancel { .. } => None,
    }
}

/// A guest's send as something that goes out.
fn outgoing_of(snapshot: &Snapshot, mail: &Mail, n: u32, send: &Send, now: Timestamp) -> Outgoing {
    let own = snapshot.component();
    let component = |named: &Option<ComponentName>| named.as_ref().unwrap_or(own).clone();
    let named = |name: &EventName, payload: &Json| Event {
        id: mail.event.id.derive(n),
        name: name.clone(),
        payload: payload.clone(),
        at: now,
    };
    let to_instance = |component: ComponentName, id: &InstanceId| Target::Instance {
        component,
        id: id.clone(),
    };
    let (to, event) = match send {
        Send::ToSelf { event, payload, .. } => (
            to_instance(own.clone(), &snapshot.id),
            named(event, payload),
        ),
        Send::ToInstance {
            component: other,
            instance,
            event,
            payload,
            ..
        } => (
            to_instance(component(other), instance),
            named(event, payload),
        ),
        Send::Broadcast {
            component: other,
            machine,
            state,
            event,
            payload,
            ..
        } => (
            broadcast(component(other), machine.clone(), state.clone()),
            named(event, payload),
        ),
        Send::Create {
            component: other,
            machine,
            context,
        } => {
            let definition = &snapshot.deployment.definition;
            let to = Target::Create {
                component: component(other),
                machine: Some(machine.clone()),
                id: child_id(definition, &snapshot.id, &mail.event.id, n, context),
                parent: Some(Box::new(parent_of(snapshot))),
            };
            (to, creation(&mail.event.id, n, context.clone(), now))
        }
        Send::Cancel { .. } => unreachable!("cancellations send nothing"),
    };
    Outgoing {
        n,
        to,
        event,
        cause: caused_by(mail, &snapshot.id, 0),
        elsewhere: false,
    }
}
