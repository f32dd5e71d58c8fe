//! Operators who end what a breaker or a suspension blocks, before its time is over.

use crate::{
    effect::{Refused, Reply},
    engine::{Engine, instances::Slot, run::version_key},
    id::{ComponentName, InstanceId, TenantId},
    input::Ticket,
};

impl Engine {
    /// Closes the breakers of a component's versions. Events that waited for them go on.
    pub(crate) fn unblock_component(&mut self, tenant: &TenantId, component: &ComponentName) {
        let versions = self.components.deployments(tenant, component).iter();
        let versions: Vec<usize> = versions.map(version_key).collect();
        for version in versions {
            self.breakers.forget(version);
        }
        let slots: Vec<Slot> = self.instances.slots().collect();
        for slot in slots {
            let snapshot = &self.instances.expect(slot).snapshot;
            let is_of_it = snapshot.tenant() == tenant && snapshot.component() == component;
            if is_of_it && self.waits_for_breaker(slot) {
                self.busy(slot).blocked_until = None;
                self.reschedule(slot);
            }
        }
    }

    /// Ends the suspension of an instance, and counts its faults from zero. A retry keeps its time.
    pub(crate) fn unblock_instance(&mut self, ticket: Ticket, tenant: &TenantId, id: InstanceId) {
        let Some(slot) = self.born(tenant, &id) else {
            return self.reply(ticket, Reply::Refused(Refused::UnknownInstance(id)));
        };
        let is_suspended = self.suspended_until(slot).is_some();
        if let Some(busy) = &mut self.instances.expect_mut(slot).busy {
            busy.faults_in_row = 0;
            if is_suspended {
                busy.blocked_until = None;
            }
        }
        let snapshot = Box::new(self.instances.expect(slot).snapshot.clone());
        self.reply(ticket, Reply::Instance(snapshot));
        self.reschedule(slot);
    }

    /// Whether an instance is blocked, and neither by a retry that is not due nor by its own faults.
    fn waits_for_breaker(&self, slot: Slot) -> bool {
        let instance = self.instances.expect(slot);
        let is_blocked = instance.busy.as_ref();
        let is_blocked = is_blocked.is_some_and(|busy| busy.blocked_until.is_some());
        let retry = instance.snapshot.extra.as_ref();
        let retry = retry.and_then(|extra| extra.retry.as_ref());
        let retries_later = retry.is_some_and(|retry| retry.at > self.now);
        is_blocked && !retries_later && self.suspended_until(slot).is_none()
    }
}
