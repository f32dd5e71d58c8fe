//! The log as a ring of slots, one for each position.
//!
//! A slot knows the instance its record is about and where that instance's record before it
//! stands, so that a history is walked without an index. Slots are emptied from the front, or one
//! instance at a time.

use std::{collections::VecDeque, mem::size_of};

use xcomponent_core::record::Record;

use crate::store::weight::Weighed as _;

/// The place of an instance in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(pub(super) u32);

/// One position of the log.
#[derive(Debug)]
pub(super) struct Slot {
    /// What happened; none where the position stayed empty or its record was dropped.
    pub(super) record: Option<Record>,
    /// The position of the same instance's record before this; 0 = none.
    pub(super) before: u64,
    /// Which instance it is about.
    pub(super) owner: Option<Owner>,
    /// What it was counted as.
    bytes: u32,
}

/// The log.
#[derive(Debug)]
pub(super) struct Journal {
    slots: VecDeque<Slot>,
    /// Position of the first slot.
    first: u64,
    /// Bytes of everything in it.
    bytes: usize,
    /// Slots with a record.
    kept: usize,
    /// The highest position of a record that was dropped.
    dropped: u64,
}

/// What finding a record by its event's id takes.
const KEY_BYTES: usize = 24;

/// Slots below which emptiness does not matter.
const SPARSE_SLOTS_MIN: usize = 4_096;

impl Journal {
    pub(super) fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            first: 1,
            bytes: 0,
            kept: 0,
            dropped: 0,
        }
    }

    /// The last position that was given out.
    pub(super) fn last(&self) -> u64 {
        self.first - 1 + u64::try_from(self.slots.len()).expect("a length fits 64 bits")
    }

    /// The first position that is still there.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Bytes of everything in it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many records it has.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// The highest position of a record that was dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether most slots are empty, so that the front should go although its records could stay.
    pub(super) fn is_sparse(&self) -> bool {
        self.slots.len() > SPARSE_SLOTS_MIN && self.slots.len() / 2 > self.kept
    }

    /// The slot of a position, if it is still there.
    pub(super) fn slot(&self, position: u64) -> Option<&Slot> {
        let offset = position.checked_sub(self.first)?;
        self.slots.get(usize::try_from(offset).ok()?)
    }

    /// Adds a record; positions in between stay empty.
    pub(super) fn push(
        &mut self,
        position: u64,
        record: Record,
        owner: Option<Owner>,
        before: u64,
    ) {
        while self.last() + 1 < position {
            self.bytes += size_of::<Slot>();
            self.slots.push_back(Slot {
                record: None,
                before: 0,
                owner: None,
                bytes: 0,
            });
        }
        let bytes = u32::try_from(record.weight() + KEY_BYTES).unwrap_or(u32::MAX);
        self.bytes += size_of::<Slot>() + bytes as usize;
        self.kept += 1;
        self.slots.push_back(Slot {
            record: Some(record),
            before,
            owner,
            bytes,
        });
    }

    /// Drops the record at a position and says where the same instance's record before it is.
    pub(super) fn empty(&mut self, position: u64) -> u64 {
        let offset = position
            .checked_sub(self.first)
            .and_then(|offset| usize::try_from(offset).ok());
        let Some(slot) = offset.and_then(|offset| self.slots.get_mut(offset)) else {
            return 0;
        };
        let before = slot.before;
        if slot.record.take().is_some() {
            self.kept -= 1;
            self.bytes -= slot.bytes as usize;
            self.dropped = self.dropped.max(position);
        }
        before
    }

    /// Drops the front slot and gives it back with its position.
    pub(super) fn pop(&mut self) -> Option<(u64, Slot)> {
        let slot = self.slots.pop_front()?;
        let position = self.first;
        self.first += 1;
        self.bytes -= size_of::<Slot>();
        if slot.record.is_some() {
            self.kept -= 1;
            self.bytes -= slot.bytes as usize;
            self.dropped = self.dropped.max(position);
        }
        Some((position, slot))
    }
}
