//! What one instance sends to others: routing and selections.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    call::Event,
    definition::Operator,
    effect::{Destination, Effect},
    engine::{
        Engine,
        budget::exhausted,
        instances::{Pool, Slot},
        outbox::Source,
        redeliver::Rest,
        schedule::Work,
    },
    id::{EventId, InstanceId, TenantId},
    instance::{
        After, Birth, Letter, Origin, Trigger,
        select::{conditions_hold, conditions_of, hash_value, rules_hold},
    },
    json::Json,
    limits::CASCADE_CREDITS,
    record::{
        Body, Cause, Condition, DeadLetter, Discarded, Disposition, Link, Mail, Outgoing, Parked,
        SelectBy, Selected, Selector, Target,
    },
};

/// A selection that is being handed out, slice by slice.
#[derive(Debug)]
pub(crate) struct Selecting {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// The record that caused it.
    pub(crate) after: After,
    selector: Arc<Selector>,
    mail: Mail,
    origin: Origin,
    slots: VecDeque<Slot>,
    /// Instances that left memory before their turn; they get it when they are back.
    left: Vec<InstanceId>,
    /// Whether nothing has been handed out: its instances are as they were when they were chosen.
    just_begun: bool,
}

/// A selection that has not begun.
#[derive(Debug)]
pub(crate) struct Held {
    /// Whose.
    pub(crate) tenant: TenantId,
    /// Which instances.
    pub(crate) selector: Arc<Selector>,
    /// What they get.
    pub(crate) mail: Mail,
    /// Who waits for what becomes of it.
    pub(crate) origin: Origin,
    /// The record that caused it.
    pub(crate) after: After,
    /// The part of it that is left, if some was taken in before.
    pub(crate) rest: Option<Box<Rest>>,
}

impl Selecting {
    /// Some of the instances leave memory; `id` names those that do.
    pub(crate) fn leave(&mut self, id: impl Fn(Slot) -> Option<InstanceId>) {
        let left = &mut self.left;
        self.slots.retain(|slot| {
            let leaving = id(*slot);
            let stays = leaving.is_none();
            left.extend(leaving);
            stays
        });
    }

    fn is_done(&self) -> bool {
        self.slots.is_empty() && self.left.is_empty()
    }
}

impl Engine {
    /// Sends what a record caused to wherever it belongs.
    pub(crate) fn dispatch(&mut self, tenant: &TenantId, outgoing: Outgoing, after: After) {
        if let Some(here) = self.send_out(tenant, outgoing) {
            self.receive(tenant, here, after);
        }
    }

    /// The one instance of a singleton machine has an id of its own.
    pub(crate) fn aim(&self, tenant: &TenantId, outgoing: &mut Outgoing) {
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
    /// appended in between, so that the last record is the cause of what leaves.
    pub(crate) fn send_out(
        &mut self,
        tenant: &TenantId,
        mut outgoing: Outgoing,
    ) -> Option<Outgoing> {
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
                let letter = Letter::new(mail, Origin::Inside, after).within(Some(component));
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
                    repeatable: true,
                };
                self.deliver(
                    tenant,
                    id,
                    Letter::inside(mail, Trigger::Create(Box::new(birth)), after),
                );
            }
            Target::Selection(selector) => {
                self.select(Held {
                    tenant: tenant.clone(),
                    selector,
                    mail,
                    origin: Origin::Inside,
                    after,
                    rest: None,
                });
            }
        }
    }

    /// Finds the instances of a selection and hands the event to them, once all that belong here
    /// are in memory.
    pub(crate) fn select(&mut self, held: Held) {
        if !self.returning.is_empty() {
            return self.held.push(held);
        }
        let origin = held.origin;
        let matched = self.select_now(held);
        if let Origin::Tally(number) = origin {
            self.tally_begun(number, matched);
        }
    }

    /// The instances that a truncation sent out of memory are back.
    pub(crate) fn select_held(&mut self) {
        if self.returning.is_empty() {
            for held in std::mem::take(&mut self.held) {
                self.select(held);
            }
        }
    }

    /// How many there are, or none if the machine is unknown or there are too many.
    fn select_now(&mut self, held: Held) -> Option<u64> {
        let Held {
            tenant,
            selector,
            mut mail,
            origin,
            after,
            rest,
        } = held;
        let tenant = &tenant;
        let Some(mut slots) = self.resolve(tenant, &selector, &mail.event) else {
            let known_elsewhere = mail.cause.spread || origin != Origin::Inside;
            if !known_elsewhere {
                let why = Parked::UnknownTarget(self.describe_selector(&selector).into());
                self.park_mail(tenant, &selector, mail, why, after);
            }
            return None;
        };
        if let Some(rest) = rest {
            slots.retain(|slot| rest.includes(&self.instances.expect(*slot).snapshot.id));
        }
        let matched = slots.len();
        if origin == Origin::Inside
            && self.machine_never_uses(tenant, &selector, mail.event.name.as_str())
        {
            self.counters.add(Disposition::Ignored, matched as u64);
            return Some(matched as u64);
        }
        if matched > self.limits.broadcast_matched_max {
            if origin == Origin::Inside {
                self.park_mail(tenant, &selector, mail, Parked::Overload, after);
            }
            return None;
        }
        if matched == 0 {
            return Some(0);
        }
        if let Origin::Tally(_) = origin {
            mail.cause.spread = false;
        } else {
            mail.cause.credits /= u32::try_from(matched).unwrap_or(u32::MAX);
        }
        let mut selecting = Selecting {
            tenant: tenant.clone(),
            after,
            selector,
            mail,
            origin,
            slots: slots.into(),
            left: Vec::new(),
            just_begun: true,
        };
        self.hand_out(&mut selecting);
        if !selecting.is_done() {
            self.schedule
                .push(tenant, Work::Selection(Box::new(selecting)));
        }
        Some(matched as u64)
    }

    /// Hands a selected event to the next slice of instances, after recording who they are.
    pub(crate) fn hand_out(&mut self, selecting: &mut Selecting) {
        let count = selecting.slots.len().min(self.limits.selection_slice);
        let slice: Vec<Slot> = selecting.slots.drain(..count).collect();
        let left = std::mem::take(&mut selecting.left);
        let instances = &self.instances;
        let present = slice
            .iter()
            .filter_map(|slot| Some(instances.get(*slot)?.snapshot.id.clone()));
        let ids = left.iter().cloned().chain(present).collect();
        let selected = Selected {
            event: selecting.mail.event.clone(),
            cause: selecting.mail.cause.clone(),
            selector: Arc::clone(&selecting.selector),
            instances: ids,
        };
        let source = Source::Selection(selecting.origin, selecting.after);
        let body = Body::Selected(Arc::new(selected));
        let appended = self.append(&selecting.tenant, body, source);
        // Conditions that were looked at a moment ago need not be looked at again.
        let by_conditions = matches!(selecting.selector.by, SelectBy::Conditions(_));
        let just_chosen = by_conditions && std::mem::take(&mut selecting.just_begun);
        let letter = |id: &InstanceId, chosen_at: u64| {
            let mut mail = selecting.mail.clone();
            mail.event.id = mail.event.id.at(id);
            let selector = Arc::clone(&selecting.selector);
            let seq = if just_chosen { chosen_at } else { 0 };
            Letter::new(mail, selecting.origin, After::Here(appended))
                .triggering(Trigger::Selected { selector, seq })
        };
        for id in left {
            let letter = letter(&id, 0);
            self.deliver(&selecting.tenant, id, letter);
        }
        for slot in slice {
            if let Some(instance) = self.instances.get(slot) {
                let letter = letter(&instance.snapshot.id, instance.snapshot.seq);
                self.post(slot, letter);
            } else {
                self.tally_gone(selecting.origin);
            }
        }
    }

    /// Goes on with a selection that did not fit into one slice.
    pub(crate) fn go_on(&mut self, mut selecting: Box<Selecting>) {
        self.hand_out(&mut selecting);
        if !selecting.is_done() {
            let tenant = selecting.tenant.clone();
            self.schedule.push(&tenant, Work::Selection(selecting));
        }
    }

    /// The instances here that a selector means, each once; none if there is no such machine.
    fn resolve(&self, tenant: &TenantId, selector: &Selector, event: &Event) -> Option<Vec<Slot>> {
        let deployment = self.components.active(tenant, &selector.component)?;
        let definition = &deployment.definition;
        let machine = match &selector.machine {
            Some(name) => definition.find(name.as_str())?.1,
            None => definition.machine(definition.entry?.machine),
        };
        let Some(pool) = self
            .instances
            .pool(tenant, &selector.component, &machine.name)
        else {
            return Some(Vec::new());
        };
        let in_state = |slot: &Slot| {
            let snapshot = &self.instances.expect(*slot).snapshot;
            selector
                .state
                .as_ref()
                .is_none_or(|state| snapshot.state().name == *state)
        };
        let ruled = |conditions: &[Condition]| {
            let context = |slot: &Slot| &self.instances.expect(*slot).snapshot.context;
            let mut slots = candidates(pool, conditions);
            slots.retain(|slot| in_state(slot) && conditions_hold(conditions, context(slot)));
            slots
        };
        match &selector.by {
            SelectBy::Conditions(conditions) => Some(ruled(conditions)),
            SelectBy::MachineRules => {
                let Some(event_idx) = machine
                    .find_event(event.name.as_str())
                    .filter(|idx| machine.selects_by_rules(*idx))
                else {
                    return Some(pool.members.iter().copied().filter(in_state).collect());
                };
                let mut found = Vec::new();
                for transition in &machine.transitions {
                    if transition.event == event_idx && !transition.rules.is_empty() {
                        found.extend(ruled(&conditions_of(transition, &event.payload)));
                    }
                }
                found.sort_unstable();
                found.dedup();
                Some(found)
            }
        }
    }

    /// Whether an instance still belongs to a selection.
    pub(crate) fn still_selected(&self, slot: Slot, selector: &Selector, event: &Event) -> bool {
        let snapshot = &self.instances.expect(slot).snapshot;
        if selector
            .state
            .as_ref()
            .is_some_and(|state| snapshot.state().name != *state)
        {
            return false;
        }
        match &selector.by {
            SelectBy::Conditions(conditions) => conditions_hold(conditions, &snapshot.context),
            SelectBy::MachineRules => {
                let machine = snapshot.machine();
                let Some(event_idx) = machine
                    .find_event(event.name.as_str())
                    .filter(|idx| machine.selects_by_rules(*idx))
                else {
                    return true;
                };
                let ruled = |rules: &[_]| {
                    !rules.is_empty() && rules_hold(rules, &snapshot.context, &event.payload)
                };
                machine
                    .transitions
                    .iter()
                    .any(|transition| transition.event == event_idx && ruled(&transition.rules))
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
        let source = Source::Parked(origin, after);
        self.append(tenant, Body::Parked(Arc::new(letter)), source);
    }

    fn park_mail(
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
            Outgoing {
                n: 0,
                to,
                event: mail.event,
                cause: mail.cause,
            },
            why,
            after,
        );
    }

    fn describe_selector(&self, selector: &Selector) -> String {
        let machine = selector
            .machine
            .as_ref()
            .map_or("its entry machine", |machine| machine.as_str());
        format!(
            "there is no component `{}` with {machine} here",
            selector.component
        )
    }
}

/// The members that may satisfy the conditions: the shortest list an index offers, or all.
fn candidates(pool: &Pool, conditions: &[Condition]) -> Vec<Slot> {
    if conditions.iter().any(|condition| condition.value.is_none()) {
        return Vec::new();
    }
    let indexed = conditions
        .iter()
        .filter(|condition| condition.rule.operator == Operator::Equal)
        .filter_map(|condition| {
            let hash = hash_value(condition.value.as_ref()?);
            pool.lookup(&condition.rule.instance_property, hash)
        });
    indexed
        .min_by_key(|slots| slots.len())
        .unwrap_or(&pool.members)
        .to_vec()
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
        depth: mail.cause.depth + 1,
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

/// The payload of a timeout's event.
pub(crate) fn timeout_payload() -> Json {
    Json::from_trusted(r#"{"reason":"timeout"}"#)
}
