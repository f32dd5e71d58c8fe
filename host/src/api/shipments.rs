//! `/v1/shipments`: what other hosts send.

use axum::{
    Json as JsonAnswer,
    body::Body,
    extract::State as Shared,
    http::{HeaderMap, StatusCode, header},
    routing::{MethodRouter, post},
};
use serde::Serialize;

use super::{
    State, arrival,
    error::{ApiError, Result},
};
use crate::bus::{Inlet as _, Shipment, TakeInError};

/// Largest body: one parcel may hold several payloads at their limit.
const BODY_BYTES_MAX: usize = 64 << 20;

/// How far a stream is.
#[derive(Debug, Serialize)]
pub(super) struct Through {
    /// Every parcel up to this one is taken in.
    through: u64,
}

/// The route.
pub(super) fn route() -> MethodRouter<State> {
    post(take_in)
}

/// Takes in what another host sends, and answers when that is durable.
async fn take_in(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<JsonAnswer<Through>> {
    // Strangers make this host keep nothing.
    check_key(&state, &headers)?;
    let arrived = arrival::read(&state, &headers, body, BODY_BYTES_MAX).await?;
    let malformed = |error: &dyn std::error::Error| {
        let why = error.source().map(|source| format!(": {source}"));
        let why = why.unwrap_or_default();
        ApiError::bad_request("malformed_shipment", format!("{error}{why}"))
    };
    let text = std::str::from_utf8(&arrived.bytes).map_err(|error| malformed(&error))?;
    let shipment = Shipment::of_json(text).map_err(|error| malformed(&error))?;
    let taken_in = state.handle().take_in(shipment).await;
    taken_in
        .map(|through| JsonAnswer(Through { through }))
        .map_err(refused)
}

fn refused(error: TakeInError) -> ApiError {
    let detail = error.to_string();
    match error {
        TakeInError::Busy(_) => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(1)
        }
        TakeInError::TooManyStreams => {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", detail).retry_after(60)
        }
        TakeInError::NotHere(_) => ApiError::not_found("unknown_component", detail),
        TakeInError::Gap { through } => ApiError::conflict("gap", detail).with("through", through),
    }
}

/// Hosts that have a key let in those only that show it.
fn check_key(state: &State, headers: &HeaderMap) -> Result<()> {
    let Some(key) = &state.config().link_key else {
        return Ok(());
    };
    let shown = headers.get(header::AUTHORIZATION);
    let shown = shown.and_then(|shown| shown.as_bytes().strip_prefix(b"Bearer "));
    if shown.is_some_and(|shown| is_same(shown, key.as_bytes())) {
        return Ok(());
    }
    let detail = "hosts show each other a key here; see `--peer-key-file`";
    Err(ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        detail,
    ))
}

/// Compares in a time that says nothing about where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).map(|(one, other)| one ^ other);
    one.len() == other.len() && differences.fold(0, |all, bits| all | bits) == 0
}
