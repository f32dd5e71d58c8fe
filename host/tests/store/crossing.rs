//! What waits for other hosts, and what they sent.

use std::sync::Arc;

use xcomponent_core::{
    id::{ComponentName, EventId, StreamId},
    json::Json,
    owed::relayed_by,
    record::{Body, Discarded, Outgoing, Received, Target},
    time::{Duration, Timestamp},
};
use xcomponent_host::store::{
    Entry, Position, Store,
    crossing::{Channel, Outlet},
    retention::Retention,
};

use crate::sample::{Shard, event_id, id, root, sample_event};

/// Something for an instance of a component on another host.
pub(crate) fn sent(component: &str, event: &str) -> Outgoing {
    Outgoing {
        n: 1,
        to: Target::Instance {
            component: ComponentName::new(component),
            id: id("there"),
        },
        event: sample_event(event, "GO"),
        cause: root(event),
        elsewhere: true,
    }
}

/// A record that sends something.
pub(crate) fn sends(shard: &mut Shard<'_>, component: &str, event: &str) -> Position {
    let discarded = Discarded {
        id: event_id(event),
        instance: None,
        resent: Some(Box::new(sent(component, event))),
    };
    shard.commit(Body::Discarded(Arc::new(discarded)))
}

fn receives(shard: &mut Shard<'_>, stream: &str, through: u64) -> Position {
    let received = Received {
        stream: StreamId::new(stream),
        through,
        deliveries: vec![Outgoing {
            elsewhere: false,
            ..sent("Here", "taken-in")
        }],
    };
    shard.commit(Body::Received(Arc::new(received)))
}

fn channel(shard: &Shard<'_>, component: &str) -> Channel {
    Channel {
        tenant: shard.tenant().clone(),
        component: ComponentName::new(component),
    }
}

/// The events that wait for a component after a position.
fn waiting(store: &dyn Store, channel: &Channel, after: u64, limit: usize) -> Vec<String> {
    let entries = store.outbox(channel, Position(after), limit).unwrap();
    let event = |entry: &Entry| {
        let sent = relayed_by(&entry.record.body).next().unwrap();
        assert_eq!(sent.event.payload, Json::empty());
        sent.event.id.to_string()
    };
    entries.iter().map(event).collect()
}

fn outlet(store: &dyn Store, channel: &Channel) -> (u64, u64) {
    let outlets = store.outlets().unwrap();
    let found = outlets
        .into_iter()
        .find(|outlet| outlet.channel == *channel);
    let Outlet {
        through, waiting, ..
    } = found.unwrap();
    (through.0, waiting)
}

pub(crate) fn a_log_keeps_its_name(store: &dyn Store) {
    let name = store.log_name().unwrap();
    assert_eq!(name.len(), 32);
    assert_eq!(store.log_name().unwrap(), name);
}

pub(crate) fn what_is_for_another_host_waits_until_it_has_arrived(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let first = sends(&mut shard, "Bank", "e-1");
    sends(&mut shard, "Post", "e-2");
    let third = sends(&mut shard, "Bank", "e-3");
    let (bank, post) = (channel(&shard, "Bank"), channel(&shard, "Post"));
    assert_eq!(waiting(store, &bank, 0, 10), ["e-1", "e-3"]);
    assert_eq!(waiting(store, &bank, 0, 1), ["e-1"]);
    assert_eq!(waiting(store, &bank, first.0, 10), ["e-3"]);
    assert_eq!(outlet(store, &bank), (0, 2));
    store.relayed(&bank, Position(0), first).unwrap();
    assert_eq!(waiting(store, &bank, 0, 10), ["e-3"]);
    assert_eq!(outlet(store, &bank), (first.0, 1));
    assert_eq!(outlet(store, &post), (0, 1));
    store.relayed(&bank, first, third).unwrap();
    assert_eq!(outlet(store, &bank), (third.0, 0));
}

pub(crate) fn tenants_have_channels_of_their_own(store: &dyn Store) {
    let mut one = Shard::of(store, "one");
    let position = sends(&mut one, "Bank", "e-1");
    let other = Channel {
        tenant: Shard::of(store, "two").tenant().clone(),
        ..channel(&one, "Bank")
    };
    assert!(waiting(store, &other, 0, 10).is_empty());
    store.relayed(&other, Position(0), position).unwrap();
    assert_eq!(waiting(store, &channel(&one, "Bank"), 0, 10), ["e-1"]);
}

pub(crate) fn what_waits_is_not_removed(store: &dyn Store) {
    let mut shard = Shard::new(store);
    shard.now(1);
    let first = sends(&mut shard, "Bank", "e-1");
    let last = (0..5)
        .map(|n| sends(&mut shard, "Post", &format!("e-2-{n}")))
        .last();
    let (bank, post) = (channel(&shard, "Bank"), channel(&shard, "Post"));
    store.relayed(&post, Position(0), last.unwrap()).unwrap();
    let age = Some(Duration(1_000));
    let retention = Retention { age, records: None };
    let removable = retention.at(Timestamp(10_000), Duration(1));
    while store.shorten(&removable).unwrap() {}
    assert_eq!(waiting(store, &bank, 0, 10), ["e-1"]);
    store.relayed(&bank, Position(0), first).unwrap();
    assert!(waiting(store, &bank, 0, 10).is_empty());
}

pub(crate) fn a_stream_is_known_up_to_its_last_parcel(store: &dyn Store) {
    let mut shard = Shard::new(store);
    assert!(store.streams().unwrap().is_empty());
    receives(&mut shard, "shop/Bank", 7);
    receives(&mut shard, "post/Bank", 3);
    receives(&mut shard, "shop/Bank", 9);
    receives(&mut shard, "", 0);
    let mut streams = store.streams().unwrap();
    streams.sort();
    let known = |stream: &str, through| (shard.tenant().clone(), StreamId::new(stream), through);
    assert_eq!(streams, [known("post/Bank", 3), known("shop/Bank", 9)]);
}

pub(crate) fn what_was_taken_in_is_owed(store: &dyn Store) {
    let mut shard = Shard::new(store);
    receives(&mut shard, "shop/Bank", 7);
    let tenant = shard.tenant().clone();
    let roots = [EventId::from_stored("taken-in")];
    let found = store.records(&tenant, &Default::default(), Position(0), 10);
    let entries = found.unwrap().entries;
    let Body::Received(received) = &entries[0].record.body else {
        panic!("it is what was written");
    };
    assert_eq!(received.through, 7);
    assert_eq!(received.deliveries[0].event.id, roots[0]);
    // What a store in memory owes ends with it.
    let owed = store.owed().unwrap().debts().len();
    assert_eq!(owed, usize::from(!store.is_immediate()));
}
