//! The spans of what goes to other hosts, and the contexts of what comes from them.

use std::time::SystemTime;

use opentelemetry::{
    KeyValue,
    trace::{SpanId, SpanKind, Status},
};
use xcomponent_core::{
    input::{Parcel, Receive},
    record::Outgoing,
};

use super::{Context, Span, Tracer, ids};

impl Tracer {
    /// Parcels have arrived, over what is called that.
    pub fn sent(&self, parcels: &[Parcel], over: &str, began: SystemTime) {
        for parcel in parcels {
            let mut last = SpanId::INVALID;
            for outgoing in &parcel.deliveries {
                let Some(context) = wanted(outgoing) else {
                    continue;
                };
                let component = outgoing.to.component();
                let id = ids::sent(context.trace, &outgoing.cause, component);
                if std::mem::replace(&mut last, id) == id {
                    continue;
                }
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

fn wanted(outgoing: &Outgoing) -> Option<Context<'_>> {
    Context::read_wanted(outgoing.cause.trace_parent.as_ref())
}
