//! Rows that cannot be read: somebody else wrote them, or the disk lied.
//!
//! Such a row concerns whom it is about and nobody else: who reads many leaves it out, says so in the
//! log, and goes on. It stays as it is. An instance is suspended if its row cannot be read, or one
//! of the records at the end of the log that its row may not have: nobody knows then how it is, and
//! what it has received. The latter is known from the start on only, and the former wherever the
//! row is met.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::{HashMap, HashSet};
use xcomponent_core::id::InstanceId;

use super::{Error, Result};

/// Rows that the log names; of more than these it says that there are some.
const TOLD_MAX: usize = 1_000;

/// An instance that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableInstance {
    /// Which.
    pub id: InstanceId,
    /// What is wrong with what the store has of it.
    pub why: Arc<str>,
}

/// What a store could not read.
#[derive(Debug, Default)]
pub(super) struct Unreadables {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Instances, by their number, of which a record at the end of the log cannot be read.
    journals: HashMap<i64, Arc<str>>,
    told: HashSet<String>,
}

impl Unreadables {
    /// What a row says; none if it cannot be read. Every other error is the database's.
    pub(super) fn leave_out<T>(
        &self,
        read: Result<T>,
        row: impl FnOnce() -> String,
    ) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(Error::Damaged(why)) => {
                self.tell(row(), &*why);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// How an instance with this number is; why not, if that cannot be read.
    pub(super) fn instance<T>(
        &self,
        number: i64,
        read: impl FnOnce() -> Result<T>,
    ) -> Result<Result<T, Arc<str>>> {
        if let Some(why) = self.known().journals.get(&number) {
            return Ok(Err(Arc::clone(why)));
        }
        match read() {
            Ok(read) => Ok(Ok(read)),
            Err(Error::Damaged(why)) => {
                self.tell(format!("instance number {number}"), &*why);
                Ok(Err(chain(&*why)))
            }
            Err(error) => Err(error),
        }
    }

    /// Suspends an instance: a record of it cannot be read.
    pub(super) fn suspend(
        &self,
        number: i64,
        position: u64,
        why: &(dyn std::error::Error + 'static),
    ) {
        let text = format!("record {position}: {}", chain(why));
        self.known().journals.entry(number).or_insert(text.into());
    }

    /// Whether a record of an instance cannot be read.
    pub(super) fn suspends(&self, number: i64) -> bool {
        self.known().journals.contains_key(&number)
    }

    fn tell(&self, row: String, why: &(dyn std::error::Error + 'static)) {
        let mut known = self.known();
        let told = known.told.len();
        if told > TOLD_MAX || known.told.contains(&row) {
            return;
        }
        if told == TOLD_MAX {
            tracing::error!("more rows cannot be read than are named here");
        } else {
            tracing::error!(error = why, "a row cannot be read and is left alone: {row}");
        }
        known.told.insert(row);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error and its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> Arc<str> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ").into()
}
