//! Selections: which instances an event means, and handing it to them slice by slice.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    call::Event,
    definition::Operator,
    engine::{
        Engine,
        budget::paid,
        instances::{Pool, Slot},
        outbox::Source,
        redeliver::Rest,
        schedule::Work,
    },
    id::{InstanceId, StateName, TenantId},
    input::{Migrate, Ticket},
    instance::{
        After, Letter, Origin, Trigger,
        select::{conditions_hold, conditions_of, hash_raw, rules_hold},
    },
    limits::{CASCADE_CREDITS, CREDIT_BYTES},
    record::{Body, Condition, Mail, Outgoing, Parked, SelectBy, Selected, Selector, Target},
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
    /// Whether the record of its cause has its payload.
    is_logged: bool,
    /// Whether nothing has been handed out: its instances are as they were when they were chosen.
    just_begun: bool,
}

/// What must wait until instances are in memory.
#[derive(Debug)]
pub(crate) enum Want {
    /// An event is for those that it means.
    Select(Box<Held>),
    /// They are to move to another version.
    Migrate {
        /// Who waits.
        ticket: Ticket,
        /// Whose.
        tenant: TenantId,
        /// Which, and where to.
        migrate: Box<Migrate>,
    },
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
    /// Whether the record of its cause has its payload.
    pub(crate) is_logged: bool,
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

/// The instances that a selector means.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// Those in memory, each once.
    pub(crate) slots: Vec<Slot>,
    /// Those that only the store has and that may be meant, each once.
    pub(crate) passive: Vec<Slot>,
}

impl Resolved {
    /// Each comes once, in order of slots.
    fn sort(&mut self) {
        for slots in [&mut self.slots, &mut self.passive] {
            slots.sort_unstable();
            slots.dedup();
        }
    }
}

impl Want {
    /// Whose it is.
    pub(crate) fn tenant(&self) -> &TenantId {
        match self {
            Self::Select(held) => &held.tenant,
            Self::Migrate { tenant, .. } => tenant,
        }
    }

    /// The record that caused it.
    pub(crate) fn after(&self) -> After {
        match self {
            Self::Select(held) => held.after,
            Self::Migrate { .. } => After::Nothing,
        }
    }
}

impl Selector {
    /// Whether instances in this state may be meant.
    fn names(&self, state: &StateName) -> bool {
        self.state.as_ref().is_none_or(|wanted| wanted == state)
    }
}

impl Engine {
    /// Hands the event to the instances that are meant, all of which are in memory.
    pub(crate) fn select(&mut self, held: Held) {
        let origin = held.origin;
        let max = self.matched_max(held.mail.event.payload.len());
        let matched = self.select_now(held);
        let Origin::Tally(number) = origin else {
            return;
        };
        match matched {
            Some(matched) => self.tally_begun(number, matched),
            None => self.tally_refused(number, max as u64),
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
            is_logged,
            rest,
        } = held;
        let tenant = &tenant;
        let Some(Resolved { mut slots, .. }) = self.resolve(tenant, &selector, &mail.event) else {
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
            self.count_ignored(tenant, &selector, matched as u64);
            return Some(matched as u64);
        }
        if matched > self.matched_max(mail.event.payload.len()) {
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
            let share = mail.cause.credits / u32::try_from(matched).unwrap_or(u32::MAX);
            mail.cause.credits = paid(share, mail.event.payload.len());
            if mail.cause.credits == 0 {
                let to = Target::Selection(selector);
                let over = Outgoing::underway(to, mail.event, mail.cause);
                self.stop(tenant, vec![over], after);
                return Some(matched as u64);
            }
        }
        let mut selecting = Selecting {
            tenant: tenant.clone(),
            after,
            selector,
            mail,
            origin,
            slots: slots.into(),
            left: Vec::new(),
            is_logged,
            just_begun: true,
        };
        self.hand_out(&mut selecting);
        if !selecting.is_done() {
            self.schedule_selection(Box::new(selecting));
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
        let ids: Vec<InstanceId> = left.iter().cloned().chain(present).collect();
        let shared_by = u32::try_from(ids.len()).unwrap_or(u32::MAX);
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
            let trigger = Trigger::Selected {
                selector,
                seq,
                shared_by,
            };
            Letter::new(mail, selecting.origin, After::Here(appended))
                .triggering(trigger)
                .logged(selecting.is_logged)
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
            self.schedule_selection(selecting);
        }
    }

    /// How many instances here an event with a payload of so many bytes may be handed to. What it
    /// causes from there on has credits of its own, so the bytes of a broadcast are capped here.
    pub(crate) fn matched_max(&self, payload_bytes: usize) -> usize {
        let cap = CASCADE_CREDITS as usize * CREDIT_BYTES;
        let here = cap / self.partitions.get() as usize * self.owned_count as usize;
        let by_bytes = here / payload_bytes.max(1);
        self.limits.broadcast_matched_max.min(by_bytes.max(1))
    }

    fn schedule_selection(&mut self, selecting: Box<Selecting>) {
        let component = &selecting.selector.component;
        let lane = self.schedule.lane(&selecting.tenant, component);
        self.schedule.push(lane, Work::Selection(selecting));
    }

    /// The instances here that a selector means; none if there is no such machine.
    pub(crate) fn resolve(
        &self,
        tenant: &TenantId,
        selector: &Selector,
        event: &Event,
    ) -> Option<Resolved> {
        let deployment = self.components.active(tenant, &selector.component)?;
        let definition = &deployment.definition;
        let machine = match &selector.machine {
            Some(name) => definition.find(name.as_str())?.1,
            None => definition.machine(definition.entry?.machine),
        };
        let mut found = Resolved::default();
        let Some(pool) = self
            .instances
            .pool(tenant, &selector.component, &machine.name)
        else {
            return Some(found);
        };
        match &selector.by {
            SelectBy::Conditions(conditions) => {
                self.find_by(pool, selector, conditions, &mut found)
            }
            SelectBy::MachineRules => {
                let ruled = machine.find_event(event.name.as_str());
                match ruled.filter(|idx| machine.selects_by_rules(*idx)) {
                    None => self.find_by(pool, selector, &[], &mut found),
                    Some(event_idx) => {
                        for transition in machine.ruled(event_idx) {
                            let conditions = conditions_of(transition, &event.payload);
                            self.find_by(pool, selector, &conditions, &mut found);
                        }
                        found.sort();
                    }
                }
            }
        }
        Some(found)
    }

    /// Adds the members of a pool that are in the selector's state and meet the conditions.
    fn find_by(
        &self,
        pool: &Pool,
        selector: &Selector,
        conditions: &[Condition],
        found: &mut Resolved,
    ) {
        for slot in candidates(pool, conditions) {
            if let Some(kind) = self.instances.kind(slot) {
                if selector.names(&kind.state().name) {
                    found.passive.push(slot);
                }
                continue;
            }
            let snapshot = &self.instances.expect(slot).snapshot;
            if selector.names(&snapshot.state().name)
                && conditions_hold(conditions, &snapshot.context)
            {
                found.slots.push(slot);
            }
        }
    }

    /// Whether an instance still belongs to a selection.
    pub(crate) fn still_selected(&self, slot: Slot, selector: &Selector, event: &Event) -> bool {
        let snapshot = &self.instances.expect(slot).snapshot;
        if !selector.names(&snapshot.state().name) {
            return false;
        }
        match &selector.by {
            SelectBy::Conditions(conditions) => conditions_hold(conditions, &snapshot.context),
            SelectBy::MachineRules => {
                // The rules of the version that the event would run on.
                let version = self.version_for(snapshot).deployment;
                let found = version.definition.find(snapshot.machine().name.as_str());
                let machine = found.map_or_else(|| snapshot.machine(), |(_, machine)| machine);
                let Some(event_idx) = machine
                    .find_event(event.name.as_str())
                    .filter(|idx| machine.selects_by_rules(*idx))
                else {
                    return true;
                };
                let holds = |rules: &[_]| rules_hold(rules, &snapshot.context, &event.payload);
                machine
                    .ruled(event_idx)
                    .any(|transition| holds(&transition.rules))
            }
        }
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
            let path = &condition.rule.instance_property;
            let hash = hash_raw(condition.value.as_ref()?.whole());
            Some((pool.count(path, hash)?, path, hash))
        });
    match indexed.min_by_key(|(count, ..)| *count) {
        Some((_, path, hash)) => pool.lookup(path, hash),
        None => pool.slots().collect(),
    }
}
