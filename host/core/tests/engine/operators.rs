//! Operators: instances that are ended, suspensions that end early.

use serde_json::json;
use xcomponent_core::{
    effect::{BreakerState, Refused, Reply},
    engine::TERMINATED,
    id::{ComponentName, InstanceId},
    input::{Request, Terminate},
    limits::Limits,
    record::{Disposition, Snapshot, Status, Target},
};

use crate::harness::{Host, event_for, none, nothing, panics, refused, sends, to_self};

const SHOP: &str = "
name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  onFault: {retry: {max: 3, backoffMs: 1000}}
  states: [{name: A, defer: [LATE], onExit: leave}, B, {name: Z, type: final}]
  transitions:
  - {from: A, to: B, event: GO, triggeredMethod: act}
  - {from: A, to: Z, event: END}
  - {from: A, to: B, event: SOON, type: timeout, timeoutMs: 500}
  - {from: A, to: A, event: SEND, triggeredMethod: send, mergePayload: false}
  - {from: B, to: B, event: LATE, mergePayload: false}
";

fn host() -> Host {
    let mut host = Host::new(&[SHOP]);
    host.on("leave", |_| panic!("nothing of a guest runs"));
    host.create("Shop", "Order", "o", none());
    host
}

fn id(id: &str) -> InstanceId {
    InstanceId::parse(id).expect("an id of a test is sound")
}

fn end(instance: &str) -> Request {
    Request::Terminate(Terminate {
        instance: id(instance),
        reason: Some("it is stuck".into()),
        trace_parent: None,
    })
}

fn ended(host: &mut Host, instance: &str) -> Snapshot {
    let Reply::Instance(snapshot) = host.request(end(instance)) else {
        panic!("it is ended");
    };
    assert_eq!(snapshot.status, Status::Terminated);
    *snapshot
}

#[test]
fn an_instance_ends_in_its_state_without_its_guest_and_leaves_memory() {
    let mut host = host();
    let snapshot = ended(&mut host, "o");
    assert_eq!((snapshot.seq, snapshot.state().name.as_str()), (2, "A"));
    let last = host.handled().last().unwrap();
    assert_eq!(
        (last.event.name.as_str(), last.disposition),
        (TERMINATED, Disposition::Transitioned)
    );
    assert_eq!(last.event.payload.value(), json!({"reason": "it is stuck"}));
    assert_eq!((last.from, last.to), (Some(last.to), last.after.state));
    assert_eq!(host.engine.live(), 0);
    // Its timer is void.
    assert!(host.stored("o").timers.is_empty());
    host.wait(1_000);
    assert_eq!(host.history("o").len(), 2);
    assert_eq!(host.becomes("o", "GO", none()), Disposition::Rejected);
}

#[test]
fn ending_an_instance_again_changes_nothing() {
    let mut host = host();
    ended(&mut host, "o");
    ended(&mut host, "o");
    assert_eq!(host.history("o").len(), 2);
}

#[test]
fn an_instance_that_has_ended_by_itself_or_never_was_is_not_ended() {
    let mut host = Host::new(&[SHOP]);
    host.create("Shop", "Order", "o", none());
    host.on("leave", |_| nothing());
    host.send("o", "END", none());
    let finished = refused(host.request(end("o")));
    assert_eq!(finished, Refused::InstanceFinished(id("o")));
    let unknown = refused(host.request(end("nobody")));
    assert_eq!(unknown, Refused::UnknownInstance(id("nobody")));
}

#[test]
fn what_waits_at_an_instance_that_is_ended_is_parked() {
    let mut host = host();
    host.on("leave", |_| nothing());
    host.on("act", |_| panics());
    assert_eq!(host.becomes("o", "LATE", none()), Disposition::Deferred);
    assert_eq!(host.becomes("o", "GO", none()), Disposition::Retrying);
    let later = host.request_later(Request::Send(event_for("o", "GO", none())));
    ended(&mut host, "o");
    assert_eq!(
        host.history("o")[3..],
        [
            "$terminated transitioned",
            "GO dead-lettered",
            "LATE dead-lettered",
            "GO rejected"
        ]
    );
    assert!(matches!(host.answer(later), Some(Reply::Handled(_))));
    let parked = host.parked();
    assert_eq!(parked.len(), 2);
    assert!(
        parked
            .iter()
            .all(|letter| letter.why.code() == "instance_finished")
    );
    assert!(host.stored("o").extra.is_none());
    assert_eq!(host.engine.live(), 0);
    host.wait(10_000);
    assert_eq!(host.parked().len(), 2);
}

#[test]
fn a_host_that_ends_before_it_has_parked_a_retry_parks_it_at_its_next_start() {
    let mut host = host();
    host.on("leave", |_| nothing());
    host.on("act", |_| panics());
    host.send("o", "LATE", none());
    host.send("o", "GO", none());
    ended(&mut host, "o");
    let end = host.handled().find(|h| h.event.name.as_str() == TERMINATED);
    let left = end.unwrap().after.clone();
    assert!(left.is_live(), "it owes two dead letters");
    let mut next = Host::new(&[SHOP]);
    next.now = host.now;
    next.inherit(vec![left]);
    next.wait(1_000);
    let mut codes: Vec<_> = next.parked().iter().map(|l| l.why.code()).collect();
    codes.dedup();
    assert_eq!((next.parked().len(), codes), (2, vec!["instance_finished"]));
    assert!(next.stored("o").extra.is_none());
    assert_eq!(next.engine.live(), 0);
}

#[test]
fn delayed_sends_to_itself_are_dropped_and_sends_to_others_leave() {
    let mut host = host();
    host.on("leave", |_| nothing());
    host.create("Shop", "Order", "p", none());
    host.on("send", |_| {
        let other = xcomponent_core::call::Send::ToInstance {
            component: None,
            instance: id("p"),
            event: xcomponent_core::id::EventName::new("END"),
            payload: xcomponent_core::json::Json::empty(),
            delay: Some(xcomponent_core::time::Duration(100)),
        };
        sends(vec![to_self("END", Some(100)), other])
    });
    host.send("o", "SEND", none());
    let snapshot = ended(&mut host, "o");
    let to = |to: &Target| matches!(to, Target::Instance { id: to, .. } if *to == id("p"));
    assert_eq!(snapshot.sends().len(), 1);
    assert!(to(&snapshot.sends()[0].outgoing.to));
    host.wait(100);
    assert_eq!(host.stored("p").status, Status::Completed);
    assert_eq!(host.stored("o").status, Status::Terminated);
    assert_eq!(host.engine.live(), 0);
}

/// Faults are kept, and nothing is tried again.
fn keeping() -> String {
    SHOP.replace("{retry: {max: 3, backoffMs: 1000}}", "keep")
}

fn faulty() -> Host {
    let mut host = Host::new(&[&keeping()]);
    host.on("leave", |_| nothing());
    host.on("act", |_| panics());
    host
}

fn suspended() -> Host {
    let mut host = faulty();
    host.create("Shop", "Order", "o", none());
    for _ in 0..5 {
        host.send("o", "GO", none());
    }
    let now = refused(host.try_send(event_for("o", "GO", none())));
    assert!(matches!(now, Refused::InstanceSuspended { .. }));
    host
}

#[test]
fn a_full_mailbox_keeps_nobody_from_ending_its_instance() {
    let limits = Limits {
        mailbox_max: 1,
        ..Limits::default()
    };
    let mut host = Host::with_limits(&[SHOP], limits);
    host.on("leave", |_| nothing());
    host.on("act", |_| panics());
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", none());
    host.request_later(Request::Send(event_for("o", "END", none())));
    let full = refused(host.try_send(event_for("o", "END", none())));
    assert!(matches!(full, Refused::Busy(_)));
    ended(&mut host, "o");
    assert_eq!(host.engine.live(), 0);
}

#[test]
fn an_instance_that_is_suspended_is_ended() {
    let mut host = suspended();
    ended(&mut host, "o");
    assert_eq!(host.engine.live(), 0);
}

#[test]
fn a_suspended_instance_that_is_unblocked_goes_on() {
    let mut host = suspended();
    let unblock = Request::UnblockInstance { instance: id("o") };
    assert!(matches!(host.request(unblock), Reply::Instance(_)));
    // Its faults are counted from zero.
    assert_eq!(host.becomes("o", "GO", none()), Disposition::DeadLettered);
    host.on("act", |_| nothing());
    assert_eq!(host.becomes("o", "GO", none()), Disposition::Transitioned);
}

#[test]
fn an_instance_that_retries_keeps_its_time_when_it_is_unblocked() {
    let mut host = host();
    host.on("leave", |_| nothing());
    host.on("act", |_| panics());
    host.send("o", "GO", none());
    host.request(Request::UnblockInstance { instance: id("o") });
    assert_eq!(host.history("o").len(), 2);
    host.on("act", |_| nothing());
    host.wait(1_000);
    assert_eq!(host.state("o"), "B");
}

#[test]
fn a_component_that_is_unblocked_goes_on_with_what_waited() {
    let mut host = faulty();
    for n in 0..60 {
        host.create("Shop", "Order", &format!("o{n}"), none());
    }
    let open = (0..60).any(|n| {
        let reply = host.try_send(event_for(&format!("o{n}"), "GO", none()));
        matches!(reply, Reply::Refused(Refused::ComponentSuspended { .. }))
    });
    assert!(open);
    // Timers are due, and wait for the breaker.
    host.wait(500);
    assert_eq!(host.state("o59"), "A");
    host.on("act", |_| nothing());
    let component = ComponentName::new("Shop");
    let Reply::Breakers(breakers) = host.request(Request::Unblock { component }) else {
        panic!("it says how they stand");
    };
    assert!(
        breakers
            .iter()
            .all(|breaker| breaker.state == BreakerState::Closed)
    );
    assert_eq!(host.state("o59"), "B");
    assert_eq!(
        host.becomes("o1", "LATE", none()),
        Disposition::Transitioned
    );
}
