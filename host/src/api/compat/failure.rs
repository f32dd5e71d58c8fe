//! What a client reads when something is not done: `{success: false, error, code}`.

use axum::{
    Json as JsonAnswer,
    extract::OriginalUri,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::error::ApiError;
use crate::{driver, tenancy};

/// The result of a handler.
pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Something is not done, and why.
#[derive(Debug)]
pub(super) struct Failure(ApiError);

/// The body of a failure.
#[derive(Serialize)]
struct Answer {
    success: bool,
    /// What is wrong, in words.
    error: String,
    /// Stable, for programs.
    code: String,
    /// `disposition`, `deadLetterId`, `errors` and whatever else belongs to it.
    #[serde(flatten)]
    more: Map<String, Value>,
}

impl Failure {
    /// 400.
    pub(super) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self(ApiError::bad_request(code, detail))
    }

    /// 404.
    pub(super) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self(ApiError::not_found(code, detail))
    }

    /// As 400 where it is about what was sent: clients of these routes do not know 422 there.
    pub(super) fn about_what_was_sent(error: ApiError) -> Self {
        Self(match error.status() {
            StatusCode::UNPROCESSABLE_ENTITY => error.with_status(StatusCode::BAD_REQUEST),
            _ => error,
        })
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<driver::Error> for Failure {
    fn from(error: driver::Error) -> Self {
        Self(error.into())
    }
}

impl From<tenancy::Error> for Failure {
    fn from(error: tenancy::Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, retry_after_s) = (self.0.status(), self.0.retry_after_s());
        let (error, code) = (self.0.detail().to_owned(), self.0.code().to_owned());
        let problem = serde_json::to_value(self.0.into_problem()).unwrap_or_default();
        let answer = Answer {
            success: false,
            error,
            code,
            more: more(problem),
        };
        let mut response = (status, JsonAnswer(answer)).into_response();
        if let Some(seconds) = retry_after_s {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What a problem has beyond its text and code, under the names that these clients use.
fn more(problem: Value) -> Map<String, Value> {
    let Value::Object(members) = problem else {
        return Map::new();
    };
    let told = ["type", "title", "status", "detail", "code"];
    let rest = members
        .into_iter()
        .filter(|(name, _)| !told.contains(&&**name));
    rest.map(|(name, value)| (camel(&name), value)).collect()
}

/// `dead_letter_id` → `deadLetterId`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    camel
}

/// 405 for a path that is served with other methods.
pub(super) async fn no_such_method(method: Method, OriginalUri(uri): OriginalUri) -> Failure {
    std::future::ready(()).await;
    let detail = format!("{} does not answer {method}", uri.path());
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Failure(ApiError::new(status, "method_not_allowed", detail))
}
