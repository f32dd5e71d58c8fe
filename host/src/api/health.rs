//! `/healthz`, `/readyz`: is the process there, does it take work.

use axum::{
    Json as JsonAnswer,
    extract::State as Shared,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use crate::driver::Progress;

/// How the host is.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`, `standby`, `recovering` or `not_ready`.
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How far it is, while it is recovering.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Recovered>,
    /// How the cache is written, where there is one: `ok`, or why it is not. Nobody's work waits for
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<String>,
}

/// What a host that starts has of what the last one left behind.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Recovered {
    /// Versions of components that there are; 0 until that is known.
    components: usize,
    /// Of these, compiled and loaded.
    components_ready: usize,
    /// Instances that were read.
    instances: usize,
    /// What was on its way, and is sent again.
    deliveries: usize,
}

/// The process is there.
pub(super) fn alive() -> JsonAnswer<Health> {
    JsonAnswer(Health {
        status: "ok",
        ..Health::default()
    })
}

/// It does not take work yet, and is so far.
pub(super) fn recovering(progress: &Progress) -> Response {
    let done = progress.read();
    let (status, reason) = match done.is_standby {
        true => ("standby", Some("another host has the store".to_owned())),
        false => ("recovering", None),
    };
    let health = Health {
        status,
        reason,
        progress: Some(Recovered {
            components: done.components,
            components_ready: done.components_ready,
            instances: done.instances,
            deliveries: done.deliveries,
        }),
        cache: None,
    };
    let soon = [(header::RETRY_AFTER, "1")];
    (StatusCode::SERVICE_UNAVAILABLE, soon, JsonAnswer(health)).into_response()
}

/// Whether the process is there.
#[utoipa::path(
    get, path = "/healthz", tag = "operators",
    responses((status = 200, description = "It is", body = Health))
)]
pub(super) async fn live(Shared(state): Shared<State>) -> JsonAnswer<Health> {
    std::future::ready(JsonAnswer(well(&state))).await
}

fn well(state: &State) -> Health {
    Health {
        status: "ok",
        cache: cache(state),
        ..Health::default()
    }
}

fn cache(state: &State) -> Option<String> {
    let numbers = state.config().cache.as_ref()?;
    Some(numbers.problem().unwrap_or_else(|| "ok".to_owned()))
}

/// Whether the host takes work.
#[utoipa::path(
    get, path = "/readyz", tag = "operators",
    responses(
        (status = 200, description = "It does", body = Health),
        (status = 503, description = "It is recovering, ending or broken, or cannot make anything durable", body = Health),
    )
)]
pub(super) async fn ready(Shared(state): Shared<State>) -> Response {
    let handle = state.handle();
    let problem = match handle.is_ready() {
        true => handle.store_problem().map(|problem| problem.to_string()),
        false => Some("the host is ending or has failed".to_owned()),
    };
    let answer = match problem {
        None => JsonAnswer(well(&state)).into_response(),
        reason => {
            let health = Health {
                status: "not_ready",
                reason,
                progress: None,
                cache: cache(&state),
            };
            (StatusCode::SERVICE_UNAVAILABLE, JsonAnswer(health)).into_response()
        }
    };
    std::future::ready(answer).await
}
