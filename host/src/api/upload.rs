//! `PUT /v1/components/{name}`: a version comes in.

use std::{str, time::Duration};

use axum::{
    Json as JsonAnswer,
    body::{Body, BodyDataStream},
    extract::{FromRequest, Path, Request, State as Shared},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use xcomponent_core::id::ComponentName;
use xcomponent_pack as pack;

use super::{
    State,
    body::Params,
    caller::Caller,
    error::{ApiError, Problem, Result},
    wire::Report,
};
use crate::tenancy::{Leniency, Switch, Upload, Uploaded};

/// Bytes of a refused body that are read and forgotten, so that a client which sends everything
/// before it reads gets to see the answer.
const DISCARDED_BYTES_MAX: usize = 1 << 30;

/// How long that may take.
const DISCARDING_MAX: Duration = Duration::from_secs(10);

/// What happens to live instances, and whether anything happens at all.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HowToSwitch {
    /// `next-event` (default), `pin` or `refuse`.
    #[serde(rename = "on-live")]
    #[param(rename = "on-live")]
    on_live: Option<String>,
    /// Only says what would happen.
    #[serde(default, rename = "dry-run")]
    #[param(rename = "dry-run")]
    dry_run: bool,
}

/// What became of an upload.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadAnswer {
    /// The component.
    component: String,
    /// The version.
    version: String,
    /// SHA-256 of the packed component.
    digest: String,
    /// Whether new instances run on it now.
    active: bool,
    /// What there is to say about it.
    report: Report,
}

/// Uploads a version: checked, compiled, linked, compared with the active one, then activated.
///
/// A definition without code may be sent as `application/yaml`; it is packed here, and methods
/// that it names do nothing.
#[utoipa::path(
    put, path = "/v1/components/{component}", operation_id = "uploadVersion", tag = "components",
    params(("component" = String, Path, description = "Its name, as the definition has it"), HowToSwitch),
    request_body(content(
        (Vec<u8> = "application/wasm"),
        (String = "application/yaml"),
    )),
    responses(
        (status = 201, description = "It runs", body = UploadAnswer),
        (status = 200, description = "It was there already, or would be accepted", body = UploadAnswer),
        (status = 409, description = "Live instances would not fit, or the label is taken", body = Problem),
        (status = 413, description = "It is too large", body = Problem),
        (status = 422, description = "It is not accepted; `errors` has all findings", body = Problem),
        (status = 503, description = "It could not be compiled here and now", body = Problem),
    )
)]
pub(super) async fn upload(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(component): Path<String>,
    Params(how): Params<HowToSwitch>,
    artifact: Artifact,
) -> Result<(StatusCode, JsonAnswer<UploadAnswer>)> {
    let upload = Upload {
        name: Some(ComponentName::new(component)),
        bytes: artifact.bytes.as_ref().into(),
        switch: switch(how.on_live.as_deref())?,
        dry_run: how.dry_run,
        leniency: artifact.leniency,
    };
    // A caller that goes away half-way does not stop what others may have seen begin.
    let registry = state.registry().clone();
    let uploading = tokio::spawn(async move { registry.upload(&caller.tenant, upload).await });
    let uploaded = uploading
        .await
        .map_err(|error| ApiError::internal(&error))??;
    let status = match uploaded.existing || how.dry_run {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    Ok((status, JsonAnswer(UploadAnswer::of(&uploaded))))
}

impl UploadAnswer {
    fn of(uploaded: &Uploaded) -> Self {
        let definition = &uploaded.deployment.definition;
        Self {
            component: definition.name.to_string(),
            version: definition.version.to_string(),
            digest: uploaded.deployment.artifact.to_string(),
            active: uploaded.active,
            report: Report::of(&uploaded.report),
        }
    }
}

/// Reads `on-live`.
pub(super) fn switch(text: Option<&str>) -> Result<Switch> {
    let Some(text) = text else {
        return Ok(Switch::default());
    };
    Switch::parse(text).ok_or_else(|| {
        ApiError::bad_request(
            "invalid_query",
            format!("`on-live` is `next-event`, `pin` or `refuse`, not `{text}`"),
        )
    })
}

/// The packed component in a body.
pub(super) struct Artifact {
    bytes: Bytes,
    /// Set where the body was a definition: its methods may be missing.
    leniency: Option<Leniency>,
}

impl FromRequest<State> for Artifact {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &State) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let bytes = read_at_most(&parts.headers, body, pack::ARTIFACT_BYTES_MAX).await?;
        if !is_yaml(&parts.headers) {
            return Ok(Self {
                bytes,
                leniency: None,
            });
        }
        let yaml = str::from_utf8(&bytes).map_err(|_| {
            ApiError::unprocessable("definition_not_text", "the definition is not UTF-8 text")
        })?;
        let packed = pack::pack(&pack::blank(), yaml, &pack::Metadata::default(), &[]);
        let packed = packed.map_err(|error| ApiError::internal(&error))?;
        Ok(Self {
            bytes: packed.into(),
            leniency: Some(Leniency {
                allow_missing: true,
                ..Leniency::default()
            }),
        })
    }
}

fn is_yaml(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/yaml") || kind.eq_ignore_ascii_case("text/yaml")
    })
}

/// Reads a body of at most so many bytes. A larger one is refused as soon as that is known; what
/// comes after that is not kept.
pub(super) async fn read_at_most(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Bytes> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let mut stream = body.into_data_stream();
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(too_large(stream, bytes_max));
    }
    let mut whole = BytesMut::with_capacity(announced.unwrap_or_default());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| {
            ApiError::bad_request("unreadable_body", "the body ended before it was complete")
        })?;
        if whole.len() + chunk.len() > bytes_max {
            return Err(too_large(stream, bytes_max));
        }
        if whole.is_empty() && announced == Some(chunk.len()) {
            return Ok(chunk);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

fn too_large(rest: BodyDataStream, bytes_max: usize) -> ApiError {
    tokio::spawn(tokio::time::timeout(DISCARDING_MAX, discard(rest)));
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!("the body has more than the {bytes_max} bytes that this route accepts"),
    )
}

async fn discard(mut rest: BodyDataStream) {
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(chunk)) = rest.next().await {
        match left.checked_sub(chunk.len()) {
            Some(less) => left = less,
            None => break,
        }
    }
}
