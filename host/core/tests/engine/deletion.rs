//! Operators: instances that are deleted.

use xcomponent_core::{
    effect::{Refused, Reply},
    engine::DELETED,
    id::InstanceId,
    input::{Delete, Request, Terminate},
    record::{Disposition, Snapshot, Status},
};

use crate::harness::{Host, event_for, none, nothing, panics, refused, sends, to_self};

const SHOP: &str = "
name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  onFault: {retry: {max: 3, backoffMs: 1000}}
  states: [{name: A, defer: [LATE]}, B, {name: Z, type: final}]
  transitions:
  - {from: A, to: B, event: GO, triggeredMethod: act}
  - {from: A, to: Z, event: END}
  - {from: B, to: B, event: LATE, mergePayload: false}
";

fn host() -> Host {
    let mut host = Host::new(&[SHOP]);
    host.create("Shop", "Order", "o", none());
    host
}

fn id(id: &str) -> InstanceId {
    InstanceId::parse(id).expect("an id of a test is sound")
}

fn delete(instance: &str) -> Request {
    Request::Delete(Delete {
        instance: id(instance),
        trace_parent: None,
    })
}

fn end(instance: &str) -> Request {
    Request::Terminate(Terminate {
        instance: id(instance),
        reason: None,
        trace_parent: None,
    })
}

fn deleted(host: &mut Host, instance: &str) -> Snapshot {
    let Reply::Instance(snapshot) = host.request(delete(instance)) else {
        panic!("it is deleted");
    };
    assert!(snapshot.is_deleted());
    *snapshot
}

#[test]
fn an_instance_that_has_ended_is_deleted_in_its_state_and_leaves_memory() {
    let mut host = host();
    host.send("o", "END", none());
    let snapshot = deleted(&mut host, "o");
    assert_eq!((snapshot.seq, snapshot.state().name.as_str()), (3, "Z"));
    let last = host.handled().last().unwrap();
    assert_eq!(
        (last.event.name.as_str(), last.disposition),
        (DELETED, Disposition::Transitioned)
    );
    assert!(last.is_deletion());
    assert_eq!(host.engine.live(), 0);
}

#[test]
fn a_deleted_instance_is_as_unknown_as_one_that_never_was() {
    let mut host = host();
    host.send("o", "END", none());
    deleted(&mut host, "o");
    let unknown = Refused::UnknownInstance(id("o"));
    let read = Request::Read { instance: id("o") };
    let unblock = Request::UnblockInstance { instance: id("o") };
    for request in [delete("o"), end("o"), read, unblock] {
        assert_eq!(refused(host.request(request)), unknown);
    }
    assert_eq!(
        refused(host.try_send(event_for("o", "GO", none()))),
        unknown
    );
    assert_eq!(
        refused(host.request(delete("nobody"))),
        Refused::UnknownInstance(id("nobody"))
    );
    assert_eq!(host.history("o").len(), 3);
}

#[test]
fn the_id_of_a_deleted_instance_stays_taken_while_its_records_are_there() {
    let mut host = host();
    host.send("o", "END", none());
    deleted(&mut host, "o");
    let taken = refused(host.try_create("Shop", "Order", "o", none()));
    assert_eq!(taken, Refused::InstanceDeleted(id("o")));
}

#[test]
fn an_instance_that_goes_on_is_not_deleted() {
    let mut host = host();
    let refusal = Refused::InstanceActive(id("o"));
    assert_eq!(refused(host.request(delete("o"))), refusal);
    // Also not while it waits for a retry; nobody waits for that.
    host.on("act", |_| panics());
    assert_eq!(host.becomes("o", "GO", none()), Disposition::Retrying);
    assert_eq!(refused(host.request(delete("o"))), refusal);
    assert_eq!(host.stored("o").status, Status::Active);
}

#[test]
fn what_waits_at_an_instance_is_parked_before_it_is_deleted() {
    let mut host = host();
    host.on("act", |_| panics());
    host.send("o", "LATE", none());
    host.send("o", "GO", none());
    let ends = host.request_later(end("o"));
    let goes = host.request_later(delete("o"));
    let late = refused(host.try_send(event_for("o", "GO", none())));
    assert_eq!(late, Refused::UnknownInstance(id("o")));
    for ticket in [ends, goes] {
        assert!(matches!(host.answer(ticket), Some(Reply::Instance(_))));
    }
    assert_eq!(
        host.history("o")[3..],
        [
            "$terminated transitioned",
            "GO dead-lettered",
            "LATE dead-lettered",
            "$deleted transitioned"
        ]
    );
    assert_eq!((host.parked().len(), host.engine.live()), (2, 0));
}

#[test]
fn a_deletion_is_known_to_the_next_host() {
    let mut host = host();
    host.on("act", |_| sends(vec![to_self("LATE", None)]));
    host.on("late", |_| nothing());
    host.send("o", "GO", none());
    host.request(end("o"));
    let snapshot = deleted(&mut host, "o");
    let mut next = Host::new(&[SHOP]);
    next.inherit(vec![snapshot]);
    let unknown = refused(next.try_send(event_for("o", "GO", none())));
    assert_eq!(unknown, Refused::UnknownInstance(id("o")));
    let taken = refused(next.try_create("Shop", "Order", "o", none()));
    assert_eq!(taken, Refused::InstanceDeleted(id("o")));
}
