//! Ids of spans, made of what is in the log.
//!
//! A record names the event that it is about and the one that caused it; so both ends of a link in
//! the tree know the same id without a word, across restarts and from host to host. That an event
//! came from another host shows in its context: then this names the span of its taking in, which is
//! made of the same.

use opentelemetry::trace::{SpanId, TraceId};
use sha2::{Digest as _, Sha256};
use xcomponent_core::{
    id::{ComponentName, EventId, InstanceId},
    record::Cause,
};

use super::Context;

/// An event that an instance handled.
pub(super) fn handled(trace: TraceId, event: &EventId, instance: Option<&InstanceId>) -> SpanId {
    let instance = instance.map(ToString::to_string);
    let parts = [&*event.to_string(), instance.as_deref().unwrap_or_default()];
    made(trace, "handled", &parts)
}

/// An event that an instance looked at and will look at again.
pub(super) fn looked_at(
    trace: TraceId,
    event: &EventId,
    instance: &InstanceId,
    seq: u64,
) -> SpanId {
    let parts = [&*event.to_string(), &instance.to_string(), &seq.to_string()];
    made(trace, "looked at", &parts)
}

/// What one transition sent to a component on another host, on its way there.
pub(super) fn sent(trace: TraceId, cause: &Cause, component: &ComponentName) -> SpanId {
    across(trace, "sent", cause, component)
}

/// The same when it was taken in there.
pub(super) fn taken_in(trace: TraceId, cause: &Cause, component: &ComponentName) -> SpanId {
    across(trace, "taken in", cause, component)
}

/// What an event of that cause belongs to.
pub(super) fn parent(context: &Context<'_>, cause: &Cause, component: &ComponentName) -> SpanId {
    let Some(sender) = sender(context.trace, cause) else {
        return context.span;
    };
    let taken_in = taken_in(context.trace, cause, component);
    if taken_in == context.span {
        taken_in
    } else {
        sender
    }
}

/// The transition that sent an event, if one did.
pub(super) fn sender(trace: TraceId, cause: &Cause) -> Option<SpanId> {
    let event = cause.event.as_ref()?;
    Some(handled(trace, event, cause.instance.as_ref()))
}

fn across(trace: TraceId, what: &str, cause: &Cause, component: &ComponentName) -> SpanId {
    let event = cause.event.as_ref().unwrap_or(&cause.root).to_string();
    let instance = cause.instance.as_ref().map(ToString::to_string);
    let instance = instance.as_deref().unwrap_or_default();
    made(trace, what, &[&*event, instance, component.as_str()])
}

fn made(trace: TraceId, what: &str, parts: &[&str]) -> SpanId {
    let mut hash = Sha256::new();
    hash.update(trace.to_bytes());
    for part in std::iter::once(&what).chain(parts) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    SpanId::from_bytes(id)
}
