//! What a caller sends: bodies, queries and names in paths, each with an error that says what was
//! expected.

use axum::{
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use xcomponent_core::{
    id::{EventId, InstanceId, StateName},
    json::Json,
    limits::{JSON_BYTES_MAX, NAME_BYTES_MAX},
};

use super::{
    State, arrival,
    error::{ApiError, Result},
};

/// Largest body of an ordinary request: one payload at its limit, and what stands around it.
pub(super) const BODY_BYTES_MAX: usize = JSON_BYTES_MAX + (64 << 10);

/// Longest id of an event that is looked up: versions before this one did not shorten those that
/// they made. A longer one does not fit into a URL.
const DERIVED_ID_BYTES_MAX: usize = 32 << 10;

/// What some programs put in front of a JSON text, although none is needed there.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A JSON body, and its room in memory.
pub(super) struct Body<T>(pub(super) T, pub(super) arrival::Held);

impl<T: DeserializeOwned> FromRequest<State> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &State) -> Result<Self> {
        let arrived = arrived(request, state).await?;
        Ok(Self(parse(&arrived.bytes)?, arrived.room))
    }
}

/// A JSON body that may be absent, or `null`.
pub(super) struct OptionalBody<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<State> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &State) -> Result<Self> {
        let arrived = arrived(request, state).await?;
        let bytes = &arrived.bytes;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(T::default()));
        }
        let body: Option<T> = parse(bytes)?;
        Ok(Self(body.unwrap_or_default()))
    }
}

async fn arrived(request: Request, state: &State) -> Result<arrival::Arrived> {
    let (parts, body) = request.into_parts();
    arrival::read(state, &parts.headers, body, BODY_BYTES_MAX).await
}

/// Reads JSON, with or without a byte order mark.
pub(super) fn parse<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T> {
    serde_json::from_slice(without_mark(bytes)).map_err(|error| {
        let code = match error.classify() {
            serde_json::error::Category::Data => "invalid_body",
            serde_json::error::Category::Io
            | serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof => "invalid_json",
        };
        ApiError::bad_request(code, format!("the body is not what was expected: {error}"))
    })
}

/// A text without the byte order mark that it may begin with.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// The query string.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<State> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let Query(query) = query
            .map_err(|rejected| ApiError::bad_request("invalid_query", rejected.body_text()))?;
        Ok(Self(query))
    }
}

/// A payload or context, or the empty object where there is none. `path` names it in errors.
pub(super) fn object(raw: Option<&RawValue>, path: &'static str) -> Result<Json> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(Json::empty());
    };
    let json = Json::parse(raw.get()).map_err(|error| {
        ApiError::unprocessable("invalid_json", format!("`{path}` is not accepted: {error}"))
    })?;
    if json.is_object() {
        return Ok(json);
    }
    Err(ApiError::unprocessable(
        "not_an_object",
        format!("`{path}` must be a JSON object"),
    ))
}

/// An instance's id in a path.
pub(super) fn instance_id(text: &str) -> Result<InstanceId> {
    InstanceId::parse(text)
        .map_err(|error| ApiError::bad_request("invalid_id", format!("`{text}`: {error}")))
}

/// An event's id.
pub(super) fn event_id(text: &str) -> Result<EventId> {
    EventId::parse(text)
        .map_err(|error| ApiError::bad_request("invalid_id", format!("`{text}`: {error}")))
}

/// An id that an event has in here: a caller's, or one derived from such, which may be longer.
pub(super) fn derived_event_id(text: &str) -> Option<EventId> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    let is_legal = (1..=DERIVED_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal);
    is_legal.then(|| EventId::from_stored(text))
}

/// A name of a machine, state or event.
pub(super) fn name<'n>(text: &'n str, path: &'static str) -> Result<&'n str> {
    let is_legal =
        !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
    if is_legal {
        return Ok(text);
    }
    Err(ApiError::bad_request(
        "invalid_name",
        format!("`{path}` must have 1 to {NAME_BYTES_MAX} bytes and no control characters"),
    ))
}

/// A state's name, where there is one.
pub(super) fn state(text: Option<&str>, path: &'static str) -> Result<Option<StateName>> {
    text.map(|text| name(text, path).map(StateName::new))
        .transpose()
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParams {
    /// Items wanted, 1 to 1 000.
    pub(super) limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}
