//! What must hold besides what the model expects of each record.

use std::collections::BTreeSet;

use xcomponent_core::{
    effect::Reply,
    id::MADE_ID_BYTES_MAX,
    record::{Body, Disposition, Record, Status, Target},
    time::Timestamp,
};

use crate::{
    log::Log,
    model::{Model, of_selection},
};

/// A tenant, an instance, an event.
type Key3 = (String, String, String);

/// An answer that a caller gets: what it says is in the durable log.
///
/// # Errors
///
/// If it is not.
pub fn answer(log: &Log, tenant: &str, reply: &Reply) -> Result<(), String> {
    let handled = |says: &dyn Fn(&xcomponent_core::record::Handled) -> bool| {
        log.entries[..log.durable]
            .iter()
            .any(|entry| match &entry.record.body {
                Body::Handled(handled) => entry.record.tenant.as_str() == tenant && says(handled),
                _ => false,
            })
    };
    match reply {
        Reply::Handled(reply) => {
            let is_true = handled(&|handled| {
                handled.after.id == reply.after.id
                    && handled.event.id == reply.event.id
                    && handled.disposition == reply.disposition
                    && handled.after.seq == reply.after.seq
            });
            if !is_true {
                return Err(format!(
                    "{} was answered {} and is not in the log",
                    reply.event.id, reply.disposition
                ));
            }
        }
        Reply::Created { instance, .. } => {
            let is_true =
                handled(&|handled| handled.from.is_none() && handled.after.id == instance.id);
            if !is_true {
                return Err(format!("{} was created and is not in the log", instance.id));
            }
        }
        Reply::Instance(instance) if instance.status == Status::Deleted => {
            let is_true = handled(&|handled| {
                handled.after.id == instance.id && handled.after.status == Status::Deleted
            });
            if !is_true {
                return Err(format!("{} was deleted and is not in the log", instance.id));
            }
        }
        Reply::Tally { tally, .. } if tally.settled() != tally.matched => {
            return Err(format!("{tally:?} does not add up"));
        }
        _ => {}
    }
    Ok(())
}

/// Everything has arrived: nothing was lost on the way.
///
/// # Errors
///
/// The first thing that was.
pub fn at_rest(model: &Model, now: Timestamp, known: usize) -> Result<(), String> {
    let mut ids = model.fates.keys().map(|(_, _, event)| event);
    if let Some(long) = ids.find(|id| id.len() > MADE_ID_BYTES_MAX) {
        return Err(format!("the id {long} is too long"));
    }
    if let Some(forgotten) = model.forgotten().first() {
        return Err(forgotten.clone());
    }
    for ((tenant, event), sent) in &model.sent {
        let key = (tenant.clone(), event.clone());
        let spent = sent.outgoing.cause.depth > 64 || sent.outgoing.cause.credits == 0;
        let arrived = match &sent.outgoing.to {
            Target::Instance { id, .. } => {
                let id = id.to_string();
                is_settled(model, tenant, &id, event) || is_blocked(model, tenant, &id)
            }
            Target::Create { id, .. } => {
                let made = (tenant.clone(), id.to_string());
                model.instances.contains_key(&made) || model.deleted.contains_key(&made)
            }
            Target::Selection(_) => true,
        };
        if !arrived && !spent && !model.parked.contains(&key) && !model.cancelled.contains(&key) {
            return Err(format!(
                "{event} of {} was lost: {:?}",
                sent.source, sent.outgoing.to
            ));
        }
    }
    let arrived: BTreeSet<Key3> = model
        .fates
        .keys()
        .filter(|(tenant, id, event)| is_settled(model, tenant, id, event))
        .map(|(tenant, id, event)| (tenant.clone(), id.clone(), of_selection(event)))
        .collect();
    let parked: BTreeSet<(String, String)> = model
        .parked
        .iter()
        .map(|(tenant, event)| (tenant.clone(), of_selection(event)))
        .collect();
    for ((tenant, event), owed) in &model.owed {
        let lost = owed.iter().find(|id| {
            !arrived.contains(&(tenant.clone(), (*id).clone(), event.clone()))
                && !parked.contains(&(tenant.clone(), event.clone()))
                && !is_blocked(model, tenant, id)
                && !is_given_up(model, tenant, id, event)
        });
        if let Some(lost) = lost {
            return Err(format!("{event} was lost on its way to {lost}"));
        }
    }
    let mut expected = 0;
    for ((tenant, id), instance) in model.instances.iter().chain(&model.deleted) {
        let overdue = instance.timers.iter().find(|timer| timer.due <= now.0);
        if let Some(timer) = overdue.filter(|_| instance.retry.is_none()) {
            return Err(format!("{timer:?} of {tenant}/{id} never fired"));
        }
        if let Some(event) = instance.deferred.first().filter(|_| instance.ended) {
            return Err(format!(
                "{tenant}/{id} has ended and never gave {event} back"
            ));
        }
        expected += usize::from(!instance.ended || !instance.timers.is_empty());
    }
    if known != expected {
        return Err(format!("{known} instances are known, not {expected}"));
    }
    Ok(())
}

/// Whether an instance waits for the next attempt at an event, and others for it.
fn is_blocked(model: &Model, tenant: &str, id: &str) -> bool {
    let instance = model.instances.get(&(tenant.to_owned(), id.to_owned()));
    instance.is_some_and(|instance| instance.retry.is_some())
}

/// Whether an event was given up since the instance that it was chosen for is deleted.
fn is_given_up(model: &Model, tenant: &str, id: &str, event: &str) -> bool {
    let (tenant, id) = (tenant.to_owned(), id.to_owned());
    model.deleted.contains_key(&(tenant.clone(), id.clone()))
        && model.given_up.contains(&(tenant, id, event.to_owned()))
}

/// Whether an event has come to something at an instance, or waits there.
fn is_settled(model: &Model, tenant: &str, id: &str, event: &str) -> bool {
    let key = (tenant.to_owned(), id.to_owned(), event.to_owned());
    let Some(fates) = model.fates.get(&key) else {
        return false;
    };
    let waits = || {
        let instance = model.instances.get(&(tenant.to_owned(), id.to_owned()));
        instance.is_some_and(|instance| instance.waits_for(event))
    };
    match fates.last() {
        Some(Disposition::Deferred | Disposition::Retrying) => waits(),
        Some(_) => true,
        None => false,
    }
}

/// A record in a line: everything in it that must be the same for the same seed.
pub fn describe(record: &Record) -> String {
    let tenant = &record.tenant;
    match &record.body {
        Body::Handled(handled) => {
            let after = &handled.after;
            let timers: Vec<String> = after
                .timers
                .iter()
                .map(|timer| format!("{}@{}", timer.id, timer.due.0))
                .collect();
            let waiting: Vec<String> = after
                .waiting()
                .map(|waiting| format!("{} {}", waiting.kind(), waiting.event().id))
                .collect();
            let sent: Vec<String> = handled
                .deliveries
                .iter()
                .map(|outgoing| format!("{} {}", outgoing.event.id, outgoing.event.name))
                .collect();
            format!(
                "{tenant}/{} #{} {} {} {} {:?} {}@{} in {} {} timers {timers:?} waiting {waiting:?} sends {sent:?}",
                after.id,
                after.seq,
                handled.event.id,
                handled.event.name,
                handled.disposition,
                handled.reason,
                after.machine().name,
                after.deployment.definition.version,
                after.state().name,
                after.context,
            )
        }
        Body::Selected(selected) => {
            format!(
                "{tenant} {} chose {:?}",
                selected.event.id, selected.instances
            )
        }
        Body::Departed(departed) => {
            format!(
                "{tenant}/{} sent {}",
                departed.after.id, departed.outgoing.event.id
            )
        }
        Body::Moved(after) => format!("{tenant}/{} moved", after.id),
        Body::Parked(letter) => {
            format!("{tenant} parked {} {:?}", letter.event.id, letter.why)
        }
        Body::Discarded(discarded) => format!("{tenant} discarded {}", discarded.id),
        Body::Received(received) => {
            format!("{tenant} received {} {}", received.stream, received.through)
        }
    }
}

/// An answer in a line.
pub fn describe_reply(reply: &Reply) -> String {
    match reply {
        Reply::Created { instance, existing } => format!("created {} ({existing})", instance.id),
        Reply::Handled(handled) => format!("{} {}", handled.event.id, handled.disposition),
        Reply::Tally { tally, replayed } => format!("{tally:?} ({replayed})"),
        Reply::Refused(refused) => format!("{refused:?}"),
        Reply::Instance(instance) => format!("{}", instance.id),
        Reply::Discarded
        | Reply::Received { .. }
        | Reply::Returned
        | Reply::Preview(_)
        | Reply::Migrated(_)
        | Reply::Census(_)
        | Reply::Breakers(_) => "done".to_owned(),
    }
}
