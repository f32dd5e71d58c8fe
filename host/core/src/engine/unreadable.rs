//! Instances whose records the store cannot read: somebody else wrote them, or the disk lied. Such an
//! instance is suspended until a host starts that can read it. None of its events and deadlines
//! run, since nobody knows what it was.
//!
//! What is sent to it is held: nothing records it, so that the log goes on owing it, and a host
//! that can read the instance delivers it in the order in which it was sent. The log keeps what it
//! owes in memory and retention removes nothing of it, so there is a bound: what is beyond it is
//! parked.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    effect::Refused,
    engine::Engine,
    id::{InstanceId, TenantId},
    instance::{Letter, Origin},
    limits::HELD_MAX,
    record::Parked,
};

/// Instances that are remembered as unreadable. Of others the store is asked each time.
const REMEMBERED_MAX: usize = 65_536;

/// Instances that the store could not read, each with how many events are held for it.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    held: HashMap<TenantId, HashMap<InstanceId, usize, FixedState>, FixedState>,
    len: usize,
}

impl Unreadable {
    /// Whether an instance is known to be unreadable.
    pub(crate) fn has(&self, tenant: &TenantId, id: &InstanceId) -> bool {
        let of_tenant = || self.held.get(tenant);
        self.len > 0 && of_tenant().is_some_and(|held| held.contains_key(id))
    }

    fn add(&mut self, tenant: &TenantId, id: &InstanceId) {
        if self.len < REMEMBERED_MAX {
            let held = self.held.entry(tenant.clone()).or_default();
            self.len += usize::from(held.insert(id.clone(), 0).is_none());
        }
    }

    /// Whether another event may be held for an instance.
    fn hold(&mut self, tenant: &TenantId, id: &InstanceId) -> bool {
        let of_tenant = self.held.get_mut(tenant);
        match of_tenant.and_then(|held| held.get_mut(id)) {
            Some(held) if *held >= HELD_MAX => false,
            Some(held) => {
                *held += 1;
                true
            }
            None => false,
        }
    }
}

impl Engine {
    /// The store cannot read an instance: what waits for it is held.
    pub(crate) fn suspend_unreadable(&mut self, (tenant, id): (TenantId, InstanceId)) {
        if !self.unreadable.has(&tenant, &id) {
            self.unreadable.add(&tenant, &id);
        }
        let waiting = self.absent.remove(&(tenant.clone(), id.clone()));
        for letter in waiting.into_iter().flat_map(|mut letters| letters.drain()) {
            self.hold(&tenant, id.clone(), letter);
        }
    }

    /// An event for an instance that cannot be read. Who waits for an answer is told.
    pub(crate) fn hold(&mut self, tenant: &TenantId, id: InstanceId, letter: Letter) {
        match letter.errand.origin {
            Origin::Caller { ticket, .. } => {
                let key = letter.repeat_key(tenant, &id);
                self.refuse_all(ticket, key, Refused::RecordUnreadable(id));
            }
            Origin::Tally(_) => self.tally_gone(letter.errand.origin),
            Origin::Inside if self.unreadable.hold(tenant, &id) => {}
            Origin::Inside => self.park_letter(tenant, id, letter, Parked::RecordUnreadable),
        }
    }
}
