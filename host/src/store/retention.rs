//! What of the history goes, and in which order.
//!
//! By age: whatever is older, from the beginning of the log; an instance that is over goes with its
//! last record, one that goes on stays as it is. By number: first all of the instances that finished
//! first, then the oldest records of those that go on. Both in small steps, so that no event waits
//! for long, and neither takes what is still owed or what a repeated id is answered from. Parked
//! events are kept apart from the log and stay until they are settled.

use xcomponent_core::time::{Duration, Timestamp};

use super::Result;

/// Records that one step removes, about.
pub(super) const STEP: u64 = 256;

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
    /// What is from since then stays, whatever else is said.
    spare: Timestamp,
    /// How many records stay if there are more.
    records: Option<u64>,
}

/// A log that can be shortened. Each method removes about `most` records from before a moment, and
/// says how many it did; fewer only if there are no more of them.
pub(super) trait Shorten {
    /// How many records there are.
    fn records(&self) -> u64;

    /// Removes records from the beginning, and an instance that is over with its last one.
    fn remove_oldest(&mut self, before: Timestamp, most: u64) -> Result<u64>;

    /// Removes instances that are over with all their records, the one that ended first first.
    fn remove_finished(&mut self, before: Timestamp, most: u64) -> Result<u64>;
}

/// Removes a little; whether there is more of it.
pub(super) fn shorten(log: &mut impl Shorten, removable: &Removable) -> Result<bool> {
    let mut room = STEP;
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
