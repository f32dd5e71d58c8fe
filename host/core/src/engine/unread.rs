//! Reads that the store does not answer: callers are refused, and what was accepted goes on waiting.

use crate::{
    effect::Refused,
    engine::Engine,
    id::{EventId, InstanceId, TenantId},
    instance::Origin,
};

impl Engine {
    /// The store does not answer what it was asked about these. Its answers may still come.
    pub(crate) fn unread(
        &mut self,
        instances: Vec<(TenantId, InstanceId)>,
        broadcasts: Vec<(TenantId, EventId)>,
    ) {
        for place in instances {
            let Some(mut letters) = self.absent.remove(&place) else {
                continue;
            };
            for letter in letters.drain() {
                if let Origin::Caller { ticket, .. } = letter.errand.origin {
                    let key = letter.repeat_key(&place.0, &place.1);
                    self.refuse_all(ticket, key, Refused::NotCommitted);
                } else {
                    let waiting = self.absent.entry(place.clone()).or_default();
                    waiting.push_back(letter, &self.absent_account);
                }
            }
        }
        for (tenant, event) in broadcasts {
            if let Some(ticket) = self.rebroadcasts.forget_asked(&tenant, &event) {
                let key = (tenant, None, event);
                self.refuse_all(ticket, Some(key), Refused::NotCommitted);
            }
        }
    }
}
