//! Everything an event can come to other than a transition: ignored, rejected, deferred, tried
//! again, parked. Each is recorded and answered.

use std::sync::Arc;

use thin_vec::ThinVec;

use crate::{
    call::{Fault, LogLine},
    definition::OnFault,
    effect::{HandledReply, Refused, Reply},
    engine::{
        Engine,
        budget::chain_text,
        instances::Slot,
        repeats::{Answer, Key},
        run::version_key,
    },
    id::{EventId, InstanceId, TenantId},
    input::Ticket,
    instance::{Attempt, Errand, Letter, Origin, Trigger, step::Step},
    record::{
        AppendSeq, Body, DeadLetter, Disposition, Handled, Mail, Outgoing, Parked, Reason, Retry,
        Target,
    },
    time::{Duration, Timestamp},
};

/// What methods left behind.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// Lines they wrote.
    pub(crate) logs: Vec<LogLine>,
    /// Work they did.
    pub(crate) fuel: u64,
}

impl Traces {
    /// Those of a step.
    pub(crate) fn of(step: Step) -> Self {
        Self {
            logs: step.logs,
            fuel: step.fuel,
        }
    }
}

/// What an event came to.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// In one word.
    pub(crate) disposition: Disposition,
    /// Why it was ignored or rejected.
    pub(crate) reason: Option<Reason>,
    /// What went wrong.
    pub(crate) fault: Option<Fault>,
}

impl From<Disposition> for Verdict {
    fn from(disposition: Disposition) -> Self {
        Self {
            disposition,
            reason: None,
            fault: None,
        }
    }
}

impl Verdict {
    fn because(disposition: Disposition, reason: Reason) -> Self {
        Self {
            reason: Some(reason),
            ..Self::from(disposition)
        }
    }
}

impl Engine {
    /// An event no method was asked about is ignored.
    pub(crate) fn ignore(&mut self, slot: Slot, letter: Letter, reason: Reason) {
        self.settle(
            slot,
            letter,
            Verdict::because(Disposition::Ignored, reason),
            Traces::default(),
        );
    }

    /// An event no method was asked about is rejected.
    pub(crate) fn reject(&mut self, slot: Slot, letter: Letter, reason: Reason) {
        self.settle(
            slot,
            letter,
            Verdict::because(Disposition::Rejected, reason),
            Traces::default(),
        );
    }

    /// No transition applied.
    pub(crate) fn ignored(&mut self, slot: Slot, attempt: Attempt, reason: Reason) {
        let Attempt { letter, step, .. } = attempt;
        let reason = if matches!(letter.errand.trigger, Trigger::Auto) {
            Reason::NoAutoPassed
        } else {
            reason
        };
        self.settle(
            slot,
            letter,
            Verdict::because(Disposition::Ignored, reason),
            Traces::of(step),
        );
    }

    /// A method or the schema said no.
    pub(crate) fn rejected(&mut self, slot: Slot, attempt: Attempt, reason: Reason) {
        let Attempt { letter, step, .. } = attempt;
        if matches!(letter.errand.trigger, Trigger::Create(_)) {
            let refused = match reason {
                Reason::Schema(violations) => Refused::Schema(violations),
                Reason::Refused(refusal) => Refused::Refusal(refusal),
                Reason::NoTransition
                | Reason::NothingMatched(_)
                | Reason::NoLongerMatches
                | Reason::NoAutoPassed
                | Reason::Finished
                | Reason::UnexpectedState(_)
                | Reason::Exists => Refused::NotCommitted,
            };
            return self.miscarry(slot, letter, refused);
        }
        if is_deadline(&letter.errand.trigger)
            && let Some(why) = Parked::of_rejection(&reason)
        {
            // Nobody waits for the answer, and the timer does not come again.
            let verdict = Verdict::because(Disposition::DeadLettered, reason);
            return self.settle_or_park(slot, letter, verdict, Traces::of(step), Some(why));
        }
        self.settle(
            slot,
            letter,
            Verdict::because(Disposition::Rejected, reason),
            Traces::of(step),
        );
    }

    /// A fault: tried again, parked, or the end, as the definition says.
    pub(crate) fn faulted(&mut self, slot: Slot, attempt: Box<Attempt>, fault: Fault) {
        if matches!(attempt.letter.errand.trigger, Trigger::Create(_)) {
            return self.miscarry(slot, attempt.letter, Refused::Fault(fault));
        }
        let attempts = attempt.letter.errand.attempts;
        match attempt.machine().on_fault {
            OnFault::Retry { max, backoff } if attempts < max => {
                let factor = 1_u64 << attempts.min(20);
                let at = self.now.after(Duration(backoff.0.saturating_mul(factor)));
                let Attempt { letter, step, .. } = *attempt;
                self.retry(slot, letter, fault, at, Traces::of(step));
            }
            OnFault::Goto(state) => self.fail_into(slot, attempt, fault, state),
            OnFault::Keep | OnFault::Retry { .. } => {
                let Attempt { letter, step, .. } = *attempt;
                let verdict = Verdict {
                    fault: Some(fault),
                    ..Verdict::from(Disposition::DeadLettered)
                };
                self.settle(slot, letter, verdict, Traces::of(step));
            }
        }
    }

    /// Keeps an event for a later state.
    pub(crate) fn defer(&mut self, slot: Slot, letter: Letter) {
        let id = &letter.mail.event.id;
        if !self.may_defer(slot, &letter.mail) {
            let extra = &self.instances.expect(slot).snapshot.extra;
            if extra.as_ref().is_some_and(|extra| extra.holds(id)) {
                // What it waited for is over; else it would be due again at each start.
                let verdict = Verdict::from(Disposition::DeadLettered);
                let parked = Some(Parked::Overload);
                return self.settle_or_park(slot, letter, verdict, Traces::default(), parked);
            }
            return self.refuse_letter(slot, letter);
        }
        let extra = self.extra(slot);
        extra
            .sends
            .retain(|delayed| delayed.outgoing.event.id != *id);
        extra.retry.take_if(|retry| retry.mail.event.id == *id);
        // Each id waits once.
        if !extra.deferred.iter().any(|mail| mail.event.id == *id) {
            extra.deferred.push(Arc::new(letter.mail.clone()));
        }
        let verdict = Verdict::from(Disposition::Deferred);
        self.settle(slot, letter, verdict, Traces::default());
    }

    fn retry(&mut self, slot: Slot, letter: Letter, fault: Fault, at: Timestamp, traces: Traces) {
        let retry = Retry {
            mail: letter.mail.clone(),
            at,
            attempts: letter.errand.attempts + 1,
            replays: settled_by(&letter.errand.trigger).cloned(),
        };
        self.extra(slot).retry = Some(Arc::new(retry));
        self.busy(slot).blocked_until = Some(at);
        self.timers.set(at, slot);
        let verdict = Verdict {
            fault: Some(fault),
            ..Verdict::from(Disposition::Retrying)
        };
        self.settle(slot, letter, verdict, traces);
    }

    /// Records what an event came to, the instance's state unchanged, and answers.
    pub(crate) fn settle(&mut self, slot: Slot, letter: Letter, verdict: Verdict, traces: Traces) {
        let parked = verdict.fault.clone().map(Parked::Fault);
        let parked = parked.filter(|_| verdict.disposition == Disposition::DeadLettered);
        self.settle_or_park(slot, letter, verdict, traces, parked);
    }

    /// An `auto` event whose chain of causes may not go on.
    pub(crate) fn stop_auto(&mut self, slot: Slot, letter: Letter, why: &str) {
        let text = format!("{why}: {}", chain_text(&letter.mail.cause));
        let parked = Some(Parked::CascadeBudget(text.into()));
        let verdict = Verdict::from(Disposition::DeadLettered);
        self.settle_or_park(slot, letter, verdict, Traces::default(), parked);
    }

    /// The instance has ended, and no state will handle what it deferred.
    pub(crate) fn park_deferred(&mut self, slot: Slot, letter: Letter) {
        let verdict = Verdict::from(Disposition::DeadLettered);
        let parked = Some(Parked::InstanceFinished);
        self.settle_or_park(slot, letter, verdict, Traces::default(), parked);
    }

    /// The same, parked with a reason or not.
    pub(crate) fn settle_or_park(
        &mut self,
        slot: Slot,
        letter: Letter,
        verdict: Verdict,
        traces: Traces,
        parked: Option<Parked>,
    ) {
        let finished = !matches!(
            verdict.disposition,
            Disposition::Retrying | Disposition::Deferred
        );
        if finished {
            self.forget_waiting(slot, &letter);
        }
        let parked = parked.map(|why| Arc::new(self.dead_letter(slot, &letter, why)));
        self.instances.expect_mut(slot).snapshot.seq += 1;
        let (after, waits) = self.recorded(slot);
        let Letter { mail, errand } = letter;
        let handled = Handled {
            event: mail.event,
            sent_at: mail.sent_at,
            disposition: verdict.disposition,
            reason: verdict.reason.map(Box::new),
            from: Some(after.state),
            to: after.state,
            after,
            cause: mail.cause,
            deliveries: ThinVec::new(),
            waits,
            fault: verdict.fault.map(Box::new),
            logs: traces.logs.into(),
            fuel: traces.fuel,
            attempts: errand.attempts + 1,
            parked,
            settles: settled_by(&errand.trigger)
                .filter(|_| verdict.disposition != Disposition::DeadLettered)
                .cloned(),
            cancels: ThinVec::new(),
        };
        let (handled, seq) = self.append_handled(slot, &errand, handled);
        self.answer_handled(&errand, handled, seq);
    }

    /// Appends the record of an event.
    pub(crate) fn append_handled(
        &mut self,
        slot: Slot,
        errand: &Errand,
        handled: Handled,
    ) -> (Arc<Handled>, AppendSeq) {
        let figures = self.figures(slot);
        figures.event(handled.disposition, 1);
        if let Some(letter) = &handled.parked {
            figures.park(&letter.why);
        }
        let source = self.source_of(errand, &handled);
        let handled = Arc::new(handled);
        let seq = self.append_about(slot, Body::Handled(Arc::clone(&handled)), source);
        (handled, seq)
    }

    /// Answers whoever waits for an event.
    pub(crate) fn answer_handled(
        &mut self,
        errand: &Errand,
        handled: Arc<Handled>,
        seq: AppendSeq,
    ) {
        self.counters.count(handled.disposition);
        if let Origin::Tally(tally) = errand.origin {
            return self.tally_settled(tally, handled.disposition);
        }
        let key = may_be_remembered(errand)
            .then(|| repeat_key(errand, &handled))
            .flatten();
        let first = settled_by(&errand.trigger).map(|of| {
            let (tenant, id) = (handled.after.tenant(), &handled.after.id);
            (tenant.clone(), Some(id.clone()), of.clone())
        });
        for key in key.into_iter().chain(first) {
            if self.repeats.knows(&key) {
                self.answer_repeats(&key, &handled, seq);
            }
        }
        if let Origin::Caller { ticket, .. } = errand.origin {
            let replayed = false;
            self.reply(ticket, Reply::Handled(HandledReply { handled, replayed }));
        }
    }

    /// Answers those who repeated an event while it was running, and remembers which record has the
    /// answer.
    pub(crate) fn answer_repeats(&mut self, key: &Key, handled: &Arc<Handled>, seq: AppendSeq) {
        let again = Reply::Handled(HandledReply {
            handled: Arc::clone(handled),
            replayed: true,
        });
        let tickets = if is_remembered(&key.2, handled) {
            self.repeats.answered(key, Answer::Record(seq))
        } else {
            self.repeats.forget(key)
        };
        for ticket in tickets {
            self.reply(ticket, again.clone());
        }
    }

    /// The timer, deferred entry or retry that an event came from is used up.
    pub(crate) fn forget_waiting(&mut self, slot: Slot, letter: &Letter) {
        let snapshot = &mut self.instances.expect_mut(slot).snapshot;
        let id = &letter.mail.event.id;
        if matches!(
            letter.errand.trigger,
            Trigger::Timeout | Trigger::Auto | Trigger::Unstorable { .. }
        ) {
            snapshot.timers.retain(|timer| timer.id != *id);
        }
        let Some(shared) = snapshot.extra.as_mut().filter(|extra| extra.holds(id)) else {
            return;
        };
        let extra = Arc::make_mut(shared);
        if matches!(
            letter.errand.trigger,
            Trigger::Due | Trigger::Unstorable { .. }
        ) {
            extra
                .sends
                .retain(|delayed| delayed.outgoing.event.id != *id);
        }
        if matches!(
            letter.errand.trigger,
            Trigger::Deferred | Trigger::Unstorable { .. }
        ) {
            extra.deferred.retain(|mail| mail.event.id != *id);
        }
        extra.retry.take_if(|retry| retry.mail.event.id == *id);
    }

    /// An event that the mailbox has no room for.
    pub(crate) fn refuse_letter(&mut self, slot: Slot, letter: Letter) {
        match letter.errand.origin {
            Origin::Caller { ticket, .. } => {
                let snapshot = &self.instances.expect(slot).snapshot;
                let key = letter.repeat_key(snapshot.tenant(), &snapshot.id);
                let refused = Refused::Busy("too many events wait at this instance".into());
                self.refuse_all(ticket, key, refused);
            }
            Origin::Tally(_) | Origin::Inside => {
                let snapshot = &self.instances.expect(slot).snapshot;
                let suspended = self
                    .breakers
                    .open_until(version_key(&snapshot.deployment), self.now)
                    .is_some();
                let why = if suspended {
                    Parked::ComponentSuspended
                } else {
                    Parked::Overload
                };
                let (tenant, component, id) = (
                    snapshot.tenant().clone(),
                    snapshot.component().clone(),
                    snapshot.id.clone(),
                );
                let Mail { event, cause, .. } = letter.mail;
                let Errand { origin, after, .. } = letter.errand;
                let to = Target::Instance { component, id };
                let outgoing = Outgoing::underway(to, event, cause);
                self.park_from(&tenant, outgoing, why, origin, after);
                if let Origin::Tally(tally) = origin {
                    self.tally_settled(tally, Disposition::DeadLettered);
                }
            }
        }
    }

    /// An event from outside for an instance whose component is left alone.
    pub(crate) fn refuse_suspended(&mut self, letter: Letter, slot: Slot, until: Timestamp) {
        let Origin::Caller { ticket, .. } = letter.errand.origin else {
            return;
        };
        let snapshot = &self.instances.expect(slot).snapshot;
        let key = letter.repeat_key(snapshot.tenant(), &snapshot.id);
        self.refuse_all(ticket, key, Refused::ComponentSuspended { until });
    }

    /// Refuses a caller and whoever waits for the same answer.
    pub(crate) fn refuse_all(
        &mut self,
        ticket: impl Into<Option<Ticket>>,
        key: Option<Key>,
        refused: Refused,
    ) {
        let waiting = key.map(|key| self.repeats.forget(&key)).unwrap_or_default();
        for ticket in waiting.into_iter().chain(ticket.into()) {
            self.reply(ticket, Reply::Refused(refused.clone()));
        }
    }

    fn dead_letter(&self, slot: Slot, letter: &Letter, why: Parked) -> DeadLetter {
        let snapshot = &self.instances.expect(slot).snapshot;
        let mut event = letter.mail.event.clone();
        if let Some(of) = settled_by(&letter.errand.trigger) {
            event.id = of.clone();
        }
        DeadLetter {
            event,
            tenant: snapshot.tenant().clone(),
            component: snapshot.component().clone(),
            version: Some(
                self.version_for(snapshot)
                    .deployment
                    .definition
                    .version
                    .clone(),
            ),
            machine: Some(snapshot.machine().name.clone()),
            instance: Some(snapshot.id.clone()),
            why,
            cause: letter.mail.cause.clone(),
            attempts: letter.errand.attempts + 1,
            to: None,
            at: self.now,
        }
    }
}

/// Whether an event is a deadline of the instance itself.
fn is_deadline(trigger: &Trigger) -> bool {
    matches!(trigger, Trigger::Timeout | Trigger::Auto | Trigger::Due)
}

/// Whether an event may be one that a caller gave an id.
pub(crate) fn may_be_remembered(errand: &Errand) -> bool {
    matches!(errand.origin, Origin::Caller { remember: true, .. })
        || errand.attempts > 0
        || matches!(
            errand.trigger,
            Trigger::Deferred | Trigger::Replay { .. } | Trigger::Unstorable { .. }
        )
}

/// Whether a repetition of an event gets the same answer, rather than another try. What became of
/// a dead letter's replay is the answer to the letter's own id, whatever it was.
pub(crate) fn is_remembered(event: &EventId, handled: &Handled) -> bool {
    if handled.event.id != *event {
        return true;
    }
    match handled.disposition {
        Disposition::Transitioned
        | Disposition::Ignored
        | Disposition::Deferred
        | Disposition::Retrying
        | Disposition::DeadLettered => true,
        Disposition::Rejected => {
            let reason = handled.reason.as_deref();
            matches!(reason, Some(Reason::Refused(_) | Reason::Schema(_)))
        }
    }
}

/// The key under which the answer to an event is remembered, if any.
pub(crate) fn repeat_key(errand: &Errand, handled: &Handled) -> Option<Key> {
    let after = &handled.after;
    errand.repeat_key(after.tenant(), &after.id, &handled.event.id)
}

impl Letter {
    /// The key under which the answer is remembered, if any.
    pub(crate) fn repeat_key(&self, tenant: &TenantId, instance: &InstanceId) -> Option<Key> {
        self.errand
            .repeat_key(tenant, instance, &self.mail.event.id)
    }
}

impl Errand {
    fn repeat_key(&self, tenant: &TenantId, instance: &InstanceId, event: &EventId) -> Option<Key> {
        let creates = matches!(self.trigger, Trigger::Create(_));
        (!creates).then(|| (tenant.clone(), Some(instance.clone()), event.clone()))
    }
}

/// The dead letter that a letter is the replay of.
pub(crate) fn settled_by(trigger: &Trigger) -> Option<&EventId> {
    match trigger {
        Trigger::Replay { of } => Some(of),
        Trigger::Unstorable { of, .. } => of.as_ref(),
        Trigger::Event
        | Trigger::Selected { .. }
        | Trigger::Expecting(_)
        | Trigger::Deferred
        | Trigger::Due
        | Trigger::Timeout
        | Trigger::Auto
        | Trigger::Terminate
        | Trigger::Delete
        | Trigger::Create(_) => None,
    }
}
