//! The tables as all databases have them: what a record is in columns, and back.
//!
//! What differs is how cells are bound and columns are read; that, and the questions, is what the
//! module of a database holds.

mod event;
mod instance;
mod letter;
mod taken_in;
mod waiting;

use std::borrow::Cow;

pub(super) use self::{
    event::{
        BEFORE, EVENT_COLUMNS, INSTANCE, Links, POSITION, SELECT_EVENTS, SHOWN, event_cells,
        read_event,
    },
    instance::{
        ID, INSTANCE_COLUMNS, NUMBER, SELECT_INSTANCES, STATE_COLUMNS, instance_cells,
        read_instance, read_kind, state_cells,
    },
    letter::{LetterChanges, Wanted, letter_cells, place, read_letter},
    taken_in::{everything_through, read_taken_in, taken_in_text},
    waiting::{
        Gathered, OLD_ROWS, OldRow, SELECT_NAMES, SELECT_WAITING, WAITING_COLUMNS, WaitingChanges,
        WaitingRow,
    },
};
use xcomponent_core::time::Timestamp;

use super::{Result, stored::Unreadable};

/// A column: its name, and what stands in it where it is not empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) holds: Holds,
}

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Numbers,
    Flags,
    Texts,
}

const fn number(name: &'static str) -> Column {
    let holds = Holds::Numbers;
    Column { name, holds }
}

const fn flag(name: &'static str) -> Column {
    let holds = Holds::Flags;
    Column { name, holds }
}

const fn text(name: &'static str) -> Column {
    let holds = Holds::Texts;
    Column { name, holds }
}

/// What is written into one column of one row. Texts are borrowed wherever they stand in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell<'r> {
    Empty,
    Number(i64),
    Flag(bool),
    Text(Cow<'r, str>),
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for Cell<'_> {
    fn from(number: u64) -> Self {
        Self::Number(signed(number))
    }
}

impl From<u32> for Cell<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Cell<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl<'r> From<&'r str> for Cell<'r> {
    fn from(text: &'r str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'r, T: Into<Self>> From<Option<T>> for Cell<'r> {
    fn from(cell: Option<T>) -> Self {
        cell.map_or(Self::Empty, Into::into)
    }
}

/// A row that a database answered with. Texts are read where they are.
pub(super) trait Columns {
    fn number(&self, column: usize) -> Result<Option<i64>>;

    fn flag(&self, column: usize) -> Result<bool>;

    fn optional_text(&self, column: usize) -> Result<Option<&str>>;

    /// A number that is always there.
    fn integer(&self, column: usize) -> Result<i64> {
        Ok(self.number(column)?.ok_or(Unreadable::Empty(column))?)
    }

    /// The same, of 64 bits without a sign.
    fn bits(&self, column: usize) -> Result<u64> {
        self.integer(column).map(unsigned)
    }

    /// A number that counts something.
    fn count(&self, column: usize) -> Result<u64> {
        let count = self.integer(column)?;
        Ok(u64::try_from(count).map_err(|_| Unreadable::Number(column, count))?)
    }

    /// A point in time.
    fn time(&self, column: usize) -> Result<Timestamp> {
        self.count(column).map(Timestamp)
    }

    /// A text that is always there.
    fn text(&self, column: usize) -> Result<&str> {
        Ok(self
            .optional_text(column)?
            .ok_or(Unreadable::Empty(column))?)
    }
}

/// The 64 bits as databases have them.
#[expect(clippy::cast_possible_wrap, reason = "the bits are what is kept")]
pub(super) fn signed(number: u64) -> i64 {
    number as i64
}

/// The 64 bits as they were.
#[expect(clippy::cast_sign_loss, reason = "the bits are what was kept")]
pub(super) fn unsigned(number: i64) -> u64 {
    number as u64
}

/// The latest time of the last records: shards put theirs in a little out of order.
pub(super) const LAST_TIME: &str = "SELECT max(at) FROM
    (SELECT at FROM events ORDER BY position DESC LIMIT 100) AS latest";
