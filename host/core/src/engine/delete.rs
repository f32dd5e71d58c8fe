//! Instances that an operator deletes once they have ended: from that record on there is no such
//! instance for anybody.
//!
//! In memory a deleted instance stays only until its record is durable and its delayed sends to
//! others have left. Its id stays taken until the store has removed its records: a repetition of
//! what was asked before must not be taken for something about another instance.

use crate::{
    effect::Refused,
    engine::{Engine, instances::Slot, run::Place},
    id::TenantId,
    input::{Delete, Ticket},
    instance::{Letter, Trigger},
    json::Json,
    record::{Snapshot, Status},
};

/// The name of the event that deletes an instance on an operator's request.
pub const DELETED: &str = "$deleted";

impl Engine {
    /// An operator deletes an instance.
    pub(crate) fn request_deletion(&mut self, ticket: Ticket, tenant: &TenantId, delete: Delete) {
        let letter = self.letter_of_operator(ticket, DELETED, Json::empty(), delete.trace_parent);
        self.deliver(tenant, delete.instance, letter.triggering(Trigger::Delete));
    }

    /// At an instance that goes on, the request comes next, since the answer is no; only its end may
    /// come before. At one that has ended, the request comes behind everything that waits there.
    pub(crate) fn be_told_to_go(&mut self, slot: Slot, letter: Letter) {
        let instance = self.instances.expect(slot);
        if instance.snapshot.status != Status::Active || instance.snapshot.seq == 0 {
            return self.post(slot, letter);
        }
        let max = self.limits.mailbox_max;
        let busy = instance.busy.as_ref();
        if busy.is_some_and(|busy| busy.own.len() >= max) {
            return self.refuse_letter(slot, letter);
        }
        self.enqueue(slot, letter, Place::Next);
        self.reschedule(slot);
    }

    /// Deletes the instance if it has ended.
    pub(crate) fn delete(&mut self, slot: Slot, letter: Letter) {
        let instance = self.instances.expect(slot);
        let snapshot = &instance.snapshot;
        match snapshot.status {
            Status::Completed | Status::Error | Status::Terminated => {
                let is_first = instance.busy.as_ref().is_none_or(|busy| {
                    let keeps = snapshot.is_to_park() && !busy.mailbox.is_empty();
                    busy.own.is_empty() && !keeps
                });
                if !is_first {
                    // The instance has just ended: what it kept is parked first.
                    return self.enqueue(slot, letter, Place::Last);
                }
                self.delete_now(slot, letter);
            }
            Status::Active => {
                let refused = Refused::InstanceActive(snapshot.id.clone());
                self.refuse_all(letter.errand.origin.ticket(), None, refused);
            }
            Status::Deleted => self.is_gone(slot, letter),
        }
    }

    fn delete_now(&mut self, slot: Slot, letter: Letter) {
        let now = self.now;
        let snapshot = &mut self.instances.expect_mut(slot).snapshot;
        snapshot.status = Status::Deleted;
        snapshot.seq += 1;
        snapshot.updated = now;
        self.done_by_operator(slot, letter);
    }

    /// An event for an instance that was deleted comes to the same as one for an instance that
    /// never was.
    pub(crate) fn is_gone(&mut self, slot: Slot, mut letter: Letter) {
        let snapshot = &self.instances.expect(slot).snapshot;
        let (tenant, id) = (snapshot.tenant().clone(), snapshot.id.clone());
        let component = snapshot.component();
        letter
            .errand
            .component
            .get_or_insert_with(|| component.clone());
        self.unknown_instance(&tenant, id, letter);
    }
}

impl Snapshot {
    /// Whether events wait here that are parked once the instance has ended.
    fn is_to_park(&self) -> bool {
        let extra = self.extra.as_ref();
        extra.is_some_and(|extra| !extra.deferred.is_empty() || extra.retry.is_some())
    }
}
