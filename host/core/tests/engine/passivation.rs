//! Instances that nothing happens to leave memory, and come back when something does.

use serde_json::json;
use xcomponent_core::{
    definition::OnLive,
    effect::{Refused, Reply},
    id::{ComponentName, Version},
    input::{Migrate, Request},
    limits::Limits,
    record::Disposition,
    time::Duration,
};

use crate::harness::{Host, event_for, refused};

const SHOP: &str = "
name: Shop
version: 1
stateMachines:
  - name: Order
    initialState: Open
    states: [{name: Open}, {name: Paid}, {name: Late}, {name: Done, type: final}]
    transitions:
      - {from: Open, to: Paid, event: PAID, matchingRules: [{eventProperty: orderId, instanceProperty: orderId}]}
      - {from: Open, to: Late, event: LATE, type: timeout, timeoutMs: 100000}
      - {from: Paid, to: Done, event: SHIP}
      - {from: Paid, to: Paid, event: BIG, matchingRules: [{eventProperty: least, operator: '>=', instanceProperty: total}]}
";

/// A host on which instances leave after ten seconds.
fn shop() -> Host {
    host(&[SHOP], 1_000)
}

fn host(definitions: &[&str], slice: usize) -> Host {
    let limits = Limits {
        passivate_after: Some(Duration::from_secs(10)),
        selection_slice: slice,
        ..Limits::default()
    };
    Host::with_limits(definitions, limits)
}

fn order(host: &mut Host, id: &str, total: u64) {
    let context = json!({"orderId": id, "total": total});
    host.create("Shop", "Order", id, context);
}

/// How many are in memory, and how many only in the store.
fn memory(host: &Host) -> (usize, usize) {
    (host.engine.live(), host.engine.passive())
}

#[test]
fn an_idle_instance_leaves_memory_and_comes_back_with_its_next_event() {
    let mut host = shop();
    order(&mut host, "O-1", 1);
    host.wait(5_000);
    assert_eq!(memory(&host), (1, 0));
    host.wait(20_000);
    assert_eq!(memory(&host), (0, 1));
    let payload = json!({"orderId": "O-1"});
    assert_eq!(
        host.becomes("O-1", "PAID", payload),
        Disposition::Transitioned
    );
    assert_eq!(memory(&host), (1, 0));
    assert_eq!(host.state("O-1"), "Paid");
}

#[test]
fn callers_wait_no_longer_for_a_store_that_does_not_answer_and_may_try_again() {
    let mut host = shop();
    order(&mut host, "O-1", 1);
    host.wait(20_000);
    assert_eq!(memory(&host), (0, 1));
    host.is_unreadable = true;
    let payload = json!({"orderId": "O-1"});
    let paid = Request::Send(event_for("O-1", "PAID", payload.clone()));
    let tickets = [paid.clone(), paid].map(|paid| host.request_later(paid));
    assert!(tickets.iter().all(|ticket| host.answer(*ticket).is_none()));
    host.give_up_reading();
    for ticket in tickets {
        let refused = host.answer(ticket);
        assert!(matches!(
            refused,
            Some(Reply::Refused(Refused::NotCommitted))
        ));
    }
    host.read_again();
    assert_eq!(host.state("O-1"), "Open");
    assert_eq!(
        host.becomes("O-1", "PAID", payload),
        Disposition::Transitioned
    );
}

#[test]
fn a_deadline_waits_for_a_store_that_does_not_answer() {
    let mut host = shop();
    order(&mut host, "O-1", 1);
    host.wait(50_000);
    host.is_unreadable = true;
    host.wait(60_000);
    host.give_up_reading();
    host.read_again();
    host.wait(1);
    assert_eq!(host.state("O-1"), "Late");
}

#[test]
fn its_deadline_brings_it_back() {
    let mut host = shop();
    order(&mut host, "O-1", 1);
    host.wait(50_000);
    assert_eq!(memory(&host), (0, 1));
    host.wait(50_000);
    assert_eq!(host.state("O-1"), "Late");
}

#[test]
fn what_is_busy_stays() {
    let mut host = shop();
    order(&mut host, "O-1", 1);
    for _ in 0..10 {
        host.wait(9_000);
        assert_eq!(memory(&host), (1, 0));
        host.becomes("O-1", "UNKNOWN", json!({}));
    }
}

#[test]
fn an_event_finds_those_that_left_by_their_properties() {
    let mut host = shop();
    (0..50).for_each(|n| order(&mut host, &format!("O-{n}"), n));
    host.wait(30_000);
    assert_eq!(memory(&host), (0, 50));
    let tally = host.broadcast("Shop", "Order", "PAID", json!({"orderId": "O-7"}));
    assert_eq!((tally.matched, tally.transitioned), (1, 1));
    assert_eq!(memory(&host), (1, 49));
}

#[test]
fn one_that_no_index_finds_is_found_page_by_page_and_the_others_leave_again() {
    let mut host = host(&[SHOP], 3);
    for n in 0..20 {
        let id = format!("O-{n}");
        order(&mut host, &id, n);
        host.becomes(&id, "PAID", json!({"orderId": id}));
    }
    host.wait(30_000);
    assert_eq!(memory(&host), (0, 20));
    let tally = host.broadcast("Shop", "Order", "BIG", json!({"least": 15}));
    assert_eq!((tally.matched, tally.transitioned), (5, 5));
    assert_eq!(memory(&host), (5, 15));
}

#[test]
fn one_that_was_only_looked_at_keeps_its_deadline() {
    let mut host = host(&[SHOP], 3);
    (0..5).for_each(|n| order(&mut host, &format!("O-{n}"), n));
    host.wait(30_000);
    let tally = host.broadcast("Shop", "Order", "BIG", json!({"least": 3}));
    assert_eq!((tally.matched, tally.ignored), (2, 2));
    assert_eq!(memory(&host), (2, 3));
    host.wait(100_000);
    for n in 0..5 {
        assert_eq!(host.state(&format!("O-{n}")), "Late");
    }
}

#[test]
fn a_rule_that_came_later_finds_those_that_left_before() {
    let mut host = shop();
    (0..5).for_each(|n| order(&mut host, &format!("O-{n}"), n));
    host.wait(30_000);
    let next = SHOP.replace("version: 1", "version: 2").replace(
        "eventProperty: orderId, instanceProperty: orderId",
        "eventProperty: sum, instanceProperty: total",
    );
    host.deploy(&next);
    host.activate(&next, OnLive::NextEvent);
    let tally = host.broadcast("Shop", "Order", "PAID", json!({"sum": 3}));
    assert_eq!((tally.matched, tally.transitioned), (1, 1));
    assert_eq!(host.state("O-3"), "Paid");
    // Whoever was looked at is known by the new property now.
    assert_eq!(memory(&host), (1, 4));
    let tally = host.broadcast("Shop", "Order", "PAID", json!({"sum": 4}));
    assert_eq!((tally.matched, tally.transitioned), (1, 1));
}

#[test]
fn they_are_counted_and_move_to_another_version() {
    let mut host = shop();
    (0..5).for_each(|n| order(&mut host, &format!("O-{n}"), n));
    host.wait(30_000);
    let next = SHOP.replace("version: 1", "version: 2");
    host.deploy(&next);
    host.activate(&next, OnLive::Pin);
    let component = ComponentName::new("Shop");
    let on = |host: &mut Host| match host.request(Request::Census {
        component: Some(component.clone()),
    }) {
        Reply::Census(counts) => {
            let counts = counts.into_iter();
            counts
                .map(|count| (count.version.to_string(), count.instances))
                .collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(on(&mut host), [("1".to_owned(), 5)]);
    let migrate = Migrate {
        component: component.clone(),
        from: Version::new("1"),
        to: Version::new("2"),
        states: Vec::new(),
        limit: 3,
        dry_run: false,
    };
    for (moved, left) in [(3, 2), (2, 0)] {
        match host.request(Request::Migrate(migrate.clone())) {
            Reply::Migrated(instances) => assert_eq!(instances.len(), moved),
            other => panic!("{other:?}"),
        }
        let counts = on(&mut host);
        let on_first = counts.iter().find(|(version, _)| version == "1");
        assert_eq!(on_first.map_or(0, |(_, count)| *count), left);
    }
}

#[test]
fn the_one_instance_of_a_machine_is_still_one() {
    let single = "
name: Single
version: 1
entryMachine: Only
entryMachineMode: singleton
stateMachines:
  - name: Only
    initialState: A
    states: [{name: A}]
    transitions: []
";
    let mut host = host(&[single], 1_000);
    let first = host.create("Single", "Only", "X", json!({}));
    host.wait(30_000);
    let again = host.try_create("Single", "Only", "Y", json!({}));
    assert!(matches!(
        refused(again),
        Refused::SingletonExists(id) if id == first.id
    ));
}
