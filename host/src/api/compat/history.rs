//! `…/history…`: what happened to an instance, and to others for the same reasons.
//!
//! These clients know transitions and creations only; what was ignored or refused is in the
//! native history. `causedBy` and `caused` come from the records themselves.

use std::collections::{HashMap, HashSet};

use axum::{extract::State as Shared, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use xcomponent_core::{
    id::{EventId, InstanceId},
    record::{Body, Cause, Disposition, Handled, Outgoing, Target, WaitingKind},
};

use super::{
    super::{State, answers, caller::Caller},
    failure::Result,
    instances,
    read::{Asked, Named},
    shape::{Event, Instance},
};
use crate::driver::{Entry, PAGE_BYTES_MAX, PageRequest, bytes_of};

/// Records of one instance that are looked at, the last first; fewer where they are large.
const HISTORY_MAX: usize = 10_000;

/// Outside events whose consequences are followed, the last first. What earlier ones sent to a
/// selection of instances is shown under the id it was sent with, not under those it arrived with.
const ROOTS_MAX: usize = 1_000;

/// Instances in one answer.
const CORRELATED_MAX: usize = 1_000;

/// How much is wanted.
#[derive(Deserialize)]
pub(super) struct Wanted {
    limit: Option<usize>,
}

/// The history of an instance.
#[derive(Serialize)]
pub(super) struct History {
    history: Vec<Event>,
}

/// The history of an instance, the first first; with a limit, the last so many.
pub(super) async fn of_instance(
    Shared(state): Shared<State>,
    caller: Caller,
    Named(id): Named<String>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response> {
    let room = state.room(answers::PAGE).await?;
    let history = history(&state, &caller, &id, &wanted).await?;
    Ok(room.answer(StatusCode::OK, &History { history })?)
}

/// The history of an instance under another name.
#[derive(Serialize)]
pub(super) struct Events {
    events: Vec<Event>,
}

/// The history of an instance, as its events.
pub(super) async fn events(
    Shared(state): Shared<State>,
    caller: Caller,
    Named(id): Named<String>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response> {
    let room = state.room(answers::PAGE).await?;
    let events = history(&state, &caller, &id, &wanted).await?;
    Ok(room.answer(StatusCode::OK, &Events { events })?)
}

async fn history(state: &State, caller: &Caller, id: &str, wanted: &Wanted) -> Result<Vec<Event>> {
    let id = instances::known(state, caller, id).await?.id;
    let entries = records(state, caller, &id).await?;
    let followed = roots(
        entries
            .iter()
            .filter(|entry| handled(entry).is_some_and(is_open)),
    );
    let mut known = entries.clone();
    known.extend(reached(state, caller, &followed).await?);
    let mut shown = shown(&entries, &known, &followed);
    let limit = wanted.limit.unwrap_or(HISTORY_MAX);
    shown.drain(..shown.len().saturating_sub(limit));
    Ok(shown)
}

/// The records of an instance, the first first.
async fn records(state: &State, caller: &Caller, id: &InstanceId) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut page = PageRequest::first(HISTORY_MAX);
    loop {
        let found = state.handle().history(&caller.tenant, id, page).await?;
        entries.extend(found.items);
        let is_full = entries.len() >= HISTORY_MAX || bytes_of(&entries) >= PAGE_BYTES_MAX;
        if found.next.is_none() || is_full {
            entries.reverse();
            return Ok(entries);
        }
        page = PageRequest {
            after: found.next,
            limit: HISTORY_MAX - entries.len(),
        };
    }
}

/// Everything that outside events led to, the first first.
async fn reached(state: &State, caller: &Caller, roots: &HashSet<EventId>) -> Result<Vec<Entry>> {
    if roots.is_empty() {
        return Ok(Vec::new());
    }
    let roots = roots.iter().cloned().collect();
    Ok(state.handle().traces(&caller.tenant, roots).await?)
}

/// What these clients are shown of records: transitions and creations. `known` is where their
/// consequences are looked for, complete for what these roots led to.
fn shown(entries: &[Entry], known: &[Entry], roots: &HashSet<EventId>) -> Vec<Event> {
    let mut happened: HashMap<(&InstanceId, &EventId), Vec<&EventId>> = HashMap::new();
    for handled in known.iter().filter_map(handled) {
        if let Cause {
            instance: Some(instance),
            event: Some(event),
            ..
        } = &handled.cause
        {
            let because = happened.entry((instance, event)).or_default();
            because.push(&handled.event.id);
        }
    }
    let show = |entry: &Entry| {
        let handled = handled(entry)?;
        let key = (&handled.after.id, &handled.event.id);
        let happened = happened.get(&key).map_or(&[][..], Vec::as_slice);
        let is_followed = roots.contains(&handled.cause.root);
        let sent = sent(handled, happened, is_followed);
        let is_shown = handled.disposition == Disposition::Transitioned;
        is_shown.then(|| Event::of(handled, entry.record.at, &sent))
    };
    entries.iter().filter_map(show).collect()
}

/// The events that a transition sent: at once to certain instances, and otherwise as far as they
/// `happened`: a selection may have found nobody, and a timer may have been cancelled.
fn sent<'e>(by: &'e Handled, happened: &[&'e EventId], is_followed: bool) -> Vec<&'e EventId> {
    let at_once = by.deliveries.iter();
    let at_once = at_once.filter(|outgoing| !is_followed || !is_selection(outgoing));
    let at_once = at_once.map(|outgoing| &outgoing.event.id);
    let mut seen = HashSet::new();
    let all = at_once.chain(happened.iter().copied());
    all.filter(|id| seen.insert(*id)).collect()
}

/// Whether only the records of others tell what became of all that a transition sent.
fn is_open(handled: &Handled) -> bool {
    let mut began = handled.waits.iter().flat_map(|waits| &waits.began);
    let sends_later = began.any(|began| began.kind == WaitingKind::Send);
    // Records of before this was said have all that waited.
    let waited = !handled.after.sends().is_empty();
    handled.deliveries.iter().any(is_selection) || sends_later || waited
}

fn is_selection(outgoing: &Outgoing) -> bool {
    matches!(outgoing.to, Target::Selection(_))
}

/// The record of an instance that looked at an event.
fn handled(entry: &Entry) -> Option<&Handled> {
    match &entry.record.body {
        Body::Handled(handled) => Some(handled),
        _ => None,
    }
}

/// What else the same outside events did.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Correlated {
    instance_id: String,
    /// The other instances, in the order in which they were reached.
    instances: Vec<Instance>,
    /// What happened to them, the first first.
    events: Vec<Event>,
}

/// Instances that the same outside events reached, and what happened to them.
pub(super) async fn correlated(
    Shared(state): Shared<State>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Response> {
    let room = state.room(answers::PAGE).await?;
    let id = instances::known(&state, &caller, &id).await?.id;
    let roots = roots(&records(&state, &caller, &id).await?);
    let known = reached(&state, &caller, &roots).await?;
    let others = known.iter();
    let others = others.filter(|entry| subject(entry).is_some_and(|subject| *subject != id));
    let others: Vec<Entry> = others.cloned().collect();
    let mut seen = HashSet::new();
    let subjects = others.iter().filter_map(subject);
    let ids: Vec<InstanceId> = subjects
        .filter(|id| seen.insert(*id))
        .take(CORRELATED_MAX)
        .cloned()
        .collect();
    let mut instances = Vec::new();
    let mut bytes = 0;
    for other in &ids {
        let instance = state.handle().instance(&caller.tenant, other).await?;
        let now = state.handle().now();
        if let Some(instance) = instance {
            bytes += instance.context.len();
            if bytes > PAGE_BYTES_MAX {
                break;
            }
            instances.push(Instance::of(&instance, now));
        }
    }
    let correlated = Correlated {
        instance_id: id.to_string(),
        instances,
        events: shown(&others, &known, &roots),
    };
    Ok(room.answer(StatusCode::OK, &correlated)?)
}

/// The outside events behind records, the last of them.
fn roots<'e>(
    entries: impl IntoIterator<Item = &'e Entry, IntoIter: DoubleEndedIterator>,
) -> HashSet<EventId> {
    let causes = entries.into_iter().rev().filter_map(handled);
    let roots = causes.map(|handled| handled.cause.root.clone());
    let mut distinct = HashSet::new();
    for root in roots {
        if distinct.len() == ROOTS_MAX {
            break;
        }
        distinct.insert(root);
    }
    distinct
}

/// The instance that a record is about.
fn subject(entry: &Entry) -> Option<&InstanceId> {
    Some(&handled(entry)?.after.id)
}
