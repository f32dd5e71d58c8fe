//! Traces: from a caller's request through everything that it leads to, on every host.
//!
//! The context (W3C Trace Context) comes with a request, stays in the cause of every event that
//! comes of it, and travels with these from host to host. Spans are made of what was committed,
//! beside the hot path, and only where the context says that the trace is wanted: an event without
//! one costs nothing. Who is whose parent need not be remembered, since ids of spans are made of
//! what is in the log anyway (`ids`).
//!
//! Nothing waits for whoever takes the spans: those that find no room are dropped and counted.

mod context;
mod export;
mod ids;
mod method;
mod record;
mod request;
mod shipment;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::sync::mpsc;
use xcomponent_core::call::Fault;

use self::context::Context;
pub use self::{
    context::received,
    export::{Config, Exporting, InvalidEndpoint, start},
    method::MethodSpan,
    request::RequestSpan,
};

/// Takes spans. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Tracer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spans: mpsc::Sender<SpanData>,
    /// Which part of the requests without a context is traced.
    sample: f64,
    scope: InstrumentationScope,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

/// What became of spans since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// Those that were taken.
    pub exported: u64,
    /// Those that found no room, or were not taken.
    pub dropped: u64,
}

/// What is said of a span.
struct Span {
    id: SpanId,
    parent: SpanId,
    /// Whether the parent is somebody else's.
    is_remote: bool,
    kind: SpanKind,
    name: String,
    began: SystemTime,
    ended: SystemTime,
    attributes: Vec<KeyValue>,
    status: Status,
}

/// The status of what ended in a fault.
fn faulted(fault: &Fault) -> Status {
    Status::error(format!("{}: {}", fault.code.as_str(), fault.message))
}

/// As attributes have it.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Tracer {
    /// What became of spans.
    pub fn spans(&self) -> Spans {
        let counts = &self.shared.counts;
        Spans {
            exported: counts.exported.load(Ordering::Relaxed),
            dropped: counts.dropped.load(Ordering::Relaxed),
        }
    }

    /// Takes a span of a trace.
    fn take(&self, context: &Context<'_>, span: Span) {
        let state = context.state();
        let own = SpanContext::new(context.trace, span.id, TraceFlags::SAMPLED, false, state);
        let data = SpanData {
            span_context: own,
            parent_span_id: span.parent,
            parent_span_is_remote: span.is_remote,
            span_kind: span.kind,
            name: span.name.into(),
            start_time: span.began,
            end_time: span.ended.max(span.began),
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.status,
            instrumentation_scope: self.shared.scope.clone(),
        };
        if self.shared.spans.try_send(data).is_err() {
            self.shared.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
