//! The reference model: what the durable log must say, worked out again in the simplest way.
//!
//! It reads the blueprints, not the definitions; it keeps one plain value per instance and asks
//! the same fake guest. It shares no code with the engine.

mod expect;
mod instance;
mod refusal;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use xcomponent_core::{
    engine::DELETED,
    record::{Body, Departed, Disposition, Handled, Outgoing, Record, Selected, Status, Target},
};

pub use self::{
    instance::{Instance, Timer, Wait},
    value::{canonical, holds},
};
use crate::blueprint::{self, Blueprint};

/// A tenant and an id.
pub type Key = (String, String);

/// What the durable log has led to.
#[derive(Debug)]
pub struct Model {
    /// All versions of all components.
    pub blueprints: Vec<Blueprint>,
    /// All instances that are not deleted, ended ones too.
    pub instances: BTreeMap<Key, Instance>,
    /// Deleted instances: nothing happens there any more, but their delayed sends leave.
    pub deleted: BTreeMap<Key, Instance>,
    /// Events that were chosen for an instance and given up, by tenant, instance and event.
    pub given_up: BTreeSet<(String, String, String)>,
    /// What was sent: by tenant and event id.
    pub sent: BTreeMap<Key, Sent>,
    /// Instances chosen, by tenant and event id.
    pub chosen: BTreeMap<Key, BTreeSet<String>>,
    /// Those of them that existed.
    pub owed: BTreeMap<Key, BTreeSet<String>>,
    /// What became of each event at each instance, in order.
    pub fates: BTreeMap<(String, String, String), Vec<Disposition>>,
    /// Events that were parked.
    pub parked: BTreeSet<Key>,
    /// Events whose records the log refused.
    pub refusals: refusal::Refusals,
    /// Sends that were taken back.
    pub cancelled: BTreeSet<Key>,
    /// Events from outside by id: the state that the caller expected, and their order.
    pub outside: BTreeMap<Key, Outside>,
    /// All selections, by tenant and event id.
    pub selections: BTreeSet<Key>,
    /// Selections whose first choice may be void: they are not chosen anew.
    chosen_before: BTreeSet<(usize, Key)>,
    /// What each shard's selections had to choose and did not yet.
    open: BTreeMap<(usize, Key), BTreeSet<String>>,
    /// The last order number of each pair of source and target.
    order: BTreeMap<(String, String, String), u64>,
    sent_count: u64,
}

/// Something that a record sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// By whom; none = from outside.
    pub source: String,
    /// What.
    pub outgoing: Outgoing,
    /// When, among everything sent.
    pub number: u64,
}

/// An event from outside.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// The state that the caller expected.
    pub expected: Option<String>,
    /// When, among everything that was sent to that instance.
    pub number: u64,
}

impl Model {
    /// Nothing has happened.
    pub fn new() -> Self {
        Self {
            blueprints: blueprint::all(),
            instances: BTreeMap::new(),
            deleted: BTreeMap::new(),
            given_up: BTreeSet::new(),
            sent: BTreeMap::new(),
            chosen: BTreeMap::new(),
            owed: BTreeMap::new(),
            fates: BTreeMap::new(),
            parked: BTreeSet::new(),
            refusals: refusal::Refusals::default(),
            cancelled: BTreeSet::new(),
            outside: BTreeMap::new(),
            selections: BTreeSet::new(),
            chosen_before: BTreeSet::new(),
            open: BTreeMap::new(),
            order: BTreeMap::new(),
            sent_count: 0,
        }
    }

    /// A record of a shard is durable: it must be what the model expects.
    ///
    /// # Errors
    ///
    /// What is not as it should be.
    pub fn note(
        &mut self,
        shard: usize,
        record: &Record,
        is_here: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let tenant = record.tenant.to_string();
        match &record.body {
            Body::Handled(handled) => {
                if !is_here(&handled.after.id.to_string()) {
                    return Err("the instance is not this shard's".to_owned());
                }
                self.handled(&tenant, record.at.0, handled)
            }
            Body::Selected(selected) => self.selected(shard, &tenant, selected, is_here),
            Body::Departed(departed) => self.departed(&tenant, record.at.0, departed),
            Body::Parked(letter) => {
                self.refusals.parked(letter)?;
                self.parked.insert((tenant, letter.event.id.to_string()));
                Ok(())
            }
            Body::Moved(after) => expect::moved(self, &tenant, after),
            // In this world there is one host.
            Body::Received(_) => Err("nobody sends from elsewhere".to_owned()),
            Body::Discarded(discarded) => {
                if let Some(instance) = &discarded.instance {
                    let event = of_selection(&discarded.id.to_string());
                    let given_up = (tenant.clone(), instance.to_string(), event);
                    self.given_up.insert(given_up);
                }
                let resent = discarded.resent.as_ref();
                let resent = resent.map(|resent| (tenant, resent.event.id.to_string()));
                self.selections.extend(resent);
                Ok(())
            }
        }
    }

    fn handled(&mut self, tenant: &str, at: u64, handled: &Handled) -> Result<(), String> {
        let id = handled.after.id.to_string();
        let event = handled.event.id.to_string();
        if self.deleted.contains_key(&(tenant.to_owned(), id.clone())) {
            return Err(format!("{event} came to {id}, which was deleted"));
        }
        let deletes = handled.event.name.as_str() == DELETED;
        if deletes != (handled.after.status == Status::Deleted) {
            return Err(format!("{event} left {id} {}", handled.after.status));
        }
        self.has_cause(tenant, &id, handled)?;
        self.is_in_order(tenant, &id, &event)?;
        let is_outside = self
            .outside
            .contains_key(&(tenant.to_owned(), event.clone()));
        let fates = self
            .fates
            .entry((tenant.to_owned(), id.clone(), event.clone()))
            .or_default();
        let pending = |fate: &Disposition| match fate {
            Disposition::Deferred | Disposition::Retrying => true,
            // A caller may try again what the instance was not in the state for.
            Disposition::Rejected => is_outside,
            Disposition::Transitioned | Disposition::Ignored | Disposition::DeadLettered => false,
        };
        if !fates.iter().all(pending) {
            return Err(format!("{event} was handled before: {fates:?}"));
        }
        fates.push(handled.disposition);
        self.refusals.handled(handled)?;
        if handled.parked.is_some() {
            self.parked.insert((tenant.to_owned(), event));
        }
        let next = expect::after(self, tenant, at, handled)?;
        for outgoing in &handled.deliveries {
            self.send(tenant, &id, outgoing);
        }
        let key = (tenant.to_owned(), id);
        if deletes {
            self.instances.remove(&key);
            self.deleted.insert(key, next);
        } else {
            self.instances.insert(key, next);
        }
        Ok(())
    }

    /// Every event has its cause in the log, or comes from outside.
    fn has_cause(&self, tenant: &str, id: &str, handled: &Handled) -> Result<(), String> {
        let event = (tenant.to_owned(), handled.event.id.to_string());
        let cause = &handled.cause;
        let instance = self.instances.get(&(tenant.to_owned(), id.to_owned()));
        let own = instance.is_some_and(|instance| instance.waits_for(&event.1));
        let from_outside = self.outside.contains_key(&event)
            || cause.event.is_none() && cause.root == handled.event.id;
        let chosen = self
            .chosen
            .get(&(tenant.to_owned(), of_selection(&event.1)));
        let was_chosen = chosen.is_some_and(|chosen| chosen.contains(id));
        let sent = self.sent.get(&event).map(|sent| &sent.outgoing.to);
        let was_sent = match sent {
            Some(Target::Instance { id: to, .. }) => to.to_string() == id,
            Some(Target::Create { .. }) => handled.from.is_none(),
            Some(Target::Selection(_)) | None => false,
        };
        if own || was_sent || was_chosen || from_outside {
            return Ok(());
        }
        Err(format!("{} has no cause in the log", event.1))
    }

    /// Events from one source arrive in order.
    fn is_in_order(&mut self, tenant: &str, id: &str, event: &str) -> Result<(), String> {
        let key = (tenant.to_owned(), event.to_owned());
        let seen = (tenant.to_owned(), id.to_owned(), event.to_owned());
        let known = self.fates.contains_key(&seen);
        let (source, number) = match (self.sent.get(&key), self.outside.get(&key)) {
            _ if known => return Ok(()),
            (Some(sent), _) if sent.source != id => match sent.outgoing.to {
                Target::Instance { .. } => (sent.source.clone(), sent.number),
                Target::Create { .. } | Target::Selection(_) => return Ok(()),
            },
            (None, Some(outside)) if outside.number > 0 => (String::new(), outside.number),
            _ => return Ok(()),
        };
        let last = self
            .order
            .entry((tenant.to_owned(), source.clone(), id.to_owned()))
            .or_default();
        if number < *last {
            return Err(format!("{event} of `{source}` came after a later one"));
        }
        *last = number;
        Ok(())
    }

    fn departed(&mut self, tenant: &str, at: u64, departed: &Departed) -> Result<(), String> {
        let key = (tenant.to_owned(), departed.after.id.to_string());
        let event = departed.outgoing.event.id.to_string();
        let instance = self.instances.get_mut(&key);
        let instance = instance
            .or_else(|| self.deleted.get_mut(&key))
            .ok_or("an unknown instance sent something")?;
        let timer = instance.take_timer(&event);
        let timer = timer.ok_or_else(|| format!("{event} left without being due"))?;
        if timer.due > at {
            return Err(format!("{event} left before it was due"));
        }
        self.send(tenant, &key.1, &departed.outgoing);
        Ok(())
    }

    fn send(&mut self, tenant: &str, source: &str, outgoing: &Outgoing) {
        self.sent_count += 1;
        let sent = Sent {
            source: source.to_owned(),
            outgoing: outgoing.clone(),
            number: self.sent_count,
        };
        let key = (tenant.to_owned(), outgoing.event.id.to_string());
        if let Target::Selection(_) = outgoing.to {
            self.selections.insert(key.clone());
        }
        self.sent.insert(key, sent);
    }

    /// The index must agree with a full scan over the shard's instances.
    fn selected(
        &mut self,
        shard: usize,
        tenant: &str,
        selected: &Selected,
        is_here: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let key = (tenant.to_owned(), selected.event.id.to_string());
        let ids: BTreeSet<String> = selected.instances.iter().map(ToString::to_string).collect();
        let open = (shard, key.clone());
        if !self.open.contains_key(&open) {
            let all = self.instances.iter().filter(|(of, instance)| {
                of.0 == tenant && is_here(&of.1) && self.matches(instance, selected)
            });
            let all: BTreeSet<String> = all.map(|(of, _)| of.1.clone()).collect();
            self.open.insert(open.clone(), all);
        }
        let again = self.chosen_before.contains(&open);
        let left = self.open.get_mut(&open).ok_or("just inserted")?;
        if !again && !ids.is_subset(left) {
            return Err(format!("chose {ids:?}, a scan finds {left:?}"));
        }
        left.retain(|id| !ids.contains(id));
        let exist = |id: &&String| {
            self.instances
                .contains_key(&(tenant.to_owned(), (*id).clone()))
        };
        let owed = ids.iter().filter(exist).cloned();
        self.owed.entry(key.clone()).or_default().extend(owed);
        self.chosen.entry(key).or_default().extend(ids);
        Ok(())
    }

    /// Records were taken back: what was chosen before may be chosen again, and no longer match.
    pub fn truncated(&mut self, shards: usize) {
        for shard in 0..shards {
            let again = self.selections.iter().map(|key| (shard, key.clone()));
            self.chosen_before.extend(again);
        }
    }

    /// Somebody asks for a selection again: whom it missed it may choose then.
    pub fn chosen_again(&mut self, shard: usize, tenant: &str, event: &str) {
        let key = (tenant.to_owned(), event.to_owned());
        self.chosen_before.insert((shard, key));
    }

    /// Instances that selections should have chosen and did not.
    pub fn forgotten(&self) -> Vec<String> {
        let forgotten = self.open.iter().filter(|(key, left)| {
            let lives = |id: &String| {
                let instance = self.instances.get(&(key.1.0.clone(), id.clone()));
                instance.is_some_and(|instance| !instance.ended)
            };
            !self.chosen_before.contains(key) && left.iter().any(lives)
        });
        forgotten
            .map(|(key, left)| format!("{} forgot {left:?}", key.1.1))
            .collect()
    }

    fn matches(&self, instance: &Instance, selected: &Selected) -> bool {
        let selector = &selected.selector;
        !instance.ended
            && instance.component == selector.component.as_str()
            && selector
                .machine
                .as_ref()
                .is_some_and(|machine| machine.as_str() == instance.machine)
            && expect::is_selected(self, instance, selector, &selected.event)
    }
}

/// The id that an event had before a selection gave it to several instances.
pub fn of_selection(event: &str) -> String {
    match event.rsplit_once('~') {
        Some((id, place)) if !place.contains('.') => id.to_owned(),
        _ => event.to_owned(),
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}
