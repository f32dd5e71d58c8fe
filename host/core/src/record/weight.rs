//! How many bytes a record is counted as while it waits for the log.

use super::{Body, Handled, Outgoing, Record, Snapshot, Waits};
use crate::limits::{LETTER_BYTES, RECORD_BYTES};

impl Record {
    /// The texts in it, and what it costs besides these. A measure for memory and for the time that
    /// a store takes to write it.
    pub fn bytes(&self) -> usize {
        let texts = match &self.body {
            Body::Handled(handled) => bytes_of(handled),
            Body::Selected(selected) => {
                selected.event.payload.len() + selected.instances.len() * ID_BYTES
            }
            Body::Departed(departed) => snapshot(&departed.after) + outgoing(&departed.outgoing),
            Body::Moved(after) => snapshot(after),
            Body::Parked(letter) => letter.event.payload.len(),
            Body::Discarded(discarded) => discarded.resent.as_deref().map_or(0, outgoing),
            Body::Received(received) => received.deliveries.iter().map(outgoing).sum(),
        };
        RECORD_BYTES + texts
    }
}

/// An instance's id among those that a selection chose.
const ID_BYTES: usize = 40;

fn bytes_of(handled: &Handled) -> usize {
    let logs = handled.logs.iter().map(|line| line.message.len());
    let deliveries = handled.deliveries.iter().map(outgoing);
    let parked = handled.parked.as_ref();
    handled.event.payload.len()
        + snapshot(&handled.after)
        + logs.sum::<usize>()
        + deliveries.sum::<usize>()
        + handled.waits.as_deref().map_or(0, began)
        + parked.map_or(0, |letter| letter.event.payload.len())
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
