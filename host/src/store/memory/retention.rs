//! What of the history goes.

use xcomponent_core::time::Timestamp;

use super::Kept;
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

    fn remove_finished(&mut self, before: Timestamp, most: u64) -> Result<u64> {
        let start = self.records();
        while start - self.records() < most {
            let Some((owner, created)) = self.finished.front().copied() else {
                break;
            };
            let known = self.instances.at(owner);
            let last = known.and_then(|known| self.journal.slot(known.last));
            let record = last.and_then(|slot| slot.record.as_ref());
            if record.is_some_and(|record| record.at >= before) {
                break;
            }
            self.finished.pop_front();
            self.forget(owner, created);
        }
        Ok(start - self.records())
    }
}
