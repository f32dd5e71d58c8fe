//! Who runs next: one queue per tenant, asked in turn, so that a busy tenant does not starve a
//! quiet one.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    engine::{instances::Slot, selection::Selecting},
    id::TenantId,
};

/// Something that can be done now.
#[derive(Debug)]
pub(crate) enum Work {
    /// The next event of an instance.
    Instance(Slot),
    /// The next slice of a selection.
    Selection(Box<Selecting>),
}

/// What can be done now.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    queues: Vec<VecDeque<Work>>,
    tenants: HashMap<TenantId, usize, FixedState>,
    turn: usize,
    len: usize,
}

impl Schedule {
    /// How much there is to do.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts work at the end of its tenant's queue.
    pub(crate) fn push(&mut self, tenant: &TenantId, work: Work) {
        let idx = if let Some(idx) = self.tenants.get(tenant) {
            *idx
        } else {
            self.queues.push(VecDeque::new());
            self.tenants.insert(tenant.clone(), self.queues.len() - 1);
            self.queues.len() - 1
        };
        self.queues[idx].push_back(work);
        self.len += 1;
    }

    /// The next work: the front of the next tenant's queue that has some.
    pub(crate) fn pop(&mut self) -> Option<Work> {
        if self.len == 0 {
            return None;
        }
        loop {
            self.turn = (self.turn + 1) % self.queues.len();
            if let Some(work) = self.queues[self.turn].pop_front() {
                self.len -= 1;
                return Some(work);
            }
        }
    }

    /// The selections among it.
    pub(crate) fn selections(&mut self) -> impl Iterator<Item = &mut Selecting> {
        let work = self.queues.iter_mut().flatten();
        work.filter_map(|work| match work {
            Work::Selection(selecting) => Some(&mut **selecting),
            Work::Instance(_) => None,
        })
    }

    /// Drops the work that `keep` refuses; for truncation.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Work) -> bool) {
        for queue in &mut self.queues {
            queue.retain(&mut keep);
        }
        self.len = self.queues.iter().map(VecDeque::len).sum();
    }
}
