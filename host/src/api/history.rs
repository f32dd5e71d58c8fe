//! `/v1/instances/{id}/history` and `/transitions`: what happened, and what can happen.

use axum::{
    Json as JsonAnswer,
    extract::{Path, State as Shared},
    http::StatusCode,
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;
use xcomponent_core::{
    definition::{Machine, OnLive, StateIdx, TransitionIdx},
    engine,
    id::TenantId,
    record::{Snapshot, Status},
};

use super::{
    State, answers,
    body::{self, PageParams, Params},
    caller::Caller,
    error::{ApiError, Problem, Result},
    machine::Step,
    record::HistoryRecord,
    wire::List,
};
use crate::driver::{Entry, PageRequest};

/// What happened to an instance, the last first.
#[utoipa::path(
    get, path = "/v1/instances/{id}/history", operation_id = "getHistory", tag = "instances",
    params(("id" = String, Path, description = "Its id"), PageParams),
    responses(
        (status = 200, description = "A page of records", body = List<HistoryRecord>),
        (status = 404, description = "There is no such instance", body = Problem),
    )
)]
pub(super) async fn history(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    Params(page): Params<PageParams>,
) -> Result<Response> {
    let id = body::instance_id(&id)?;
    let page = state.page_request(&caller, &page)?;
    let room = state.room(answers::PAGE).await?;
    // Asked first, so that what the shard knows is in the store when the history is read.
    state.expect_instance(&caller, &id).await?;
    let found = state.handle().history(&caller.tenant, &id, page).await?;
    // The record before the last of the page says whether that one moved the instance.
    let before = match found.next {
        Some(after) => {
            let one = PageRequest {
                after: Some(after),
                limit: 1,
            };
            let before = state.handle().history(&caller.tenant, &id, one).await?;
            let version = |entry: &Entry| Some(version_of(entry.record.body.snapshot()?));
            before.items.first().and_then(version)
        }
        None => None,
    };
    let (seal, tenant) = (state.seal(), &caller.tenant);
    let list = state.page_of(&caller, found, |entry| {
        HistoryRecord::of(seal, tenant, &entry)
    });
    let mut items: Vec<HistoryRecord> = list.items.into_iter().flatten().collect();
    let mut before = before;
    for record in items.iter_mut().rev() {
        if let Some(before) = &before {
            record.follow(before);
        }
        before = Some(record.version().to_owned());
    }
    let list = List {
        items,
        next_cursor: list.next_cursor,
    };
    room.answer(StatusCode::OK, &list)
}

fn version_of(snapshot: &Snapshot) -> String {
    snapshot.deployment.definition.version.to_string()
}

/// What can happen to an instance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Possibilities {
    /// The instance.
    instance_id: String,
    /// Its state.
    state: String,
    /// The version that its next transition runs on.
    version: String,
    /// Transitions out of its state, in the order in which they are tried; guards and rules decide
    /// among those of one event. None for an instance that has finished.
    items: Vec<Step>,
}

/// What can happen to an instance in its present state.
#[utoipa::path(
    get, path = "/v1/instances/{id}/transitions", operation_id = "getTransitions", tag = "instances",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The transitions out of its state", body = Possibilities),
        (status = 404, description = "There is no such instance", body = Problem),
    )
)]
pub(super) async fn transitions(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<JsonAnswer<Possibilities>> {
    let id = body::instance_id(&id)?;
    let instance = state.expect_instance(&caller, &id).await?;
    let next = state.next_version(&caller.tenant, &instance).await?;
    let (definition, at) = match &next {
        Some((deployment, at)) => (&deployment.definition, *at),
        None => (&instance.deployment.definition, instance.state),
    };
    let machine = definition.find(instance.machine().name.as_str());
    let items = match machine {
        Some((_, machine)) if instance.status == Status::Active => steps(machine, at),
        _ => Vec::new(),
    };
    Ok(JsonAnswer(Possibilities {
        instance_id: instance.id.to_string(),
        state: instance.state().name.to_string(),
        version: definition.version.to_string(),
        items,
    }))
}

/// Transitions out of a state, by event, each event's in the order in which they are tried.
fn steps(machine: &Machine, from: StateIdx) -> Vec<Step> {
    let events = machine
        .events
        .iter()
        .filter_map(|event| machine.find_event(event.as_str()));
    let candidates = events.flat_map(|event| machine.candidates(from, event));
    candidates
        .map(|candidate: TransitionIdx| Step::of(machine, machine.transition(candidate)))
        .collect()
}

impl State {
    /// An instance that must be there.
    pub(super) async fn expect_instance(
        &self,
        caller: &Caller,
        id: &xcomponent_core::id::InstanceId,
    ) -> Result<Snapshot> {
        let read = self.handle().read(&caller.tenant, id).await?;
        read.map_err(|refused| ApiError::of_refused(refused, self.handle().now()))
    }

    /// The version that an instance moves to with its next transition, and its state there; none =
    /// it stays where it is.
    async fn next_version(
        &self,
        tenant: &TenantId,
        instance: &Snapshot,
    ) -> Result<Option<(std::sync::Arc<xcomponent_core::call::Deployment>, StateIdx)>> {
        let name = instance.component();
        let Some(loaded) = self.registry().get(tenant, name) else {
            return Ok(None);
        };
        let version = &loaded.active.definition.version;
        if instance.deployment.definition.version == *version {
            return Ok(None);
        }
        let versions = self.handle().versions(tenant, Some(name)).await?;
        let moves = versions
            .iter()
            .any(|known| known.version == *version && known.on_live == OnLive::NextEvent);
        let state = engine::fit(instance, &loaded.active.definition, None).ok();
        Ok(state
            .filter(|_| moves)
            .map(|state| (std::sync::Arc::clone(&loaded.active), state)))
    }
}
