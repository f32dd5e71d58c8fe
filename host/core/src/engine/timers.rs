//! Which instance has a deadline next. The deadlines themselves are part of the instances; this
//! is only an order over them, and may name some that are gone.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{engine::instances::Slot, time::Timestamp};

/// Deadlines in order, the same instants in the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Timestamp, u64, Slot)>>,
    set: u64,
}

impl Timers {
    /// Looks at an instance when this time has come.
    pub(crate) fn set(&mut self, due: Timestamp, slot: Slot) {
        self.set += 1;
        self.heap.push(Reverse((due, self.set, slot)));
    }

    /// The next time to look.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((due, ..))| *due)
    }

    /// The next instance whose time has come.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Slot> {
        let Reverse((due, ..)) = self.heap.peek()?;
        if *due > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, slot))| slot)
    }
}
