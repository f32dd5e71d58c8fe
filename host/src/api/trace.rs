//! `…/trace`: the cascades that an instance was part of, or that an event began, as trees.

use std::collections::{HashMap, HashSet};

use axum::{
    extract::{Path, State as Shared},
    http::StatusCode,
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use xcomponent_core::{
    id::{EventId, InstanceId},
    record::{Body, Cause, DeadLetter, Handled, Record},
};

use super::{
    State, answers,
    body::{self, Params},
    caller::Caller,
    dead_letters::reason,
    error::{ApiError, Problem, Result},
    openapi::words,
    record::{FaultView, state_name},
    wire::{self, Time},
};
use crate::driver::{Cursor, Entry, PageRequest, is_cut};

/// Cascades in one answer at most: the last ones that the instance was part of.
const ROOTS_MAX: usize = 100;

/// Levels of a tree at most. A chain through timers can be longer: what is further down hangs at
/// the last level and tells its true depth. Readers of JSON stop at 128 levels, and each of these
/// takes two.
const LEVELS_MAX: usize = 60;

/// Which cascade.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The one that this event belongs to; without it the last hundred.
    event: Option<String>,
}

/// The cascades that an instance was part of.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trace {
    /// The instance.
    instance_id: String,
    /// What began each of them, the oldest first.
    items: Vec<TraceNode>,
    /// Whether there is more than one answer holds.
    truncated: bool,
}

/// An event at an instance, and what that caused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TraceNode {
    /// The event's id.
    event_id: String,
    /// Its name.
    event: String,
    /// The instance; absent where none took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<String>,
    /// The component.
    component: String,
    /// The machine, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    /// What became of it.
    #[schema(value_type = words::Disposition)]
    disposition: &'static str,
    /// Why, where it was ignored or rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The state before; absent for a creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The state after.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// The record's number in the instance's history.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// What went wrong, if something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultView>,
    /// Steps from the root.
    depth: usize,
    /// When.
    #[schema(value_type = String)]
    at: Time,
    /// What it caused, in order.
    #[schema(no_recursion)]
    caused: Vec<Self>,
}

/// The cascades that an instance was part of, across machines and components.
#[utoipa::path(
    get, path = "/v1/instances/{id}/trace", operation_id = "getInstanceTrace", tag = "instances",
    params(("id" = String, Path, description = "Its id"), Which),
    responses(
        (status = 200, description = "A tree for each", body = Trace),
        (status = 404, description = "There is no such instance", body = Problem),
    )
)]
pub(super) async fn trace(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    Params(which): Params<Which>,
) -> Result<Response> {
    let id = body::instance_id(&id)?;
    let room = state.room(answers::PAGE).await?;
    state.expect_instance(&caller, &id).await?;
    let wanted = which.event.as_deref();
    let (roots, more) = roots(&state, &caller, &id, wanted).await?;
    let entries = state.handle().traces(&caller.tenant, roots).await?;
    let trace = Trace {
        instance_id: id.to_string(),
        truncated: more || is_cut(&entries),
        items: forest(&entries),
    };
    room.answer(StatusCode::OK, &trace)
}

/// What an event from outside led to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventTrace {
    /// The event.
    event_id: String,
    /// Each instance that took it, in order; none where nothing of it is durable, or it reached
    /// nobody.
    items: Vec<TraceNode>,
    /// Whether there is more than one answer holds.
    truncated: bool,
}

/// What an event from outside led to, at all the instances that it reached.
#[utoipa::path(
    get, path = "/v1/events/{id}/trace", operation_id = "getEventTrace", tag = "events",
    params(("id" = String, Path, description = "The event's id")),
    responses((status = 200, description = "A tree for each instance", body = EventTrace))
)]
pub(super) async fn of_event(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response> {
    let unknown = || ApiError::bad_request("invalid_id", "no event has such an id".to_owned());
    let id = body::derived_event_id(&id).ok_or_else(unknown)?;
    let room = state.room(answers::PAGE).await?;
    let entries = state.handle().trace(&caller.tenant, &id).await?;
    let trace = EventTrace {
        event_id: id.to_string(),
        truncated: is_cut(&entries),
        items: forest(&entries),
    };
    room.answer(StatusCode::OK, &trace)
}

/// What began the cascades in an instance's history; of all, or of the one with that event.
async fn roots(
    state: &State,
    caller: &Caller,
    id: &InstanceId,
    wanted: Option<&str>,
) -> Result<(Vec<EventId>, bool)> {
    let mut roots = HashSet::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = PageRequest {
            after,
            limit: usize::MAX,
        };
        let found = state.handle().history(&caller.tenant, id, page).await?;
        for entry in &found.items {
            let Body::Handled(handled) = &entry.record.body else {
                continue;
            };
            let is_wanted = wanted.is_none_or(|wanted| handled.event.id.to_string() == wanted);
            if !is_wanted {
                continue;
            }
            if roots.len() == ROOTS_MAX {
                return Ok((roots.into_iter().collect(), true));
            }
            roots.insert(root_of(handled));
            if wanted.is_some() {
                return Ok((roots.into_iter().collect(), false));
            }
        }
        after = found.next;
        if after.is_none() {
            return Ok((roots.into_iter().collect(), false));
        }
    }
}

fn root_of(handled: &Handled) -> EventId {
    handled.cause.root.clone()
}

/// The trees of entries that are in the order of the log: a cause stands before its effects.
fn forest(entries: &[Entry]) -> Vec<TraceNode> {
    let mut nodes: Vec<(TraceNode, Option<usize>)> = Vec::new();
    // The last record of an event at an instance: a deferred event has several.
    let mut places: HashMap<(EventId, Option<InstanceId>), usize> = HashMap::new();
    // How deep each node hangs, which is less than its depth below the last level.
    let mut levels: Vec<usize> = Vec::new();
    for entry in entries {
        let Some((node, cause, place)) = node(&entry.record) else {
            continue;
        };
        let sent_by = cause.event.clone();
        let sender = sent_by.map(|event| (event, cause.instance.clone()));
        let mut parent = sender.and_then(|sender| places.get(&sender).copied());
        let depth = parent.map_or(0, |parent: usize| nodes[parent].0.depth + 1);
        while let Some(above) = parent.filter(|parent| levels[*parent] + 1 >= LEVELS_MAX) {
            parent = nodes[above].1;
        }
        levels.push(parent.map_or(0, |parent| levels[parent] + 1));
        places.insert(place, nodes.len());
        nodes.push((TraceNode { depth, ..node }, parent));
    }
    let mut trees = Vec::new();
    // Backwards, so that a node has all its effects before it is handed to its own cause.
    while let Some((mut node, parent)) = nodes.pop() {
        node.caused.reverse();
        match parent {
            Some(parent) => nodes[parent].0.caused.push(node),
            None => trees.push(node),
        }
    }
    trees.reverse();
    trees
}

/// A record as a node, what caused it, and where its own effects look for it.
type Placed<'r> = (TraceNode, &'r Cause, (EventId, Option<InstanceId>));

fn node(record: &Record) -> Option<Placed<'_>> {
    match &record.body {
        Body::Handled(handled) => {
            let place = (handled.event.id.clone(), Some(handled.after.id.clone()));
            let node = TraceNode::of_handled(handled, Time(record.at));
            Some((node, &handled.cause, place))
        }
        Body::Parked(letter) => {
            let place = (letter.event.id.clone(), letter.instance.clone());
            let node = TraceNode::of_parked(letter, Time(record.at));
            Some((node, &letter.cause, place))
        }
        Body::Selected(_)
        | Body::Departed(_)
        | Body::Moved(_)
        | Body::Discarded { .. }
        | Body::Received(_) => None,
    }
}

impl TraceNode {
    fn of_handled(handled: &Handled, at: Time) -> Self {
        let after = &handled.after;
        Self {
            event_id: handled.event.id.to_string(),
            event: handled.event.name.to_string(),
            instance_id: Some(after.id.to_string()),
            component: after.component().to_string(),
            machine: Some(after.machine().name.to_string()),
            disposition: handled.disposition.as_str(),
            reason: handled.reason.as_deref().map(wire::reason),
            from: handled.from.map(|state| state_name(after, state)),
            to: Some(state_name(after, handled.to)),
            seq: Some(after.seq),
            fault: handled.fault.as_deref().map(FaultView::of),
            depth: 0,
            at,
            caused: Vec::new(),
        }
    }

    fn of_parked(letter: &DeadLetter, at: Time) -> Self {
        Self {
            event_id: letter.event.id.to_string(),
            event: letter.event.name.to_string(),
            instance_id: letter.instance.as_ref().map(ToString::to_string),
            component: letter.component.to_string(),
            machine: letter.machine.as_ref().map(ToString::to_string),
            disposition: "dead-lettered",
            reason: None,
            from: None,
            to: None,
            seq: None,
            fault: Some(reason(&letter.why)),
            depth: 0,
            at,
            caused: Vec::new(),
        }
    }
}
