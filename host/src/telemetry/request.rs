//! The span of a caller's request.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::{
    KeyValue,
    trace::{SpanId, SpanKind, Status, TraceId},
};

use super::{Context, Span, Tracer};

/// From this status on it is the host's fault.
const SERVER_ERRORS: u16 = 500;

/// A request that is being answered.
#[derive(Debug)]
pub struct RequestSpan {
    tracer: Tracer,
    /// With this span.
    context: Arc<str>,
    parent: SpanId,
    began: SystemTime,
    name: String,
    attributes: Vec<KeyValue>,
}

impl Tracer {
    /// Begins a span, if the context that was received says that its trace is wanted; without one for
    /// the part that was asked for. `route` is the path with its places left open.
    pub fn request(
        &self,
        given: Option<&str>,
        method: &str,
        route: &str,
        path: &str,
    ) -> Option<RequestSpan> {
        let given = given.and_then(Context::read);
        let span = SpanId::from_bytes(fastrand::u64(1..).to_be_bytes());
        let (context, parent) = match given {
            Some(context) if !context.sampled => return None,
            Some(context) => (context.at(span), context.span),
            None if fastrand::f64() >= self.shared.sample => return None,
            None => {
                let trace = TraceId::from_bytes(fastrand::u128(1..).to_be_bytes());
                (Context::wanted(trace, span), SpanId::INVALID)
            }
        };
        Some(RequestSpan {
            tracer: self.clone(),
            context: context.to_text(),
            parent,
            began: SystemTime::now(),
            name: format!("{method} {route}"),
            attributes: vec![
                KeyValue::new("http.request.method", method.to_owned()),
                KeyValue::new("http.route", route.to_owned()),
                KeyValue::new("url.path", path.to_owned()),
            ],
        })
    }
}

impl RequestSpan {
    /// The context of whatever the request leads to: its `traceparent`.
    pub fn parent_text(&self) -> &str {
        let context = &*self.context;
        context
            .split_once(' ')
            .map_or(context, |(parent, _)| parent)
    }

    /// It was answered.
    pub fn answered(mut self, status: u16) {
        let Some(context) = Context::read(&self.context) else {
            return;
        };
        let code = KeyValue::new("http.response.status_code", i64::from(status));
        self.attributes.push(code);
        let span = Span {
            id: context.span,
            parent: self.parent,
            is_remote: self.parent != SpanId::INVALID,
            kind: SpanKind::Server,
            name: self.name,
            began: self.began,
            ended: SystemTime::now(),
            attributes: self.attributes,
            status: match status {
                SERVER_ERRORS.. => Status::error(format!("answered {status}")),
                _ => Status::Unset,
            },
        };
        self.tracer.take(&context, span);
    }
}
