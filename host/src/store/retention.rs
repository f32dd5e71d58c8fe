//! What of the history goes, and in which order.
//!
//! Deleted instances go first, whatever is kept of others. By age: whatever is older, from the beginning of the log; an instance that is over goes with its
//! last record, one that goes on stays as it is. By number: first all of the instances that finished
//! first, then the oldest records of those that go on. Both in small steps, so that no event waits
//! for long, and neither takes what is still owed or what a repeated id is answered from. Parked
//! events are kept apart from the log and stay until they are settled.

use xcomponent_core::time::{Duration, Timestamp};

use super::{Error, Position, Result};

/// Records that one step removes, about.
pub(super) const STEP: u64 = 128;

/// How much history is kept; nothing said = all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records older than this go.
    pub age: Option<Duration>,
    /// Beyond this number the oldest go.
    pub records: Option<u64>,
}

impl Retention {
    /// Whether everything is kept.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// What may go at a moment, if answers to repeated ids must be there for so long.
    pub fn at(&self, now: Timestamp, dedup_retention: Duration) -> Removable {
        let before = |age: Duration| Timestamp(now.0.saturating_sub(age.0));
        Removable {
            expired: self.age.map(|age| before(age.max(dedup_retention))),
            spare: before(dedup_retention),
            records: self.records,
        }
    }
}

/// What may be removed from a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removable {
    /// What is from before this goes.
    expired: Option<Timestamp>,
    /// What is from since then stays, whatever else is said, also of deleted instances.
    spare: Timestamp,
    /// How many records stay if there are more.
    records: Option<u64>,
}

impl Removable {
    /// Whether only deleted instances may go.
    pub(super) fn is_of_deleted_only(&self) -> bool {
        self.expired.is_none() && self.records.is_none()
    }
}

/// How far a log is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// The position of the last record.
    pub(super) last: u64,
    /// Everything that records before this sent has been received.
    pub(super) settled_below: u64,
}

impl Reach {
    /// From where on every record stays: what a host that starts would look at, if no row of
    /// `instances` misses anything up to `covered`, what another host has `awaited` from there on,
    /// and the last of all.
    pub(super) fn needed_from(&self, covered: u64, awaited: Option<u64>) -> u64 {
        let needed = self.last.min(self.settled_below).min(covered + 1);
        awaited.map_or(needed, |awaited| needed.min(awaited))
    }
}

/// How much of a log there is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    /// The highest position of a removed record.
    pub(super) complete_after: u64,
    /// Positions up to the last that have no record.
    pub(super) absent: u64,
}

impl Extent {
    /// How many records there are, if this is the position of the last.
    pub(super) fn records(&self, last: u64) -> u64 {
        last.saturating_sub(self.absent)
    }

    /// The record at a position is removed.
    pub(super) fn lost(&mut self, position: u64) {
        self.absent += 1;
        self.complete_after = self.complete_after.max(position);
    }

    /// Sees to it that nothing is missing after a position.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if something is.
    pub(super) fn reaches(&self, after: Position) -> Result<()> {
        let complete_after = Position(self.complete_after);
        if after < complete_after {
            return Err(Error::Gone { complete_after });
        }
        Ok(())
    }
}

/// A log that can be shortened. Each method removes about `most` records from before a moment, and
/// says how many it did; fewer only if there are no more of them.
pub(super) trait Shorten {
    /// How many records there are.
    fn records(&self) -> u64;

    /// Removes records from the beginning, and an instance that is over with its last one.
    fn remove_oldest(&mut self, before: Timestamp, most: u64) -> Result<u64>;

    /// Removes deleted instances with all their records, the one that was deleted first first.
    fn remove_deleted(&mut self, before: Timestamp, most: u64) -> Result<u64>;

    /// Removes instances that are over with all their records, the one that ended first first.
    fn remove_finished(&mut self, before: Timestamp, most: u64) -> Result<u64>;
}

/// Removes a little; whether there is more of it.
pub(super) fn shorten(log: &mut impl Shorten, removable: &Removable) -> Result<bool> {
    let mut room = STEP.saturating_sub(log.remove_deleted(removable.spare, STEP)?);
    if let Some(expired) = removable.expired {
        room = room.saturating_sub(log.remove_oldest(expired, room)?);
    }
    let excess = |log: &_, room: u64| {
        let excess = removable
            .records
            .map_or(0, |kept| Shorten::records(log).saturating_sub(kept));
        excess.min(room)
    };
    let most = excess(log, room);
    if most > 0 {
        room = room.saturating_sub(log.remove_finished(removable.spare, most)?);
    }
    let most = excess(log, room);
    if most > 0 {
        room = room.saturating_sub(log.remove_oldest(removable.spare, most)?);
    }
    Ok(room == 0)
}
