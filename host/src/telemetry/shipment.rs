//! The spans of what goes to other hosts, and the contexts of what comes from them.

use std::time::SystemTime;

use opentelemetry::{
    KeyValue,
    trace::{SpanId, SpanKind, Status, TraceId},
};
use xcomponent_core::{
    id::ComponentName,
    input::{Parcel, Receive},
    record::{Cause, Outgoing},
};

use super::{Context, Span, Tracer, ids};

impl Tracer {
    /// Parcels have arrived, over what is called that.
    pub fn sent(&self, parcels: &[Parcel], over: &str, began: SystemTime) {
        for parcel in parcels {
            for (context, outgoing, id) in each_once(&parcel.deliveries, ids::sent) {
                let component = outgoing.to.component();
                let sender = ids::sender(context.trace, &outgoing.cause);
                let span = Span {
                    id,
                    parent: sender.unwrap_or(context.span),
                    is_remote: false,
                    kind: SpanKind::Producer,
                    name: format!("send to {component}"),
                    began,
                    ended: SystemTime::now(),
                    attributes: vec![
                        KeyValue::new("xcomponent.component", component.to_string()),
                        KeyValue::new("xcomponent.transport", over.to_owned()),
                    ],
                    status: Status::Unset,
                };
                self.take(&context, span);
            }
        }
    }

    /// Says in the contexts of what comes from another host that it is taken in here: what it leads
    /// to belongs to that.
    pub fn arriving(&self, receive: &mut Receive) {
        let parcels = receive.parcels.iter_mut();
        for outgoing in parcels.flat_map(|parcel| &mut parcel.deliveries) {
            let Some(context) = wanted(outgoing) else {
                continue;
            };
            let component = outgoing.to.component();
            let taken_in = ids::taken_in(context.trace, &outgoing.cause, component);
            outgoing.cause.trace_parent = Some(context.at(taken_in).to_text());
        }
    }
}

/// Of deliveries in a row whose span has the same id, that is of one transition, the first; only
/// those whose trace somebody wants.
pub(super) fn each_once(
    deliveries: &[Outgoing],
    id: impl Fn(TraceId, &Cause, &ComponentName) -> SpanId,
) -> impl Iterator<Item = (Context<'_>, &Outgoing, SpanId)> {
    let mut last = SpanId::INVALID;
    deliveries.iter().filter_map(move |outgoing| {
        let context = wanted(outgoing)?;
        let id = id(context.trace, &outgoing.cause, outgoing.to.component());
        let before = std::mem::replace(&mut last, id);
        (before != id).then_some((context, outgoing, id))
    })
}

fn wanted(outgoing: &Outgoing) -> Option<Context<'_>> {
    Context::read_wanted(outgoing.cause.trace_parent.as_ref())
}
