//! A row at the end of the journal, as a host that starts reads it.

use super::{Ledger, Stale};
use crate::store::{Entry, Error, Result, unreadable::Unreadables};

/// A row of `events`.
pub(in crate::store) struct Recovered {
    pub(in crate::store) position: u64,
    /// The number of its instance.
    pub(in crate::store) instance: Option<i64>,
    /// What it says.
    pub(in crate::store) event: Result<Entry>,
}

impl Recovered {
    /// Notes what it sent and received, and that its instance is newer than its row, which has the
    /// record at `last`. Where it cannot be read, its instance is suspended, and what comes later
    /// of the same is left alone.
    pub(in crate::store) fn note(
        self,
        last: Option<u64>,
        unreadable: &Unreadables,
        ledger: &mut Ledger,
        stale: &mut Stale,
    ) -> Result<()> {
        let Self {
            position,
            instance,
            event,
        } = self;
        let is_new = last.is_none_or(|last| position > last);
        match event {
            Ok(event) => {
                ledger.owed.note(position, &event.record);
                if let Some(number) = instance
                    && is_new
                    && !unreadable.suspends(number)
                {
                    stale.note(number, position, position, event.record.body);
                }
                Ok(())
            }
            Err(Error::Damaged(why)) => {
                // What it received is not known either, so that is so for one that the row has as well.
                if let Some(number) = instance {
                    let known = stale.written(number);
                    ledger.cannot_read(known.map_or(position, |known| known.since));
                    unreadable.suspend(number, position, &*why);
                }
                let row = || format!("record {position}");
                unreadable.leave_out(Err::<(), _>(Error::Damaged(why)), row)?;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
