//! Queues are bounded, and what is over the bound is refused, waits or stays in the log.

use serde_json::{Value, json};
use xcomponent_core::{
    call::Send,
    effect::{Refused, Reply},
    id::{EventName, InstanceId},
    input::{Input, Request},
    json::Json,
    limits::Limits,
    record::{Body, Disposition},
};

use crate::harness::{Host, event_for, none, nothing, panics, refused, sends};

/// A machine that ticks by itself, and one that answers.
fn ticking(component: &str) -> String {
    format!(
        "name: {component}
version: '1'
stateMachines:
- name: Clock
  initialState: A
  states: [A]
  transitions:
  - {{from: A, to: A, event: TICK, type: timeout, timeoutMs: 10}}
  - {{from: A, to: A, event: GO}}
"
    )
}

/// A source that sends to a sink, which is blocked while an event of it is retried.
const SPILLING: &str = "name: Pipe
version: '1'
stateMachines:
- name: Source
  initialState: A
  states: [A]
  transitions: [{from: A, to: A, event: GO, triggeredMethod: pass_on, mergePayload: false}]
- name: Sink
  initialState: A
  onFault: {retry: {max: 1, backoffMs: 1000}}
  states: [A]
  transitions:
  - {from: A, to: A, event: STOP, triggeredMethod: stop}
  - {from: A, to: A, event: TAKE, mergePayload: false}
";

fn limits() -> Limits {
    Limits {
        passivate_after: None,
        breaker: false,
        ..Limits::default()
    }
}

fn is_busy(reply: Reply) -> bool {
    matches!(refused(reply), Refused::Busy(_))
}

fn big(n: usize) -> Value {
    json!({ "n": n, "text": "x".repeat(1_000) })
}

/// A host with a source, and a sink that is blocked for a second.
fn blocked(limits: Limits) -> Host {
    let mut host = Host::with_limits(&[SPILLING], limits);
    let sink = InstanceId::parse("sink").expect("the test is sound");
    host.on("pass_on", move |call| {
        sends(vec![Send::ToInstance {
            component: None,
            instance: sink.clone(),
            event: EventName::new("TAKE"),
            payload: call.event.payload.clone(),
            delay: None,
        }])
    });
    let mut attempts = 0;
    host.on("stop", move |_| {
        attempts += 1;
        if attempts == 1 { panics() } else { nothing() }
    });
    host.create("Pipe", "Source", "source", none());
    host.create("Pipe", "Sink", "sink", none());
    host.send("sink", "STOP", none());
    host
}

fn taken(host: &Host) -> Vec<Value> {
    let taken = host
        .handled()
        .filter(|handled| handled.event.name.as_str() == "TAKE");
    taken.map(|handled| handled.event.payload.value()).collect()
}

#[test]
fn payloads_over_the_budget_stay_in_the_log_and_come_back_in_order() {
    let mut host = blocked(Limits {
        spills_from: Some(64),
        mailbox_bytes_max: 4_000,
        ..limits()
    });
    for n in 0..200 {
        host.send("source", "GO", big(n));
    }
    assert!(host.engine.counters().spilled > 150);
    let (bytes, bare) = (host.engine.waiting_bytes(), 200 * 512);
    assert!(bytes < bare + 8_000, "{bytes} bytes wait");
    host.wait(2_000);
    assert_eq!(taken(&host), (0..200).map(big).collect::<Vec<_>>());
    assert!(host.parked().is_empty());
    assert_eq!(host.engine.waiting_bytes(), 0);
}

#[test]
fn a_payload_is_read_again_once_its_record_is_durable() {
    let mut host = blocked(Limits {
        spills_from: Some(64),
        mailbox_bytes_max: 1,
        ..limits()
    });
    host.holds_commits = true;
    for n in 0..10 {
        host.request_later(Request::Send(event_for("source", "GO", big(n))));
    }
    host.wait(1_500);
    assert!(taken(&host).len() < 10);
    host.commit();
    host.wait(500);
    assert_eq!(taken(&host), (0..10).map(big).collect::<Vec<_>>());
}

#[test]
fn what_comes_from_inside_finds_a_place_where_nothing_spills() {
    let mut host = blocked(Limits {
        mailbox_bytes_max: 1,
        mailbox_max: 1,
        ..limits()
    });
    for n in 0..20 {
        host.send("source", "GO", big(n));
    }
    host.wait(2_000);
    assert_eq!(taken(&host), (0..20).map(big).collect::<Vec<_>>());
}

#[test]
fn a_mailbox_that_is_full_of_bytes_refuses_callers() {
    let mut host = blocked(Limits {
        mailbox_bytes_max: 10_000,
        ..limits()
    });
    let mut accepted = 0;
    loop {
        let ticket = host.request_later(Request::Send(event_for("sink", "TAKE", big(0))));
        let Some(reply) = host.answer(ticket) else {
            accepted += 1;
            continue;
        };
        break assert!(is_busy(reply));
    }
    assert_eq!(accepted, 6);
    host.wait(2_000);
    assert_eq!(taken(&host).len(), accepted);
    assert_eq!(
        host.becomes("sink", "TAKE", big(1)),
        Disposition::Transitioned
    );
}

#[test]
fn work_that_starts_by_itself_waits_until_the_log_has_caught_up() {
    let mut host = Host::with_limits(&[&ticking("Flood")], limits());
    for n in 0..100 {
        host.create("Flood", "Clock", &format!("c{n}"), none());
    }
    host.engine.handle(
        Input::Pace { bytes: 10_000 },
        xcomponent_core::time::Timestamp(host.now),
    );
    host.holds_commits = true;
    let before = host.records.len();
    host.wait(10);
    let written = host.records.len() - before;
    assert!(written < 40, "{written} records are not durable");
    assert!(host.engine.waits_for_commits());
    host.commit();
    assert_eq!(host.records.len() - before, 100);
}

#[test]
fn a_component_below_its_share_works_on_while_another_waits_for_the_log() {
    let mut host = Host::with_limits(&[&ticking("Flood"), &ticking("Polite")], limits());
    for n in 0..100 {
        host.create("Flood", "Clock", &format!("c{n}"), none());
    }
    host.engine.handle(
        Input::Pace { bytes: 10_000 },
        xcomponent_core::time::Timestamp(host.now),
    );
    host.holds_commits = true;
    host.wait(10);
    assert!(host.engine.waits_for_commits());
    host.create("Polite", "Clock", "polite", none());
    assert_eq!(
        host.becomes("polite", "GO", none()),
        Disposition::Transitioned
    );
}

#[test]
fn too_much_work_is_refused_to_the_component_that_causes_it_only() {
    let limits = Limits {
        debt_soft_max: 40,
        ..limits()
    };
    let mut host = Host::with_limits(&[&ticking("Flood"), &ticking("Polite")], limits);
    host.create("Flood", "Clock", "flood", none());
    host.create("Polite", "Clock", "polite", none());
    host.holds_commits = true;
    for _ in 0..60 {
        host.request_later(Request::Send(event_for("flood", "GO", none())));
    }
    assert!(is_busy(host.try_send(event_for("flood", "GO", none()))));
    assert!(is_busy(host.try_create(
        "Flood",
        "Clock",
        "another",
        none()
    )));
    for _ in 0..15 {
        assert_eq!(
            host.becomes("polite", "GO", none()),
            Disposition::Transitioned
        );
    }
    host.commit();
    assert_eq!(
        host.becomes("flood", "GO", none()),
        Disposition::Transitioned
    );
}

#[test]
fn a_cascade_that_is_over_budget_is_one_dead_letter_and_a_count() {
    let yaml = "name: Wide
version: '1'
stateMachines:
- name: Ping
  initialState: A
  states: [{name: A}, {name: B, cascadingRules: [{targetMachine: Ping, event: GO}]}]
  transitions: [{from: A, to: B, event: GO}, {from: B, to: B, event: GO}]
";
    let mut host = Host::with_limits(&[yaml], limits());
    for n in 0..200 {
        host.create("Wide", "Ping", &format!("p{n}"), none());
    }
    let before = host.records.len();
    host.send("p0", "GO", none());
    let records = &host.records[before..];
    // The event, whom it selected, 200 of these, and what one of them parked.
    assert!(records.len() < 700, "{} records", records.len());
    let parked = records
        .iter()
        .filter(|record| matches!(record.body, Body::Parked(_)));
    assert_eq!(parked.count(), 1);
    assert!(host.engine.dropped_over_budget() > 100);
}

#[test]
fn the_bytes_that_one_event_causes_are_paid_for() {
    let yaml = "name: Wide
version: '1'
stateMachines:
- name: Ping
  initialState: A
  states: [A]
  transitions: [{from: A, to: A, event: GO, mergePayload: false}, {from: A, to: A, event: FAN, triggeredMethod: fan, mergePayload: false}]
";
    let mut host = Host::with_limits(&[yaml], limits());
    for n in 0..200 {
        host.create("Wide", "Ping", &format!("p{n}"), none());
    }
    let payload = Json::from_value(&json!({ "text": "x".repeat(1_000_000) }));
    host.on("fan", move |_| {
        let target = |n| Send::ToInstance {
            component: None,
            instance: InstanceId::parse(&format!("p{n}")).expect("the test is sound"),
            event: EventName::new("GO"),
            payload: payload.clone(),
            delay: None,
        };
        sends((1..190).map(target).collect())
    });
    host.send("p0", "FAN", none());
    let got = host
        .handled()
        .filter(|handled| handled.event.name.as_str() == "GO");
    assert_eq!(got.count(), 0, "190 MB are more than one event may cause");
    assert!(
        host.parked()
            .iter()
            .all(|letter| letter.why.code() == "cascade_budget")
    );
}

#[test]
fn a_broadcast_of_too_many_bytes_is_refused() {
    let mut host = Host::with_limits(&[&ticking("Flood")], limits());
    for n in 0..200 {
        host.create("Flood", "Clock", &format!("c{n}"), none());
    }
    let large = json!({ "text": "x".repeat(1_000_000) });
    let refused = refused(host.try_broadcast("Flood", "Clock", "GO", large));
    assert_eq!(refused, Refused::TooManyMatched(163));
    let small = json!({ "text": "x".repeat(1_000) });
    assert_eq!(
        host.broadcast("Flood", "Clock", "GO", small).transitioned,
        200
    );
}

#[test]
fn instances_that_hold_too_many_bytes_leave_memory_and_those_in_use_stay() {
    let limits = Limits {
        instance_bytes_max: 20_000,
        passivate_after: Some(xcomponent_core::time::Duration::from_secs(600)),
        ..limits()
    };
    let mut host = Host::with_limits(&[SPILLING], limits);
    for n in 0..30 {
        host.create("Pipe", "Sink", &format!("s{n}"), big(n));
    }
    assert!(host.engine.instance_bytes() > 60_000);
    for _ in 0..20 {
        host.wait(4);
        host.send("s7", "TAKE", none());
    }
    let bytes = host.engine.instance_bytes();
    assert!(bytes <= 20_000, "{bytes} bytes in memory");
    let asked = host.engine.passive();
    assert_eq!(
        host.becomes("s7", "TAKE", none()),
        Disposition::Transitioned
    );
    assert_eq!(host.engine.passive(), asked, "it was still there");
    assert_eq!(
        host.becomes("s3", "TAKE", none()),
        Disposition::Transitioned
    );
    assert_eq!(host.context("s3"), big(3));
}
