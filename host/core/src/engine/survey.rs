//! What must wait until instances are in memory: selections that may mean passive ones, moves to
//! another version, and everything of the same tenant that came later.
//!
//! A survey asks the store for the instances page by page, keeps those that are meant and lets the
//! others leave memory again, so that looking at ten million takes the memory of a page.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use crate::{
    engine::{
        Engine,
        instances::Slot,
        selection::{Held, Resolved, Want},
    },
    id::{InstanceId, TenantId},
    input::{Migrate, Ticket},
    instance::{After, Origin},
};

/// Something that waits for instances which the store has.
#[derive(Debug)]
pub(crate) struct Survey {
    want: Want,
    /// Passive instances that have not been asked for.
    left: VecDeque<Slot>,
    /// Those that were, and are not back.
    awaited: HashSet<InstanceId, FixedState>,
    /// Those that are back.
    back: Vec<InstanceId>,
    /// How many of them were meant.
    matched: usize,
}

impl Engine {
    /// Does what waits for instances, once they are in memory.
    pub(crate) fn want(&mut self, want: Want) {
        if !self.returning.is_empty() || self.surveys.contains_key(want.tenant()) {
            return self.held.push(want);
        }
        let passive = match &want {
            Want::Select(held) => self.passive_meant(held),
            Want::Migrate {
                tenant, migrate, ..
            } => self.passive_to_move(tenant, migrate),
        };
        if passive.is_empty() {
            return self.grant(want);
        }
        let tenant = want.tenant().clone();
        let survey = Survey {
            want,
            left: passive.into(),
            awaited: HashSet::default(),
            back: Vec::new(),
            matched: 0,
        };
        self.surveys.insert(tenant.clone(), survey);
        self.survey_on(&tenant);
    }

    /// What waits is tried again, in the order in which it came.
    pub(crate) fn want_again(&mut self) {
        if self.returning.is_empty() {
            for want in std::mem::take(&mut self.held) {
                self.want(want);
            }
        }
    }

    /// Drops what waits and was caused by a record that never will be.
    pub(crate) fn unwant(&mut self, void: impl Fn(After) -> bool) {
        self.held.retain(|want| !void(want.after()));
        self.surveys.retain(|_, survey| !void(survey.want.after()));
        self.want_again();
    }

    /// The store has answered about instances.
    pub(crate) fn surveyed(&mut self, asked: &[(TenantId, InstanceId)]) {
        let mut complete: Vec<TenantId> = Vec::new();
        for (tenant, id) in asked {
            if let Some(survey) = self.surveys.get_mut(tenant)
                && survey.awaited.remove(id)
            {
                survey.back.push(id.clone());
                if survey.awaited.is_empty() {
                    complete.push(tenant.clone());
                }
            }
        }
        for tenant in complete {
            self.survey_on(&tenant);
        }
    }

    /// An instance leaves memory while it might be meant by what its tenant waits for.
    pub(crate) fn survey_also(&mut self, slot: Slot) {
        let (tenant, _) = self.instances.name(slot);
        if let Some(survey) = self.surveys.get_mut(tenant) {
            survey.left.push_back(slot);
        }
    }

    /// Looks at those that are back, and asks for the next.
    fn survey_on(&mut self, tenant: &TenantId) {
        let Some(mut survey) = self.surveys.remove(tenant) else {
            return;
        };
        loop {
            self.sift(tenant, &mut survey);
            let is_enough = survey.matched > self.limits.broadcast_matched_max;
            let page = self.limits.selection_slice.min(survey.left.len());
            if page == 0 || is_enough {
                break;
            }
            let page = survey.left.drain(..page).collect();
            survey.awaited.extend(self.summon(page));
            if !survey.awaited.is_empty() {
                self.surveys.insert(tenant.clone(), survey);
                return;
            }
        }
        if self.returning.is_empty() {
            self.grant(survey.want);
            self.want_again();
        } else {
            // A truncation came between: those that it sent out of memory may be meant as well.
            self.held.insert(0, survey.want);
        }
    }

    /// Lets those leave memory again that are not meant.
    fn sift(&mut self, tenant: &TenantId, survey: &mut Survey) {
        for id in std::mem::take(&mut survey.back) {
            let Some(slot) = self.instances.find(tenant, &id) else {
                continue;
            };
            match &survey.want {
                Want::Select(held)
                    if !self.still_selected(slot, &held.selector, &held.mail.event) =>
                {
                    if self.may_leave(slot) {
                        self.passivate(slot);
                    }
                }
                Want::Select(_) | Want::Migrate { .. } => survey.matched += 1,
            }
        }
    }

    fn grant(&mut self, want: Want) {
        match want {
            Want::Select(held) => self.select(*held),
            Want::Migrate {
                ticket,
                tenant,
                migrate,
            } => {
                let reply = self.migrate(&tenant, &migrate);
                self.reply(ticket, reply);
            }
        }
    }

    /// The passive instances that a selection may mean.
    fn passive_meant(&self, held: &Held) -> Vec<Slot> {
        let Held {
            tenant,
            selector,
            mail,
            origin,
            rest,
            ..
        } = held;
        if *origin == Origin::Inside
            && self.machine_never_uses(tenant, selector, mail.event.name.as_str())
        {
            return Vec::new();
        }
        let resolved = self.resolve(tenant, selector, &mail.event);
        let Resolved { mut passive, .. } = resolved.unwrap_or_default();
        if let Some(rest) = rest {
            passive.retain(|slot| rest.includes(self.instances.name(*slot).1));
        }
        passive
    }

    /// The passive instances that are to move, as far as those in memory are fewer than wanted.
    fn passive_to_move(&self, tenant: &TenantId, migrate: &Migrate) -> Vec<Slot> {
        let ready = self.movable(tenant, migrate).count();
        let on_version = |slot: &Slot| {
            let kind = self.instances.kind(*slot);
            kind.is_some_and(|kind| kind.deployment.definition.version == migrate.from)
        };
        self.instances
            .passive_of_component(tenant, &migrate.component)
            .filter(on_version)
            .take(migrate.limit.saturating_sub(ready))
            .collect()
    }

    /// Somebody asks to move instances to another version.
    pub(crate) fn request_migration(&mut self, ticket: Ticket, tenant: TenantId, migrate: Migrate) {
        self.want(Want::Migrate {
            ticket,
            tenant,
            migrate: Box::new(migrate),
        });
    }
}
