//! The partitions of `events`: one for each month (UTC), there before what is written into it.

use std::ops::Range;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{lease::Right, session::Session};
use crate::store::{Entry, Error, Result};

/// Months whose partitions are there, as milliseconds from and until.
#[derive(Debug, Default)]
pub(super) struct Months {
    known: Vec<Range<u64>>,
}

impl Months {
    /// Makes partitions for these entries where there is none, and for the month after, so that a
    /// new month finds its partition.
    pub(super) fn prepare(
        &mut self,
        session: &mut Session,
        right: &Right,
        entries: &[Entry],
    ) -> Result<()> {
        for entry in entries {
            let at = entry.record.at.0;
            if !self.known.iter().any(|month| month.contains(&at)) {
                let first = first_of_month(at).map_err(|error| Error::Unstorable(error.into()))?;
                let next = after(first).map_err(|error| Error::Unstorable(error.into()))?;
                make(session, right, next)?;
                self.known.push(make(session, right, first)?);
            }
        }
        Ok(())
    }
}

/// Makes the partition of a month, unless it is there, and says what is in it.
fn make(session: &mut Session, right: &Right, first: Date) -> Result<Range<u64>> {
    let bounds = || Ok::<_, jiff::Error>(milliseconds(first)?..milliseconds(after(first)?)?);
    let bounds = bounds().map_err(|error| Error::Unstorable(error.into()))?;
    let name = format!("events_{:04}_{:02}", first.year(), first.month());
    let question = "SELECT to_regclass($1) IS NOT NULL";
    let row = session.ask_one(question, &[&name])?;
    if !row.is_some_and(|row| row.get(0)) {
        // Attached, since made as a partition it would keep readers waiting.
        let attached = format!(
            "CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS);
             ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ({}) TO ({})",
            bounds.start, bounds.end
        );
        session.transact(&format!("{attached}; {}", right.seal()))?;
    }
    Ok(bounds)
}

fn first_of_month(at: u64) -> Result<Date, jiff::Error> {
    let at = Timestamp::from_millisecond(i64::try_from(at).unwrap_or(i64::MAX))?;
    Ok(TimeZone::UTC.to_datetime(at).date().first_of_month())
}

fn after(first: Date) -> Result<Date, jiff::Error> {
    first.last_of_month().tomorrow()
}

fn milliseconds(day: Date) -> Result<u64, jiff::Error> {
    let midnight = TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0))?;
    Ok(u64::try_from(midnight.as_millisecond()).unwrap_or_default())
}
