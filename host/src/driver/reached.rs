//! Whom a broadcast reached that a host before this one began.

use std::collections::HashSet;

use xcomponent_core::{
    id::{EventId, TenantId},
    input::Reached,
    record::{Body, Disposition},
};

use crate::store::{EventAt, Result, Store};

/// Instances that the store is asked about at once: each answer has a payload.
const SLICE: usize = 16;

/// Asks the store.
pub(super) fn reached(store: &dyn Store, asked: &[(TenantId, EventId)]) -> Result<Vec<Reached>> {
    asked
        .iter()
        .map(|(tenant, event)| reached_by(store, tenant, event))
        .collect()
}

fn reached_by(store: &dyn Store, tenant: &TenantId, event: &EventId) -> Result<Reached> {
    let mut reached = Reached::default();
    let mut parked = HashSet::new();
    for record in store.selections(tenant, event)? {
        match record.body {
            Body::Selected(selected) if selected.event.id == *event => {
                reached.selected.push(selected);
            }
            Body::Parked(letter) => {
                parked.insert(letter.event.id.clone());
            }
            _ => {}
        }
    }
    let instances = reached.selected.iter();
    let instances = instances.flat_map(|selected| &selected.instances);
    let all: Vec<EventAt> = instances
        .map(|id| (tenant.clone(), id.clone(), event.at(id)))
        .collect();
    for slice in all.chunks(SLICE) {
        for (at, handled) in slice.iter().zip(store.recall(slice)?) {
            let disposition = match handled {
                Some(handled) => Some(handled.disposition),
                None => parked.contains(&at.2).then_some(Disposition::DeadLettered),
            };
            let settled = disposition.map(|disposition| (at.1.clone(), disposition));
            reached.settled.extend(settled);
        }
    }
    Ok(reached)
}
