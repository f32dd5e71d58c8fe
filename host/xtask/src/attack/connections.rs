//! Connections that cost nothing to open and never end.

use std::time::Duration;

use anyhow::Result;

use super::{Entry, Scale, pause, victim::Victim, wire};

pub(super) const KINDS: &[Entry] = &[
    ("connections-slow", slow),
    ("connections-idle", idle),
    ("http2-resets", resets),
];

/// How long slow clients go on.
const ROUNDS: usize = 10;

/// Requests whose head comes a byte at a time.
fn slow(victim: &mut Victim, scale: Scale) -> Result<()> {
    let open = |_| {
        wire::open(
            victim.address(),
            b"GET /v1/instances HTTP/1.1\r\nhost: localhost\r\n",
        )
    };
    let mut open: Vec<_> = (0..scale.of(1_500)).filter_map(open).collect();
    for _ in 0..ROUNDS {
        open.retain(|stream| wire::say(stream, b"x"));
        pause(Duration::from_secs(1));
    }
    victim.hold(open, Duration::ZERO)
}

/// Connections on which nothing is said.
fn idle(victim: &mut Victim, scale: Scale) -> Result<()> {
    let open = (0..scale.of(1_500)).filter_map(|_| wire::open(victim.address(), b""));
    victim.hold(open.collect(), Duration::from_secs(10))
}

/// The preface and the settings of HTTP/2, and then a flood of streams that are reset at once.
fn resets(victim: &mut Victim, scale: Scale) -> Result<()> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    /// `GET / HTTP/2` at `localhost`, by the static table and one literal.
    const BLOCK: &[u8] = b"\x82\x84\x86\x41\x09localhost";
    for _ in 0..scale.of(50) {
        let mut words = PREFACE.to_vec();
        for n in 0..2_000_u32 {
            let stream = (2 * n + 1).to_be_bytes();
            let length = u8::try_from(BLOCK.len())?;
            words.extend([0, 0, length, 1, 5]);
            words.extend(stream);
            words.extend(BLOCK);
            words.extend([0, 0, 4, 3, 0]);
            words.extend(stream);
            words.extend([0, 0, 0, 8]);
        }
        // The host may close the connection in the middle, which is right.
        let _ = wire::open(victim.address(), &words);
    }
    victim.hold(Vec::new(), Duration::ZERO)
}
