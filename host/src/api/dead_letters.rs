//! `/v1/dead-letters`: events that could not be handled; tried again or given up.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    Json as JsonAnswer,
    extract::{Path, State as Shared},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use xcomponent_core::{
    effect::{Reply, Tally},
    id::{ComponentName, MachineName},
    input::Request,
    record::{self, Parked},
};

use super::{
    State, answers,
    body::{self, PageParams, Params},
    caller::Caller,
    error::{ApiError, Problem, Result},
    events,
    record::{EventView, FaultView},
    wire::{Handled, List, Time},
};
use crate::driver::{Letter, LetterFilter, PageRequest};

/// Dead letters that one request replays at most. Each is an event with an answer; more are
/// replayed by asking again, which starts with those that are left.
const REPLAYS_MAX: usize = 10_000;

/// Bytes of payloads that these have at most, beyond the first.
const REPLAYED_BYTES_MAX: usize = 32 << 20;

/// An event that was parked.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadLetter {
    /// The event's id. Where one broadcast left several, `instance_id` tells them apart.
    id: String,
    /// Where it was parked; opaque.
    position: String,
    /// The instance it was for, if one was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<String>,
    /// The component it was for.
    component: String,
    /// The version that failed, if one was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The machine it was for, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    /// The event.
    event: EventView,
    /// Why it could not be handled.
    reason: FaultView,
    /// Attempts made, replays included.
    attempts: u32,
    /// The event whose transition sent it; absent for one from outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    caused_by: Option<String>,
    /// The event from outside that everything began with.
    root: String,
    /// When it was parked.
    #[schema(value_type = String)]
    at: Time,
}

impl DeadLetter {
    /// The wire form of a parked event.
    pub(super) fn of(letter: &record::DeadLetter, position: String) -> Self {
        Self {
            id: letter.event.id.to_string(),
            position,
            instance_id: letter.instance.as_ref().map(ToString::to_string),
            component: letter.component.to_string(),
            version: letter.version.as_ref().map(ToString::to_string),
            machine: letter.machine.as_ref().map(ToString::to_string),
            event: EventView::of(&letter.event),
            reason: reason(&letter.why),
            attempts: letter.attempts,
            caused_by: letter.cause.event.as_ref().map(ToString::to_string),
            root: letter.cause.root.to_string(),
            at: Time(letter.at),
        }
    }
}

/// Why an event was parked, in words.
pub(super) fn reason(why: &Parked) -> FaultView {
    let message = match why {
        Parked::Fault(fault) => return FaultView::of(fault),
        Parked::UnknownTarget(text)
        | Parked::CascadeBudget(text)
        | Parked::SchemaViolation(text)
        | Parked::Refused(text)
        | Parked::Undeliverable(text) => text.to_string(),
        Parked::InstanceFinished => "the instance had finished".to_owned(),
        Parked::Overload => "the shard was too far behind".to_owned(),
        Parked::ComponentSuspended => "the component's breaker was open for too long".to_owned(),
        Parked::SingletonExists => "the singleton that it was to create exists".to_owned(),
        Parked::Unstorable => {
            "the store refused the record of what it led to, for what was in it".to_owned()
        }
        Parked::RecordUnreadable => {
            "what the store has of the instance cannot be read, and no more is held for it"
                .to_owned()
        }
    };
    FaultView::plain(why.code(), message)
}

/// Which dead letters.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Search {
    /// For this component.
    component: Option<String>,
    /// For this machine.
    machine: Option<String>,
    /// For this instance.
    instance: Option<String>,
    /// Parked for this reason, as `reason.code` has it.
    code: Option<String>,
}

impl Search {
    fn filter(&self) -> Result<LetterFilter> {
        Ok(LetterFilter {
            component: self.component.as_deref().map(ComponentName::new),
            machine: self.machine.as_deref().map(MachineName::new),
            instance: self
                .instance
                .as_deref()
                .map(body::instance_id)
                .transpose()?,
            code: self.code.clone(),
        })
    }
}

/// Which of the dead letters that share an id.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The one for this instance; without it the first is meant.
    instance: Option<String>,
}

/// Parked events, the last first.
#[utoipa::path(
    get, path = "/v1/dead-letters", operation_id = "listDeadLetters", tag = "dead letters",
    params(Search, PageParams),
    responses(
        (status = 200, description = "A page of dead letters", body = List<DeadLetter>),
        (status = 400, description = "The query is not understood", body = Problem),
    )
)]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Params(search): Params<Search>,
    Params(page): Params<PageParams>,
) -> Result<Response> {
    let page = state.page_request(&caller, &page)?;
    let room = state.room(answers::PAGE).await?;
    let found = state
        .handle()
        .dead_letters(&caller.tenant, search.filter()?, page)
        .await?;
    let list = state.page_of(&caller, found, |letter| state.letter(&caller, &letter));
    room.answer(StatusCode::OK, &list)
}

/// One parked event.
#[utoipa::path(
    get, path = "/v1/dead-letters/{id}", operation_id = "getDeadLetter", tag = "dead letters",
    params(("id" = String, Path, description = "The event's id"), Which),
    responses(
        (status = 200, description = "The dead letter", body = DeadLetter),
        (status = 404, description = "There is none", body = Problem),
    )
)]
pub(super) async fn read(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    Params(which): Params<Which>,
) -> Result<Response> {
    let room = state.room(answers::ONE).await?;
    let letter = find(&state, &caller, &id, &which).await?;
    room.answer(StatusCode::OK, &state.letter(&caller, &letter))
}

/// Tries a parked event again, on the active version, as `<id>.r<n>`.
#[utoipa::path(
    post, path = "/v1/dead-letters/{id}/replay", operation_id = "replayDeadLetter", tag = "dead letters",
    params(("id" = String, Path, description = "The event's id"), Which),
    responses(
        (status = 200, description = "Transitioned, ignored or deferred", body = Handled),
        (status = 202, description = "It was for no instance: it was sent again, or it faulted and will be tried again", body = Handled),
        (status = 404, description = "There is no such dead letter", body = Problem),
        (status = 422, description = "It was refused or dead-lettered again", body = Problem),
    )
)]
pub(super) async fn replay(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    Params(which): Params<Which>,
) -> Result<Response> {
    let letter = find(&state, &caller, &id, &which).await?;
    let request = replaying(&letter.letter);
    match state.handle().request(&caller.tenant, request).await {
        Reply::Discarded => {
            let sent = JsonAnswer(SentAgain {
                disposition: "accepted",
            });
            Ok((StatusCode::ACCEPTED, sent).into_response())
        }
        reply => events::answer(&state, reply).await,
    }
}

/// What is answered where a replay has no outcome of its own.
#[derive(Serialize)]
struct SentAgain {
    disposition: &'static str,
}

/// How a replay of many ended.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Replayed {
    /// Dead letters that were tried again; the others add up to it.
    replayed: u64,
    /// Of these: took a transition.
    transitioned: u64,
    /// Of these: were ignored.
    ignored: u64,
    /// Of these: were deferred, or will be tried again.
    deferred: u64,
    /// Of these: were refused by a method, a schema or a finished instance.
    rejected: u64,
    /// Of these: were parked again.
    dead_lettered: u64,
    /// Of these: were for no instance and were sent again.
    sent: u64,
    /// Of these: could not be tried; they stay parked.
    failed: u64,
    /// Whether dead letters were left because there are more than one request replays.
    more: bool,
}

/// Tries parked events again, the first parked first.
#[utoipa::path(
    post, path = "/v1/dead-letters/replay", operation_id = "replayDeadLetters", tag = "dead letters",
    params(Search),
    responses(
        (status = 200, description = "How they ended", body = Replayed),
        (status = 400, description = "The query is not understood", body = Problem),
    )
)]
pub(super) async fn replay_all(
    Shared(state): Shared<State>,
    caller: Caller,
    Params(search): Params<Search>,
) -> Result<JsonAnswer<Replayed>> {
    let filter = search.filter()?;
    let _room = state.room(REPLAYED_BYTES_MAX).await?;
    let (letters, more) = all(&state, &caller, &filter).await?;
    let requests = letters.iter().map(replaying).collect();
    let replies = state.handle().request_batch(&caller.tenant, requests).await;
    let mut replayed = Replayed {
        replayed: replies.len() as u64,
        more,
        ..Replayed::default()
    };
    let mut tally = Tally::default();
    for reply in replies {
        match reply {
            Reply::Handled(handled) => tally.count(handled.disposition),
            Reply::Discarded => replayed.sent += 1,
            _ => replayed.failed += 1,
        }
    }
    Ok(JsonAnswer(Replayed {
        transitioned: tally.transitioned,
        ignored: tally.ignored,
        deferred: tally.deferred,
        rejected: tally.rejected,
        dead_lettered: tally.dead_lettered,
        ..replayed
    }))
}

/// Gives a parked event up.
#[utoipa::path(
    delete, path = "/v1/dead-letters/{id}", operation_id = "discardDeadLetter", tag = "dead letters",
    params(("id" = String, Path, description = "The event's id"), Which),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such dead letter", body = Problem),
    )
)]
pub(super) async fn discard(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    Params(which): Params<Which>,
) -> Result<Response> {
    let letter = find(&state, &caller, &id, &which).await?;
    let letter = Box::new((*letter.letter).clone());
    let request = Request::Discard { letter };
    match state.handle().request(&caller.tenant, request).await {
        Reply::Refused(refused) => Err(ApiError::of_refused(refused, state.handle().now())),
        _ => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

impl State {
    fn letter(&self, caller: &Caller, letter: &Letter) -> DeadLetter {
        let position = self.seal().position(&caller.tenant, letter.position);
        DeadLetter::of(&letter.letter, position)
    }
}

fn replaying(letter: &Arc<record::DeadLetter>) -> Request {
    Request::Replay {
        letter: Box::new((**letter).clone()),
    }
}

async fn find(state: &State, caller: &Caller, id: &str, which: &Which) -> Result<Letter> {
    let unknown = || {
        ApiError::not_found(
            "unknown_dead_letter",
            format!("there is no dead letter `{id}`"),
        )
    };
    let event = body::derived_event_id(id).ok_or_else(unknown)?;
    let instance = which.instance.as_deref();
    let instance = instance.map(body::instance_id).transpose()?;
    let found = state
        .handle()
        .dead_letter(&caller.tenant, &event, instance.as_ref())
        .await?;
    found.ok_or_else(unknown)
}

/// The dead letters that pass, the first parked first, and whether there are more.
async fn all(
    state: &State,
    caller: &Caller,
    filter: &LetterFilter,
) -> Result<(Vec<Arc<record::DeadLetter>>, bool)> {
    let mut letters = VecDeque::new();
    let (mut bytes, mut more) = (0, false);
    let mut page = PageRequest::first(usize::MAX);
    loop {
        let found = state
            .handle()
            .dead_letters(&caller.tenant, filter.clone(), page)
            .await?;
        for Letter { letter, .. } in found.items {
            bytes += letter.bytes();
            letters.push_back(letter);
            // The first parked come last, and are those that are wanted.
            while letters.len() > REPLAYS_MAX || bytes > REPLAYED_BYTES_MAX && letters.len() > 1 {
                let newest = letters.pop_front();
                bytes -= newest.map_or(0, |letter| letter.bytes());
                more = true;
            }
        }
        match found.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    Ok((letters.into_iter().rev().collect(), more))
}
