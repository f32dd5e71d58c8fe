//! Whether the shards' threads make progress.
//!
//! A shard that waits for work does nothing, and a turn ends within moments: what it asks of guests
//! gives the thread back. A thread that is in the same turn for long hangs, and whoever is asked
//! whether the process is well says so. Costs a shard two stores to memory of its own for a turn.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often a shard's thread began and ended a turn: odd within one.
#[derive(Debug, Default)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    /// A turn begins, or goes on and has done something. Only the shard's thread says so.
    pub(super) fn works(&self) {
        let beats = self.0.load(Ordering::Relaxed);
        self.0
            .store((beats | 1) + (beats & 1) * 2, Ordering::Relaxed);
    }

    /// It waits for others.
    pub(super) fn rests(&self) {
        let beats = self.0.load(Ordering::Relaxed);
        self.0.store((beats + 1) & !1, Ordering::Relaxed);
    }

    fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was seen of every shard, and since when.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Vec<Option<(u64, Instant)>>>);

impl Watch {
    /// The shards that were seen in one turn at two looks that are so far apart.
    pub(super) fn look<'p>(
        &self,
        pulses: impl Iterator<Item = &'p Pulse>,
        within: Duration,
    ) -> Vec<usize> {
        let now = Instant::now();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hanging = Vec::new();
        for (shard, pulse) in pulses.enumerate() {
            if seen.len() == shard {
                seen.push(None);
            }
            let beats = pulse.beats();
            match seen[shard] {
                Some((before, since)) if before == beats => {
                    let is_within_turn = beats % 2 == 1;
                    if is_within_turn && now.duration_since(since) >= within {
                        hanging.push(shard);
                    }
                }
                _ => seen[shard] = Some((beats, now)),
            }
        }
        hanging
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[test]
    fn who_is_seen_twice_in_one_turn_hangs() {
        let (pulse, watch) = (Pulse::default(), Watch::default());
        let look = |within| watch.look(std::iter::once(&pulse), within);
        pulse.works();
        assert!(look(AT_ONCE).is_empty(), "the first look only remembers");
        assert_eq!(look(AT_ONCE), [0]);
        assert!(look(Duration::from_secs(3_600)).is_empty());
        pulse.works();
        assert!(look(AT_ONCE).is_empty(), "it has done something");
    }

    #[test]
    fn who_waits_for_work_does_not() {
        let (pulse, watch) = (Pulse::default(), Watch::default());
        pulse.works();
        pulse.rests();
        for _ in 0..3 {
            assert!(watch.look(std::iter::once(&pulse), AT_ONCE).is_empty());
            pulse.rests();
        }
    }
}
