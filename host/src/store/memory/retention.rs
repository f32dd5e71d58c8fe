//! What of the history goes.

use xcomponent_core::time::Timestamp;

use super::{Ended, Kept, SLICE};
use crate::store::{Result, retention::Shorten};

impl Shorten for Kept {
    fn records(&self) -> u64 {
        self.journal.kept() as u64
    }

    fn remove_oldest(&mut self, before: Timestamp, most: u64) -> Result<u64> {
        let start = self.records();
        while start - self.records() < most {
            match self.journal.slot(self.journal.first()) {
                Some(slot) if slot.record.as_ref().is_none_or(|record| record.at < before) => {
                    self.drop_oldest();
                }
                Some(_) | None => break,
            }
        }
        Ok(start - self.records())
    }

    fn remove_deleted(&mut self, before: Timestamp, most: u64) -> Result<u64> {
        let start = self.records();
        while start - self.records() < most
            && let Some(next) = self.deleted.front().copied()
            && self.may_go(next, before)
        {
            self.deleted.pop_front();
            self.forget(next);
        }
        self.forget_places();
        Ok(start - self.records())
    }

    fn remove_finished(&mut self, before: Timestamp, most: u64) -> Result<u64> {
        let start = self.records();
        while start - self.records() < most
            && let Some(next) = self.finished.front().copied()
            && self.may_go(next, before)
        {
            self.finished.pop_front();
            self.forget(next);
        }
        Ok(start - self.records())
    }
}

impl Kept {
    /// Drops the places of finished instances that are gone, once these are the most.
    fn forget_places(&mut self) {
        if self.finished.len() > 2 * self.instances.len() + SLICE {
            let mut finished = std::mem::take(&mut self.finished);
            finished.retain(|ended| self.ended(*ended).is_some());
            self.finished = finished;
        }
    }

    /// Whether the last record of an instance that has ended is from before a moment.
    fn may_go(&self, ended: Ended, before: Timestamp) -> bool {
        let known = self.ended(ended);
        let last = known.and_then(|known| self.journal.slot(known.last));
        let record = last.and_then(|slot| slot.record.as_ref());
        record.is_none_or(|record| record.at < before)
    }
}
