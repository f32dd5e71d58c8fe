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
            let Some(letters) = self.absent.remove(&place) else {
                continue;
            };
            let (callers, others) = letters
                .into_iter()
                .partition::<std::collections::VecDeque<_>, _>(|letter| {
                    matches!(letter.errand.origin, Origin::Caller { .. })
                });
            if !others.is_empty() {
                self.absent.insert(place.clone(), others);
            }
            for letter in callers {
                if let Origin::Caller { ticket, .. } = letter.errand.origin {
                    let key = letter.repeat_key(&place.0, &place.1);
                    self.refuse_all(ticket, key, Refused::NotCommitted);
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
