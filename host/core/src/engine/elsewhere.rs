//! Other hosts: which components are on them, and what they send.
//!
//! A delivery to a component that is not here is in the record that sends it, marked as such; the
//! driver takes it from the log once that is durable, until the other host has it. What another
//! host sends comes as parcels of a stream. The record that takes them in carries the deliveries
//! and the number of the last parcel, so that they are delivered, and known again, whatever happens
//! from then on: transports that deliver at least once come to effects that happen exactly once.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    effect::{Refused, Reply},
    engine::{Engine, outbox::Source},
    id::{ComponentName, StreamId, TenantId},
    input::{Parcel, Receive, Ticket},
    instance::After,
    limits::STREAMS_MAX,
    record::{Body, Outgoing, Parked, Received},
};

/// What other hosts sent.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// By stream: the last parcel that was taken in.
    through: HashMap<(TenantId, StreamId), u64, FixedState>,
    parcels: Parcels,
}

/// How many parcels came from other hosts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parcels {
    /// Those that were new.
    pub taken_in: u64,
    /// Those that were known: they had come before.
    pub known: u64,
}

impl Streams {
    /// Goes on where a store ends.
    pub(crate) fn begin(&mut self, streams: Vec<(TenantId, StreamId, u64)>) {
        let streams = streams.into_iter();
        self.through
            .extend(streams.map(|(tenant, stream, through)| ((tenant, stream), through)));
    }

    /// What was taken in last is not durable and never will be.
    pub(crate) fn go_back(&mut self, tenant: &TenantId, stream: &StreamId, before: Option<u64>) {
        let key = (tenant.clone(), stream.clone());
        match before {
            Some(before) => self.through.insert(key, before),
            None => self.through.remove(&key),
        };
    }

    /// Whether another one would be too many.
    fn are_full(&self) -> bool {
        self.through.len() >= STREAMS_MAX
    }

    fn through(&self, tenant: &TenantId, stream: &StreamId) -> Option<u64> {
        let key = (tenant.clone(), stream.clone());
        self.through.get(&key).copied()
    }
}

impl Engine {
    /// Whether a component is on another host.
    pub(crate) fn is_elsewhere(&self, tenant: &TenantId, component: &ComponentName) -> bool {
        let elsewhere = &self.elsewhere;
        if !elsewhere.all && elsewhere.named.is_empty() {
            return false;
        }
        let is_meant = || {
            let named = (tenant.clone(), component.clone());
            elsewhere.all || elsewhere.named.contains(&named)
        };
        self.components.active(tenant, component).is_none() && is_meant()
    }

    /// How many parcels came from other hosts.
    pub fn parcels(&self) -> Parcels {
        self.streams.parcels
    }

    /// Takes in what is new of a stream, if nothing is missing before it.
    pub(crate) fn receive_parcels(&mut self, ticket: Ticket, tenant: &TenantId, receive: Receive) {
        let Receive {
            stream,
            mut parcels,
        } = receive;
        let before = self.streams.through(tenant, &stream);
        let known = before.unwrap_or_default();
        let all = parcels.len();
        parcels.retain(|parcel| parcel.number > known || stream.is_none());
        self.streams.parcels.known += (all - parcels.len()) as u64;
        let Some(last) = parcels.last().map(|parcel| parcel.number) else {
            return self.reply(ticket, Reply::Received { through: known });
        };
        if follow_on(known, &parcels).is_none() {
            return self.reply(ticket, Reply::Refused(Refused::Gap { through: known }));
        }
        if before.is_none() && !stream.is_none() && self.streams.are_full() {
            return self.reply(ticket, Reply::Refused(Refused::TooManyStreams));
        }
        self.streams.parcels.taken_in += parcels.len() as u64;
        let mut deliveries = Vec::new();
        for mut outgoing in parcels.into_iter().flat_map(|parcel| parcel.deliveries) {
            self.aim(tenant, &mut outgoing);
            // It was sent here, and goes no further.
            outgoing.elsewhere = false;
            outgoing.n = 0;
            deliveries.push(outgoing);
        }
        self.take_parcels_in(tenant, stream, last, before, deliveries);
        self.reply(ticket, Reply::Received { through: last });
    }

    fn take_parcels_in(
        &mut self,
        tenant: &TenantId,
        stream: StreamId,
        through: u64,
        before: Option<u64>,
        deliveries: Vec<Outgoing>,
    ) {
        if !stream.is_none() {
            let key = (tenant.clone(), stream.clone());
            self.streams.through.insert(key, through);
        }
        let received = Arc::new(Received {
            stream,
            through,
            deliveries,
        });
        let body = Body::Received(Arc::clone(&received));
        let seq = self.append(tenant, body, Source::Received(before));
        // What goes to other shards leaves before anything else is recorded: this is its cause.
        let out = received.deliveries.iter().cloned();
        let here: Vec<Outgoing> = out
            .filter_map(|outgoing| self.send_out(tenant, outgoing))
            .collect();
        for outgoing in here {
            self.receive(tenant, outgoing, After::Here(seq));
        }
    }

    /// The store refuses what another host sent, for what is in it: all of it is parked.
    pub(crate) fn park_received(
        &mut self,
        tenant: &TenantId,
        received: &Received,
        before: Option<u64>,
    ) {
        for outgoing in &received.deliveries {
            let outgoing = outgoing.clone();
            self.park_outgoing(tenant, outgoing, Parked::Unstorable, After::Nothing);
        }
        let stream = received.stream.clone();
        self.take_parcels_in(tenant, stream, received.through, before, Vec::new());
    }
}

/// The number of the last of these parcels, if none is missing between them or before them.
fn follow_on(known: u64, parcels: &[Parcel]) -> Option<u64> {
    parcels.iter().try_fold(known, |through, parcel| {
        let follows = parcel.before.is_none_or(|before| before <= through);
        follows.then_some(parcel.number)
    })
}
