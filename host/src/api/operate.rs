//! What operators do to single instances: end them, delete them, and let those go on that are
//! suspended.

use axum::{
    extract::{Path, State as Shared},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::Deserialize;
use utoipa::ToSchema;
use xcomponent_core::{
    effect::{Refused, Reply},
    input::{self, Request},
};

use super::{
    State, answers,
    body::{self, OptionalBody},
    caller::Caller,
    error::{ApiError, Problem, Result},
    traced,
    wire::Instance,
};

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 4 << 10;

/// The end of an instance.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Termination {
    /// Why, for the instance's history; up to 4 KiB.
    #[serde(default)]
    reason: Option<String>,
}

/// Ends an instance in the state that it is in, and answers when that is durable.
///
/// No method is called, also where the instance is suspended or waits for a retry. Timers and
/// delayed sends to itself are cancelled; deferred events and the event of a retry become dead
/// letters; delayed sends to others still leave. To terminate it again changes nothing.
#[utoipa::path(
    post, path = "/v1/instances/{id}/terminate", operation_id = "terminateInstance", tag = "instances",
    params(("id" = String, Path, description = "Its id")),
    request_body(content = Option<Termination>, example = json!({"reason": "the customer has left"})),
    responses(
        (status = 200, description = "The instance, terminated now or before", body = Instance),
        (status = 404, description = "There is none", body = Problem),
        (status = 409, description = "It has completed, or is in an error state", body = Problem),
        (status = 422, description = "The reason is too long", body = Problem),
    )
)]
pub(super) async fn terminate(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    OptionalBody(termination): OptionalBody<Termination>,
) -> Result<Response> {
    let instance = body::instance_id(&id)?;
    if let Some(reason) = &termination.reason
        && reason.len() > REASON_BYTES_MAX
    {
        return Err(ApiError::unprocessable(
            "reason_too_long",
            format!(
                "`reason` has {} bytes; at most {REASON_BYTES_MAX} are accepted",
                reason.len()
            ),
        ));
    }
    let request = Request::Terminate(input::Terminate {
        instance,
        reason: termination.reason.map(Into::into),
        trace_parent: traced::context(&headers),
    });
    match state.handle().request(&caller.tenant, request).await {
        Reply::Instance(instance) => {
            let shown = Instance::of(&instance);
            state.answer_done(StatusCode::OK, &instance, &shown).await
        }
        Reply::Refused(refused) => Err(ApiError::of_refused(refused, state.handle().now())),
        other => unreachable!("a termination is answered with an instance or refused: {other:?}"),
    }
}

/// Deletes an instance that has ended, and answers when that is durable.
///
/// From then on no list, count, search, history or trace shows it, and what is sent to it comes to
/// the same as for an instance that never was. The stream of records says `deleted`. Delayed sends
/// to others still leave, and its dead letters stay until they are replayed or discarded. Its
/// records are removed when nothing of them is owed and no repeated id is answered from them any
/// more, whatever history is kept; until then its id is taken.
#[utoipa::path(
    delete, path = "/v1/instances/{id}", operation_id = "deleteInstance", tag = "instances",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 404, description = "There is none, or it was deleted before", body = Problem),
        (status = 409, description = "It has not ended yet: terminate it first", body = Problem),
    )
)]
pub(super) async fn delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode> {
    let request = Request::Delete(input::Delete {
        instance: body::instance_id(&id)?,
        trace_parent: traced::context(&headers),
    });
    match state.handle().request(&caller.tenant, request).await {
        Reply::Instance(_) => Ok(StatusCode::NO_CONTENT),
        Reply::Refused(refused) => Err(ApiError::of_refused(refused, state.handle().now())),
        other => unreachable!("a deletion is answered with an instance or refused: {other:?}"),
    }
}

/// Ends the suspension of an instance that faulted too often in a row; its faults are counted from
/// zero. Where it is not suspended, nothing changes. A retry keeps its time.
#[utoipa::path(
    post, path = "/v1/instances/{id}/unblock", operation_id = "unblockInstance", tag = "instances",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The instance", body = Instance),
        (status = 404, description = "There is none", body = Problem),
    )
)]
pub(super) async fn unblock(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response> {
    let id = body::instance_id(&id)?;
    let room = state.room(answers::ONE).await?;
    let request = Request::UnblockInstance {
        instance: id.clone(),
    };
    let instance = match state.handle().request(&caller.tenant, request).await {
        Reply::Instance(instance) => *instance,
        // One that is not in memory is not suspended.
        Reply::Refused(Refused::UnknownInstance(_)) => state.expect_instance(&caller, &id).await?,
        Reply::Refused(refused) => {
            return Err(ApiError::of_refused(refused, state.handle().now()));
        }
        other => unreachable!("it is answered with an instance or refused: {other:?}"),
    };
    room.answer(StatusCode::OK, &Instance::of(&instance))
}
