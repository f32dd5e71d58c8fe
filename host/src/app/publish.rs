//! Publishes what happens, once each and in order, also across a restart.

use std::{sync::Arc, time::Duration};

use xcomponent_core::id::TenantId;

use crate::{
    bus::{broker::Broker, event::events_of},
    driver::{Channel, Error, Handle, Position, RecordFilter},
};

/// Wait before a broker that took nothing is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Publishes for as long as this is polled. The first time it begins with what happens from now on.
pub(super) async fn publish(handle: Handle, broker: Arc<dyn Broker>, tenant: TenantId) {
    let channel = Channel::of_events(tenant.clone());
    let mut published = match handle.relayed_through(&channel).await {
        Ok(Position(0)) => handle.durable_position(),
        Ok(position) => position,
        Err(error) => return given_up(&error),
    };
    let mut records = handle.subscribe(&tenant, RecordFilter::default(), Some(published));
    loop {
        let entries = match records.next().await {
            Ok(entries) => entries,
            Err(Error::Gone { complete_after }) => {
                tracing::error!("what happened up to position {complete_after} is not published");
                let filter = RecordFilter::default();
                records = handle.subscribe(&tenant, filter, Some(complete_after));
                continue;
            }
            Err(error) => return given_up(&error),
        };
        let events: Vec<_> = entries
            .iter()
            .flat_map(|entry| events_of(&entry.record))
            .collect();
        while !events.is_empty()
            && let Err(error) = broker.publish(&events).await
        {
            tracing::debug!("what happens is not published: {error}");
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        let through = records.position();
        if let Err(error) = handle.note_relayed(&channel, published, through).await {
            tracing::warn!("it is not noted what was published: {error}");
        }
        published = through;
    }
}

fn given_up(error: &Error) {
    tracing::warn!("what happens is published no more: {error}");
}
