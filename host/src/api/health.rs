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
}

/// Whether the process is there.
#[utoipa::path(
    get, path = "/healthz", tag = "operators",
    responses((status = 200, description = "It is", body = Health))
)]
pub(super) async fn live() -> JsonAnswer<Health> {
    std::future::ready(JsonAnswer(Health { status: "ok" })).await
}

/// Whether the host takes work.
#[utoipa::path(
    get, path = "/readyz", tag = "operators",
    responses(
        (status = 200, description = "It does", body = Health),
        (status = 503, description = "It is starting, ending or broken", body = Health),
    )
)]
pub(super) async fn ready(Shared(state): Shared<State>) -> Response {
    let answer = match state.handle().is_ready() {
        true => (StatusCode::OK, JsonAnswer(Health { status: "ok" })),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            JsonAnswer(Health {
                status: "not_ready",
            }),
        ),
    };
    std::future::ready(answer.into_response()).await
}
