//! Room in the write-ahead log before it is needed.
//!
//! To write where a file has been written before takes the disk little more than half as long as to
//! write at its end, which has the file system note its new length as well. So while there is
//! nothing to be committed the log gets zeros at its end, up to the length at which it begins anew;
//! whoever reads it takes them for its end.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    checkpoint::BEGIN,
    file::{PAGE_BYTES, beside},
};

/// Bytes of a step: an event that comes meanwhile waits for no more.
const STEP: usize = 1 << 20;

/// Bytes of the log when it begins anew: a header, and pages with a header each. The format is
/// described at <https://sqlite.org/fileformat2.html#the_write_ahead_log>.
const WANTED: u64 = 32 + (PAGE_BYTES.unsigned_abs() + 24) * BEGIN as u64;

/// The room in the log of a database.
pub(super) struct Room {
    log: PathBuf,
    /// The disk has none to give.
    is_full: bool,
}

impl Room {
    /// That of the database with this path.
    pub(super) fn new(database: &Path) -> Self {
        Self {
            log: beside(database, "-wal"),
            is_full: false,
        }
    }

    /// Whether there is less than wanted, and it is worth a try.
    pub(super) fn is_wanted(&self) -> bool {
        let length = std::fs::metadata(&self.log).map(|log| log.len());
        !self.is_full && length.is_ok_and(|length| length < WANTED)
    }

    /// Makes a little. Nobody may write to the database meanwhile.
    pub(super) fn make(&mut self) {
        if let Err(error) = self.try_make() {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the write-ahead log gets no room beforehand"
            );
            self.is_full = true;
        }
    }

    fn try_make(&self) -> io::Result<()> {
        let mut log = OpenOptions::new().append(true).open(&self.log)?;
        let length = log.metadata()?.len();
        let missing = usize::try_from(WANTED.saturating_sub(length)).unwrap_or(STEP);
        let zeros = vec![0; missing.min(STEP)];
        let written = log.write_all(&zeros).and_then(|()| log.sync_data());
        // What was written of it would only take room away.
        written.inspect_err(|_| drop(log.set_len(length)))
    }
}
