//! What the host before this one sent and nobody received: handed out again.

use std::{collections::HashSet, sync::Arc};

use crate::{
    call::Event,
    engine::{
        Engine,
        selection::{Held, Want},
    },
    id::{InstanceId, Partition, PartitionCount, TenantId},
    instance::{After, Letter, Origin, Trigger},
    owed::{Debt, Undelivered, Unselected},
    record::{Mail, Outgoing, Selected, Target},
};

/// The part of a selection that has not been taken in.
#[derive(Debug)]
pub(crate) struct Rest {
    count: PartitionCount,
    /// Sorted.
    partitions: Vec<Partition>,
    chosen: HashSet<InstanceId>,
}

impl Rest {
    /// All of it but those that were chosen before.
    pub(crate) fn besides(
        count: PartitionCount,
        chosen: impl IntoIterator<Item = InstanceId>,
    ) -> Self {
        let all = (0..count.get()).map(|number| {
            Partition(u16::try_from(number).expect("there are at most 65 536 partitions"))
        });
        Self {
            count,
            partitions: all.collect(),
            chosen: chosen.into_iter().collect(),
        }
    }

    /// Whether an instance may still be chosen.
    pub(crate) fn includes(&self, id: &InstanceId) -> bool {
        let partition = self.count.partition(id);
        self.partitions.binary_search(&partition).is_ok() && !self.chosen.contains(id)
    }
}

impl Engine {
    /// Hands out what was sent and not received.
    pub(crate) fn redeliver(&mut self, debt: Debt) {
        let Debt { tenant, what } = debt;
        match what {
            Undelivered::Sent(outgoing) => self.send_again(&tenant, *outgoing),
            Undelivered::Chosen(selected, id) => {
                let letter = Letter::chosen(&selected, &id, Origin::Inside, After::Nothing);
                self.deliver(&tenant, id, letter);
            }
            Undelivered::Selection(unselected) => self.select_rest(tenant, *unselected),
        }
    }

    /// An undelayed send to itself comes before everything else, as it did.
    fn send_again(&mut self, tenant: &TenantId, mut outgoing: Outgoing) {
        // Which record sent it is not known here.
        outgoing.n = 0;
        let own = match &outgoing.to {
            Target::Instance { id, .. } if outgoing.cause.instance.as_ref() == Some(id) => {
                self.born(tenant, id)
            }
            Target::Instance { .. } | Target::Create { .. } | Target::Selection(_) => None,
        };
        match own {
            Some(slot) => self.send_to_self(slot, tenant, outgoing, After::Nothing),
            None => self.receive(tenant, outgoing, After::Nothing),
        }
    }

    fn select_rest(&mut self, tenant: TenantId, unselected: Unselected) {
        let Unselected {
            outgoing,
            partitions,
            chosen,
        } = unselected;
        let Outgoing {
            to: Target::Selection(selector),
            event,
            cause,
            ..
        } = outgoing
        else {
            return;
        };
        let rest = Rest {
            count: self.partitions,
            partitions,
            chosen: chosen.into_iter().collect(),
        };
        self.want(Want::Select(Box::new(Held {
            tenant,
            selector,
            mail: Mail {
                event,
                cause,
                sent_at: None,
            },
            origin: Origin::Inside,
            after: After::Nothing,
            is_logged: false,
            rest: Some(Box::new(rest)),
        })));
    }
}

impl Letter {
    /// A selected event for one of the instances that were chosen, which may have changed since.
    pub(crate) fn chosen(
        selected: &Selected,
        id: &InstanceId,
        origin: Origin,
        after: After,
    ) -> Self {
        let event = Event {
            id: selected.event.id.at(id),
            ..selected.event.clone()
        };
        let mail = Mail {
            event,
            cause: selected.cause.clone(),
            sent_at: None,
        };
        let trigger = Trigger::Selected {
            selector: Arc::clone(&selected.selector),
            seq: 0,
            shared_by: u32::try_from(selected.instances.len()).unwrap_or(u32::MAX),
        };
        Self::new(mail, origin, after).triggering(trigger)
    }
}
