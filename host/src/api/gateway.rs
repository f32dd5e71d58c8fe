//! Passes requests on that are about a component on another host.
//!
//! What is asked of a component by its name is answered by whoever has it: a caller need not know
//! where that is. What is on this host is never passed on, and nothing is passed on twice.
//!
//! The other host trusts this one more than it trusts this one's callers. So what it is asked is
//! not the caller's request but a new one, made of what the request means here: one of [`ROUTES`],
//! the names in its path, and those parts of its query and headers that matter. The same holds for
//! what comes back. This host's key goes with shipments only.

use std::str::FromStr as _;

use axum::{
    extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request, State as Shared},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts,
        uri::PathAndQuery,
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use xcomponent_core::id::ComponentName;

use super::{
    State, arrival,
    body::{BODY_BYTES_MAX, Params},
    compat,
    error::{ApiError, Result},
};
use crate::bus::peer::{ANSWER_BYTES_MAX, Answer, CallError, Peer};

/// Says how often a request was passed on.
const HOPS: HeaderName = HeaderName::from_static("xcomponent-passed-on");

/// How often a request is passed on at most.
const HOPS_MAX: u8 = 1;

/// What is passed on: these methods of these routes.
const ROUTES: [(Method, &str); 7] = [
    (
        Method::POST,
        "/v1/components/{component}/machines/{machine}/instances",
    ),
    (
        Method::POST,
        "/v1/components/{component}/machines/{machine}/events",
    ),
    (Method::GET, "/api/components/{component}/instances"),
    (Method::POST, "/api/components/{component}/instances"),
    (
        Method::POST,
        "/api/components/{component}/instances/{id}/events",
    ),
    (
        Method::POST,
        "/api/components/{component}/instances/{id}/trigger",
    ),
    (
        Method::GET,
        "/api/components/{component}/diagrams/{machine}",
    ),
];

/// Parts of queries that these routes know.
const QUERY: [&str; 8] = [
    "machine",
    "state",
    "status",
    "q",
    "limit",
    "currentState",
    "instance",
    "format",
];

/// Headers of requests that matter to whoever answers.
const ASKED: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::ACCEPT,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("prefer"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// Headers of answers that matter to callers.
const ANSWERED: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::RETRY_AFTER,
    HeaderName::from_static("idempotency-replayed"),
    HeaderName::from_static("preference-applied"),
    HeaderName::from_static("x-request-id"),
];

/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Answers what is about a component here, and passes on what is not.
pub(super) async fn pass_on(
    Shared(state): Shared<State>,
    request: Request,
    next: Next,
) -> Response {
    let (mut head, body) = request.into_parts();
    let Some(route) = route(&head) else {
        return next.run(Request::from_parts(head, body)).await;
    };
    let names = names(&mut head, &state).await;
    let component = names.first().map(|(_, name)| ComponentName::new(name));
    let tenant = &state.shared.tenant;
    let elsewhere = component
        .filter(|component| {
            hops(&head.headers) < HOPS_MAX && !state.handle().is_here(tenant, component)
        })
        .and_then(|component| state.shared.directory.find(tenant, &component));
    let Some(peer) = elsewhere.as_ref().and_then(|transport| transport.peer()) else {
        return next.run(Request::from_parts(head, body)).await;
    };
    let is_compat = compat::has(route);
    let target = target(route, &names, &mut head, &state).await;
    let answered = match target {
        Ok(target) => call(&state, peer, &target, head, body).await,
        Err(refused) => Err(refused),
    };
    match answered {
        Ok(answer) => answer,
        Err(error) if is_compat => compat::failure(error),
        Err(error) => error.into_response(),
    }
}

/// The route of a request, if what is asked there is passed on.
fn route(head: &Parts) -> Option<&'static str> {
    let matched = head.extensions.get::<MatchedPath>()?.as_str();
    let routes = ROUTES.iter();
    let mut same = routes.filter(|(method, route)| head.method == *method && matched == *route);
    same.next().map(|(_, route)| *route)
}

/// What stands in the path in place of a route's parameters, decoded.
async fn names(head: &mut Parts, state: &State) -> Vec<(String, String)> {
    let Ok(names) = RawPathParams::from_request_parts(head, state).await else {
        return Vec::new();
    };
    let names = names.iter();
    names
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// How often a request was passed on; what cannot be read has been passed on too often.
fn hops(headers: &HeaderMap) -> u8 {
    headers.get(HOPS).map_or(0, |hops| {
        let hops = hops.to_str().ok().and_then(|hops| hops.parse().ok());
        hops.unwrap_or(HOPS_MAX)
    })
}

/// What another host is asked: the route with these names, and the parts of the query that it knows.
async fn target(
    route: &str,
    names: &[(String, String)],
    head: &mut Parts,
    state: &State,
) -> Result<PathAndQuery> {
    let mut path = filled(route, names)?;
    let Params(query) = Params::<Vec<(String, String)>>::from_request_parts(head, state).await?;
    let known = query
        .iter()
        .filter(|(name, _)| QUERY.contains(&name.as_str()));
    for (place, (name, value)) in known.enumerate() {
        path.push(if place == 0 { '?' } else { '&' });
        path.push_str(name);
        path.push('=');
        path.extend(utf8_percent_encode(value, PLAIN));
    }
    PathAndQuery::from_str(&path)
        .map_err(|error| ApiError::bad_request("malformed_uri", error.to_string()))
}

/// A route with names in place of its parameters. A name that other hosts or what is in front of
/// them could take for more than one part of a path is refused.
fn filled(route: &str, names: &[(String, String)]) -> Result<String> {
    let mut path = String::new();
    for part in route.split('/').skip(1) {
        path.push('/');
        let parameter = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'));
        let Some(parameter) = parameter else {
            path.push_str(part);
            continue;
        };
        let named = names.iter().find(|(name, _)| name == parameter);
        let name = named.map_or("", |(_, name)| name.as_str());
        let is_one_part = !name.contains(['/', '\\', '%'])
            && !name.chars().any(char::is_control)
            && !matches!(name, "" | "." | "..");
        if !is_one_part {
            let detail = format!("`{name}` is no name that is passed on to another host");
            return Err(ApiError::bad_request("invalid_path", detail));
        }
        path.extend(utf8_percent_encode(name, PLAIN));
    }
    Ok(path)
}

async fn call(
    state: &State,
    peer: &Peer,
    target: &PathAndQuery,
    head: Parts,
    body: axum::body::Body,
) -> Result<Response> {
    let arrived = arrival::read(state, &head.headers, body, BODY_BYTES_MAX).await?;
    let mut headers = chosen(&head.headers, &ASKED);
    headers.insert(HOPS, HeaderValue::from(u16::from(hops(&head.headers) + 1)));
    let room = state.room(ANSWER_BYTES_MAX);
    let answered = peer.call(head.method, target, headers, arrived.bytes, room);
    let (answer, room) = answered.await.map_err(|error| failed(&error))?;
    let room = room?;
    let Answer {
        status,
        headers,
        body,
    } = answer;
    if !(status.is_success() || status.is_client_error() || status.is_server_error()) {
        let detail = format!("the host answers {status}, which is not passed on");
        return Err(ApiError::new(
            StatusCode::BAD_GATEWAY,
            "peer_unavailable",
            detail,
        ));
    }
    let kind = HeaderValue::from_static("application/json");
    let mut response = room.hold(status, kind, body);
    response.headers_mut().extend(chosen(&headers, &ANSWERED));
    Ok(response)
}

/// Those of headers that have one of these names, once each.
fn chosen(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let known = names.iter();
    known
        .filter_map(|name| Some((name.clone(), headers.get(name)?.clone())))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn path(machine: &str) -> Result<String> {
        let names = [("component", "Order"), ("machine", machine)];
        let names = names.map(|(name, value)| (name.to_owned(), value.to_owned()));
        filled(ROUTES[0].1, &names)
    }

    #[test]
    fn a_path_is_made_anew_from_its_names() {
        let asked = "/v1/components/Order/machines/Gro%C3%9F%20%3F/instances";
        assert_eq!(path("Groß ?").unwrap(), asked);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "../../dead-letters",
            "%2e%2e",
            "a\\b",
            "a\0",
        ] {
            assert_eq!(path(name).unwrap_err().code(), "invalid_path", "{name}");
        }
    }

    #[test]
    fn a_request_is_passed_on_once() {
        let hops_of = |text: &'static str| {
            hops(&HeaderMap::from_iter([(
                HOPS,
                HeaderValue::from_static(text),
            )]))
        };
        assert_eq!(hops(&HeaderMap::new()), 0);
        for text in ["1", "2", "-1", "many", "300"] {
            assert!(hops_of(text) >= HOPS_MAX, "{text}");
        }
    }
}
