//! Requests by route: how many there were, and how long it took until their answers began.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State as Shared},
    http::Method,
    middleware::Next,
    response::Response,
};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{TypedMetric as _, family::Family, histogram::Histogram},
};

use super::super::State;

/// The route of requests that no route takes, and the method of those whose method nobody knows:
/// what a client makes up makes no series.
const OTHER: &str = "other";

/// Upper bounds of the buckets, in seconds. Quick answers take less than a millisecond; the last
/// is what a caller waits for a commit at most.
const BUCKETS: [f64; 11] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// Requests that were answered, by route.
#[derive(Clone, Debug)]
pub(in crate::api) struct Requests(Family<Labels, Histogram, fn() -> Histogram>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    /// As the routes have it, with names of parameters instead of values.
    route: String,
    method: &'static str,
    /// The class: `2xx`.
    status: &'static str,
}

impl Default for Requests {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        Self(Family::new_with_constructor(histogram))
    }
}

impl Requests {
    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "How long it took until answers began";
        let kind = Family::<Labels, Histogram>::TYPE;
        let metric = out.encode_descriptor("http_request_duration_seconds", help, None, kind)?;
        self.0.encode(metric)
    }
}

/// Answers, and counts the request under the route that took it.
pub(in crate::api) async fn count(
    Shared(state): Shared<State>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or(OTHER, MatchedPath::as_str).to_owned();
    let method = method_of(request.method());
    let response = next.run(request).await;
    let labels = Labels {
        route,
        method,
        status: class_of(response.status().as_u16()),
    };
    let requests = &state.shared.requests.0;
    requests
        .get_or_create(&labels)
        .observe(began.elapsed().as_secs_f64());
    response
}

fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

fn class_of(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
