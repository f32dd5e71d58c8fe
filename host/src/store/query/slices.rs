//! How many rows one question is answered with.

use super::{PAGE_BYTES_MAX, STRETCH_BYTES_MAX};

/// How many rows are asked for at once where a database sends all of them before the first can be
/// looked at: few to begin with, more while they are small.
#[derive(Clone, Copy)]
pub(in crate::store) struct Slices {
    rows: usize,
    max: usize,
}

impl Slices {
    /// Rows that are asked for before anything is known of them.
    const FIRST: usize = 16;

    /// Slices of at most so many rows.
    pub(in crate::store) fn up_to(max: usize) -> Self {
        Self {
            rows: Self::FIRST.min(max),
            max,
        }
    }

    /// Rows of the next slice.
    pub(in crate::store) fn rows(self) -> usize {
        self.rows
    }

    /// Takes note of how large a slice was.
    pub(in crate::store) fn note(&mut self, bytes: usize) {
        self.rows = match bytes {
            0..STRETCH_BYTES_MAX => (self.rows * 4).min(self.max),
            STRETCH_BYTES_MAX..PAGE_BYTES_MAX => self.rows,
            _ => (self.rows / 4).max(1),
        };
    }
}
