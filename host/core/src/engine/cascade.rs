//! What one instance sends to others: where it goes, and what becomes of what goes nowhere.

use std::sync::Arc;

use crate::{
    effect::{Destination, Effect},
    engine::{
        Engine,
        budget::exhausted,
        outbox::Source,
        selection::{Held, Want},
    },
    id::{ComponentName, EventId, InstanceId, TenantId},
    input::Repeatable,
    instance::{After, Birth, Letter, Origin, Trigger},
    json::Json,
    limits::CASCADE_CREDITS,
    record::{Body, Cause, DeadLetter, Discarded, Link, Mail, Outgoing, Parked, Selector, Target},
};

impl Engine {
    /// Sends what a record caused to wherever it belongs.
    pub(crate) fn dispatch(&mut self, tenant: &TenantId, outgoing: Outgoing, after: After) {
        if let Some(here) = self.send_out(tenant, outgoing) {
            self.receive(tenant, here, after);
        }
    }

    /// Says on which host a delivery belongs. Here, the one instance of a singleton machine has an
    /// id of its own.
    pub(crate) fn aim(&self, tenant: &TenantId, outgoing: &mut Outgoing) {
        outgoing.elsewhere = self.is_elsewhere(tenant, outgoing.to.component());
        if let Target::Create {
            component,
            machine,
            id,
            ..
        } = &mut outgoing.to
            && let Some(singleton) = self
                .components
                .singleton(tenant, component, machine.as_ref())
        {
            *id = singleton;
        }
    }

    /// Sends to other shards what concerns them; what is left concerns this one. Nothing is
    /// appended in between, so that the last record is the cause of what leaves. What concerns
    /// other hosts is taken from the log.
    pub(crate) fn send_out(
        &mut self,
        tenant: &TenantId,
        mut outgoing: Outgoing,
    ) -> Option<Outgoing> {
        if outgoing.elsewhere {
            return None;
        }
        let to = match &outgoing.to {
            Target::Instance { id, .. } | Target::Create { id, .. } => {
                let partition = self.partitions.partition(id);
                if self.owns(partition) {
                    return Some(outgoing);
                }
                Destination::Partition(partition)
            }
            Target::Selection(selector) => {
                let ends_here = self.owns_everything()
                    || exhausted(&outgoing.cause).is_some()
                    || self.knows_target(tenant, selector).is_err();
                if ends_here {
                    return Some(outgoing);
                }
                outgoing.cause.spread = true;
                Destination::Others
            }
        };
        self.effects.push_back(Effect::Deliver {
            tenant: tenant.clone(),
            to,
            outgoing: Box::new(outgoing.clone()),
            after: self.outbox.appended(),
        });
        (to == Destination::Others).then_some(outgoing)
    }

    /// Takes in what this or another shard sent to instances here.
    pub(crate) fn receive(&mut self, tenant: &TenantId, outgoing: Outgoing, after: After) {
        if self.debt() >= self.limits.debt_hard_max {
            return self.park_outgoing(tenant, outgoing, Parked::Overload, after);
        }
        if let Some(why) = self.over_budget(&outgoing.cause) {
            return self.park_over_budget(tenant, outgoing, why, after);
        }
        let is_logged = outgoing.is_logged();
        let Outgoing {
            to, event, cause, ..
        } = outgoing;
        let mail = Mail {
            event,
            cause,
            sent_at: None,
        };
        match to {
            Target::Instance { component, id } => {
                let letter = Letter::new(mail, Origin::Inside, after)
                    .within(Some(component))
                    .logged(is_logged);
                self.deliver(tenant, id, letter);
            }
            Target::Create {
                component,
                machine,
                id,
                parent,
            } => {
                let birth = Birth {
                    component,
                    machine,
                    parent,
                    entry_point: false,
                    repeatable: Repeatable::ById,
                };
                self.deliver(
                    tenant,
                    id,
                    Letter::inside(mail, Trigger::Create(Box::new(birth)), after),
                );
            }
            Target::Selection(selector) => {
                self.want(Want::Select(Box::new(Held {
                    tenant: tenant.clone(),
                    selector,
                    mail,
                    origin: Origin::Inside,
                    after,
                    is_logged,
                    rest: None,
                })));
            }
        }
    }

    /// Records that an event goes no further.
    pub(crate) fn give_up(&mut self, tenant: &TenantId, id: EventId, instance: Option<InstanceId>) {
        let discarded = Discarded {
            id,
            instance,
            resent: None,
        };
        let body = Body::Discarded(Arc::new(discarded));
        self.append(tenant, body, Source::Nothing);
    }

    /// Parks a delivery that reached no instance.
    pub(crate) fn park_outgoing(
        &mut self,
        tenant: &TenantId,
        outgoing: Outgoing,
        why: Parked,
        after: After,
    ) {
        self.park_from(tenant, outgoing, why, Origin::Inside, after);
    }

    /// The same, with whoever waits for what becomes of it.
    pub(crate) fn park_from(
        &mut self,
        tenant: &TenantId,
        outgoing: Outgoing,
        why: Parked,
        origin: Origin,
        after: After,
    ) {
        let (component, machine, instance) = match &outgoing.to {
            Target::Instance { component, id } => (component.clone(), None, Some(id.clone())),
            Target::Create {
                component,
                machine,
                id,
                ..
            } => (component.clone(), machine.clone(), Some(id.clone())),
            Target::Selection(selector) => {
                (selector.component.clone(), selector.machine.clone(), None)
            }
        };
        let letter = DeadLetter {
            event: outgoing.event,
            tenant: tenant.clone(),
            component,
            version: None,
            machine,
            instance,
            why,
            cause: outgoing.cause,
            attempts: 0,
            to: Some(outgoing.to),
            at: self.now,
        };
        self.count_parked(&letter);
        let source = Source::Parked(origin, after);
        self.append(tenant, Body::Parked(Arc::new(letter)), source);
    }

    /// Parks an event from inside that its instance does not get.
    pub(crate) fn park_letter(
        &mut self,
        tenant: &TenantId,
        id: InstanceId,
        letter: Letter,
        why: Parked,
    ) {
        let component = letter.errand.component;
        let component = component.unwrap_or_else(|| ComponentName::new(""));
        let to = Target::Instance { component, id };
        let Mail { event, cause, .. } = letter.mail;
        self.park_outgoing(
            tenant,
            Outgoing::underway(to, event, cause),
            why,
            letter.errand.after,
        );
    }

    /// The same for an event that was to select instances.
    pub(crate) fn park_mail(
        &mut self,
        tenant: &TenantId,
        selector: &Arc<Selector>,
        mail: Mail,
        why: Parked,
        after: After,
    ) {
        let to = Target::Selection(Arc::clone(selector));
        self.park_outgoing(
            tenant,
            Outgoing::underway(to, mail.event, mail.cause),
            why,
            after,
        );
    }
}

/// The cause of what a transition sends: one step deeper, with its share of the credits.
pub(crate) fn caused_by(mail: &Mail, instance: &InstanceId, share: u32) -> Cause {
    let link = Link {
        instance: instance.clone(),
        event: mail.event.name.clone(),
        before: mail.cause.chain.clone(),
    };
    Cause {
        event: Some(mail.event.id.clone()),
        instance: Some(instance.clone()),
        root: mail.cause.root.clone(),
        chain: Some(Arc::new(link)),
        depth: mail.cause.depth.saturating_add(1),
        credits: share,
        spread: mail.cause.spread,
        trace_parent: mail.cause.trace_parent.clone(),
    }
}

/// The same for what leaves at a deadline: a chain of its own as far as its budget is concerned.
pub(crate) fn restarted(cause: Cause) -> Cause {
    Cause {
        chain: None,
        depth: 0,
        credits: CASCADE_CREDITS,
        spread: false,
        ..cause
    }
}

/// The payload of a timeout's event. Methods and templates see it; it is no data of the author's,
/// and never merged into a context.
pub(crate) fn timeout_payload() -> Json {
    Json::from_trusted(TIMEOUT_PAYLOAD)
}

/// Whether the host itself made the payload of an event.
pub(crate) fn is_host_made(trigger: &Trigger, payload: &Json) -> bool {
    match trigger {
        Trigger::Timeout | Trigger::Auto => true,
        Trigger::Replay { .. } => payload.as_str() == TIMEOUT_PAYLOAD,
        Trigger::Event
        | Trigger::Selected { .. }
        | Trigger::Expecting(_)
        | Trigger::Deferred
        | Trigger::Due
        | Trigger::Create(_)
        | Trigger::Terminate
        | Trigger::Delete
        | Trigger::Unstorable { .. } => false,
    }
}

const TIMEOUT_PAYLOAD: &str = r#"{"reason":"timeout"}"#;
