//! Components and definitions that are expensive to read, and many of them.

use std::{net::TcpStream, thread, time::Duration};

use anyhow::{Result, anyhow, ensure};

use super::{Entry, Scale, bombs, victim::Victim, wire};

pub(super) const KINDS: &[Entry] = &[
    ("wasm-nested-types", nested_types),
    ("wasm-nested-components", nested_components),
    ("yaml-bombs", yaml_bombs),
    ("uploads-at-once", uploads_at_once),
    ("uploads-abandoned", uploads_abandoned),
];

/// Where nothing is.
const PATH: &str = "/v1/components/Bomb";

/// Uploads something that must be refused, in every way in which it can be uploaded.
fn refused(victim: &Victim, kind: &str, bytes: &[u8], what: &str) -> Result<()> {
    for path in [format!("{PATH}?dry-run=true"), PATH.to_owned()] {
        let status = victim.put(&path, kind, bytes)?;
        let is_refusal = matches!(status, 413 | 422 | 429);
        ensure!(is_refusal, "{what} is answered with {status}");
    }
    Ok(())
}

fn nested_types(victim: &mut Victim, _: Scale) -> Result<()> {
    for levels in [90, 700, 1_000, 100_000] {
        let bomb = bombs::nested_types(levels);
        refused(
            victim,
            "application/wasm",
            &bomb,
            &format!("{levels} types"),
        )?;
    }
    Ok(())
}

fn nested_components(victim: &mut Victim, _: Scale) -> Result<()> {
    for levels in [90, 1_000, 40_000] {
        let bomb = bombs::nested_components(levels);
        refused(
            victim,
            "application/wasm",
            &bomb,
            &format!("{levels} components"),
        )?;
    }
    Ok(())
}

/// A definition may be accepted as well, as long as that is cheap.
fn yaml_bombs(victim: &mut Victim, _: Scale) -> Result<()> {
    for (what, yaml) in bombs::definitions() {
        let status = victim.put(PATH, "application/yaml", yaml.as_bytes())?;
        ensure!(status < 500, "{what} is answered with {status}");
    }
    Ok(())
}

/// Bytes of one large upload.
const LARGE_BYTES: usize = 60 << 20;

/// Every upload is large, none is a component.
fn uploads_at_once(victim: &mut Victim, scale: Scale) -> Result<()> {
    let victim = &*victim;
    thread::scope(|scope| {
        let uploads: Vec<_> = (0..scale.of(30))
            .map(|_| {
                scope.spawn(|| {
                    let mut bytes = bombs::nested_components(4);
                    bytes.resize(LARGE_BYTES, 0);
                    victim.put(PATH, "application/wasm", &bytes)
                })
            })
            .collect();
        for upload in uploads {
            let status = upload.join().map_err(|_| anyhow!("an upload panicked"))?;
            // One that is refused early may find its connection closed.
            if let Ok(status) = status {
                ensure!(status < 500, "a large upload is answered with {status}");
            }
        }
        Ok(())
    })
}

/// Each client sends a component that takes a while to compile, and goes away.
fn uploads_abandoned(victim: &mut Victim, scale: Scale) -> Result<()> {
    let component = std::fs::read(crate::guests::path("misbehaving"))?;
    let mut abandoned: Vec<TcpStream> = Vec::new();
    for n in 0..scale.of(60) {
        // Different bytes each time: what was compiled before is not compiled again.
        let mut bytes = component.clone();
        let note = format!("{n:04}");
        bytes.extend([0, 7, 2, b'n', b'o']);
        bytes.extend(note.as_bytes());
        let path = "/v1/components/MisbehavingComponent?dry-run=true";
        let mut words = wire::head("PUT", path, "application/wasm", bytes.len());
        words.extend(bytes);
        abandoned.extend(wire::open(victim.address(), &words));
        if n % 10 == 9 {
            abandoned.clear();
        }
    }
    drop(abandoned);
    victim.hold(Vec::new(), Duration::from_secs(3))
}
