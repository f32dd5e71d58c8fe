//! Requests that take a while are served on the slow lane, behind those that do not.
//!
//! A body of a megabyte takes milliseconds to read as JSON, and a page of large instances tens of
//! them. On a thread that answers requests, everybody whose request it has would wait for that.

use axum::{
    body::HttpBody as _,
    extract::{MatchedPath, Request, State as Shared},
    http::{Method, header::CONTENT_ENCODING},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::task::JoinSet;
use xcomponent_core::effect::Refused;

use super::{State, error::ApiError};

/// The largest body that is read at once, in bytes.
const SMALL_MAX: u64 = 64 << 10;

/// Routes whose answers may be large.
const LARGE_ANSWERS: &[&str] = &[
    "/v1/components",
    "/v1/components/{component}",
    "/v1/components/{component}/artifact",
    "/v1/components/{component}/definition",
    "/v1/components/{component}/diagram",
    "/v1/dead-letters",
    "/v1/events/{id}/trace",
    "/v1/instances",
    "/v1/instances/{id}/diagram",
    "/v1/instances/{id}/history",
    "/v1/instances/{id}/trace",
    "/v1/instances/{id}/transitions",
    "/api/components",
    "/api/components/{component}",
    "/api/components/{component}/diagrams/{machine}",
    "/api/components/{component}/instances",
    "/api/components/{component}/machines",
    "/api/history/correlated/{id}",
    "/api/history/instances",
    "/api/history/instances/{id}/events",
    "/api/instances",
    "/api/instances/{id}/history",
    "/api/machines/{machine}/diagram",
];

/// Serves aside what has a large answer, a large body, or a body of which nobody knows how large it
/// becomes.
pub(super) async fn step(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    if !has_large_answer(&request) && !has_large_body(&request) {
        return next.run(request).await;
    }
    // Dropped with whoever waits for it, so that nothing is done for a client that has gone.
    let mut served = JoinSet::new();
    served.spawn_on(next.run(request), state.handle().slow_lane());
    match served.join_next().await {
        Some(Ok(response)) => response,
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The slow lane ends with the host.
        Some(Err(_)) | None => {
            let refused = Refused::NotCommitted;
            ApiError::of_refused(refused, state.handle().now()).into_response()
        }
    }
}

fn has_large_answer(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>();
    let is_large = |route: &MatchedPath| LARGE_ANSWERS.contains(&route.as_str());
    request.method() == Method::GET && route.is_some_and(is_large)
}

fn has_large_body(request: &Request) -> bool {
    let bytes_max = request.body().size_hint().upper();
    request.headers().contains_key(CONTENT_ENCODING)
        || bytes_max.is_none_or(|bytes_max| bytes_max > SMALL_MAX)
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::RefOr;

    use super::*;
    use crate::api::native;

    #[test]
    fn every_route_that_has_pages_is_served_aside() {
        let document = native().into_openapi();
        let has_pages = |operation: &utoipa::openapi::path::Operation| {
            let mut parameters = operation.parameters.iter().flatten();
            parameters.any(|parameter| matches!(parameter, RefOr::T(it) if it.name == "limit"))
        };
        let paged = document.paths.paths.iter().filter(|(_, item)| {
            let get = item.get.as_ref();
            get.is_some_and(has_pages)
        });
        for (path, _) in paged {
            assert!(LARGE_ANSWERS.contains(&path.as_str()), "{path}");
        }
        for path in LARGE_ANSWERS.iter().filter(|path| path.starts_with("/v1/")) {
            assert!(document.paths.paths.contains_key(*path), "{path}");
        }
    }
}
