//! Instances whose row is older than their last record.

use std::collections::BTreeSet;

use hashbrown::{HashMap, hash_map::Entry};
use xcomponent_core::record::{Body, Snapshot};

use super::DueRow;

/// Instances whose row is older than their last record, by the number of the row.
#[derive(Debug, Default)]
pub(in crate::store) struct Stale {
    newest: HashMap<i64, Newest, foldhash::fast::RandomState>,
    /// By the first record that the row misses.
    by_age: BTreeSet<(u64, i64)>,
    /// Bytes of all contexts.
    bytes: usize,
}

/// The newest state of an instance.
#[derive(Clone, Debug)]
pub(in crate::store) struct Newest {
    /// Its last record. What waits at the instance has rows that are never behind.
    body: Body,
    /// Where that is.
    pub(in crate::store) last: u64,
    /// The first record that the row misses.
    pub(in crate::store) since: u64,
}

impl Newest {
    /// The instance as it is.
    pub(in crate::store) fn snapshot(&self) -> &Snapshot {
        self.body
            .snapshot()
            .expect("only records about an instance are noted")
    }

    /// Bytes of its context.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.snapshot().context.len()
    }
}

impl Stale {
    /// What is newer than an instance's row.
    pub(in crate::store) fn get(&self, number: i64) -> Option<&Newest> {
        self.newest.get(&number)
    }

    /// The row of an instance as it should be, if it is behind.
    pub(in crate::store) fn row(&self, number: i64) -> Option<DueRow<'_>> {
        self.get(number).map(|newest| DueRow {
            number,
            snapshot: newest.snapshot(),
            last: newest.last,
        })
    }

    /// All of them.
    pub(in crate::store) fn iter(&self) -> impl Iterator<Item = (i64, &Newest)> {
        self.newest.iter().map(|(number, newest)| (*number, newest))
    }

    /// How many there are.
    pub(in crate::store) fn len(&self) -> usize {
        self.newest.len()
    }

    /// Bytes of all contexts.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those whose rows are the furthest behind come first.
    pub(in crate::store) fn oldest(&self) -> impl Iterator<Item = (u64, i64)> {
        self.by_age.iter().copied()
    }

    /// Notes the last record of an instance; `first` is the first of those that are new.
    pub(in crate::store) fn note(&mut self, number: i64, first: u64, last: u64, body: Body) {
        let newest = match self.newest.entry(number) {
            Entry::Occupied(known) => {
                let newest = known.into_mut();
                self.bytes -= newest.bytes();
                (newest.body, newest.last) = (body, last);
                newest
            }
            Entry::Vacant(new) => {
                let since = first;
                new.insert(Newest { body, last, since })
            }
        };
        self.bytes += newest.bytes();
        self.by_age.insert((newest.since, number));
    }

    /// Notes that an instance's row is up to date, and says what it was behind of.
    pub(in crate::store) fn written(&mut self, number: i64) -> Option<Newest> {
        let newest = self.newest.remove(&number)?;
        self.by_age.remove(&(newest.since, number));
        self.bytes -= newest.bytes();
        Some(newest)
    }
}
