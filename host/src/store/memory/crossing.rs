//! What waits for other hosts, and how far their streams are taken in.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use xcomponent_core::id::{StreamId, TenantId};

use crate::store::{
    Entry, Position,
    crossing::{Channel, Outlet, awaited, taken_in},
};

/// By channel and by stream.
#[derive(Debug, Default)]
pub(super) struct Crossings {
    waiting: BTreeMap<Channel, BTreeMap<u64, Entry>>,
    through: HashMap<Channel, Position>,
    streams: HashMap<(TenantId, StreamId), u64>,
}

impl Crossings {
    /// Takes over what a record sends to other hosts, or takes in from them.
    pub(super) fn note(&mut self, entry: &Entry) {
        let tenant = &entry.record.tenant;
        for component in awaited(&entry.record) {
            let (tenant, component) = (tenant.clone(), component.clone());
            let waiting = self.waiting.entry(Channel { tenant, component });
            let position = entry.position.0;
            waiting.or_default().insert(position, entry.clone());
        }
        if let Some(received) = taken_in(&entry.record) {
            let key = (tenant.clone(), received.stream.clone());
            self.streams.insert(key, received.through);
        }
    }

    /// Everything of a channel up to a record has arrived.
    pub(super) fn relayed(&mut self, channel: &Channel, through: Position) {
        self.through.insert(channel.clone(), through);
        if let Some(waiting) = self.waiting.get_mut(channel) {
            *waiting = waiting.split_off(&(through.0 + 1));
            if waiting.is_empty() {
                self.waiting.remove(channel);
            }
        }
    }

    /// How far every channel is.
    pub(super) fn outlets(&self) -> Vec<Outlet> {
        let outlet = |channel: &Channel| Outlet {
            channel: channel.clone(),
            through: self.through.get(channel).copied().unwrap_or_default(),
            waiting: self.waiting.get(channel).map_or(0, BTreeMap::len) as u64,
        };
        let quiet = self.through.keys();
        let quiet = quiet.filter(|channel| !self.waiting.contains_key(*channel));
        self.waiting.keys().chain(quiet).map(outlet).collect()
    }

    /// What waits for a channel after a position, oldest first.
    pub(super) fn outbox(&self, channel: &Channel, after: Position, limit: usize) -> Vec<Entry> {
        let waiting = self.waiting.get(channel).into_iter();
        let later = waiting.flat_map(|waiting| waiting.range(after.0 + 1..));
        later.take(limit).map(|(_, entry)| entry.clone()).collect()
    }

    /// Up to where each stream is taken in.
    pub(super) fn streams(&self) -> Vec<(TenantId, StreamId, u64)> {
        let streams = self.streams.iter();
        streams
            .map(|((tenant, stream), through)| (tenant.clone(), stream.clone(), *through))
            .collect()
    }
}
