//! Dead letters: tried again, or given up.

use std::sync::Arc;

use crate::{
    call::Event,
    effect::{Refused, Reply},
    engine::{
        Engine, cascade::restarted, fingerprint, outbox::Source, recall::Admitted, repeats::Answer,
    },
    id::TenantId,
    input::Ticket,
    instance::{After, Letter, Origin, Trigger},
    record::{Body, DeadLetter, Discarded, Mail, Outgoing, Target},
};

impl Engine {
    /// A parked event is tried again.
    pub(crate) fn replay(&mut self, ticket: Ticket, tenant: &TenantId, parked: DeadLetter) {
        let DeadLetter {
            event,
            instance,
            cause,
            attempts,
            to,
            component,
            ..
        } = parked;
        let of = event.id.clone();
        let event = Event {
            id: of.replay(attempts.max(1)),
            at: self.now,
            ..event
        };
        let mail = Mail {
            event,
            cause: restarted(cause),
            sent_at: None,
        };
        let target = instance.clone().filter(|_| is_for_instance(to.as_ref()));
        let key = (tenant.clone(), target, mail.event.id.clone());
        let fingerprint = fingerprint::of_event(&mail.event.name, &mail.event.payload);
        let admitted = self.admit(ticket, &key, fingerprint);
        if admitted == Admitted::No {
            return;
        }
        let origin = Origin::Caller {
            ticket,
            remember: true,
        };
        match (to, instance) {
            (None | Some(Target::Instance { .. }), Some(id)) => {
                let letter = Letter::new(mail, origin, After::Nothing)
                    .triggering(Trigger::Replay { of })
                    .within(Some(component))
                    .attempted(attempts);
                let is_stored = admitted == Admitted::Stored;
                if is_stored || self.may_have_handled(tenant, &id) {
                    self.recall(tenant, id, letter, is_stored);
                } else {
                    self.deliver(tenant, id, letter);
                }
            }
            (Some(to), instance) => {
                let mut outgoing = Outgoing::underway(to, mail.event, mail.cause);
                self.aim(tenant, &mut outgoing);
                let body = Body::Discarded(Arc::new(Discarded {
                    id: of,
                    instance,
                    resent: Some(Box::new(outgoing.clone())),
                }));
                let seq = self.append(tenant, body, Source::Remembered(Box::new(key.clone())));
                self.dispatch(tenant, outgoing, After::Here(seq));
                for ticket in self.repeats.answered(&key, Answer::Resent(seq)) {
                    self.reply(ticket, Reply::Discarded);
                }
                self.reply(ticket, Reply::Discarded);
            }
            (None, None) => {
                let refused = Refused::UnknownComponent(component.as_str().into());
                self.refuse_all(ticket, Some(key), refused);
            }
        }
    }

    /// A parked event is given up.
    pub(crate) fn discard(&mut self, ticket: Ticket, tenant: &TenantId, letter: DeadLetter) {
        self.give_up(tenant, letter.event.id, letter.instance);
        self.reply(ticket, Reply::Discarded);
    }
}

/// Whether a parked event goes to the instance it was parked for.
fn is_for_instance(to: Option<&Target>) -> bool {
    matches!(to, None | Some(Target::Instance { .. }))
}
