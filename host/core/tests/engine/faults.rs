//! Faults, refusals, retries, dead letters, suspension.

use serde_json::json;
use xcomponent_core::{
    effect::{Refused, Reply},
    input::Request,
    limits::Limits,
    record::{Disposition, Reason, Status},
};

use crate::harness::{Host, event_for, none, nothing, panics, refused, refuses};

fn machine(on_fault: &str) -> String {
    format!(
        "name: Shop\nversion: '1'\nstateMachines:\n- name: Order\n  initialState: A\n  onFault: {on_fault}\n  states: [A, B, {{name: Bad, type: error}}]\n  transitions:\n  - {{from: A, to: B, event: GO, triggeredMethod: act}}\n  - {{from: '*', to: A, event: BACK}}\n"
    )
}

#[test]
fn a_refusal_is_no_fault_and_is_never_tried_again() {
    let mut host = Host::new(&[&machine("{retry: {max: 3, backoffMs: 10}}")]);
    host.on("act", |_| refuses("too_late"));
    host.create("Shop", "Order", "o", none());
    let reply = host.send("o", "GO", none());
    assert_eq!(reply.disposition, Disposition::Rejected);
    assert!(
        matches!(reply.reason.as_deref(), Some(Reason::Refused(refusal)) if &*refusal.code == "too_late")
    );
    assert!(host.parked().is_empty());
    assert_eq!(host.engine.poll_timeout(), None);
}

#[test]
fn a_retry_blocks_the_instance_backs_off_and_ends_in_the_dead_letters() {
    let mut host = Host::new(&[&machine("{retry: {max: 2, backoffMs: 10}}")]);
    host.on("act", |_| panics());
    host.create("Shop", "Order", "o", none());
    let first = host.send("o", "GO", none());
    assert_eq!(first.disposition, Disposition::Retrying);
    assert_eq!(first.retry_at().unwrap().0, host.now + 10);
    let back = host.request_later(Request::Send(event_for("o", "BACK", none())));
    assert!(host.answer(back).is_none(), "it waits behind the retry");
    host.wait(10);
    assert!(host.answer(back).is_none());
    host.wait(20);
    assert!(matches!(host.answer(back), Some(Reply::Handled(_))));
    assert_eq!(
        host.history("o")[1..],
        [
            "GO retrying",
            "GO retrying",
            "GO dead-lettered",
            "BACK transitioned"
        ]
    );
    assert_eq!(host.parked()[0].attempts, 3);
}

#[test]
fn a_fault_may_lead_to_an_error_state() {
    let mut host = Host::new(&[&machine("{state: Bad}")]);
    host.on("act", |_| panics());
    host.create("Shop", "Order", "o", none());
    let reply = host.send("o", "GO", none());
    assert_eq!(
        (reply.disposition, reply.fault.is_some()),
        (Disposition::Transitioned, true)
    );
    assert_eq!(host.stored("o").status, Status::Error);
    assert_eq!(host.engine.live(), 0, "it has left memory");
}

#[test]
fn a_dead_letter_is_replayed_once_under_an_id_of_its_own() {
    let mut host = Host::new(&[&machine("keep")]);
    host.on("act", |_| panics());
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", json!({ "n": 1 }));
    let letter = host.parked().remove(0);
    host.on("act", |_| nothing());
    for _ in 0..2 {
        let request = Request::Replay {
            letter: Box::new(letter.clone()),
        };
        let Reply::Handled(reply) = host.request(request) else {
            panic!("it is handled");
        };
        assert_eq!(reply.event.id, letter.event.id.replay(1));
        assert_eq!(reply.disposition, Disposition::Transitioned);
    }
    assert_eq!(host.history("o").len(), 3);
    assert_eq!(
        host.handled().last().unwrap().settles,
        Some(letter.event.id)
    );
}

#[test]
fn a_replay_that_succeeds_at_its_second_attempt_settles_its_dead_letter() {
    let mut host = Host::new(&[&machine("{retry: {max: 1, backoffMs: 10}}")]);
    host.on("act", |_| panics());
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", none());
    host.wait(10);
    let mut letter = host.parked().remove(0);
    // As if it had been parked before anybody looked at it.
    letter.attempts = 0;
    let of = letter.event.id.clone();
    let replayed = host.request(Request::Replay {
        letter: Box::new(letter),
    });
    assert!(
        matches!(replayed, Reply::Handled(reply) if reply.disposition == Disposition::Retrying)
    );
    host.on("act", |_| nothing());
    host.wait(10);
    let last = host.handled().last().unwrap();
    assert_eq!(last.disposition, Disposition::Transitioned);
    assert_eq!(last.settles, Some(of));
}

#[test]
fn an_instance_that_faults_five_times_in_a_row_is_left_alone_for_a_while() {
    let mut host = Host::new(&[&machine("keep")]);
    host.on("act", |_| panics());
    host.create("Shop", "Order", "o", none());
    for _ in 0..5 {
        host.send("o", "GO", none());
    }
    let refused_now = refused(host.try_send(event_for("o", "GO", none())));
    assert!(matches!(refused_now, Refused::InstanceSuspended { .. }));
    host.on("act", |_| nothing());
    host.wait(Limits::default().suspend_for.0);
    assert_eq!(host.becomes("o", "GO", none()), Disposition::Transitioned);
}

#[test]
fn a_breaker_opens_for_everybody_and_closes_after_a_good_trial() {
    let mut host = Host::new(&[&machine("keep")]);
    host.on("act", |_| panics());
    for n in 0..60 {
        let id = format!("o{n}");
        host.create("Shop", "Order", &id, none());
    }
    let open = (0..60).any(|n| {
        let reply = host.try_send(event_for(&format!("o{n}"), "GO", none()));
        matches!(reply, Reply::Refused(Refused::ComponentSuspended { .. }))
    });
    assert!(open);
    host.on("act", |_| nothing());
    host.wait(Limits::default().suspend_for.0);
    assert_eq!(host.becomes("o1", "GO", none()), Disposition::Transitioned);
    assert_eq!(host.becomes("o2", "GO", none()), Disposition::Transitioned);
}

#[test]
fn a_full_mailbox_refuses() {
    let limits = Limits {
        mailbox_max: 1,
        ..Limits::default()
    };
    let yaml = machine("{retry: {max: 1, backoffMs: 1000}}");
    let mut host = Host::with_limits(&[&yaml], limits);
    host.on("act", |_| panics());
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", none());
    host.request_later(Request::Send(event_for("o", "BACK", none())));
    assert!(matches!(
        refused(host.try_send(event_for("o", "BACK", none()))),
        Refused::Busy(_)
    ));
}
