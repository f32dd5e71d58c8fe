//! How parts of records are written where they have no column of their own: as JSON.
//!
//! The shapes here are the format of every database that a host ever wrote. They grow by optional
//! members only; what a member means never changes. What is sent has the form in which hosts send
//! it to each other ([`crate::portable`]).

mod detail;
mod letter;
mod outcome;
mod timer;

pub(super) use self::{
    detail::{StoredDiscarded, StoredHandled, StoredReceived, StoredSelected, StoredWaits},
    letter::StoredLetter,
    outcome::{StoredFault, StoredLog, StoredReason},
    timer::{StoredDeadline, StoredExtra, StoredTimer, read_waiting_text, waiting_text},
};
pub(super) use crate::portable::{
    Malformed, PortableCause, PortableEvent, PortableOutgoing, PortableParent, PortableSelector,
    PortableTarget, Read, of_text, to_text, word,
};

use super::Error;

/// What is stored cannot be read back: somebody else wrote it, or the disk lied.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is not what was written.
    #[error("a stored part is not what was written")]
    Part(#[from] Malformed),
    /// A name that the definition does not have.
    #[error("the definition of version `{version}` has no {what} `{name}`")]
    Name {
        /// The version's label.
        version: String,
        /// Machine or state.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// A column that is never empty is.
    #[error("column {0} of a row is empty")]
    Empty(usize),
    /// A number that is never below zero is.
    #[error("column {0} of a row is {1}, which it cannot be")]
    Number(usize, i64),
    /// A version that was never saved.
    #[error("there is no version number {0}, or its row is not what was written")]
    Version(i64),
}

impl From<Unreadable> for Error {
    fn from(error: Unreadable) -> Self {
        Self::Damaged(Box::new(error))
    }
}

impl From<Malformed> for Error {
    fn from(error: Malformed) -> Self {
        Unreadable::Part(error).into()
    }
}
