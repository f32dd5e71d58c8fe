//! Answers that are large, and answers that nobody reads.

use std::{fmt::Write as _, thread, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Entry, Scale, victim::Victim, wire};

pub(super) const KINDS: &[Entry] = &[
    ("answers-unread", unread),
    ("answers-refused", refused),
    ("answers-wide", wide),
    ("pages-large", large_pages),
];

/// How long clients hold what they have.
const HOLD: Duration = Duration::from_secs(5);

/// A machine that takes any context.
const HOARD: &str = "
name: Hoard
version: 1.0.0
stateMachines:
  - name: Box
    initialState: Full
    states: [{name: Full}]
    transitions:
      - {from: Full, to: Full, event: TOUCH, mergePayload: false}
";

/// Instances with large contexts.
fn hoard(victim: &Victim, boxes: usize) -> Result<()> {
    victim.deploy("Hoard", HOARD)?;
    let context = json!({ "text": "x".repeat(1_000_000) });
    for n in 0..boxes {
        victim.create("Hoard", "Box", &format!("box-{n}"), &context)?;
    }
    Ok(())
}

/// Large answers and streams whose client reads nothing.
fn unread(victim: &mut Victim, scale: Scale) -> Result<()> {
    hoard(victim, scale.of(200))?;
    let paths = [
        "/v1/instances?component=Hoard&limit=1000",
        "/v1/instances/box-0/history?limit=1000",
        "/v1/stream?component=Hoard",
        "/api/instances",
        "/v1/events/trace",
    ];
    let open: Vec<_> = (0..scale.of(400))
        .filter_map(|n| wire::open(victim.address(), &wire::get(paths[n % paths.len()])))
        .collect();
    for n in 0..scale.of(200) {
        let path = format!("/v1/instances/box-{n}/events");
        victim.post(&path, &json!({ "event": "TOUCH", "payload": {} }))?;
    }
    victim.hold(open, HOLD)
}

/// Pages of many large instances, several at once.
fn large_pages(victim: &mut Victim, scale: Scale) -> Result<()> {
    hoard(victim, scale.of(1_000))?;
    let path = "/v1/instances?component=Hoard&limit=1000";
    for _ in 0..scale.of(20) {
        let open: Vec<_> = (0..4)
            .filter_map(|_| wire::open(victim.address(), &wire::get(path)))
            .collect();
        for stream in &open {
            let closed = wire::is_closed_within(stream, Duration::from_secs(1))?;
            ensure!(!closed || victim.peak_mib().is_some(), "the host has ended");
        }
    }
    Ok(())
}

/// Many lines, each of which is refused for everything that is wrong with it.
fn refused(victim: &mut Victim, scale: Scale) -> Result<()> {
    let mut fields = String::new();
    for n in 0..100 {
        write!(
            fields,
            "f{n}: {{type: select, options: [{}]}}, ",
            "x".repeat(500)
        )?;
    }
    let form = format!(
        "name: Form\nversion: 1.0.0\nstateMachines:\n  - name: Form\n    initialState: Open\n    \
         contextSchema: {{{fields}}}\n    states: [{{name: Open}}]\n    transitions:\n      - \
         {{from: Open, to: Open, event: FILL}}\n"
    );
    victim.deploy("Form", &form)?;
    victim.create("Form", "Form", "form", &json!({}))?;
    let wrong: serde_json::Map<String, Value> =
        (0..100).map(|n| (format!("f{n}"), json!("y"))).collect();
    let line = json!({ "instance": "form", "event": "FILL", "payload": wrong });
    let lines = format!("{line}\n").repeat(scale.of(30_000));
    victim.post_lines("/v1/events", &lines)
}

/// What a `"*"` stands for, in many machines.
fn wide(victim: &mut Victim, scale: Scale) -> Result<()> {
    let mut yaml = String::from("name: Wide\nversion: 1.0.0\nstateMachines:\n");
    for machine in 0..scale.of(200) {
        write!(yaml, "  - {{name: M{machine}, initialState: S0, states: [")?;
        (0..90).try_for_each(|n| write!(yaml, "{{name: S{n}}}, "))?;
        yaml.push_str("], transitions: [");
        (0..90).try_for_each(|n| write!(yaml, "{{from: '*', to: S{n}, event: E{n}}}, "))?;
        yaml.push_str("]}\n");
    }
    victim.deploy("Wide", &yaml)?;
    let paths = [
        "/v1/components/Wide",
        "/api/components",
        "/api/components/Wide",
        "/api/components/Wide/machines",
        "/v1/components/Wide/diagram?format=svg",
    ];
    for _ in 0..scale.of(10) {
        thread::scope(|scope| {
            for path in paths {
                scope.spawn(|| victim.get(path));
            }
        });
    }
    Ok(())
}
