//! What is counted of machines, and what is said of suspensions.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use xcomponent_core::{
    engine::figures::{DISPOSITIONS, FAULTS, Figures, PARKED, SERIES_MAX},
    id::ComponentName,
    input::{Input, Request},
    limits::Limits,
    record::Disposition,
};

use crate::harness::{Host, event_for, none, panics};

const ORDER: &str = "name: Shop
version: '1'
stateMachines:
- name: Order
  initialState: A
  states: [A, B]
  transitions:
  - {from: A, to: A, event: GO, triggeredMethod: act}
  - {from: A, to: B, event: LATE, type: timeout, timeoutMs: 1000}
";

/// Ways in which a method of `ORDER` may be left alone sooner than after thousands of calls.
fn strict() -> Limits {
    Limits {
        passivate_after: None,
        faults_in_row_max: 2,
        breaker_calls_min: 3,
        breaker_instances_min: 2,
        ..Limits::default()
    }
}

fn of<const N: usize, T: PartialEq>(names: &[T; N], counters: &[AtomicU64; N], name: &T) -> u64 {
    let at = names.iter().position(|one| one == name);
    counters[at.expect("it is counted")].load(Relaxed)
}

fn events(figures: &Figures, disposition: Disposition) -> u64 {
    of(&DISPOSITIONS, &figures.events, &disposition)
}

#[test]
fn events_faults_and_what_waits_are_counted_by_machine() {
    let mut host = Host::new(&[ORDER]);
    host.on("act", |_| panics());
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", none());
    host.send("o", "NEVER", none());
    let series = host.engine.series()[0].clone();
    assert_eq!(
        (series.component.as_str(), series.machine.as_str()),
        ("Shop", "Order")
    );
    let figures = series.figures;
    assert_eq!(events(&figures, Disposition::Transitioned), 1);
    assert_eq!(events(&figures, Disposition::DeadLettered), 1);
    assert_eq!(events(&figures, Disposition::Ignored), 1);
    let trap = FAULTS.iter().position(|code| code.as_str() == "trap");
    assert_eq!(figures.faults[trap.unwrap()].load(Relaxed), 1);
    assert_eq!(of(&PARKED, &figures.parked, &"fault"), 1);
    assert_eq!(figures.timers.load(Relaxed), 1, "LATE is to come");
    assert_eq!(figures.queued.load(Relaxed), 0);

    host.wait(1_000);
    assert_eq!(figures.timers.load(Relaxed), 0);
    assert_eq!(events(&figures, Disposition::Transitioned), 2);
}

#[test]
fn what_waits_at_an_instance_is_counted_until_it_is_done() {
    let retried = ORDER.replace(
        "  initialState: A\n",
        "  initialState: A\n  onFault: {retry: {max: 1, backoffMs: 10}}\n",
    );
    let mut host = Host::new(&[&retried]);
    host.on("act", |_| panics());
    host.create("Shop", "Order", "o", none());
    host.send("o", "GO", none());
    for _ in 0..3 {
        host.request_later(Request::Send(event_for("o", "NEVER", none())));
    }
    let figures = host.engine.series()[0].figures.clone();
    assert_eq!(figures.queued.load(Relaxed), 3);
    assert_eq!(figures.timers.load(Relaxed), 2, "the retry and LATE");
    host.wait(10);
    assert_eq!(figures.queued.load(Relaxed), 0);
    assert_eq!(figures.timers.load(Relaxed), 1);
}

#[test]
fn timers_of_instances_that_only_the_store_has_are_counted() {
    let mut host = Host::with_limits(
        &[&ORDER.replace("1000", "100000000")],
        Limits {
            passivate_after: Some(xcomponent_core::time::Duration(10)),
            ..Limits::default()
        },
    );
    host.create("Shop", "Order", "o", none());
    host.wait(1_000);
    assert_eq!(host.engine.passive(), 1);
    let figures = host.engine.series()[0].figures.clone();
    assert_eq!(figures.timers.load(Relaxed), 1);
}

#[test]
fn counters_outlive_their_component() {
    let mut host = Host::new(&[ORDER]);
    host.create("Shop", "Order", "o", none());
    host.input(Input::Retire {
        tenant: host.tenant.clone(),
        component: ComponentName::new("Shop"),
        version: None,
    });
    host.deploy(ORDER);
    let series = host.engine.series();
    assert_eq!(series.len(), 1);
    assert_eq!(events(&series[0].figures, Disposition::Transitioned), 1);
}

#[test]
fn machines_beyond_the_bound_are_counted_together() {
    const EACH: usize = 10;
    let mut host = Host::new(&[]);
    let wanted = SERIES_MAX + 2 * EACH;
    for component in 0..wanted / EACH {
        let machines: String = (0..EACH)
            .map(|n| format!("- {{name: M{n}, initialState: A, states: [A, B], transitions: [{{from: A, to: B, event: GO}}]}}\n"))
            .collect();
        let yaml = format!("name: C{component}\nversion: '1'\nstateMachines:\n{machines}");
        host.deploy(&yaml);
        host.activate(&yaml, xcomponent_core::definition::OnLive::NextEvent);
        for n in 0..EACH {
            let (name, machine) = (format!("C{component}"), format!("M{n}"));
            host.create(&name, &machine, &format!("{name}-{n}"), none());
        }
    }
    let named = host.engine.series().iter().map(|series| &*series.figures);
    let sum: u64 = named
        .map(|figures| events(figures, Disposition::Transitioned))
        .sum();
    assert_eq!(host.engine.series().len(), SERIES_MAX);
    assert_eq!(sum, SERIES_MAX as u64);
    let others = host.engine.other_series();
    assert_eq!(
        events(others, Disposition::Transitioned),
        (wanted - SERIES_MAX) as u64
    );
}

#[test]
fn who_is_suspended_is_said_by_name() {
    let mut host = Host::with_limits(&[ORDER], strict());
    host.on("act", |_| panics());
    for id in ["o", "p"] {
        host.create("Shop", "Order", id, none());
    }
    host.send("o", "GO", none());
    host.send("o", "GO", none());
    let alone = host.engine.take_suspensions();
    assert_eq!(alone.kept.len(), 1, "{alone:?}");
    let named = &alone.kept[0];
    assert_eq!(
        (named.component.as_str(), named.version.as_str()),
        ("Shop", "1")
    );
    assert_eq!(
        named.instance.as_ref().map(ToString::to_string).as_deref(),
        Some("o")
    );
    assert!(named.until.is_some());

    host.send("p", "GO", none());
    let all = host.engine.take_suspensions();
    assert_eq!(all.kept.len(), 1, "{all:?}");
    assert_eq!(all.kept[0].instance, None);
    assert_eq!(all.kept[0].version.as_str(), "1");
    assert_eq!(host.engine.take_suspensions().kept, []);
}
