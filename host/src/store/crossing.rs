//! What crosses between hosts: what waits for another host to have it, and how far what others
//! send is taken in.
//!
//! A delivery to a component on another host stays in the record that sends it; a table names the
//! records of which somebody still waits for something. So the journal itself is the outbox, and
//! nothing is written twice.

use std::sync::Arc;

use xcomponent_core::{
    id::{ComponentName, TenantId},
    owed::relayed_by,
    record::{Body, Received, Record},
};

use super::Position;

/// Longest name of a log, in characters. It is made of 32.
pub(super) const LOG_NAME_MAX: usize = 64;

/// What goes to one component on another host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel {
    /// On whose behalf.
    pub tenant: TenantId,
    /// To which component.
    pub component: ComponentName,
}

impl Channel {
    /// How far the host is with telling whoever listens what happened: to no component.
    pub fn of_events(tenant: TenantId) -> Self {
        let component = ComponentName::new("$events");
        Self { tenant, component }
    }

    /// Whether a component is at its end.
    pub fn is_to_component(&self) -> bool {
        !self.component.as_str().starts_with('$')
    }
}

/// How far a channel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlet {
    /// Which.
    pub channel: Channel,
    /// The last record of which the other host has everything.
    pub through: Position,
    /// How many records wait.
    pub waiting: u64,
}

impl Outlet {
    /// One that nothing was ever sent on.
    pub fn new(channel: Channel) -> Self {
        Self {
            channel,
            through: Position(0),
            waiting: 0,
        }
    }
}

/// The components for which a record holds something to be relayed, each once.
pub fn awaited(record: &Record) -> Vec<&ComponentName> {
    let mut components = Vec::new();
    for outgoing in relayed_by(&record.body) {
        let component = outgoing.to.component();
        if !components.contains(&component) {
            components.push(component);
        }
    }
    components
}

/// What a record takes in of another host's stream.
pub(super) fn taken_in(record: &Record) -> Option<&Arc<Received>> {
    match &record.body {
        Body::Received(received) => Some(received).filter(|received| !received.stream.is_none()),
        _ => None,
    }
}
