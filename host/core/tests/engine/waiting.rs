//! What waits at an instance with its payload: shared, bounded in bytes, and said once.

use std::sync::{Arc, Weak};

use serde_json::{Value, json};
use xcomponent_core::{
    call::Send,
    effect::{Refused, Reply},
    id::EventName,
    json::Json,
    limits::{JSON_BYTES_MAX, Limits, WAITING_BYTES_MAX},
    record::{Body, Disposition, Mail, Waiting, WaitingKind},
    time::Duration,
};

use crate::harness::{Host, event_for, none, refused, sends, to_self};

const SHOP: &str = "
name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  states: [{name: A, defer: [LATE]}, B, {name: Z, type: final}]
  transitions:
  - {from: A, to: B, event: GO}
  - {from: A, to: Z, event: END}
  - {from: A, to: A, event: TICK}
  - {from: A, to: A, event: SEND, triggeredMethod: send, mergePayload: false}
  - {from: B, to: B, event: LATE, mergePayload: false}
";

/// As large as a payload may be.
fn largest() -> Value {
    json!({ "filler": "x".repeat(JSON_BYTES_MAX - 20) })
}

fn host() -> Host {
    let mut host = Host::new(&[SHOP]);
    host.create("Shop", "Order", "o", none());
    host
}

/// What the last record began and ended.
fn changes(host: &Host) -> (Vec<WaitingKind>, Vec<WaitingKind>) {
    let body = &host.records.last().expect("something was recorded").body;
    let began = body.began().iter().map(|began| began.kind);
    (
        began.collect(),
        body.ended().map(|(kind, _)| kind).collect(),
    )
}

#[test]
fn bytes_that_wait_at_one_instance_are_limited_as_their_number_is() {
    let mut host = host();
    let fits = WAITING_BYTES_MAX / JSON_BYTES_MAX - 1;
    for _ in 0..fits {
        assert_eq!(host.becomes("o", "LATE", largest()), Disposition::Deferred);
    }
    let one_more = host.try_send(event_for("o", "LATE", largest()));
    assert!(matches!(refused(one_more), Refused::Busy(_)));
    // What is small fits still, up to the number.
    for _ in fits..100 {
        assert_eq!(host.becomes("o", "LATE", none()), Disposition::Deferred);
    }
    let one_more = host.try_send(event_for("o", "LATE", none()));
    assert!(matches!(refused(one_more), Refused::Busy(_)));
    // What comes from inside is parked instead.
    let tally = host.broadcast("Shop", "Order", "LATE", none());
    assert_eq!((tally.matched, tally.dead_lettered), (1, 1));
    assert_eq!(host.parked().last().unwrap().why.code(), "overload");
    // All of it is there when its time has come.
    host.send("o", "GO", none());
    let late = |line: &&String| *line == "LATE transitioned";
    assert_eq!(host.history("o").iter().filter(late).count(), 100);
    assert!(host.stored("o").extra.is_none());
}

#[test]
fn delayed_sends_count_as_well() {
    let mut host = host();
    host.on("send", |call| {
        let count = call.event.payload.value()["count"].as_u64().unwrap();
        let send = |_| Send::ToSelf {
            event: EventName::new("TICK"),
            payload: Json::from_value(&largest()),
            delay: Some(Duration(1_000)),
        };
        sends((0..count).map(send).collect())
    });
    let sent = host.send("o", "SEND", json!({ "count": 15 }));
    assert_eq!(sent.disposition, Disposition::Transitioned);
    let before = host.stored("o").waiting_bytes();
    let sent = host.send("o", "SEND", json!({ "count": 1 }));
    assert_eq!(sent.disposition, Disposition::DeadLettered);
    assert!(sent.fault.as_ref().unwrap().message.contains("16 MiB"));
    assert_eq!(host.stored("o").waiting_bytes(), before);
    let refused_now = host.try_send(event_for("o", "LATE", largest()));
    assert!(matches!(refused(refused_now), Refused::Busy(_)));
    host.wait(1_000);
    assert_eq!(host.stored("o").waiting_bytes(), 0);
}

#[test]
fn a_record_says_what_began_and_what_ended_and_repeats_nothing() {
    use WaitingKind::{Deferred, Send};
    let mut host = host();
    host.on("send", |_| sends(vec![to_self("TICK", Some(50))]));
    host.send("o", "LATE", none());
    assert_eq!(changes(&host), (vec![Deferred], vec![]));
    host.send("o", "SEND", none());
    assert_eq!(changes(&host), (vec![Send], vec![]));
    let before = host.stored("o").extra.clone().unwrap();
    host.send("o", "TICK", none());
    assert_eq!(changes(&host), (vec![], vec![]));
    // The copy that the next record carries copies nothing.
    let after = host.stored("o").extra.clone().unwrap();
    assert!(Arc::ptr_eq(&before, &after));
    host.wait(50);
    assert_eq!(changes(&host), (vec![], vec![Send]));
    host.send("o", "END", none());
    let parked = host.records.last().unwrap();
    let Body::Handled(handled) = &parked.body else {
        panic!("what was deferred is parked at its instance");
    };
    assert_eq!(handled.disposition, Disposition::DeadLettered);
    assert_eq!(changes(&host), (vec![], vec![Deferred]));
}

#[test]
fn an_own_send_that_there_is_no_room_for_is_parked_once() {
    let mut host = host();
    host.on("send", |_| sends(vec![to_self("LATE", Some(50))]));
    host.send("o", "SEND", none());
    for _ in 0..100 {
        assert_eq!(host.becomes("o", "LATE", none()), Disposition::Deferred);
    }
    host.wait(50);
    let parked: Vec<_> = host
        .parked()
        .iter()
        .map(|letter| letter.why.code())
        .collect();
    assert_eq!(parked, ["overload"]);
    assert!(host.stored("o").sends().is_empty());
}

#[test]
fn a_passive_instance_keeps_no_payload_in_memory() {
    let limits = Limits {
        passivate_after: Some(Duration::from_secs(10)),
        ..Limits::default()
    };
    let mut host = Host::with_limits(&[SHOP], limits);
    host.create("Shop", "Order", "o", none());
    let Reply::Handled(answer) = host.try_send(event_for("o", "LATE", largest())) else {
        panic!("it is deferred");
    };
    let Some(Waiting::Deferred(mail)) = &answer.waits.as_ref().unwrap().began[0].what else {
        panic!("it waits");
    };
    let mail: Weak<Mail> = Arc::downgrade(mail);
    drop(answer);
    host.forget();
    assert!(mail.upgrade().is_some(), "the engine has it");
    host.wait(30_000);
    assert_eq!((host.engine.live(), host.engine.passive()), (0, 1));
    assert!(mail.upgrade().is_none(), "nobody has it");
}

#[test]
fn a_start_keeps_a_bounded_part_of_what_waits_in_memory() {
    const INSTANCES: usize = 20;
    let limits = || Limits {
        passivate_after: Some(Duration::from_secs(10)),
        ..Limits::default()
    };
    let mut host = Host::with_limits(&[SHOP], limits());
    let mut stored = Vec::new();
    for n in 0..INSTANCES {
        let id = format!("o{n}");
        host.create("Shop", "Order", &id, none());
        for _ in 0..8 {
            host.send(&id, "LATE", largest());
        }
        stored.push(host.stored(&id).clone());
    }
    let mut next = Host::with_limits(&[SHOP], limits());
    next.inherit(stored);
    let (live, passive) = (next.engine.live(), next.engine.passive());
    assert_eq!(live + passive, INSTANCES);
    assert!((1..=8).contains(&live), "{live} of 8 MiB each");
    // All of them come back with their next event.
    for n in 0..INSTANCES {
        next.send(&format!("o{n}"), "GO", none());
        assert!(next.stored(&format!("o{n}")).extra.is_none());
    }
}
