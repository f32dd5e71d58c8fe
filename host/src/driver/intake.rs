//! Up to where a shard has taken in what others sent to it.

use std::sync::Arc;

/// Up to which record of each shard one has taken in every selection.
#[derive(Debug)]
pub(super) struct Intake {
    /// By sending shard. Empty until the shard has what the host before this one left behind.
    row: Vec<u64>,
    changed: bool,
}

impl Intake {
    /// That of a shard that has not begun.
    pub(super) fn nothing() -> Self {
        Self {
            row: Vec::new(),
            changed: false,
        }
    }

    /// The shard has what is left of everything up to `last`; there are so many shards.
    pub(super) fn begin(&mut self, shards: usize, last: u64) {
        self.row = vec![last; shards];
        self.changed = true;
    }

    /// A delivery came from that shard, caused by the record at `after` or one before it.
    pub(super) fn received(&mut self, from: usize, after: u64) {
        if let Some(through) = self.row.get_mut(from) {
            *through = after.max(*through);
            self.changed = true;
        }
    }

    /// Whether there is something to be published.
    pub(super) fn has_begun(&self) -> bool {
        !self.row.is_empty()
    }

    /// Whether others do not know how far the shard is.
    pub(super) fn is_news(&self) -> bool {
        self.changed
    }

    /// Others are to be told again.
    pub(super) fn repeat(&mut self) {
        self.changed = !self.row.is_empty();
    }

    /// What others are to know; `own` is the shard's own last record, if it has a new one.
    pub(super) fn publish(&mut self, shard: usize, own: u64) -> Arc<[u64]> {
        if let Some(through) = self.row.get_mut(shard) {
            *through = own.max(*through);
        }
        self.changed = false;
        Arc::from(self.row.as_slice())
    }
}
