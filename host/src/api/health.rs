//! `/healthz`, `/readyz`: is the process there, does it take work.

use axum::{
    Json as JsonAnswer,
    extract::State as Shared,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;

/// How the host is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok` or `not_ready`.
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

const OK: Health = Health {
    status: "ok",
    reason: None,
};

/// Whether the process is there.
#[utoipa::path(
    get, path = "/healthz", tag = "operators",
    responses((status = 200, description = "It is", body = Health))
)]
pub(super) async fn live() -> JsonAnswer<Health> {
    std::future::ready(JsonAnswer(OK)).await
}

/// Whether the host takes work.
#[utoipa::path(
    get, path = "/readyz", tag = "operators",
    responses(
        (status = 200, description = "It does", body = Health),
        (status = 503, description = "It is ending or broken, or cannot make anything durable", body = Health),
    )
)]
pub(super) async fn ready(Shared(state): Shared<State>) -> Response {
    let handle = state.handle();
    let problem = match handle.is_ready() {
        true => handle.store_problem().map(|problem| problem.to_string()),
        false => Some("the host is ending or has failed".to_owned()),
    };
    let answer = match problem {
        None => (StatusCode::OK, JsonAnswer(OK)),
        reason => (
            StatusCode::SERVICE_UNAVAILABLE,
            JsonAnswer(Health {
                status: "not_ready",
                reason,
            }),
        ),
    };
    std::future::ready(answer.into_response()).await
}
