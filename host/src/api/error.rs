//! What a caller reads when something is not done: `application/problem+json` (RFC 9457).
//!
//! `code` is stable and the vocabulary is small; `detail` says what was expected. A problem of the
//! host itself shows the caller a request id only, under which the log has the whole chain.

use std::{
    borrow::Cow,
    fmt::Write as _,
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use xcomponent_core::{
    call::Fault, definition::Finding, effect::Refused, id::InstanceId, schema::Violation,
    time::Timestamp,
};

use super::{compat, wire};
use crate::{driver, tenancy};

/// Seconds after which an upload that found no room may be tried again: a large component takes about
/// as long.
pub(super) const UPLOAD_RETRY_S: u64 = 5;

/// The result of a handler.
pub(super) type Result<T, E = ApiError> = std::result::Result<T, E>;

/// Something is not done, and why.
#[derive(Debug)]
pub(super) struct ApiError(Box<Details>);

/// Boxed, since every handler's result has room for one.
#[derive(Debug)]
struct Details {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    errors: Vec<ErrorItem>,
    /// Further members of the problem.
    more: Map<String, Value>,
    retry_after_s: Option<u64>,
    /// The chain behind it, for the log only.
    internal: Option<String>,
}

/// A problem, as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: `code` says what it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status as a number.
    status: u16,
    /// What is wrong, and what was expected.
    detail: String,
    /// Stable, for programs.
    code: Cow<'static, str>,
    /// Names this answer in the host's log.
    request_id: String,
    /// Each single mistake, where there may be several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ErrorItem>,
    /// Whatever else belongs to the problem.
    #[serde(flatten)]
    #[schema(value_type = HashMap<String, serde_json::Value>)]
    more: Map<String, Value>,
}

/// A problem with one line of many.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProblemLine {
    /// The status as a number.
    status: u16,
    /// Stable, for programs.
    code: Cow<'static, str>,
    /// What is wrong, and what was expected.
    detail: String,
    /// Each single mistake, where there may be several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ErrorItem>,
    /// Whatever else belongs to the problem.
    #[serde(flatten)]
    #[schema(value_type = HashMap<String, serde_json::Value>)]
    more: Map<String, Value>,
}

/// One mistake of several.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ErrorItem {
    /// Stable, for programs.
    code: String,
    /// What is wrong.
    message: String,
    /// Where: a path in the document, or a field.
    path: String,
    /// Line in the definition, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    /// Column in that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    /// `error` or `warning`.
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<String>,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl ApiError {
    /// A problem.
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Details {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            more: Map::new(),
            retry_after_s: None,
            internal: None,
        }))
    }

    /// 400.
    pub(super) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 404.
    pub(super) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 409.
    pub(super) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 422.
    pub(super) fn unprocessable(
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 500: the host's own fault; the chain goes to the log.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the host failed; its log has the details under the request id",
        )
        .because(chain(error))
    }

    /// With what the log is told, and nobody else.
    fn because(mut self, internal: String) -> Self {
        self.0.internal = Some(internal);
        self
    }

    /// With the single mistakes.
    pub(super) fn with_errors(mut self, errors: Vec<ErrorItem>) -> Self {
        self.0.errors = errors;
        self
    }

    /// With a further member.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// With the time after which it may be tried again.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds.max(1));
        self
    }

    /// With another status.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// Seconds after which it may be tried again.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        self.0.retry_after_s
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Its code.
    pub(super) fn code(&self) -> &str {
        &self.0.code
    }

    /// What is wrong, in words.
    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What one line of a bulk answer says of it.
    pub(super) fn into_line(self, detail_bytes_max: usize) -> ProblemLine {
        let mut details = *self.0;
        log_internal(&details, "-");
        let end = details.detail.floor_char_boundary(detail_bytes_max);
        details.detail.truncate(end);
        let mut left = detail_bytes_max;
        let fits = |item: &ErrorItem| {
            let bytes = item.code.len() + item.message.len() + item.path.len();
            left.checked_sub(bytes).map(|rest| left = rest).is_some()
        };
        ProblemLine {
            status: details.status.as_u16(),
            code: details.code,
            detail: details.detail,
            errors: details.errors.into_iter().take_while(fits).collect(),
            more: details.more,
        }
    }

    /// The problem as a value.
    pub(super) fn into_problem(self) -> Problem {
        let request_id = request_id();
        let details = *self.0;
        log_internal(&details, &request_id);
        Problem {
            kind: "about:blank",
            title: details.status.canonical_reason().unwrap_or("Error"),
            status: details.status.as_u16(),
            detail: details.detail,
            code: details.code,
            request_id,
            errors: details.errors,
            more: details.more,
        }
    }
}

fn log_internal(details: &Details, request_id: &str) {
    if let Some(internal) = &details.internal {
        tracing::error!(request_id, error = %internal, "a request failed");
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.0.status, self.0.retry_after_s);
        let problem = self.into_problem();
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Ok(id) = HeaderValue::from_str(&problem.request_id) {
            headers.insert("x-request-id", id);
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<&Finding> for ErrorItem {
    fn from(finding: &Finding) -> Self {
        Self {
            code: finding.code.to_owned(),
            message: finding.message.clone(),
            path: finding.path.clone(),
            line: Some(finding.line),
            column: Some(finding.column),
            severity: Some(finding.severity.to_string()),
            help: finding.help.clone(),
        }
    }
}

impl From<&Violation> for ErrorItem {
    fn from(violation: &Violation) -> Self {
        Self {
            code: violation.code.to_string(),
            message: violation.to_string(),
            path: violation.field.clone(),
            line: None,
            column: None,
            severity: None,
            help: None,
        }
    }
}

impl From<driver::Error> for ApiError {
    fn from(error: driver::Error) -> Self {
        match &error {
            driver::Error::Gone { .. } => {
                Self::new(StatusCode::GONE, "position_gone", error.to_string())
            }
            driver::Error::Unreadable(unreadable) => {
                Self::of_unreadable(&unreadable.id, Some(&unreadable.why))
            }
            driver::Error::Unavailable(_)
            | driver::Error::Unknown(_)
            | driver::Error::Unstorable(_)
            | driver::Error::TakenOver
            | driver::Error::Lost(_)
            | driver::Error::Damaged(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store_unavailable",
                error.to_string(),
            )
            .retry_after(1)
            .because(chain(&error)),
            driver::Error::VersionExists { .. } => {
                Self::conflict("version_exists", error.to_string())
            }
            driver::Error::UnknownVersion { .. } => {
                Self::not_found("unknown_version", error.to_string())
            }
        }
    }
}

impl From<tenancy::Error> for ApiError {
    fn from(error: tenancy::Error) -> Self {
        use tenancy::{Error, NotOwned};
        let text = error.to_string();
        match error {
            Error::Invalid { findings } => Self::unprocessable("invalid_definition", text)
                .with_errors(findings.iter().map(ErrorItem::from).collect())
                .with("errors_unlisted", findings.unlisted()),
            Error::NotAccepted { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "component_not_accepted",
                text,
            ),
            Error::Host(error) => Self::internal(&error),
            Error::OtherName { .. } => Self::unprocessable("other_name", text),
            Error::VersionExists { .. } => Self::conflict("version_exists", text),
            Error::TooManyVersions { .. } => Self::conflict("too_many_versions", text),
            Error::Rejected(rejected) if rejected.is_busy => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, rejected.code, text)
                    .retry_after(UPLOAD_RETRY_S)
            }
            Error::Rejected(rejected) if rejected.code == "too_large" => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, rejected.code, text)
            }
            Error::Rejected(rejected) if rejected.by_host => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                rejected.code,
                "the component could not be examined here; try again",
            )
            .because(rejected.message),
            Error::Rejected(rejected) => Self::unprocessable(rejected.code, text),
            Error::WouldNotFit { report, .. } => {
                let report = serde_json::to_value(wire::Report::of(&report)).unwrap_or_default();
                Self::conflict("would_not_fit", text).with("report", report)
            }
            Error::NotOwned(NotOwned::Elsewhere { address, .. }) => {
                Self::conflict("component_owned_elsewhere", text).with("address", address)
            }
            Error::NotOwned(NotOwned::Unknown(_)) => {
                let unavailable = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(unavailable, "registry_unavailable", text).retry_after(1)
            }
            Error::UnknownComponent(_) => Self::not_found("unknown_component", text),
            Error::UnknownVersion { .. } => Self::not_found("unknown_version", text),
            Error::NothingBefore(_) => Self::conflict("nothing_before", text),
            Error::InUse { instances } => {
                Self::conflict("in_use", text).with("instances", instances)
            }
            Error::Active(_) => Self::conflict("version_active", text),
            Error::Refused(refused) => Self::of_refused(refused, Timestamp(0)),
            Error::Store(error) => error.into(),
        }
    }
}

impl ApiError {
    /// A request that the engines refuse; `now` tells how long to wait for what is suspended.
    #[expect(clippy::too_many_lines, reason = "a table: one entry for each refusal")]
    pub(super) fn of_refused(refused: Refused, now: Timestamp) -> Self {
        let wait = |until: Timestamp| until.since(now).0.div_ceil(1_000);
        match refused {
            Refused::UnknownComponent(name) => Self::not_found(
                "unknown_component",
                format!("there is no component `{name}`"),
            ),
            Refused::UnknownMachine(name) => {
                Self::not_found("unknown_machine", format!("there is no machine `{name}`"))
            }
            Refused::UnknownInstance(id) => {
                Self::not_found("unknown_instance", format!("there is no instance `{id}`"))
            }
            Refused::InstanceExists(id) => Self::conflict(
                "instance_exists",
                format!("`{id}` exists, with another machine or context"),
            ),
            Refused::InstanceFinished(id) => Self::conflict(
                "instance_finished",
                format!("the instance `{id}` has finished already"),
            ),
            Refused::InstanceActive(id) => Self::conflict(
                "instance_active",
                format!("the instance `{id}` has not ended yet: terminate it first"),
            ),
            Refused::InstanceDeleted(id) => Self::conflict(
                "instance_deleted",
                format!(
                    "the instance `{id}` was deleted; its id, or the key that it was created with, can \
                     be used again once its records are removed"
                ),
            ),
            Refused::SingletonExists(id) => Self::conflict(
                "singleton_exists",
                format!("the machine is a singleton, and `{id}` is its instance"),
            ),
            Refused::Schema(violations) => Self::schema("schema", &violations),
            Refused::Refusal(refusal) => {
                Self::unprocessable(refusal.code.to_string(), refusal.message.to_string())
            }
            Refused::Fault(fault) => Self::of_fault(&fault),
            Refused::KeyReused => Self::unprocessable(
                "idempotency_key_reused",
                "this key was used for another request: another event or payload, another target of \
                 a broadcast, or another context",
            ),
            Refused::AnswerLost => Self::conflict(
                "answer_lost",
                "the event was applied once; what became of it is not kept any more, since the \
                 store in memory is full",
            ),
            Refused::Busy(why) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", why.to_string()).retry_after(1)
            }
            Refused::InstanceSuspended { until } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "instance_suspended",
                "the instance faulted too often in a row and is left alone for a while",
            )
            .retry_after(wait(until)),
            Refused::RecordUnreadable(id) => Self::of_unreadable(&id, None),
            Refused::TooManyStreams => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                "this host takes in no new stream of another host",
            )
            .retry_after(60),
            Refused::ComponentSuspended { until } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "component_suspended",
                "the component faults too often and is left alone for a while",
            )
            .retry_after(wait(until)),
            Refused::Gap { through } => Self::conflict(
                "gap",
                format!("parcels of the stream after number {through} are missing"),
            )
            .with("through", through),
            Refused::TooManyMatched(matched) => Self::unprocessable(
                "too_many_matched",
                format!("{matched} instances would be reached, which is more than is allowed"),
            ),
            Refused::NotCommitted => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_committed",
                "it could not be made durable, and nothing was changed; `/readyz` says why",
            )
            .retry_after(1),
        }
    }

    /// What the store has of an instance cannot be read.
    fn of_unreadable(id: &InstanceId, why: Option<&str>) -> Self {
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        Self::conflict(
            "record_unreadable",
            format!(
                "what the store has of `{id}` cannot be read{why}: it is suspended, and what other \
                 instances send to it is held"
            ),
        )
    }

    /// A method faulted.
    pub(super) fn of_fault(fault: &Fault) -> Self {
        let detail = format!("{}: {}", fault.code.as_str(), fault.message);
        Self::unprocessable("method_failed", detail).with("fault", fault.code.as_str())
    }

    /// A context breaks its schema.
    pub(super) fn schema(code: &'static str, violations: &[Violation]) -> Self {
        let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
        Self::unprocessable(
            code,
            format!("the context is not valid: {}", all.join("; ")),
        )
        .with_errors(violations.iter().map(ErrorItem::from).collect())
    }
}

/// 404 for a path that nobody serves.
pub(super) async fn no_such_route(method: Method, uri: Uri) -> Response {
    std::future::ready(()).await;
    let detail = format!("there is no {method} {}; see /docs", uri.path());
    let error = ApiError::not_found("unknown_route", detail);
    match compat::has(uri.path()) {
        true => compat::failure(error),
        false => error.into_response(),
    }
}

/// 405 for a path that is served with other methods.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    std::future::ready(()).await;
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not answer {method}; see /docs", uri.path()),
    )
}

/// An error and its causes, on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}

/// A new id, only made for answers that need one.
fn request_id() -> String {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static MADE: AtomicU64 = AtomicU64::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}", KEY.hash_one(number))
}
