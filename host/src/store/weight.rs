//! Roughly how many bytes things occupy, in memory and as JSON. Texts that are shared are counted
//! each time.

use std::mem::{size_of, size_of_val};

use xcomponent_core::{
    call::Fault,
    record::{Body, DeadLetter, Handled, Outgoing, Reason, Record, Snapshot},
};

use super::{Entry, query::Letter, unreadable::UnreadableInstance};

/// What has a size.
pub(super) trait Weighed {
    /// Roughly how many bytes it occupies.
    fn weight(&self) -> usize;
}

impl Weighed for Record {
    fn weight(&self) -> usize {
        let variable = match &self.body {
            Body::Handled(handled) => size_of::<Handled>() + of_handled(handled),
            Body::Departed(departed) => {
                size_of::<Handled>() + departed.outgoing.event.payload.len()
            }
            Body::Moved(snapshot) => size_of::<Snapshot>() + snapshot.context.len(),
            Body::Selected(selected) => {
                size_of_val(&*selected.instances) + selected.event.payload.len()
            }
            Body::Parked(letter) => size_of::<Handled>() + letter.bytes(),
            Body::Discarded { .. } => 0,
            Body::Received(received) => of_sent(&received.deliveries),
        };
        size_of::<Self>() + variable
    }
}

impl Weighed for Entry {
    fn weight(&self) -> usize {
        self.record.weight()
    }
}

impl Weighed for UnreadableInstance {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.why.len()
    }
}

impl Weighed for Snapshot {
    fn weight(&self) -> usize {
        let sends = self.sends().iter();
        let sends = sends.map(|send| size_of::<Outgoing>() + send.outgoing.event.payload.len());
        let extra = self.extra.iter();
        let deferred = extra.flat_map(|extra| &extra.deferred);
        let deferred = deferred.map(|mail| mail.event.payload.len());
        size_of::<Self>() + self.context.len() + sends.sum::<usize>() + deferred.sum::<usize>()
    }
}

impl Weighed for Letter {
    fn weight(&self) -> usize {
        size_of::<DeadLetter>() + self.letter.bytes()
    }
}

fn of_handled(handled: &Handled) -> usize {
    let texts = handled.event.payload.len() + handled.after.context.len();
    let logged = handled.logs.iter().map(|line| line.message.len());
    let reason = handled.reason.as_deref().map_or(0, Reason::bytes);
    let fault = handled.fault.as_deref().map_or(0, Fault::bytes);
    texts + of_sent(&handled.deliveries) + logged.sum::<usize>() + reason + fault
}

fn of_sent(sent: &[Outgoing]) -> usize {
    let each = sent.iter();
    each.map(|sent| size_of::<Outgoing>() + sent.event.payload.len())
        .sum()
}
