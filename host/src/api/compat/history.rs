//! `…/history…`: what happened to an instance, and to others for the same reasons.
//!
//! These clients know transitions and creations only; what was ignored or refused is in the
//! native history. `causedBy` and `caused` come from the records themselves.

use std::collections::{HashMap, HashSet};

use axum::{Json as JsonAnswer, extract::State as Shared};
use serde::{Deserialize, Serialize};
use xcomponent_core::{
    id::{EventId, InstanceId},
    record::{Body, Disposition, Handled, Target, TimerKind},
};

use super::{
    super::{State, caller::Caller},
    failure::Result,
    instances,
    read::{Asked, Named},
    shape::{Event, Instance},
};
use crate::driver::{Entry, PageRequest};

/// Records of one instance that are looked at, the last first.
const HISTORY_MAX: usize = 10_000;

/// Outside events whose consequences are followed, the last first: the store looks for each.
const ROOTS_MAX: usize = 20;

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
) -> Result<JsonAnswer<History>> {
    let history = history(&state, &caller, &id, &wanted).await?;
    Ok(JsonAnswer(History { history }))
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
) -> Result<JsonAnswer<Events>> {
    let events = history(&state, &caller, &id, &wanted).await?;
    Ok(JsonAnswer(Events { events }))
}

async fn history(state: &State, caller: &Caller, id: &str, wanted: &Wanted) -> Result<Vec<Event>> {
    let id = instances::known(state, caller, id).await?.id;
    let entries = records(state, caller, &id).await?;
    let mut shown: Vec<Event> = shown(&entries).collect();
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
        if found.next.is_none() || entries.len() >= HISTORY_MAX {
            entries.reverse();
            return Ok(entries);
        }
        page = PageRequest {
            after: found.next,
            limit: HISTORY_MAX - entries.len(),
        };
    }
}

/// What these clients are shown of records: transitions and creations.
fn shown(entries: &[Entry]) -> impl Iterator<Item = Event> {
    let mut happened: HashMap<(&InstanceId, &EventId), Vec<&EventId>> = HashMap::new();
    for handled in entries.iter().filter_map(handled) {
        let cause = handled
            .cause
            .as_ref()
            .and_then(|cause| cause.event.as_ref());
        if let Some(cause) = cause {
            let here = happened.entry((&handled.after.id, cause)).or_default();
            here.push(&handled.event.id);
        }
    }
    entries.iter().filter_map(move |entry| {
        let handled = handled(entry)?;
        let key = (&handled.after.id, &handled.event.id);
        let here = happened.get(&key).map_or(&[][..], Vec::as_slice);
        let is_shown = handled.disposition == Disposition::Transitioned;
        is_shown.then(|| Event::of(handled, entry.record.at, &sent(handled, here)))
    })
}

/// The events that a transition sent: at once, later to others, and later to itself as far as
/// that `happened` (a timer that was cancelled caused nothing).
fn sent<'e>(by: &'e Handled, happened: &[&'e EventId]) -> Vec<&'e EventId> {
    let at_once = by.deliveries.iter().map(|outgoing| &outgoing.event.id);
    let to_others = by.after.timers.iter().filter_map(|timer| {
        let TimerKind::Send(outgoing) = &timer.kind else {
            return None;
        };
        let to_itself = matches!(&outgoing.to, Target::Instance { id, .. } if *id == by.after.id);
        let is_own = timer.cause.event.as_ref() == Some(&by.event.id);
        (is_own && !to_itself).then_some(&outgoing.event.id)
    });
    let mut seen = HashSet::new();
    let all = at_once.chain(to_others).chain(happened.iter().copied());
    all.filter(|id| seen.insert(*id)).collect()
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
) -> Result<JsonAnswer<Correlated>> {
    let id = instances::known(&state, &caller, &id).await?.id;
    let mut entries = Vec::new();
    for root in roots(&records(&state, &caller, &id).await?) {
        entries.extend(state.handle().trace(&caller.tenant, &root).await?);
    }
    entries.sort_by_key(|entry| entry.position);
    entries.dedup_by_key(|entry| entry.position);
    let others: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| subject(entry).is_some_and(|subject| *subject != id))
        .collect();
    let mut seen = HashSet::new();
    let reached = others.iter().filter_map(subject);
    let reached: Vec<InstanceId> = reached
        .filter(|id| seen.insert(*id))
        .take(CORRELATED_MAX)
        .cloned()
        .collect();
    let mut instances = Vec::new();
    for other in &reached {
        let instance = state.handle().instance(&caller.tenant, other).await?;
        let now = state.handle().now();
        instances.extend(instance.map(|instance| Instance::of(&instance, now)));
    }
    Ok(JsonAnswer(Correlated {
        instance_id: id.to_string(),
        instances,
        events: shown(&others).collect(),
    }))
}

/// The outside events behind records, the last first.
fn roots(entries: &[Entry]) -> Vec<EventId> {
    let mut seen = HashSet::new();
    let causes = entries.iter().rev().filter_map(handled);
    let roots = causes.filter_map(|handled| Some(&handled.cause.as_ref()?.root));
    let distinct = roots.filter(|root| seen.insert((*root).clone()));
    distinct.take(ROOTS_MAX).cloned().collect()
}

/// The instance that a record is about.
fn subject(entry: &Entry) -> Option<&InstanceId> {
    Some(&handled(entry)?.after.id)
}
