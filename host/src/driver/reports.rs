//! What the committer tells the log about the work it sees: dead letters and slow commits, each at
//! most once in a while and with the number of those in between.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use xcomponent_core::record::{Body, DeadLetter};

use crate::store::Entry;

/// Shortest time between two lines about the same.
const APART: Duration = Duration::from_secs(10);

/// A commit that takes longer is slow.
const SLOW: Duration = Duration::from_secs(1);

/// What was not told yet.
#[derive(Default)]
pub(super) struct Reports {
    letters: Pending<Arc<DeadLetter>>,
    slow: Pending<(Duration, usize)>,
}

/// Things of one kind: how many, and the last.
struct Pending<T> {
    count: u64,
    last: Option<T>,
    told: Option<Instant>,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            count: 0,
            last: None,
            told: None,
        }
    }
}

impl<T> Pending<T> {
    fn add(&mut self, one: T) {
        self.count += 1;
        self.last = Some(one);
    }

    /// How many there are and the last, if it is time to tell.
    fn due(&mut self, now: Instant) -> Option<(u64, T)> {
        let is_early = |told: Instant| now.duration_since(told) < APART;
        if self.told.is_some_and(is_early) {
            return None;
        }
        let last = self.last.take()?;
        self.told = Some(now);
        Some((std::mem::take(&mut self.count), last))
    }
}

impl Reports {
    /// These were committed, which took so long.
    pub(super) fn committed(&mut self, entries: &[Entry], took: Duration) {
        for entry in entries {
            let letter = match &entry.record.body {
                Body::Parked(letter) => Some(letter),
                Body::Handled(handled) => handled.parked.as_ref(),
                _ => None,
            };
            if let Some(letter) = letter {
                self.letters.add(Arc::clone(letter));
            }
        }
        if took >= SLOW {
            self.slow.add((took, entries.len()));
        }
    }

    /// Tells what is due.
    pub(super) fn tell(&mut self) {
        if self.letters.count == 0 && self.slow.count == 0 {
            return;
        }
        let now = Instant::now();
        if let Some((count, letter)) = self.letters.due(now) {
            tracing::warn!(
                count,
                component = %letter.component,
                instance = letter.instance.as_ref().map(tracing::field::display),
                event = %letter.event.name,
                reason = letter.why.code(),
                "events became dead letters, the last of them this one; `xcomponent dead-letters` \
                 lists them"
            );
        }
        if let Some((count, (took, records))) = self.slow.due(now) {
            tracing::warn!(
                count,
                records,
                ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                "commits were slow, the last of them took this long; answers wait for them"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_at_once_and_then_as_a_number() {
        let mut pending = Pending::default();
        let start = Instant::now();
        pending.add("a");
        assert_eq!(pending.due(start), Some((1, "a")));
        for letter in ["b", "c", "d"] {
            pending.add(letter);
            assert_eq!(pending.due(start + APART / 2), None);
        }
        assert_eq!(pending.due(start + APART), Some((3, "d")));
        assert_eq!(pending.due(start + APART * 3), None);
    }
}
