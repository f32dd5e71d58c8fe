//! How far each partition is taken in: up to where a group may be told.

use std::collections::{BTreeMap, BTreeSet};

/// A partition, and a place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// What is on its way in, by partition.
#[derive(Debug, Default)]
pub(super) struct Progress(BTreeMap<i32, Partition>);

#[derive(Debug, Default)]
struct Partition {
    under_way: BTreeSet<i64>,
    /// What was read last.
    last: i64,
    /// What was told last of how far it is, until it is deleted.
    done: Option<i64>,
}

impl Partition {
    /// Everything up to here is taken in.
    fn through(&self) -> i64 {
        self.under_way.first().map_or(self.last, |first| first - 1)
    }
}

impl Progress {
    /// A message was read.
    pub(super) fn began(&mut self, at: At) {
        let partition = self.0.entry(at.partition).or_default();
        partition.under_way.insert(at.offset);
        partition.last = at.offset;
    }

    /// A message is taken in; says the last one of its partition up to which all are.
    pub(super) fn done(&mut self, at: At) -> Option<At> {
        let partition = self.0.get_mut(&at.partition)?;
        partition.under_way.remove(&at.offset);
        let done = partition.through();
        let is_news = done >= at.offset && partition.done != Some(done);
        partition.done = Some(done);
        is_news.then_some(At { offset: done, ..at })
    }

    /// Up to where each partition is taken in.
    pub(super) fn through(&self) -> BTreeMap<i32, i64> {
        let partitions = self.0.iter();
        partitions
            .map(|(partition, state)| (*partition, state.through()))
            .collect()
    }

    /// Up to where each partition is taken in, as far as that changed since this was asked.
    pub(super) fn take_done(&mut self) -> Vec<At> {
        let done = self.0.iter_mut().filter_map(|(partition, state)| {
            let offset = state.done.take()?;
            Some(At {
                partition: *partition,
                offset,
            })
        });
        done.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{At, Progress};

    fn at(offset: i64) -> At {
        At {
            partition: 0,
            offset,
        }
    }

    fn reading(offsets: impl IntoIterator<Item = i64>) -> Progress {
        let mut progress = Progress::default();
        offsets
            .into_iter()
            .for_each(|offset| progress.began(at(offset)));
        progress
    }

    #[test]
    fn what_comes_after_something_missing_is_not_told() {
        let mut progress = reading(5..9);
        assert_eq!(progress.done(at(6)), None);
        assert_eq!(progress.done(at(5)), Some(at(6)));
        assert_eq!(progress.done(at(8)), None);
        assert_eq!(progress.done(at(7)), Some(at(8)));
    }

    #[test]
    fn what_is_read_and_not_taken_in_does_not_count() {
        let mut progress = reading(5..9);
        assert_eq!(progress.through()[&0], 4);
        progress.done(at(7));
        assert_eq!(progress.through()[&0], 4);
        progress.done(at(5));
        assert_eq!(progress.through()[&0], 5);
    }

    #[test]
    fn partitions_go_on_by_themselves() {
        let mut progress = reading([5]);
        let other = At {
            partition: 1,
            offset: 3,
        };
        progress.began(other);
        assert_eq!(progress.done(other), Some(other));
        assert_eq!(progress.done(at(5)), Some(at(5)));
    }

    #[test]
    fn offsets_need_not_follow_one_another() {
        let mut progress = reading([5, 9]);
        assert_eq!(progress.done(at(5)), Some(at(8)));
        assert_eq!(progress.done(at(9)), Some(at(9)));
    }

    #[test]
    fn a_topic_that_begins_anew_is_told_from_its_beginning() {
        let mut progress = reading([70]);
        assert_eq!(progress.done(at(70)), Some(at(70)));
        progress.began(at(0));
        assert_eq!(progress.done(at(0)), Some(at(0)));
    }
}
