//! Ordinary requests, each allowed, that together are too much.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::{Entry, Scale, pause, victim::Victim};
use crate::guests;

pub(super) const KINDS: &[Entry] = &[
    ("flood-timers", timers),
    ("flood-keys", keys),
    ("flood-mailbox", mailbox),
    ("flood-deferred", deferred),
    ("flood-cascade", cascade),
    ("flood-broadcast", broadcast),
    ("flood-memory", memory),
    ("flood-instances", instances),
];

/// Threads of an attack that sends as fast as it is answered.
const THREADS: usize = 16;

/// What an attacker's instances do.
const FLOOD: &str = "
name: Flood
version: 1.0.0
stateMachines:
  - name: Ticker
    initialState: Ticking
    states: [{name: Ticking}]
    transitions:
      - {from: Ticking, to: Ticking, event: TICK, type: timeout, timeoutMs: 200}
  - name: Keeper
    initialState: Busy
    states:
      - {name: Busy, defer: [LATER]}
      - {name: Free}
    transitions:
      - {from: Busy, to: Busy, event: NOW, mergePayload: false}
      - {from: Free, to: Free, event: LATER, mergePayload: false}
  - name: Node
    initialState: Quiet
    states:
      - name: Quiet
      - name: Loud
        cascadingRules:
          - {targetMachine: Node, event: SHOUT, payload: {}}
    transitions:
      - {from: '*', to: Loud, event: SHOUT, mergePayload: false}
  - name: Listener
    initialState: Listening
    states: [{name: Listening}]
    transitions:
      - {from: Listening, to: Listening, event: HEAR}
";

/// A megabyte.
fn large() -> Value {
    json!({ "text": "x".repeat(1_000_000) })
}

/// Does something so many times from several threads, and stops at the first error.
fn at_once(times: usize, one: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work = || {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= times {
                    return anyhow::Ok(());
                }
                one(n)?;
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow!("an attacker panicked"))??;
        }
        Ok(())
    })
}

/// Instances that wake up five times a second each.
fn timers(victim: &mut Victim, scale: Scale) -> Result<()> {
    victim.deploy("Flood", FLOOD)?;
    at_once(scale.of(20_000), |n| {
        victim.create("Flood", "Ticker", &format!("ticker-{n}"), &json!({}))
    })?;
    pause(Duration::from_secs(10));
    Ok(())
}

/// Events with a key each, whose answers must be remembered.
fn keys(victim: &mut Victim, scale: Scale) -> Result<()> {
    victim.deploy("Flood", FLOOD)?;
    let payload = json!({ "text": "x".repeat(10_000) });
    victim.create("Flood", "Listener", "keyed", &json!({}))?;
    at_once(scale.of(50_000), |n| {
        let body = json!({ "event": "HEAR", "id": format!("key-{n}"), "payload": payload });
        victim.post("/v1/instances/keyed/events", &body).map(drop)
    })
}

/// Large events behind a method that takes its time.
fn mailbox(victim: &mut Victim, scale: Scale) -> Result<()> {
    victim.deploy_wasm("MisbehavingComponent", &guests::path("misbehaving"))?;
    victim.create("MisbehavingComponent", "Misbehaving", "stuck", &json!({}))?;
    let path = "/v1/instances/stuck/events";
    let headers = [("prefer", "respond-async")];
    at_once(scale.of(2_500), |n| {
        let body = match n % 50 {
            0 => json!({ "event": "LOOP", "payload": {} }),
            _ => json!({ "event": "PING", "payload": large() }),
        };
        victim.post_with(path, &body, &headers).map(drop)
    })
}

/// Large events that wait for another state, and small ones meanwhile.
fn deferred(victim: &mut Victim, scale: Scale) -> Result<()> {
    victim.deploy("Flood", FLOOD)?;
    for keeper in 0..scale.of(10) {
        let id = format!("keeper-{keeper}");
        victim.create("Flood", "Keeper", &id, &json!({}))?;
        let path = format!("/v1/instances/{id}/events");
        at_once(100, |_| {
            victim
                .post(&path, &json!({ "event": "LATER", "payload": large() }))
                .map(drop)
        })?;
        at_once(200, |_| {
            victim
                .post(&path, &json!({ "event": "NOW", "payload": {} }))
                .map(drop)
        })?;
    }
    Ok(())
}

/// Every instance tells every other.
fn cascade(victim: &mut Victim, scale: Scale) -> Result<()> {
    victim.deploy("Flood", FLOOD)?;
    at_once(scale.of(1_000), |n| {
        victim.create("Flood", "Node", &format!("node-{n}"), &json!({}))
    })?;
    for n in 0..5 {
        let path = format!("/v1/instances/node-{n}/events");
        victim.post(&path, &json!({ "event": "SHOUT", "payload": {} }))?;
    }
    pause(Duration::from_secs(5));
    Ok(())
}

/// Large events for very many.
fn broadcast(victim: &mut Victim, scale: Scale) -> Result<()> {
    victim.deploy("Flood", FLOOD)?;
    at_once(scale.of(1_500), |n| {
        victim.create("Flood", "Listener", &format!("listener-{n}"), &json!({}))
    })?;
    let path = "/v1/components/Flood/machines/Listener/events";
    for _ in 0..3 {
        victim.post(path, &json!({ "event": "HEAR", "payload": large() }))?;
    }
    Ok(())
}

/// Methods that take all the memory that a sandbox has.
fn memory(victim: &mut Victim, scale: Scale) -> Result<()> {
    victim.deploy_wasm("MisbehavingComponent", &guests::path("misbehaving"))?;
    for n in 0..60 {
        let id = format!("eater-{n}");
        victim.create("MisbehavingComponent", "Misbehaving", &id, &json!({}))?;
    }
    at_once(scale.of(600), |n| {
        let path = format!("/v1/instances/eater-{}/events", n % 60);
        victim
            .post(&path, &json!({ "event": "MEMORY", "payload": {} }))
            .map(drop)
    })
}

/// Large instances, as many as are taken.
fn instances(victim: &mut Victim, scale: Scale) -> Result<()> {
    victim.deploy("Flood", FLOOD)?;
    at_once(scale.of(2_000), |n| {
        victim.create("Flood", "Listener", &format!("large-{n}"), &large())
    })
}
