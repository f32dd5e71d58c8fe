//! `/healthz`, `/readyz`: is the process well, does it take work, and why not.
//!
//! Two questions, since they are answered by different deeds. Who is not well is started anew: only
//! what a start mends counts, never a database or a broker that is away. Who is not ready gets no
//! requests for a while: the store counts, since nothing can be done without it; other hosts do not,
//! since what is for them waits here. Then the host is `degraded`, and takes work.

use std::time::Duration;

use axum::{
    Json as JsonAnswer,
    extract::State as Shared,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{State, openapi::words, standing};
use crate::driver::Progress;

/// A thread that is in one turn for so long hangs. Turns end within moments, so this is for machines
/// that stood still.
pub const HANGS_AFTER: Duration = Duration::from_secs(10);

/// How the host is.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`, `degraded`, `standby`, `recovering`, `draining`, `not_ready` or `failed`.
    #[schema(value_type = words::HealthStatus)]
    status: &'static str,
    /// Why it is not `ok`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<Reason>,
    /// How far it is, while it is recovering.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Recovered>,
}

/// Something that is not as it should be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reason {
    /// `store`, `shards`, `bus` or `cache`.
    part: &'static str,
    /// In words.
    detail: String,
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

/// The process is well.
pub(super) fn alive() -> Response {
    answer(StatusCode::OK, "ok", Vec::new())
}

/// It does not take work yet, and is so far.
pub(super) fn recovering(progress: &Progress) -> Response {
    let done = progress.read();
    let (status, reasons) = match done.is_standby {
        true => {
            let why = "another host has the store".to_owned();
            ("standby", vec![Reason::new("store", why)])
        }
        false => ("recovering", Vec::new()),
    };
    let health = Health {
        status,
        reasons,
        progress: Some(Recovered {
            components: done.components,
            components_ready: done.components_ready,
            instances: done.instances,
            deliveries: done.deliveries,
        }),
    };
    let soon = [(header::RETRY_AFTER, "1")];
    (StatusCode::SERVICE_UNAVAILABLE, soon, JsonAnswer(health)).into_response()
}

/// Whether the process is well.
///
/// It is not if a thread has failed or makes no progress: then a start mends it.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "operators",
    responses(
        (status = 200, description = "It is", body = Health),
        (status = 503, description = "It should be started anew", body = Health),
    )
)]
pub(super) async fn live(Shared(state): Shared<State>) -> Response {
    let answer = match state.handle().failure(HANGS_AFTER) {
        None => alive(),
        Some(failure) => failed(failure),
    };
    std::future::ready(answer).await
}

/// Whether the host takes work.
///
/// It does although another host or a broker is away (`degraded`): what is for those waits here.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "operators",
    responses(
        (status = 200, description = "It does", body = Health),
        (status = 503, description = "It is recovering, draining or broken, or cannot make anything durable", body = Health),
    )
)]
pub(super) async fn ready(Shared(state): Shared<State>) -> Response {
    std::future::ready(readiness(&state)).await
}

fn readiness(state: &State) -> Response {
    let handle = state.handle();
    if state.is_draining() || handle.is_ending() {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "draining", Vec::new());
    }
    if let Some(failure) = handle.failure(HANGS_AFTER) {
        return failed(failure);
    }
    if let Some(problem) = handle.store_problem() {
        let reasons = vec![Reason::new("store", problem.to_string())];
        return answer(StatusCode::SERVICE_UNAVAILABLE, "not_ready", reasons);
    }
    let standings = standing::of_all(state).into_iter();
    let reasons = standings.filter_map(|one| {
        let problem = one.problem?;
        Some(Reason::new("bus", format!("{}: {problem}", one.name)))
    });
    let cache = state.config().cache.as_ref();
    let cache = cache.and_then(|numbers| Some(Reason::new("cache", numbers.problem()?)));
    let reasons: Vec<Reason> = reasons.chain(cache).collect();
    let status = if reasons.is_empty() { "ok" } else { "degraded" };
    answer(StatusCode::OK, status, reasons)
}

fn failed(failure: String) -> Response {
    let reasons = vec![Reason::new("shards", failure)];
    answer(StatusCode::SERVICE_UNAVAILABLE, "failed", reasons)
}

fn answer(code: StatusCode, status: &'static str, reasons: Vec<Reason>) -> Response {
    let health = Health {
        status,
        reasons,
        progress: None,
    };
    (code, JsonAnswer(health)).into_response()
}

impl Reason {
    fn new(part: &'static str, detail: String) -> Self {
        Self { part, detail }
    }
}
