//! How many bytes a record is counted as while it waits for the log.

use super::{Body, DeadLetter, Handled, Outgoing, Parked, Reason, Record, Snapshot, Waits};
use crate::{
    call::Fault,
    limits::{LETTER_BYTES, RECORD_BYTES, SHOWN_VALUE_BYTES_MAX},
    schema::Violation,
};

impl Record {
    /// The texts in it, and what it costs besides these. A measure for memory and for the time that
    /// a store takes to write it.
    pub fn bytes(&self) -> usize {
        RECORD_BYTES + self.body.bytes()
    }
}

impl Body {
    /// The texts in it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Handled(handled) => bytes_of(handled),
            Self::Selected(selected) => {
                selected.event.payload.len() + selected.instances.len() * ID_BYTES
            }
            Self::Departed(departed) => snapshot(&departed.after) + outgoing(&departed.outgoing),
            Self::Moved(after) => snapshot(after),
            Self::Parked(letter) => letter.bytes(),
            Self::Discarded(discarded) => discarded.resent.as_deref().map_or(0, outgoing),
            Self::Received(received) => received.deliveries.iter().map(outgoing).sum(),
        }
    }
}

/// An instance's id among those that a selection chose.
const ID_BYTES: usize = 40;

/// What is said of a rule that did not pass, with two values.
const MISMATCH_BYTES: usize = 2 * SHOWN_VALUE_BYTES_MAX;

fn bytes_of(handled: &Handled) -> usize {
    let logs = handled.logs.iter().map(|line| line.message.len());
    let deliveries = handled.deliveries.iter().map(outgoing);
    let parked = handled.parked.as_ref();
    handled.event.payload.len()
        + snapshot(&handled.after)
        + logs.sum::<usize>()
        + deliveries.sum::<usize>()
        + handled.waits.as_deref().map_or(0, began)
        + handled.reason.as_deref().map_or(0, Reason::bytes)
        + handled.fault.as_deref().map_or(0, Fault::bytes)
        + parked.map_or(0, |letter| letter.bytes())
}

impl DeadLetter {
    /// The texts in it.
    pub fn bytes(&self) -> usize {
        self.event.payload.len() + self.why.bytes()
    }
}

impl Reason {
    /// The texts in it that may be long.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Schema(violations) => violations.iter().map(Violation::bytes).sum(),
            Self::Refused(refusal) => refusal.code.len() + refusal.message.len(),
            Self::NothingMatched(Some(_)) => MISMATCH_BYTES,
            Self::NothingMatched(None)
            | Self::NoTransition
            | Self::NoLongerMatches
            | Self::NoAutoPassed
            | Self::Finished
            | Self::UnexpectedState(_)
            | Self::Exists => 0,
        }
    }
}

impl Fault {
    /// The texts in it.
    pub fn bytes(&self) -> usize {
        self.message.len() + self.backtrace.as_deref().map_or(0, str::len)
    }
}

impl Parked {
    /// The texts in it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Fault(fault) => fault.bytes(),
            Self::UnknownTarget(text)
            | Self::CascadeBudget(text)
            | Self::SchemaViolation(text)
            | Self::Refused(text)
            | Self::Undeliverable(text) => text.len(),
            Self::InstanceFinished
            | Self::Overload
            | Self::ComponentSuspended
            | Self::SingletonExists
            | Self::Unstorable
            | Self::RecordUnreadable => 0,
        }
    }
}

/// What waits at an instance is not written again with it.
fn snapshot(snapshot: &Snapshot) -> usize {
    snapshot.context.len()
}

fn began(waits: &Waits) -> usize {
    let began = waits.began.iter().filter_map(|began| began.what.as_ref());
    began
        .map(|waiting| LETTER_BYTES + waiting.event().payload.len())
        .sum()
}

fn outgoing(outgoing: &Outgoing) -> usize {
    LETTER_BYTES + outgoing.event.payload.len()
}
