//! Bodies that never end.

use std::time::Duration;

use anyhow::Result;

use super::{Entry, Scale, victim::Victim, wire};

pub(super) const KINDS: &[Entry] = &[
    ("bodies-half-sent", half_sent),
    ("bodies-announced", announced),
    ("websocket-unfinished", unfinished_messages),
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
