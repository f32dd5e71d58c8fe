//! How old what waits is: when it was committed, as far as that is needed to say it.
//!
//! Records that were committed within a tenth of a second share a mark; of those that wait for long
//! the marks are few. So the oldest is at most so much younger than is said, however many wait.

use std::collections::VecDeque;

use xcomponent_core::time::{Duration, Timestamp};

use crate::store::Position;

/// Records within so long share a mark.
const STEP: Duration = Duration(100);

/// Marks at most; beyond, each second one is given up, and the one before stands for both.
const MARKS_MAX: usize = 1_024;

/// When what waits was committed.
#[derive(Debug, Default)]
pub(super) struct Ages(VecDeque<Mark>);

/// Records in a row.
#[derive(Clone, Copy, Debug)]
struct Mark {
    first: Position,
    last: Position,
    /// When the first of them was committed.
    at: Timestamp,
}

impl Ages {
    /// One was committed, after all others.
    pub(super) fn add(&mut self, position: Position, at: Timestamp) {
        match self.0.back_mut() {
            Some(mark) if at < mark.at.after(STEP) => mark.last = mark.last.max(position),
            _ => self.0.push_back(Mark {
                first: position,
                last: position,
                at,
            }),
        }
        if self.0.len() > MARKS_MAX {
            self.thin();
        }
    }

    /// Some were found in the store, the first of them from before all that are known.
    pub(super) fn found(&mut self, first: Position, last: Position, at: Timestamp) {
        let known = self.0.front().map(|mark| mark.first);
        if known.is_none_or(|known| first < known) {
            let last = known.map_or(last, |known| last.min(Position(known.0 - 1)));
            self.0.push_front(Mark { first, last, at });
        }
    }

    /// Everything up to there has arrived.
    pub(super) fn arrived(&mut self, through: Position) {
        while self.0.front().is_some_and(|mark| mark.last <= through) {
            self.0.pop_front();
        }
    }

    /// When the oldest was committed.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.0.front().map(|mark| mark.at)
    }

    fn thin(&mut self) {
        let mut thinned: VecDeque<Mark> = VecDeque::with_capacity(self.0.len() / 2 + 1);
        for (n, mark) in self.0.drain(..).enumerate() {
            match thinned.back_mut() {
                Some(before) if n % 2 == 1 => before.last = mark.last,
                _ => thinned.push_back(mark),
            }
        }
        self.0 = thinned;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_the_first_that_has_not_arrived() {
        let mut ages = Ages::default();
        assert_eq!(ages.oldest(), None);
        for (position, at) in [(3, 1_000), (4, 1_050), (9, 5_000)] {
            ages.add(Position(position), Timestamp(at));
        }
        assert_eq!(ages.oldest(), Some(Timestamp(1_000)));
        ages.arrived(Position(3));
        assert_eq!(ages.oldest(), Some(Timestamp(1_000)), "it shares its mark");
        ages.arrived(Position(4));
        assert_eq!(ages.oldest(), Some(Timestamp(5_000)));
        ages.arrived(Position(9));
        assert_eq!(ages.oldest(), None);
    }

    #[test]
    fn what_was_found_in_the_store_is_older() {
        let mut ages = Ages::default();
        ages.add(Position(9), Timestamp(5_000));
        ages.found(Position(2), Position(12), Timestamp(10));
        ages.found(Position(4), Position(4), Timestamp(20));
        assert_eq!(ages.oldest(), Some(Timestamp(10)));
        ages.arrived(Position(7));
        assert_eq!(ages.oldest(), Some(Timestamp(10)));
        ages.arrived(Position(8));
        assert_eq!(ages.oldest(), Some(Timestamp(5_000)));
    }

    #[test]
    fn however_many_wait_the_marks_are_few() {
        let mut ages = Ages::default();
        for n in 0..100_000 {
            ages.add(Position(n), Timestamp(n * 1_000));
        }
        assert!(ages.0.len() <= MARKS_MAX);
        assert_eq!(ages.oldest(), Some(Timestamp(0)));
        ages.arrived(Position(99_998));
        assert!(ages.oldest().is_some());
        ages.arrived(Position(99_999));
        assert_eq!(ages.oldest(), None);
    }
}
