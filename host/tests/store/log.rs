//! The log: positions, histories, the tail, traces.

use std::sync::Arc;

use xcomponent_core::{
    id::{EventId, InstanceId, TenantId},
    record::{Body, Cause, Disposition},
};
use xcomponent_host::store::{
    Entry, Position, Store,
    query::{Kind, PageRequest, RecordFilter},
};

use crate::sample::{Shard, event_id, id, root};

fn event_of(entry: &Entry) -> String {
    match &entry.record.body {
        Body::Handled(handled) => handled.event.id.to_string(),
        other => panic!("only events are asked for: {other:?}"),
    }
}

fn events(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(event_of).collect()
}

pub(crate) fn positions_may_have_gaps(store: &dyn Store) {
    assert_eq!(store.last_position().unwrap(), Position(0));
    let mut shard = Shard::new(store);
    let order = shard.create("O-1", "{}");
    shard.skip(5);
    shard.enter(&order, "e1", "PAY", "Paid");
    assert_eq!(store.last_position().unwrap(), Position(7));
    let all = store.records(shard.tenant(), &RecordFilter::default(), Position(0), 10);
    let positions: Vec<_> = all
        .unwrap()
        .entries
        .iter()
        .map(|entry| entry.position.0)
        .collect();
    assert_eq!(positions, [1, 7]);
}

pub(crate) fn a_history_is_read_page_by_page_the_last_first(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let mut order = shard.create("O-1", "{}");
    shard.create("O-2", "{}");
    for n in 1..5 {
        order = shard.handle(order, &format!("e{n}"), "PAY", Disposition::Ignored);
    }
    let read = |after| {
        let page = PageRequest { after, limit: 3 };
        store.history(shard.tenant(), &id("O-1"), page).unwrap()
    };
    let first = read(None);
    assert_eq!(events(&first.items), ["e4", "e3", "e2"]);
    let second = read(first.next);
    assert_eq!(events(&second.items), ["e1", "O-1.created"]);
    assert!(second.next.is_none());
}

pub(crate) fn the_log_is_followed_from_any_position(store: &dyn Store) {
    let mut shard = Shard::new(store);
    for n in 0..6 {
        let order = shard.create(&format!("O-{n}"), "{}");
        shard.handle(order, &format!("e{n}"), "PAY", Disposition::Ignored);
    }
    let ignored = RecordFilter {
        kinds: vec![Kind::Ignored],
        ..RecordFilter::default()
    };
    let (mut seen, mut after) = (Vec::new(), Position(4));
    while after < store.last_position().unwrap() {
        let tail = store.records(shard.tenant(), &ignored, after, 2).unwrap();
        assert!(tail.entries.len() <= 2 && tail.through > after);
        seen.extend(events(&tail.entries));
        after = tail.through;
    }
    assert_eq!(seen, ["e2", "e3", "e4", "e5"]);
    let of_one = RecordFilter {
        instance: Some(id("O-5")),
        ..RecordFilter::default()
    };
    let tail = store
        .records(shard.tenant(), &of_one, Position(0), 100)
        .unwrap();
    assert_eq!(events(&tail.entries), ["O-5.created", "e5"]);
}

pub(crate) fn a_trace_has_everything_an_event_led_to(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let (source, target) = (shard.create("O-1", "{}"), shard.create("O-2", "{}"));
    let source = shard.handle(source, "e1", "PAY", Disposition::Transitioned);
    shard.handle(source, "other", "PAY", Disposition::Ignored);
    let mut caused = shard.handled(target, "e1.1", "PAY", Disposition::Transitioned);
    caused.cause = caused_by("e1", "O-1");
    shard.commit(Body::Handled(Arc::new(caused)));
    let trace = |tenant: &TenantId, limit| store.trace(tenant, &[event_id("e1")], limit).unwrap();
    assert_eq!(events(&trace(shard.tenant(), 10)), ["e1", "e1.1"]);
    assert_eq!(events(&trace(shard.tenant(), 1)), ["e1"]);
    assert!(trace(&TenantId::new("other"), 10).is_empty());
}

fn caused_by(event: &str, instance: &str) -> Cause {
    let (event, instance): (EventId, InstanceId) = (event_id(event), id(instance));
    Cause {
        event: Some(event.clone()),
        instance: Some(instance),
        depth: 1,
        ..root(&event.to_string())
    }
}
