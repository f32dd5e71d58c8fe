//! What an event must have come to at an instance.

mod effects;
mod step;

use xcomponent_core::{
    call::Event,
    definition::TransitionKind,
    engine::{DELETED, TERMINATED},
    json::Json,
    record::{
        Disposition, Handled, Parked, Reason, SelectBy, Selector, Snapshot, Status, TimerKind,
    },
};

use self::step::{Decision, Step, Taken};
use super::{Instance, Model, Timer, Wait, canonical, holds, of_selection};
use crate::blueprint::{Blueprint, Kind, Machine, OnFault, Transition};

/// The instance as it must be after the record. What came to no transition may have been looked at
/// in another version than the instance stays on.
pub(super) fn after(
    model: &mut Model,
    tenant: &str,
    at: u64,
    handled: &Handled,
) -> Result<Instance, String> {
    let seen = seen(&handled.after);
    let taken = handled.disposition == Disposition::Transitioned;
    let mut versions: Vec<Blueprint> = model
        .blueprints
        .iter()
        .filter(|known| known.component == seen.component)
        .filter(|known| known.version == seen.version || !taken && has_state(known, &seen))
        .cloned()
        .collect();
    versions.sort_by_key(|known| known.version != seen.version);
    let mut first = Err("an unknown version".to_owned());
    for (position, version) in versions.iter().enumerate() {
        let after = after_on(model, version, &seen, tenant, at, handled);
        if after.is_ok() || position == 0 {
            first = after;
        }
        if first.is_ok() {
            break;
        }
    }
    first
}

fn has_state(blueprint: &Blueprint, instance: &Instance) -> bool {
    let machine = blueprint.machine(&instance.machine);
    machine.is_some_and(|machine| machine.state(&instance.state).is_some())
}

/// The same, looked at in one version.
fn after_on(
    model: &mut Model,
    blueprint: &Blueprint,
    seen: &Instance,
    tenant: &str,
    at: u64,
    handled: &Handled,
) -> Result<Instance, String> {
    let id = handled.after.id.to_string();
    let key = (tenant.to_owned(), id.clone());
    let machine = blueprint
        .machine(&seen.machine)
        .ok_or("an unknown machine")?;
    let before = model.instances.get(&key).cloned();
    let step = Step {
        tenant,
        id: &id,
        event: handled.event.id.to_string(),
        payload: handled.event.payload.value(),
        attempt: handled.attempts,
        host_made: is_host_made(before.as_ref(), handled),
        machine,
    };
    let (mut next, decision) = match before {
        None => {
            if handled.from.is_some() {
                return Err("the first record is not a creation".to_owned());
            }
            let mut born = seen.clone();
            born.state = machine.initial.to_owned();
            born.context = step.payload.clone();
            born.timers = Vec::new();
            born.seq = 0;
            let decision = step.create(&born);
            (born, decision)
        }
        Some(before) => {
            if handled.from.is_none() {
                return Err("it was created twice".to_owned());
            }
            let decision = decide(model, &step, &before, seen, at, handled)?;
            (before, decision)
        }
    };
    let sent = settle(&step, blueprint, &mut next, seen, at, decision, handled)?;
    for cancelled in sent {
        model.cancelled.insert((tenant.to_owned(), cancelled));
    }
    next.seq += 1;
    compare(&mut next, seen, tenant)?;
    Ok(next)
}

/// Whether the payload is a deadline's own, which is merged into no context.
fn is_host_made(before: Option<&Instance>, handled: &Handled) -> bool {
    let timer = before.and_then(|before| before.timer(&handled.event.id.to_string()));
    let by_itself = timer.is_some_and(|timer| !matches!(timer.wait, Wait::Send(_)));
    let is_replay = handled.settles.is_some();
    by_itself || is_replay && handled.event.payload.as_str() == r#"{"reason":"timeout"}"#
}

/// An instance moved to another version without an event.
pub(super) fn moved(model: &mut Model, tenant: &str, after: &Snapshot) -> Result<(), String> {
    let key = (tenant.to_owned(), after.id.to_string());
    let seen = seen(after);
    let known = model
        .blueprints
        .iter()
        .find(|known| known.component == seen.component && known.version == seen.version);
    let machine = known.and_then(|blueprint| blueprint.machine(&seen.machine));
    let machine = machine.ok_or("an unknown machine")?;
    let mut next = model
        .instances
        .get(&key)
        .ok_or("an unknown instance")?
        .clone();
    effects::move_timers(&mut next, machine);
    next.version.clone_from(&seen.version);
    compare(&mut next, &seen, tenant)?;
    model.instances.insert(key, next);
    Ok(())
}

/// What the event had to come to at an instance that existed.
fn decide(
    model: &Model,
    step: &Step<'_>,
    before: &Instance,
    seen: &Instance,
    at: u64,
    handled: &Handled,
) -> Result<Decision, String> {
    let key = (step.tenant.to_owned(), step.event.clone());
    let timer = before.timer(&step.event);
    if let Some(timer) = timer
        && timer.due > at
    {
        return Err(format!("{} fired before it was due", step.event));
    }
    if let Some(decision) = of_operator(before, handled) {
        return decision;
    }
    if let Some((retried, due)) = &before.retry
        && !before.ended
    {
        if *retried != step.event {
            return Err(format!(
                "{} overtook {retried}, which is tried again",
                step.event
            ));
        }
        if *due > at {
            return Err(format!("{retried} was tried again too early"));
        }
    }
    if before.ended {
        return after_the_end(step, before, handled);
    }
    let is_first = before.retry.is_none() && !before.deferred.contains(&step.event);
    let expected = model
        .outside
        .get(&key)
        .and_then(|outside| outside.expected.as_ref());
    if is_first && expected.is_some_and(|expected| *expected != before.state) {
        return Ok(Decision::Rejected);
    }
    if handled.reason.as_deref() == Some(&Reason::NoLongerMatches) {
        return if model.chosen.contains_key(&(key.0, of_selection(&key.1))) {
            Ok(Decision::Ignored)
        } else {
            Err("it was never chosen".to_owned())
        };
    }
    if before.version != seen.version && !may_move(model, before, seen) {
        return Err(format!(
            "moved to version {} in {}",
            seen.version, before.state
        ));
    }
    let name = handled.event.name.as_str();
    let candidates = candidates(
        step.machine,
        &before.state,
        name,
        timer.map(|timer| &timer.wait),
    );
    if candidates.is_empty() {
        let state = step.machine.state(&before.state);
        let by_itself = timer.is_some_and(|timer| !matches!(timer.wait, Wait::Send(_)));
        let defers = !by_itself && state.is_some_and(|state| state.defer.contains(&name));
        return Ok(if defers {
            Decision::Deferred
        } else {
            Decision::Ignored
        });
    }
    Ok(step.choose(before, &candidates))
}

/// What an operator did with the instance, if it was one.
fn of_operator(before: &Instance, handled: &Handled) -> Option<Result<Decision, String>> {
    let keeps = before.retry.is_some() || !before.deferred.is_empty();
    match handled.event.name.as_str() {
        TERMINATED if !before.ended => Some(Ok(Decision::Terminated)),
        DELETED if before.ended && !keeps => Some(Ok(Decision::Deleted)),
        DELETED => Some(Err("it was deleted before its end".to_owned())),
        _ => None,
    }
}

/// What had waited at an instance that has ended is parked; everything else is rejected.
fn after_the_end(
    step: &Step<'_>,
    before: &Instance,
    handled: &Handled,
) -> Result<Decision, String> {
    let retried = before.retry.as_ref().map(|(retried, _)| retried);
    let was_owed = before.deferred.contains(&step.event) || retried == Some(&step.event);
    let parked = handled.parked.as_ref().map(|letter| &letter.why);
    match (was_owed, parked) {
        (true, None) => Err(format!("{} waited and is not parked", step.event)),
        (false, Some(Parked::InstanceFinished)) => {
            Err(format!("{} did not wait and is parked", step.event))
        }
        _ => Ok(Decision::Rejected),
    }
}

fn may_move(model: &Model, before: &Instance, seen: &Instance) -> bool {
    let mut known = model.blueprints.iter();
    known
        .find(|known| known.component == seen.component && known.version == seen.version)
        .is_some_and(|blueprint| has_state(blueprint, before))
}

/// The transitions that may be taken, in the order in which they are tried.
fn candidates<'m>(
    machine: &'m Machine,
    state: &str,
    event: &str,
    wait: Option<&Wait>,
) -> Vec<&'m Transition> {
    let ends = machine
        .state(state)
        .is_none_or(|state| !state.kind.is_empty());
    let leaves =
        |transition: &&Transition| transition.from == state || transition.from == "*" && !ends;
    let all = || machine.transitions.iter().filter(leaves);
    match wait {
        Some(Wait::Timeout(name, after)) => all()
            .filter(|transition| {
                transition.event == name
                    && matches!(transition.kind, Kind::Timeout(other, _) if other == *after)
            })
            .take(1)
            .collect(),
        Some(Wait::Auto(after)) => all()
            .filter(|transition| matches!(transition.kind, Kind::Auto(other) if other == *after))
            .collect(),
        Some(Wait::Send(_)) | None => {
            let mut found: Vec<&Transition> = all()
                .filter(|transition| transition.event == event)
                .collect();
            found.sort_by_key(|transition| {
                let plain = transition.guard.is_none() && transition.rules.is_empty();
                (transition.from == "*", plain)
            });
            found
        }
    }
}

/// Carries the decision out on the instance; names what it took back.
fn settle(
    step: &Step<'_>,
    blueprint: &Blueprint,
    next: &mut Instance,
    seen: &Instance,
    at: u64,
    decision: Decision,
    handled: &Handled,
) -> Result<Vec<String>, String> {
    let retries = match step.machine.fault {
        OnFault::Retry(max, backoff) if handled.attempts <= max => Some(backoff),
        OnFault::Keep | OnFault::Retry(..) | OnFault::Goto(_) => None,
    };
    let wanted = match &decision {
        Decision::Take(_) | Decision::Terminated | Decision::Deleted => Disposition::Transitioned,
        Decision::Ignored => Disposition::Ignored,
        Decision::Refused if next.timer(&step.event).is_some() => Disposition::DeadLettered,
        Decision::Refused | Decision::Rejected => Disposition::Rejected,
        Decision::Deferred => Disposition::Deferred,
        Decision::Fault if retries.is_some() => Disposition::Retrying,
        Decision::Fault if matches!(step.machine.fault, OnFault::Goto(_)) => {
            Disposition::Transitioned
        }
        Decision::Fault => Disposition::DeadLettered,
    };
    let why = handled.parked.as_ref().map(|letter| &letter.why);
    let is_refusal = matches!(why, Some(Parked::Refused(_)));
    let refuses_deadline =
        wanted == Disposition::DeadLettered && matches!(decision, Decision::Refused);
    let over_budget = why.is_some() && handled.fault.is_none() && !is_refusal;
    if is_refusal != refuses_deadline && !over_budget {
        return Err(format!("{} is parked as {why:?}", step.event));
    }
    if wanted != handled.disposition && !over_budget {
        return Err(format!("{} expected, not {}", wanted, handled.disposition));
    }
    if over_budget {
        used_up(next, &step.event);
        return Ok(Vec::new());
    }
    match decision {
        Decision::Take(taken) => {
            effects::carry_out(step, blueprint, next, seen, at, &taken, handled)
        }
        Decision::Fault => match (retries, step.machine.fault) {
            (Some(backoff), _) => {
                let due = at + backoff * (1 << (handled.attempts - 1));
                next.retry = Some((step.event.clone(), due));
                Ok(Vec::new())
            }
            (None, OnFault::Goto(state)) => {
                let taken = Taken::failed(state, next.context.clone());
                effects::carry_out(step, blueprint, next, seen, at, &taken, handled)
            }
            (None, OnFault::Keep | OnFault::Retry(..)) => {
                used_up(next, &step.event);
                Ok(Vec::new())
            }
        },
        Decision::Terminated => {
            next.ended = true;
            let is_for_others = |timer: &Timer| timer.wait == Wait::Send(false);
            next.timers.retain(is_for_others);
            Ok(Vec::new())
        }
        Decision::Deleted => Ok(Vec::new()),
        Decision::Deferred => {
            next.take_timer(&step.event);
            next.deferred.push(step.event.clone());
            Ok(Vec::new())
        }
        Decision::Ignored | Decision::Rejected | Decision::Refused => {
            used_up(next, &step.event);
            Ok(Vec::new())
        }
    }
}

/// The timer, deferred entry or retry that the event came from is gone.
fn used_up(next: &mut Instance, event: &str) {
    next.take_timer(event);
    next.deferred.retain(|id| id != event);
    next.retry.take_if(|(id, _)| id == event);
}

/// The instance as the record has it.
fn seen(snapshot: &Snapshot) -> Instance {
    let machine = snapshot.machine();
    let timer = |timer: &xcomponent_core::record::Timer| Timer {
        due: timer.due.0,
        wait: match &timer.kind {
            TimerKind::Timeout { transition, .. } | TimerKind::Auto { transition, .. } => {
                let transition = machine.transition(*transition);
                match transition.kind {
                    TransitionKind::Timeout { after, .. } => {
                        Wait::Timeout(machine.event(transition.event).to_string(), after.0)
                    }
                    TransitionKind::Auto { after } => Wait::Auto(after.0),
                    _ => Wait::Send(false),
                }
            }
        },
        id: timer.id.to_string(),
    };
    let send = |delayed: &xcomponent_core::record::Delayed| Timer {
        due: delayed.due.0,
        wait: Wait::Send(matches!(
            &delayed.outgoing.to,
            xcomponent_core::record::Target::Instance { id, .. } if *id == snapshot.id
        )),
        id: delayed.outgoing.event.id.to_string(),
    };
    let sends = snapshot.sends().iter().map(send);
    let extra = snapshot.extra.as_deref();
    Instance {
        component: snapshot.component().to_string(),
        version: snapshot.deployment.definition.version.to_string(),
        machine: machine.name.to_string(),
        state: snapshot.state().name.to_string(),
        ended: snapshot.status != Status::Active,
        context: snapshot.context.value(),
        timers: snapshot.timers.iter().map(timer).chain(sends).collect(),
        deferred: extra
            .map(|extra| {
                extra
                    .deferred
                    .iter()
                    .map(|mail| mail.event.id.to_string())
                    .collect()
            })
            .unwrap_or_default(),
        retry: extra
            .and_then(|extra| extra.retry.as_ref())
            .map(|retry| (retry.mail.event.id.to_string(), retry.at.0)),
        parent: snapshot
            .parent
            .as_ref()
            .map(|parent| (parent.component.to_string(), parent.id.to_string())),
        seq: snapshot.seq,
        entered: snapshot.entered.0,
    }
}

/// The instance must be what was expected; the names of new timers are taken from the log.
fn compare(next: &mut Instance, seen: &Instance, tenant: &str) -> Result<(), String> {
    let facts = |instance: &Instance| {
        format!(
            "{}@{} {} in {} (ended {}) #{} {} deferred {:?} retry {:?} parent {:?}",
            instance.component,
            instance.version,
            instance.machine,
            instance.state,
            instance.ended,
            instance.seq,
            canonical(&instance.context),
            instance.deferred,
            instance.retry,
            instance.parent,
        )
    };
    let (expected, found) = (facts(next), facts(seen));
    if expected != found {
        return Err(format!("expected {expected}\n   found {found}"));
    }
    // What was created by a letter that lost its payload says nothing about whose it is.
    let holds = seen.context.get("tenant");
    if holds.is_some_and(|holds| holds != tenant) {
        return Err(format!(
            "it holds what is not its tenant's: {}",
            seen.context
        ));
    }
    let deadlines = |instance: &Instance| {
        let mut all: Vec<(u64, Wait)> = instance
            .timers
            .iter()
            .map(|timer| (timer.due, timer.wait.clone()))
            .collect();
        all.sort();
        all
    };
    let (expected, found) = (deadlines(next), deadlines(seen));
    if expected != found {
        return Err(format!("expected timers {expected:?}\n   found {found:?}"));
    }
    next.timers.clone_from(&seen.timers);
    Ok(())
}

/// Whether an instance belongs to a selection: state, then conditions or its machine's rules.
pub(super) fn is_selected(
    model: &Model,
    instance: &Instance,
    selector: &Selector,
    event: &Event,
) -> bool {
    if selector
        .state
        .as_ref()
        .is_some_and(|state| state.as_str() != instance.state)
    {
        return false;
    }
    if let SelectBy::Conditions(conditions) = &selector.by {
        return conditions.iter().all(|condition| {
            let member = condition.rule.instance_property.to_string();
            holds(
                &condition.rule.operator.to_string(),
                instance.context.get(member),
                condition.value.as_ref().map(Json::value).as_ref(),
            )
        });
    }
    let payload = event.payload.value();
    let machine = model
        .blueprints
        .iter()
        .filter(|known| known.component == instance.component)
        .find_map(|known| known.machine(&instance.machine));
    let ruled: Vec<&Transition> = machine
        .into_iter()
        .flat_map(|machine| &machine.transitions)
        .filter(|transition| {
            transition.event == event.name.as_str() && !transition.rules.is_empty()
        })
        .collect();
    let hold = |transition: &&Transition| {
        transition.rules.iter().all(|rule| {
            holds(
                rule.op,
                instance.context.get(rule.instance),
                payload.get(rule.event),
            )
        })
    };
    ruled.is_empty() || ruled.iter().any(hold)
}
