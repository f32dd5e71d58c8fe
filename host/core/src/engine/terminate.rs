//! Instances that an operator ends: no guest is asked, and nothing that blocks the instance is
//! waited for.

use std::sync::Arc;

use serde_json::json;
use thin_vec::ThinVec;

use crate::{
    call::Event,
    effect::{Refused, Reply},
    engine::{Engine, instances::Slot, intake::retried_trigger, run::Place},
    id::{EventName, TenantId},
    input::{Terminate, Ticket},
    instance::{After, Errand, Letter, Origin, Trigger},
    json::Json,
    record::{Cause, Disposition, Handled, Mail, Status},
};

/// The name of the event that ends an instance on an operator's request. Its payload has the
/// `reason`, if one was given.
pub const TERMINATED: &str = "$terminated";

impl Engine {
    /// An operator ends an instance.
    pub(crate) fn request_termination(
        &mut self,
        ticket: Ticket,
        tenant: &TenantId,
        terminate: Terminate,
    ) {
        let payload = match terminate.reason {
            Some(reason) => Json::from_value(&json!({ "reason": &*reason })),
            None => Json::empty(),
        };
        let letter = self.letter_of_operator(ticket, TERMINATED, payload, terminate.trace_parent);
        let letter = letter.triggering(Trigger::Terminate);
        self.deliver(tenant, terminate.instance, letter);
    }

    /// The event with which an operator changes an instance.
    pub(crate) fn letter_of_operator(
        &mut self,
        ticket: Ticket,
        name: &str,
        payload: Json,
        trace_parent: Option<Arc<str>>,
    ) -> Letter {
        let id = self.mint();
        let mail = Mail {
            cause: Cause::outside(&id, trace_parent),
            event: Event {
                id,
                name: EventName::new(name),
                payload,
                at: self.now,
            },
            sent_at: None,
        };
        let origin = Origin::Caller {
            ticket,
            remember: false,
        };
        Letter::new(mail, origin, After::Nothing)
    }

    /// The request comes before everything that waits at the instance, behind what is being done.
    /// An instance whose creation is not over yet gets it in turn.
    pub(crate) fn be_told_to_end(&mut self, slot: Slot, letter: Letter) {
        // A full mailbox is no reason to refuse the end, but many requests for it are.
        let max = self.limits.mailbox_max;
        let busy = self.instances.expect(slot).busy.as_ref();
        if busy.is_some_and(|busy| busy.own.len() >= max) {
            return self.refuse_letter(slot, letter);
        }
        let is_born = self.instances.expect(slot).snapshot.seq > 0;
        let place = if is_born { Place::Next } else { Place::Last };
        self.enqueue(slot, letter, place);
        self.reschedule(slot);
    }

    /// Ends the instance in the state that it is in.
    pub(crate) fn terminate(&mut self, slot: Slot, letter: Letter) {
        let snapshot = &self.instances.expect(slot).snapshot;
        match snapshot.status {
            Status::Active => self.end_now(slot, letter),
            Status::Terminated => self.answer_operator(slot, &letter.errand),
            Status::Completed | Status::Error => {
                let refused = Refused::InstanceFinished(snapshot.id.clone());
                self.refuse_all(letter.errand.origin.ticket(), None, refused);
            }
            Status::Deleted => self.is_gone(slot, letter),
        }
    }

    fn end_now(&mut self, slot: Slot, letter: Letter) {
        let now = self.now;
        let snapshot = &mut self.instances.expect_mut(slot).snapshot;
        snapshot.status = Status::Terminated;
        snapshot.seq += 1;
        snapshot.updated = now;
        let retry = snapshot.extra.as_ref();
        let retry = retry.and_then(|extra| extra.retry.clone());
        self.finish(slot);
        if retry.is_some() {
            // It is owed until it is parked, one record later.
            self.extra(slot).retry.clone_from(&retry);
        }
        self.done_by_operator(slot, letter);
        self.fire_due(slot);
        if let Some(retry) = retry {
            // It is not the event of a deadline any more: deadlines are void.
            let trigger = retried_trigger(&self.instances.expect(slot).snapshot, &retry);
            let is_another = |letter: &Letter| letter.mail.event.id != retry.mail.event.id;
            self.busy(slot).own.retain(is_another);
            let letter = Letter::inside(retry.mail.clone(), trigger, After::Nothing);
            self.enqueue(slot, letter.attempted(retry.attempts), Place::Next);
        }
        self.redeliver_deferred(slot);
    }

    /// Records and answers what an operator did with an instance. Its state is the same as before.
    pub(crate) fn done_by_operator(&mut self, slot: Slot, letter: Letter) {
        let (after, waits) = self.recorded(slot);
        let Letter { mail, errand } = letter;
        let handled = Handled {
            event: mail.event,
            sent_at: mail.sent_at,
            disposition: Disposition::Transitioned,
            reason: None,
            from: Some(after.state),
            to: after.state,
            after,
            cause: mail.cause,
            deliveries: ThinVec::new(),
            waits,
            fault: None,
            logs: ThinVec::new(),
            fuel: 0,
            attempts: errand.attempts + 1,
            parked: None,
            settles: None,
            cancels: ThinVec::new(),
        };
        let (handled, _) = self.append_handled(slot, &errand, handled);
        self.counters.count(handled.disposition);
        self.instances.refresh(slot);
        self.answer_operator(slot, &errand);
    }

    fn answer_operator(&mut self, slot: Slot, errand: &Errand) {
        let snapshot = self.instances.expect(slot).snapshot.clone();
        if let Some(ticket) = errand.origin.ticket() {
            self.reply(ticket, Reply::Instance(Box::new(snapshot)));
        }
    }
}
