//! `PUT /v1/components/{name}`: a version comes in. Nothing here looks at its bytes, but for the first
//! four where nobody says what they are.

use axum::{
    Json as JsonAnswer,
    body::Body,
    extract::{FromRequest, Path, Request, State as Shared},
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use xcomponent_core::{id::ComponentName, limits::DEFINITION_BYTES_MAX};
use xcomponent_pack as pack;

use super::{
    State,
    arrival::{self, Arriving},
    body::Params,
    caller::Caller,
    error::{ApiError, Problem, Result, UPLOAD_RETRY_S},
    openapi::words,
    wire::Report,
};
use crate::{
    memory::{Purpose, Share},
    quiet::quietly,
    sent::Sent,
    tenancy::{Activation, Leniency, Switch, Upload, Uploaded},
};

/// Bytes of a body that are kept in one piece while it comes.
const PIECE_BYTES: usize = 1 << 20;

/// What definitions are called: RFC 9512 has the first, and the others as its older names.
const YAML: [&str; 4] = [
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "text/x-yaml",
];

/// What components are called.
const WASM: &str = "application/wasm";

/// What senders say that do not know what they send.
const UNKNOWN: &str = "application/octet-stream";

/// Characters shown of a type that nobody knows.
const KIND_SHOWN_MAX: usize = 100;

/// How WebAssembly begins.
const WASM_MAGIC: &[u8] = b"\0asm";

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
/// A definition without code may be sent as `application/yaml` (or one of its older names); it is
/// packed here, and methods that it names do nothing. Without a type, what begins as WebAssembly does
/// is a component, and anything else a definition. An upload whose client goes away is given up, until
/// it changes something.
#[utoipa::path(
    put, path = "/v1/components/{component}", operation_id = "uploadVersion", tag = "components",
    params(("component" = String, Path, description = "Its name, as the definition has it"), HowToSwitch),
    request_body(content(
        (words::WasmBytes = "application/wasm"),
        (String = "application/yaml", example = json!("name: Door\nversion: 1.0.0\nstateMachines:\n  - name: Door\n    initialState: Closed\n    states:\n      - {name: Closed}\n      - {name: Open}\n    transitions:\n      - {from: Closed, to: Open, event: OPEN}\n")),
    )),
    responses(
        (status = 201, description = "It runs", body = UploadAnswer),
        (status = 200, description = "It was there already, or would be accepted", body = UploadAnswer),
        (status = 409, description = "Live instances would not fit, or the label is taken", body = Problem),
        (status = 413, description = "It is too large", body = Problem),
        (status = 415, description = "It is of a type that is not understood", body = Problem),
        (status = 422, description = "It is not accepted; `errors` has the findings, at most 100, and `errors_unlisted` says how many there are besides", body = Problem),
        (status = 429, description = "Too many are uploaded just now", body = Problem),
        (status = 503, description = "It could not be examined here and now", body = Problem),
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
        // Methods of a definition without code are missing by nature.
        leniency: artifact.0.is_definition().then(|| Leniency {
            allow_missing: true,
            ..Leniency::default()
        }),
        sent: artifact.0,
        switch: switch(how.on_live.as_deref())?,
        activation: Activation::Always,
        dry_run: how.dry_run,
    };
    let uploaded = state.registry().upload(&caller.tenant, upload).await?;
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

/// What a body says is a component.
pub(super) struct Artifact(Sent);

impl FromRequest<State> for Artifact {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &State) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let kind = Kind::named(&parts.headers);
        let bytes_max = match kind {
            Kind::Definition => DEFINITION_BYTES_MAX,
            Kind::Component | Kind::Unnamed | Kind::Other(_) => pack::ARTIFACT_BYTES_MAX,
        };
        let bytes = receive(state, &parts.headers, body, bytes_max).await?;
        let begins_as_component = bytes.starts_with(WASM_MAGIC);
        match kind {
            Kind::Component => Ok(Self(Sent::Packed(bytes))),
            Kind::Unnamed | Kind::Other(_) if begins_as_component => Ok(Self(Sent::Packed(bytes))),
            Kind::Definition | Kind::Unnamed => Ok(Self(Sent::Definition(bytes))),
            Kind::Other(kind) => Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                format!(
                    "a component is `{WASM}`, a definition is `{}`; `{kind}` is neither",
                    YAML.join("`, `"),
                ),
            )),
        }
    }
}

/// What a sender says that a body is.
enum Kind {
    Component,
    Definition,
    /// The sender does not say, or does not know.
    Unnamed,
    /// Something else; the beginning of it.
    Other(String),
}

impl Kind {
    fn named(headers: &HeaderMap) -> Self {
        let Some(kind) = headers.get(header::CONTENT_TYPE) else {
            return Self::Unnamed;
        };
        let kind = String::from_utf8_lossy(kind.as_bytes());
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let is = |known: &str| kind.eq_ignore_ascii_case(known);
        if is(UNKNOWN) {
            Self::Unnamed
        } else if is(WASM) {
            Self::Component
        } else if YAML.iter().any(|known| is(known)) {
            Self::Definition
        } else {
            Self::Other(kind.chars().take(KIND_SHOWN_MAX).collect())
        }
    }
}

/// The bytes of an upload, and their share of the host's memory.
struct Held {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body of at most so many bytes as it comes. It is put together in the background: to move
/// 60 MB takes as long as to answer a thousand requests.
async fn receive(
    state: &State,
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Bytes> {
    if arrival::is_packed(headers)? {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "an upload may have no `Content-Encoding`",
        ));
    }
    let memory = &state.config().memory;
    let room = memory.max(Purpose::Uploads);
    let bytes_max = bytes_max.min(room);
    let mut arriving = Arriving::of(state, headers, body, bytes_max)?;
    let mut share = memory.force(Purpose::Uploads, 0);
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    while let Some(chunk) = arriving.next().await? {
        if share.bytes() + chunk.len() > bytes_max {
            return Err(arriving.given_up(arrival::too_large(bytes_max)));
        }
        if !share.grow(chunk.len()) {
            let busy = ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "busy",
                format!("other uploads take up the {room} bytes of memory that there are for them"),
            );
            return Err(arriving.given_up(busy.retry_after(UPLOAD_RETRY_S)));
        }
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let room = pieces.last().map_or(0, |piece| PIECE_BYTES - piece.len());
            if room == 0 {
                pieces.push(Vec::new());
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            let piece = pieces.last_mut().expect("there is room in it");
            piece.extend_from_slice(now);
            rest = later;
        }
    }
    let whole = quietly(move || {
        let mut bytes = Vec::with_capacity(share.bytes());
        // Each piece is given back before the next is copied.
        for piece in pieces {
            bytes.extend_from_slice(&piece);
        }
        Bytes::from_owner(Held {
            bytes,
            _share: share,
        })
    });
    whole.await.map_err(|error| ApiError::internal(&error))
}
