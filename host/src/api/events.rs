//! `…/events`: one event for one instance, or for many.

use std::sync::Arc;

use axum::{
    Json as JsonAnswer,
    extract::{Path, State as Shared},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use xcomponent_core::{
    effect::{HandledReply, Reply},
    id::{ComponentName, EventId, EventName, MachineName},
    input::{Request, SendEvent},
    record::{Disposition, Reason, SelectBy, Selector},
};

use super::{
    State,
    body::{self, Body},
    caller::Caller,
    error::{ApiError, Problem, Result},
    prefer::{Accepted, Prefer},
    traced,
    wire::{BroadcastTally, Handled},
};

/// Why there is an id to tell.
const NAMED: &str = "an event whose sender does not wait is given an id";

/// An event for one instance.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEvent {
    /// Its name.
    event: String,
    /// What it carries; `{}` if absent.
    #[serde(default)]
    #[schema(value_type = Option<HashMap<String, serde_json::Value>>)]
    payload: Option<Box<RawValue>>,
    /// The caller's own id for it: then it is applied once. The header `Idempotency-Key` does the
    /// same.
    #[serde(default)]
    id: Option<String>,
    /// Refused unless the instance is in this state.
    #[serde(default)]
    expected_state: Option<String>,
}

/// What is answered with 202.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    clippy::large_enum_variant,
    reason = "it only describes what is written elsewhere"
)]
pub(super) enum NotSettled {
    /// It will be tried again.
    Handled(Handled),
    /// It was taken in, and is not durable yet.
    Accepted(Accepted),
}

/// Sends an event to an instance, and answers when what became of it is durable.
#[utoipa::path(
    post, path = "/v1/instances/{id}/events", operation_id = "sendEvent", tag = "events",
    params(
        ("id" = String, Path, description = "The instance"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key gives the same answer"),
        ("Prefer" = Option<String>, Header, description = "`respond-async` answers before the commit; with `wait=5` only if that takes longer than 5 s"),
    ),
    request_body(content = NewEvent, example = json!({"event": "PAY", "payload": {"amount": 120}, "id": "pay-1"})),
    responses(
        (status = 200, description = "Transitioned, ignored or deferred", body = Handled),
        (status = 202, description = "It faulted and will be tried again; or the caller did not want to wait: it was taken in, and is not durable yet", body = NotSettled),
        (status = 409, description = "Wrong state, or the instance is finished", body = Problem),
        (status = 422, description = "A method or the schema refused it, or it was dead-lettered", body = Problem),
        (status = "4XX", description = "It was not handled", body = Problem),
        (status = 503, description = "A breaker is open, or it could not be committed", body = Problem),
    )
)]
pub(super) async fn send(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(instance): Path<String>,
    prefer: Prefer,
    headers: HeaderMap,
    Body(new, ..): Body<NewEvent>,
) -> Result<Response> {
    let id = prefer.event_id(&state, event_key(&headers, new.id.as_deref())?);
    let send = SendEvent {
        instance: body::instance_id(&instance)?,
        component: None,
        event: EventName::new(body::name(&new.event, "event")?),
        payload: body::object(new.payload.as_deref(), "payload")?,
        id: id.clone(),
        expected_state: body::state(new.expected_state.as_deref(), "expected_state")?,
        sent_at: None,
        trace_parent: traced::context(&headers),
    };
    let Some(reply) = prefer.ask(&state, &caller, Request::Send(send)).await? else {
        let id = id.expect(NAMED);
        let trace = format!("/v1/instances/{instance}/trace?event={id}");
        return Ok(prefer.accepted(Accepted::event(&id, trace)));
    };
    answer(&state, reply).await
}

/// What an event's sender reads.
pub(super) async fn answer(state: &State, reply: Reply) -> Result<Response> {
    match reply {
        Reply::Handled(handled) => {
            let status = settled_status(&handled)?;
            let answer = Handled::of(&handled);
            let answered = state.answer_done(status, &handled.after, &answer);
            let mut response = answered.await?;
            mark_replayed(&mut response, handled.replayed);
            Ok(response)
        }
        Reply::Refused(refused) => Err(ApiError::of_refused(refused, state.handle().now())),
        other => unreachable!("an event is answered with what became of it: {other:?}"),
    }
}

/// The status of what became of an event.
pub(super) fn settled_status(handled: &HandledReply) -> Result<StatusCode> {
    match handled.disposition {
        Disposition::Transitioned | Disposition::Ignored | Disposition::Deferred => {
            Ok(StatusCode::OK)
        }
        Disposition::Retrying => Ok(StatusCode::ACCEPTED),
        Disposition::Rejected => Err(rejected(handled)),
        Disposition::DeadLettered => {
            let error = match &handled.fault {
                Some(fault) => ApiError::of_fault(fault),
                None => ApiError::unprocessable("dead_lettered", "the event was dead-lettered"),
            };
            Err(error
                .with("dead_letter_id", handled.event.id.to_string())
                .with("disposition", "dead-lettered"))
        }
    }
}

fn rejected(handled: &HandledReply) -> ApiError {
    let state = handled.to_name();
    let error = match handled.reason.as_deref() {
        Some(Reason::Finished) => ApiError::conflict(
            "instance_finished",
            format!("the instance has finished in `{state}`"),
        ),
        Some(Reason::UnexpectedState(expected)) => ApiError::conflict(
            "unexpected_state",
            format!("the instance is in `{state}`, expected `{expected}`"),
        ),
        Some(Reason::Refused(refusal)) => {
            ApiError::unprocessable(refusal.code.to_string(), refusal.message.to_string())
        }
        Some(Reason::Schema(violations)) => ApiError::schema("schema", violations),
        Some(Reason::Exists) => ApiError::conflict("instance_exists", "the instance exists"),
        Some(
            Reason::NoTransition
            | Reason::NothingMatched(_)
            | Reason::NoLongerMatches
            | Reason::NoAutoPassed,
        )
        | None => ApiError::conflict("rejected", "the event was rejected"),
    };
    error
        .with("disposition", "rejected")
        .with("state", state.as_str())
}

/// The id under which a request is carried out once: the header's, else the body's.
pub(super) fn event_key(headers: &HeaderMap, id: Option<&str>) -> Result<Option<EventId>> {
    let header = headers.get("idempotency-key");
    let Some(header) = header else {
        return id.map(body::event_id).transpose();
    };
    let header = header.to_str().unwrap_or_default();
    let key = header
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(header);
    if id.is_some_and(|id| id != key) {
        return Err(ApiError::bad_request(
            "two_ids",
            "the header `Idempotency-Key` and the body's `id` differ",
        ));
    }
    body::event_id(key).map(Some)
}

/// Says that an answer was given before.
pub(super) fn mark_replayed(response: &mut Response, replayed: bool) {
    if replayed {
        let value = HeaderValue::from_static("true");
        response.headers_mut().insert("idempotency-replayed", value);
    }
}

/// An event for every instance that it concerns.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBroadcast {
    /// Its name.
    event: String,
    /// What it carries; `{}` if absent.
    #[serde(default)]
    #[schema(value_type = Option<HashMap<String, serde_json::Value>>)]
    payload: Option<Box<RawValue>>,
    /// Only to instances in this state.
    #[serde(default)]
    state: Option<String>,
    /// The caller's own id for it: then it is applied once.
    #[serde(default)]
    id: Option<String>,
}

/// Sends an event to the instances of a machine: those whose matching rules hold where the event's
/// transitions have any, else all.
#[utoipa::path(
    post, path = "/v1/components/{component}/machines/{machine}/events", operation_id = "broadcastEvent", tag = "events",
    params(
        ("component" = String, Path, description = "The component"),
        ("machine" = String, Path, description = "The machine"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key gives the same answer"),
        ("Prefer" = Option<String>, Header, description = "`respond-async` answers before the commit; with `wait=5` only if that takes longer than 5 s"),
    ),
    request_body(content = NewBroadcast, example = json!({"event": "PRICE_CHANGED", "payload": {"price": 9.5}, "state": "Open"})),
    responses(
        (status = 200, description = "How it ended", body = BroadcastTally),
        (status = 202, description = "The caller did not want to wait: it was taken in, and is not durable yet", body = Accepted),
        (status = "4XX", description = "It was not sent", body = Problem),
    )
)]
pub(super) async fn broadcast(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((component, machine)): Path<(String, String)>,
    prefer: Prefer,
    headers: HeaderMap,
    Body(new, ..): Body<NewBroadcast>,
) -> Result<Response> {
    let (component, machine) = (ComponentName::new(component), MachineName::new(machine));
    if prefer.is_async() {
        state.expect_machine(&caller, &component, &machine, |_| Ok(()))?;
    }
    let selector = Selector {
        component,
        machine: Some(machine),
        state: body::state(new.state.as_deref(), "state")?,
        by: SelectBy::MachineRules,
    };
    let id = prefer.event_id(&state, event_key(&headers, new.id.as_deref())?);
    let request = state.handle().broadcast(
        Arc::new(selector),
        EventName::new(body::name(&new.event, "event")?),
        body::object(new.payload.as_deref(), "payload")?,
        id.clone(),
        traced::context(&headers),
    );
    let Some(reply) = prefer.ask(&state, &caller, request).await? else {
        let id = id.expect(NAMED);
        let trace = format!("/v1/events/{id}/trace");
        return Ok(prefer.accepted(Accepted::event(&id, trace)));
    };
    match reply {
        Reply::Tally { tally, replayed } => {
            let mut response = JsonAnswer(BroadcastTally::from(tally)).into_response();
            mark_replayed(&mut response, replayed);
            Ok(response)
        }
        Reply::Refused(refused) => Err(ApiError::of_refused(refused, state.handle().now())),
        other => unreachable!("a broadcast is answered with a tally or refused: {other:?}"),
    }
}
