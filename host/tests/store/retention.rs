//! What of the history goes, and what stays.

use xcomponent_core::{
    id::InstanceId,
    record::{Body, Disposition, Snapshot},
    time::{Duration, Timestamp},
};
use xcomponent_host::store::{
    Error, Position, Store,
    query::{InstanceFilter, LetterFilter, PageRequest, RecordFilter},
    retention::{Removable, Retention},
};

use crate::sample::{Shard, id};

/// How long answers to repeated ids are remembered.
pub(crate) const DEDUP: Duration = Duration(100);

/// Records from before a moment go.
fn older_than(moment: u64) -> Removable {
    let age = Some(Duration(1_000));
    let retention = Retention { age, records: None };
    retention.at(Timestamp(moment + 1_000), DEDUP)
}

/// Records go that are more than so many and not from the last moments.
fn more_than(records: u64, now: u64) -> Removable {
    let records = Some(records);
    let retention = Retention { age: None, records };
    retention.at(Timestamp(now), DEDUP)
}

pub(crate) fn shorten(store: &dyn Store, removable: Removable) {
    // What rows of instances miss stays.
    while store.tidy().unwrap() {}
    while store.shorten(&removable).unwrap() {}
}

/// The ids of the instances, the last created first.
pub(crate) fn instances(shard: &Shard<'_>) -> Vec<String> {
    let filter = InstanceFilter::default();
    let page = shard
        .store
        .instances(shard.tenant(), &filter, PageRequest::first(100));
    let ids = page.unwrap().items.into_iter();
    ids.map(|instance| instance.id.to_string()).collect()
}

/// How long the history of an instance is.
pub(crate) fn history(shard: &Shard<'_>, instance: &str) -> usize {
    let page = PageRequest::first(1_000);
    let history = shard.store.history(shard.tenant(), &id(instance), page);
    history.unwrap().items.len()
}

/// The log from a position on.
fn log(shard: &Shard<'_>, after: u64) -> Result<Vec<u64>, u64> {
    let filter = RecordFilter::default();
    let asked = shard
        .store
        .records(shard.tenant(), &filter, Position(after), 1_000);
    match asked {
        Ok(tail) => Ok(tail.entries.iter().map(|entry| entry.position.0).collect()),
        Err(Error::Gone { complete_after }) => Err(complete_after.0),
        Err(other) => panic!("{other}"),
    }
}

/// An instance that is over, after so many events.
pub(crate) fn over(shard: &mut Shard<'_>, instance: &str, events: usize) {
    let mut order = shard.create(instance, "{}");
    for n in 2..events {
        order = shard.handle(
            order,
            &format!("{instance}-{n}"),
            "PAY",
            Disposition::Ignored,
        );
    }
    shard.enter(&order, &format!("{instance}-end"), "SHIP", "Done");
}

fn ignore(shard: &mut Shard<'_>, order: Snapshot, event: &str) -> Snapshot {
    shard.handle(order, event, "PAY", Disposition::Ignored)
}

pub(crate) fn what_is_older_goes_and_what_goes_on_stays(store: &dyn Store) {
    let mut shard = Shard::new(store);
    over(&mut shard, "O-1", 2);
    let order = shard.create("O-2", r#"{"total":7}"#);
    let letter = shard.letter("late", Some("O-2"));
    shard.commit(Body::Parked(letter));
    shard.now(3_000);
    over(&mut shard, "O-3", 3);

    shorten(store, older_than(2_500));

    assert_eq!(instances(&shard), ["O-3", "O-2"]);
    assert_eq!((history(&shard, "O-3"), history(&shard, "O-2")), (3, 0));
    assert_eq!(log(&shard, 4), Ok(vec![5, 6, 7]));
    assert_eq!(log(&shard, 3), Err(4));
    let kept = store.instance(shard.tenant(), &id("O-2")).unwrap().unwrap();
    assert_eq!(kept.context, order.context);
    let letters = store.dead_letter_count(shard.tenant(), &LetterFilter::default());
    assert_eq!(letters.unwrap(), 1);

    // It goes on as if nothing had gone, and its id is free once it has.
    ignore(&mut shard, kept, "e1");
    assert_eq!(history(&shard, "O-2"), 1);
    over(&mut shard, "O-1", 2);
    assert_eq!(history(&shard, "O-1"), 2);
}

pub(crate) fn the_last_record_of_all_stays(store: &dyn Store) {
    let mut shard = Shard::new(store);
    over(&mut shard, "O-1", 3);
    shorten(store, older_than(1_000_000));
    assert_eq!(store.last_position().unwrap(), Position(3));
    let next = shard.commit(Body::Parked(shard.letter("late", None)));
    assert_eq!(next, Position(4));
    shard.now(1_000_000);
    shard.create("O-2", "{}");
    shorten(store, older_than(1_000_000));
    assert_eq!(instances(&shard), ["O-2"]);
    assert_eq!(log(&shard, 4), Ok(vec![5]));
}

pub(crate) fn beyond_a_number_finished_instances_go_first(store: &dyn Store) {
    let mut shard = Shard::new(store);
    let mut live = shard.create("O-1", "{}");
    for n in 0..4 {
        live = ignore(&mut shard, live, &format!("e{n}"));
    }
    over(&mut shard, "O-2", 3);
    over(&mut shard, "O-3", 3);
    live = ignore(&mut shard, live, "e4");

    shorten(store, more_than(9, 3_000));
    assert_eq!(instances(&shard), ["O-3", "O-1"]);
    assert_eq!((history(&shard, "O-3"), history(&shard, "O-1")), (3, 6));

    // When there is none that is over, the oldest records of the others go.
    shorten(store, more_than(3, 3_000));
    assert_eq!(instances(&shard), ["O-1"]);
    assert_eq!(history(&shard, "O-1"), 3);
    assert_eq!(ignore(&mut shard, live, "e5").seq, 7);
    assert_eq!(history(&shard, "O-1"), 4);
}

pub(crate) fn what_repeated_ids_are_answered_from_stays(store: &dyn Store) {
    let mut shard = Shard::new(store);
    over(&mut shard, "O-1", 3);
    shard.create("O-2", "{}");
    shorten(store, more_than(1, 2_000 + DEDUP.0));
    assert_eq!((history(&shard, "O-1"), history(&shard, "O-2")), (3, 1));
    let age = Some(Duration(1));
    let retention = Retention { age, records: None };
    shorten(store, retention.at(Timestamp(2_000 + DEDUP.0), DEDUP));
    assert_eq!((history(&shard, "O-1"), history(&shard, "O-2")), (3, 1));
}

pub(crate) fn positions_without_a_record_do_not_count(store: &dyn Store) {
    let mut shard = Shard::new(store);
    shard.create("O-1", "{}");
    shard.skip(1_000);
    shard.at_once(|shard| {
        shard.create("O-2", "{}");
        shard.skip(1_000);
        over(shard, "O-3", 3);
        shard.create("O-4", "{}");
    });
    shorten(store, more_than(6, 3_000));
    assert_eq!(instances(&shard), ["O-4", "O-3", "O-2", "O-1"]);
    shorten(store, more_than(5, 3_000));
    assert_eq!(instances(&shard), ["O-4", "O-2", "O-1"]);
    shard.create("O-5", "{}");
    shorten(store, more_than(4, 3_000));
    assert_eq!((history(&shard, "O-1"), history(&shard, "O-2")), (1, 1));
    shorten(store, more_than(3, 3_000));
    assert_eq!((history(&shard, "O-1"), history(&shard, "O-2")), (0, 1));
}

pub(crate) fn a_long_history_goes_in_small_steps(store: &dyn Store) {
    let mut shard = Shard::new(store);
    shard.at_once(|shard| over(shard, "O-1", 1_000));
    let short: Vec<InstanceId> = (0..300)
        .map(|n| {
            let instance = format!("S-{n}");
            shard.at_once(|shard| over(shard, &instance, 2));
            id(&instance)
        })
        .collect();
    shard.create("O-2", "{}");
    let removable = more_than(1, 3_000);
    let mut steps = 1;
    while store.shorten(&removable).unwrap() {
        steps += 1;
    }
    assert!((5..=20).contains(&steps), "{steps} steps");
    assert_eq!(instances(&shard), ["O-2"]);
    for instance in short {
        assert!(store.instance(shard.tenant(), &instance).unwrap().is_none());
    }
    assert_eq!(log(&shard, 1_600), Ok(vec![1_601]));
}
