//! Every request is the beginning of what it leads to, or goes on with what its caller began.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State as Shared},
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
    middleware::Next,
    response::Response,
};

use super::State;
use crate::telemetry::{self, RequestSpan, Tracer};

/// The headers of W3C Trace Context.
const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// Paths that are asked all the time, of which nobody wants to know unless the caller says so.
const FOR_MACHINES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The trace that a request belongs to, if it belongs to one.
pub(super) struct Trace(pub(super) Option<Arc<str>>);

impl FromRequestParts<State> for Trace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Self::Rejection> {
        Ok(Self(context(&parts.headers)))
    }
}

/// Answers within a span, if the trace is wanted: what a handler reads from the headers is that
/// span's context.
pub(super) async fn answer(
    Shared(state): Shared<State>,
    mut request: Request,
    next: Next,
) -> Response {
    let tracer = state.config().tracer.as_ref();
    let Some(span) = tracer.and_then(|tracer| begin(tracer, &request)) else {
        return next.run(request).await;
    };
    if let Ok(parent) = HeaderValue::from_str(span.parent_text()) {
        request.headers_mut().insert(PARENT, parent);
    }
    let response = next.run(request).await;
    span.answered(response.status().as_u16());
    response
}

/// The context that a caller belongs to, if the headers are as W3C Trace Context wants them.
pub(super) fn context(headers: &HeaderMap) -> Option<Arc<str>> {
    let parent = headers.get(PARENT)?.to_str().ok()?;
    telemetry::received(parent, state(headers).as_deref())
}

fn begin(tracer: &Tracer, request: &Request) -> Option<RequestSpan> {
    let given = context(request.headers());
    let path = request.uri().path();
    if given.is_none() && FOR_MACHINES.contains(&path) {
        return None;
    }
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("", |matched| matched.as_str());
    tracer.request(given.as_deref(), request.method().as_str(), route, path)
}

/// What the headers of others say, in one.
fn state(headers: &HeaderMap) -> Option<String> {
    let states = headers.get_all(STATE).iter();
    let states: Vec<&str> = states.filter_map(|state| state.to_str().ok()).collect();
    (!states.is_empty()).then(|| states.join(","))
}
