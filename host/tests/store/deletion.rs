//! Instances that were deleted: nobody is shown them, and their records are removed.

use std::sync::Arc;

use xcomponent_core::{
    record::{Body, Departed, Disposition, Outgoing, Snapshot, Status, Waiting},
    time::Timestamp,
};
use xcomponent_host::store::{
    Position, Store,
    query::{InstanceFilter, Kind, PageRequest, RecordFilter},
    retention::{Removable, Retention},
};

use crate::{
    retention::{DEDUP, history, instances, over, shorten},
    sample::{Shard, event_id, id},
    waiting::send,
};

/// Nothing is to be removed by age or number.
fn all_is_kept(now: u64) -> Removable {
    Retention::default().at(Timestamp(now), DEDUP)
}

/// Deletes an instance.
fn delete(shard: &mut Shard<'_>, ended: &Snapshot) -> Snapshot {
    let event = format!("{}-gone", ended.id);
    let state = ended.state().name.to_string();
    shard.enter(ended, &event, "$deleted", &state)
}

/// An instance that has ended and was deleted: three records.
fn deleted(shard: &mut Shard<'_>, instance: &str) -> Snapshot {
    over(shard, instance, 2);
    let ended = shard.store.instance(shard.tenant(), &id(instance));
    let ended = ended.unwrap().unwrap();
    delete(shard, &ended)
}

pub(crate) fn nobody_is_shown_a_deleted_instance(store: &dyn Store) {
    let mut shard = Shard::new(store);
    shard.create("O-1", "{}");
    let gone = deleted(&mut shard, "O-2");
    let tenant = shard.tenant().clone();
    assert_eq!(
        store
            .instance(&tenant, &gone.id)
            .unwrap()
            .map(|found| found.id),
        None
    );
    assert_eq!(instances(&shard), ["O-1"]);
    let of_status = InstanceFilter {
        status: Some(Status::Deleted),
        ..InstanceFilter::default()
    };
    let counted = |filter: &InstanceFilter| -> u64 {
        let counts = store.instance_counts(&tenant, filter).unwrap();
        counts.iter().map(|count| count.instances).sum()
    };
    let of_text = InstanceFilter {
        text: Some("O-".to_owned()),
        ..InstanceFilter::default()
    };
    for (filter, count) in [(InstanceFilter::default(), 1), (of_text, 1), (of_status, 0)] {
        assert_eq!(counted(&filter), count, "{filter:?}");
    }
    assert_eq!((history(&shard, "O-1"), history(&shard, "O-2")), (1, 0));
    let trace = |event: &str| store.trace(&tenant, &[event_id(event)], 10).unwrap().len();
    assert_eq!(
        (
            trace("O-1.created"),
            trace("O-2.created"),
            trace("O-2-gone")
        ),
        (1, 0, 0)
    );
    let mut live = Vec::new();
    store
        .load(&|_| true, &mut |found| live.push(found.id.to_string()))
        .unwrap();
    assert_eq!(live, ["O-1"]);
    // Engines know that the id is taken, and followers of the log that the instance is gone.
    let found = store.reload(&[(tenant.clone(), gone.id)]).unwrap();
    assert_eq!(found.instances[0].status, Status::Deleted);
    let filter = RecordFilter {
        kinds: vec![Kind::Deleted],
        ..RecordFilter::default()
    };
    let told = store.records(&tenant, &filter, Position(0), 10).unwrap();
    assert_eq!(told.entries.len(), 1);
}

pub(crate) fn a_deleted_instance_is_removed_whatever_is_kept(store: &dyn Store) {
    let mut shard = Shard::new(store);
    over(&mut shard, "O-1", 3);
    let gone = deleted(&mut shard, "O-2");
    shard.create("O-3", "{}");
    shorten(store, all_is_kept(3_000));
    let found = store.reload(&[(shard.tenant().clone(), gone.id)]);
    assert!(found.unwrap().instances.is_empty());
    assert_eq!(instances(&shard), ["O-3", "O-1"]);
    assert_eq!(history(&shard, "O-1"), 3);

    // From here on the id is another instance's.
    shard.now(3_000);
    let again = shard.create("O-2", r#"{"total":7}"#);
    assert_eq!(history(&shard, "O-2"), 1);
    delete(&mut shard, &shard_end(&again));
    assert_eq!(instances(&shard), ["O-3", "O-1"]);
    shard.create("O-4", "{}");
    shorten(store, all_is_kept(4_000));
    over(&mut shard, "O-2", 2);
    assert_eq!(history(&shard, "O-2"), 2);
}

/// The instance as if it had ended without a record.
fn shard_end(instance: &Snapshot) -> Snapshot {
    Snapshot {
        status: Status::Completed,
        ..instance.clone()
    }
}

pub(crate) fn a_deleted_instance_stays_while_repeated_ids_are_answered_from_it(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let gone = deleted(&mut shard, "O-1");
    shard.now(2_000 + DEDUP.0);
    shard.create("O-2", "{}");
    let place = [(shard.tenant().clone(), gone.id.clone())];
    let is_there = || !store.reload(&place).unwrap().instances.is_empty();
    shorten(store, all_is_kept(2_000 + DEDUP.0));
    let event = (shard.tenant().clone(), gone.id, event_id("O-1-end"));
    let recalled = store.recall(std::slice::from_ref(&event)).unwrap();
    assert!(is_there() && recalled[0].is_some());
    shorten(store, all_is_kept(2_001 + DEDUP.0));
    assert!(!is_there());
}

pub(crate) fn a_deleted_instance_stays_until_its_delayed_sends_left(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let order = shard.create("O-1", "{}");
    let order = shard.waits(&order, "e1", vec![send("s", 7_000)], &[]);
    let ended = shard.enter(&order, "e2", "SHIP", "Done");
    let gone = delete(&mut shard, &ended);
    shard.now(9_000_000);
    shard.create("O-2", "{}");
    shorten(store, all_is_kept(9_000_000));
    assert_eq!(instances(&shard), ["O-2"]);
    let mut live = Vec::new();
    store
        .load(&|_| true, &mut |found| live.push(found))
        .unwrap();
    let left = live.iter().find(|found| found.id == gone.id).unwrap();
    let Some(Waiting::Send(delayed)) = left.waiting().next() else {
        panic!("it owes a send");
    };
    let mut departed = Departed {
        after: left.clone(),
        outgoing: Outgoing::clone(&delayed.outgoing),
    };
    let body = Body::Departed(Arc::new(departed.clone()));
    departed.after.wait(&body);
    shard.commit(Body::Departed(Arc::new(departed)));
    // What left is owed until it has arrived.
    let target = shard.create("O-9", "{}");
    shard.handle(target, "s", "LATE", Disposition::Ignored);
    shard.create("O-3", "{}");
    assert_eq!(instances(&shard), ["O-3", "O-9", "O-2"]);
    shorten(store, all_is_kept(10_000_000));
    let found = store.reload(&[(shard.tenant().clone(), gone.id.clone())]);
    assert!(found.unwrap().instances.is_empty());
}

pub(crate) fn a_deleted_entry_point_is_removed(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let created = shard.create_entry_point("O-1");
    let ended = shard.enter(&created, "e1", "SHIP", "Done");
    let gone = delete(&mut shard, &ended);
    shard.create("O-2", "{}");
    let mut live = Vec::new();
    store
        .load(&|_| true, &mut |found| live.push(found.id.to_string()))
        .unwrap();
    assert_eq!(live, ["O-2"]);
    shorten(store, all_is_kept(3_000));
    let found = store.reload(&[(shard.tenant().clone(), gone.id)]);
    assert!(found.unwrap().instances.is_empty());
}

pub(crate) fn many_deleted_instances_are_removed_in_small_steps(store: &dyn Store) {
    let mut shard = Shard::new(store);
    for n in 0..300 {
        let instance = format!("O-{n}");
        shard.at_once(|shard| {
            let created = shard.create(&instance, "{}");
            let ended = shard.enter(&created, &format!("{instance}-end"), "SHIP", "Done");
            delete(shard, &ended);
        });
    }
    let live = shard.create("L-1", "{}");
    shard.handle(live, "e1", "PAY", Disposition::Ignored);
    while store.tidy().unwrap() {}
    let mut steps = 1;
    while store.shorten(&all_is_kept(3_000)).unwrap() {
        steps += 1;
    }
    assert!((5..=20).contains(&steps), "{steps} steps");
    let page = PageRequest::first(1_000);
    let log = store.records(
        shard.tenant(),
        &RecordFilter::default(),
        Position(900),
        1_000,
    );
    assert_eq!(log.unwrap().entries.len(), 2);
    let listed = store.instances(shard.tenant(), &InstanceFilter::default(), page);
    assert_eq!(listed.unwrap().items.len(), 1);
}
