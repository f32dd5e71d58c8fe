//! Bodies that never end, and answers that nobody reads.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Entry, Scale, victim::Victim, wire};

pub(super) const KINDS: &[Entry] = &[
    ("bodies-half-sent", half_sent),
    ("bodies-announced", announced),
    ("websocket-unfinished", unfinished_messages),
    ("answers-unread", unread),
    ("pages-large", large_pages),
];

/// Bytes that are sent of each body that is not finished.
const HALF_BYTES: usize = 32 << 20;

/// How long clients hold what they have.
const HOLD: Duration = Duration::from_secs(5);

const BULK: &str = "application/x-ndjson";

/// Bodies of which half is sent.
fn half_sent(victim: &mut Victim, scale: Scale) -> Result<()> {
    let chunk = vec![b'x'; 1 << 20];
    let mut open = Vec::new();
    for n in 0..scale.of(60) {
        let (method, path, kind) = match n % 3 {
            0 => ("POST", "/v1/shipments", "application/json"),
            1 => ("POST", "/v1/events", BULK),
            _ => ("PUT", "/v1/components/Bomb", "application/wasm"),
        };
        let head = wire::head(method, path, kind, 2 * HALF_BYTES);
        let Some(stream) = wire::open(victim.address(), &head) else {
            continue;
        };
        for _ in 0..HALF_BYTES >> 20 {
            if !wire::say(&stream, &chunk) {
                break;
            }
        }
        open.push(stream);
    }
    victim.hold(open, HOLD)
}

/// Bodies of which nothing is sent.
fn announced(victim: &mut Victim, scale: Scale) -> Result<()> {
    let head = wire::head("POST", "/v1/shipments", "application/json", 64 << 20);
    let open: Vec<_> = (0..scale.of(300))
        .filter_map(|_| wire::open(victim.address(), &head))
        .collect();
    victim.hold(open, HOLD)
}

/// Messages to a stream, none of which ends.
fn unfinished_messages(victim: &mut Victim, scale: Scale) -> Result<()> {
    let mut open = Vec::new();
    for _ in 0..scale.of(100) {
        let Some(stream) = wire::open(victim.address(), &wire::upgrade("/v1/stream")) else {
            continue;
        };
        for n in 0..20 {
            if !wire::say(&stream, &wire::fragment(n == 0, 1 << 20)) {
                break;
            }
        }
        open.push(stream);
    }
    victim.hold(open, HOLD)
}

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
