//! Up to where each partition was taken in a while ago: what was there then, a cluster that is started
//! anew still has.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Marks of the last while, and one from before.
#[derive(Debug)]
pub(super) struct Past {
    settles_after: Duration,
    marks: VecDeque<(Instant, BTreeMap<i32, i64>)>,
}

impl Past {
    /// Nothing yet; only what is older than this counts.
    pub(super) fn new(settles_after: Duration) -> Self {
        Self {
            settles_after,
            marks: VecDeque::new(),
        }
    }

    /// Each partition is taken in up to its offset now.
    pub(super) fn mark(&mut self, now: Instant, through: BTreeMap<i32, i64>) {
        self.marks.push_back((now, through));
        while self.marks.get(1).is_some_and(|mark| self.is_old(mark, now)) {
            self.marks.pop_front();
        }
    }

    /// Up to where a partition was taken in then, if this is known.
    pub(super) fn place(&self, partition: i32, now: Instant) -> Option<i64> {
        let mark = self.marks.front().filter(|mark| self.is_old(mark, now))?;
        mark.1.get(&partition).copied()
    }

    fn is_old(&self, (at, _): &(Instant, BTreeMap<i32, i64>), now: Instant) -> bool {
        now.duration_since(*at) >= self.settles_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_taken_in_lately_does_not_count() {
        let began = Instant::now();
        let mut past = Past::new(SECOND * 30);
        for second in 0..100_u32 {
            let now = began + SECOND * second;
            past.mark(now, BTreeMap::from([(0, i64::from(second))]));
            let expected = (second >= 30).then(|| i64::from(second) - 30);
            assert_eq!(past.place(0, now), expected);
            assert_eq!(past.place(1, now), None);
        }
        assert!(past.marks.len() <= 31);
    }
}
