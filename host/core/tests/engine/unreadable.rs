//! Instances that the store has and cannot read.

use xcomponent_core::{
    call::Send,
    effect::Refused,
    id::{EventName, InstanceId},
    json::Json,
    limits::HELD_MAX,
    owed::{Owed, TakenIn, Undelivered},
};

use crate::harness::{Host, event_for, none, refused, sends};

const YAML: &str = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: Created
  states: [Created]
  transitions:
  - {from: Created, to: Created, event: MAKE, triggeredMethod: make}
";

/// A host on which an instance sends to one that cannot be read.
fn host() -> Host {
    let mut host = Host::new(&[YAML]);
    let lost = InstanceId::parse("lost").expect("the test is sound");
    host.unreadable.push(lost.clone());
    host.on("make", move |_| {
        sends(vec![Send::ToInstance {
            component: None,
            instance: lost.clone(),
            event: EventName::new("MAKE"),
            payload: Json::empty(),
            delay: None,
        }])
    });
    host.create("Shop", "Order", "o", none());
    host
}

/// What the log owes.
fn owed(host: &Host) -> Vec<String> {
    let placement = Owed::nothing().known().placement;
    let mut owed = Owed::new(TakenIn::all(placement, 0));
    for (position, record) in (1..).zip(&host.records) {
        owed.note(position, record);
    }
    let debts = owed.debts().into_iter();
    let events = debts.map(|debt| match debt.what {
        Undelivered::Sent(outgoing) => outgoing.event.id.to_string(),
        other => panic!("{other:?}"),
    });
    events.collect()
}

#[test]
fn who_asks_is_told_that_it_cannot_be_read() {
    let mut host = host();
    for _ in 0..2 {
        let reply = host.try_send(event_for("lost", "MAKE", none()));
        assert!(matches!(refused(reply), Refused::RecordUnreadable(_)));
    }
    let reply = host.try_create("Shop", "Order", "lost", none());
    assert!(matches!(refused(reply), Refused::RecordUnreadable(_)));
    assert_eq!(host.becomes("o", "MAKE", none()).as_str(), "transitioned");
}

#[test]
fn what_is_sent_to_it_is_held_and_owed() {
    let mut host = host();
    let first = host.send("o", "MAKE", none());
    let second = host.send("o", "MAKE", none());
    assert!(host.parked().is_empty());
    let sent = [first, second].map(|reply| reply.handled.deliveries[0].event.id.to_string());
    assert_eq!(owed(&host), sent);
}

#[test]
fn what_is_held_has_a_bound_and_nothing_is_lost_beyond_it() {
    let mut host = host();
    for _ in 0..HELD_MAX + 2 {
        host.send("o", "MAKE", none());
    }
    let parked = host.parked();
    let codes: Vec<_> = parked.iter().map(|letter| letter.why.code()).collect();
    assert_eq!(codes, ["record_unreadable"; 2]);
    assert_eq!(owed(&host).len(), HELD_MAX);
}
