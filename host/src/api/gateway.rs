//! Passes requests on that are about a component on another host.
//!
//! What is asked of a component by its name is answered by whoever has it: a caller need not know
//! where that is. What is on this host is never passed on, and nothing is passed on twice.

use axum::{
    body::Body,
    extract::{Request, State as Shared},
    http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header},
    middleware::Next,
    response::Response,
};
use xcomponent_core::id::ComponentName;

use super::{
    State,
    body::BODY_BYTES_MAX,
    error::{ApiError, Result},
};
use crate::bus::peer::{Answer, CallError, Peer};

/// What says that a request was passed on already.
const PASSED_ON: HeaderName = HeaderName::from_static("xcomponent-passed-on");

/// Headers of requests that matter to whoever answers.
const HEADERS: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::ACCEPT,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// Answers what is about a component here, and passes on what is not.
pub(super) async fn pass_on(
    Shared(state): Shared<State>,
    request: Request,
    next: Next,
) -> Result<Response> {
    let component = component_of(request.uri().path());
    let Some(component) = component.filter(|_| !request.headers().contains_key(&PASSED_ON)) else {
        return Ok(next.run(request).await);
    };
    let tenant = &state.shared.tenant;
    if state.handle().is_here(tenant, &component) {
        return Ok(next.run(request).await);
    }
    let Some(transport) = state.shared.directory.find(tenant, &component) else {
        return Ok(next.run(request).await);
    };
    match transport.peer() {
        Some(peer) => call(peer, request).await,
        None => Ok(next.run(request).await),
    }
}

async fn call(peer: &Peer, request: Request) -> Result<Response> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await;
    let body = body.map_err(|_| {
        let detail = format!("at most {BODY_BYTES_MAX} bytes are passed on to another host");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    })?;
    let path = head.uri.path_and_query();
    let path = path.ok_or_else(|| ApiError::bad_request("malformed_uri", "it has no path"))?;
    let mut headers = HeaderMap::new();
    for name in HEADERS {
        if let Some(value) = head.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(PASSED_ON, HeaderValue::from_static("1"));
    match peer.call(head.method, path, headers, body).await {
        Ok(answer) => Ok(answered(answer)),
        Err(error) => Err(failed(&error)),
    }
}

fn answered(answer: Answer) -> Response {
    let mut response = HttpResponse::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    // It is sent as one piece.
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    response.headers_mut().remove(header::CONNECTION);
    response
}

fn failed(error: &CallError) -> ApiError {
    let detail = error.to_string();
    match error {
        CallError::Open { wait } => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "peer_unavailable", detail)
                .retry_after(wait.as_secs() + 1)
        }
        CallError::Full => {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).retry_after(1)
        }
        CallError::Lost(_) => ApiError::new(StatusCode::BAD_GATEWAY, "peer_unavailable", detail),
    }
}

/// The component that something is asked of: what is asked about one, such as its versions, is
/// asked here.
fn component_of(path: &str) -> Option<ComponentName> {
    let native = path.strip_prefix("/v1/components/");
    let rest = native.or_else(|| path.strip_prefix("/api/components/"))?;
    let (component, rest) = rest.split_once('/')?;
    let is_asked = rest.starts_with("machines/") || rest.starts_with("instances");
    let is_plain = !component.contains('%');
    (is_asked && is_plain).then(|| ComponentName::new(component))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(path: &str) -> Option<String> {
        component_of(path).map(|name| name.to_string())
    }

    #[test]
    fn what_is_asked_of_a_component_names_it() {
        let name = Some("Order".to_owned());
        assert_eq!(component("/v1/components/Order/machines/M/instances"), name);
        assert_eq!(component("/api/components/Order/instances"), name);
        assert_eq!(component("/api/components/Order/instances/1/events"), name);
    }

    #[test]
    fn what_is_asked_about_a_component_is_not() {
        for path in [
            "/v1/components/Order",
            "/v1/components/Order/activate",
            "/v1/instances/1",
        ] {
            assert_eq!(component(path), None);
        }
    }
}
