//! Chains of causes end: how deep one may go, and how much one event may cause.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use crate::{
    engine::Engine,
    id::{EventId, InstanceId, TenantId},
    instance::After,
    limits::{CASCADE_CREDITS, CASCADE_DEPTH_MAX, CASCADE_ROOTS_MAX, CREDIT_BYTES},
    record::{Cause, Link, Outgoing, Parked, Target},
};

/// The event from outside that a chain began with, and an instance: of a broadcast, each
/// recipient begins a chain of its own.
type Root = (EventId, Option<InstanceId>);

/// What chains of causes have used up.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// Events handled per root, of chains that spread over several shards.
    spent: HashMap<Root, u32, FixedState>,
    spent_order: VecDeque<Root>,
    /// Roots and instances that have their dead letter.
    reported: HashSet<Root, FixedState>,
    reported_order: VecDeque<Root>,
    /// Deliveries dropped after the first report.
    pub(crate) dropped: u64,
}

impl Engine {
    /// Why a chain of causes may not go on, if it may not.
    pub(crate) fn over_budget(&mut self, cause: &Cause) -> Option<String> {
        let exhausted = exhausted(cause);
        if exhausted.is_some() || !cause.spread {
            return exhausted;
        }
        let spent = self
            .budget
            .spend((cause.root.clone(), first_instance(cause)));
        (spent > CASCADE_CREDITS).then(|| {
            format!("the {CASCADE_CREDITS} deliveries one event may cause on a shard are used up")
        })
    }

    /// Ends deliveries over budget that no record has sent: there is one dead letter for each root
    /// and instance, and nothing else is recorded.
    pub(crate) fn stop(&mut self, tenant: &TenantId, over: Vec<Outgoing>, after: After) {
        for outgoing in over {
            if let Some(why) = self.report(&outgoing) {
                self.park_outgoing(tenant, outgoing, why, after);
            }
        }
    }

    /// Why a delivery over budget is parked, if it is the first of its root and instance; further
    /// ones are counted.
    fn report(&mut self, outgoing: &Outgoing) -> Option<Parked> {
        let why = exhausted(&outgoing.cause)?;
        let is_first = self
            .budget
            .report(outgoing.cause.root.clone(), target(outgoing));
        let text = || format!("{why}: {}", chain_text(&outgoing.cause));
        is_first.then(|| Parked::CascadeBudget(text().into()))
    }

    /// Parks the first delivery over budget of each root and instance; further ones are counted.
    pub(crate) fn park_over_budget(
        &mut self,
        tenant: &TenantId,
        outgoing: Outgoing,
        why: String,
        after: After,
    ) {
        let instance = target(&outgoing);
        if !self.budget.report(outgoing.cause.root.clone(), instance) {
            return match outgoing.to {
                Target::Instance { id, .. } | Target::Create { id, .. } => {
                    self.give_up(tenant, outgoing.event.id, Some(id));
                }
                // That it was taken in says enough.
                Target::Selection(_) => {}
            };
        }
        let text = format!("{why}: {}", chain_text(&outgoing.cause));
        self.park_outgoing(tenant, outgoing, Parked::CascadeBudget(text.into()), after);
    }
}

impl Budget {
    fn spend(&mut self, root: Root) -> u32 {
        if let Some(spent) = self.spent.get_mut(&root) {
            *spent = spent.saturating_add(1);
            return *spent;
        }
        if self.spent_order.len() >= CASCADE_ROOTS_MAX
            && let Some(oldest) = self.spent_order.pop_front()
        {
            self.spent.remove(&oldest);
        }
        self.spent.insert(root.clone(), 1);
        self.spent_order.push_back(root);
        1
    }

    fn report(&mut self, root: EventId, instance: Option<InstanceId>) -> bool {
        let key = (root, instance);
        if self.reported.contains(&key) {
            self.dropped += 1;
            return false;
        }
        if self.reported_order.len() >= CASCADE_ROOTS_MAX
            && let Some(oldest) = self.reported_order.pop_front()
        {
            self.reported.remove(&oldest);
        }
        self.reported.insert(key.clone());
        self.reported_order.push_back(key);
        true
    }
}

/// The instance that a delivery is for, if it is for one that exists.
fn target(outgoing: &Outgoing) -> Option<InstanceId> {
    match &outgoing.to {
        Target::Instance { id, .. } => Some(id.clone()),
        Target::Create { .. } | Target::Selection(_) => None,
    }
}

/// What is left of the credits of one delivery when it has paid for the bytes of its payload.
pub(crate) fn paid(credits: u32, payload_bytes: usize) -> u32 {
    let price = u32::try_from(payload_bytes / CREDIT_BYTES).unwrap_or(u32::MAX);
    credits.saturating_sub(price)
}

/// Why a chain of causes may not go on on any shard.
pub(crate) fn exhausted(cause: &Cause) -> Option<String> {
    if cause.depth > CASCADE_DEPTH_MAX {
        return Some(format!("deeper than {CASCADE_DEPTH_MAX} steps"));
    }
    (cause.credits == 0)
        .then(|| format!("the {CASCADE_CREDITS} deliveries one event may cause are used up"))
}

/// The instance at which a chain began.
fn first_instance(cause: &Cause) -> Option<InstanceId> {
    let mut link = cause.chain.as_deref()?;
    while let Some(before) = link.before.as_deref() {
        link = before;
    }
    Some(link.instance.clone())
}

/// `root event > event at instance > …`, the oldest first.
pub(crate) fn chain_text(cause: &Cause) -> String {
    let mut steps = Vec::new();
    let mut link = cause.chain.as_deref();
    while let Some(Link {
        instance,
        event,
        before,
    }) = link
    {
        steps.push(format!("{event} at {instance}"));
        link = before.as_deref();
    }
    steps.push(format!("event {}", cause.root));
    steps.reverse();
    steps.join(" > ")
}
