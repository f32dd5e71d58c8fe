//! Looks in a batch for the one record that the store refuses for what is in it.

use crate::store::{Entry, Error};

/// Commits a batch that was refused with [`Error::Unstorable`] in pieces, in its order: halves of
/// what is left, until a record is refused alone or everything is in. Says how many are durable,
/// and why it ended there: with `Unstorable`, the next record is the one.
pub(super) fn commit_in_pieces(
    entries: &[Entry],
    mut commit: impl FnMut(&[Entry]) -> Result<(), Error>,
) -> (usize, Result<(), Error>) {
    let mut durable = 0;
    let mut end = entries.len();
    while durable < entries.len() {
        let some = (end - durable).div_ceil(2);
        match commit(&entries[durable..durable + some]) {
            Ok(()) => durable += some,
            Err(Error::Unstorable(_)) if some > 1 => end = durable + some,
            Err(error) => return (durable, Err(error)),
        }
        // Refused together, taken one by one: the rest is a batch like any other.
        if durable == end {
            end = entries.len();
        }
    }
    (durable, Ok(()))
}
