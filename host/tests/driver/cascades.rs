//! Machines that send each other events across shards.

use futures_util::FutureExt;
use tokio::sync::mpsc;
use xcomponent_core::{limits::Limits, record::Disposition};
use xcomponent_host::driver::{Kind, LetterFilter, RecordFilter};

use crate::{
    script::{Behaviour, Scripted, willing},
    world::{PATIENCE, Setup, World, handled, sending, soon},
};

/// A source whose transition hits the targets with the same key.
const HIT: &str = r"
name: Game
version: '1'
stateMachines:
  - name: Source
    initialState: Idle
    states:
      - name: Idle
      - name: Fired
        cascadingRules:
          - {targetMachine: Target, event: HIT, payload: {key: '{{key}}'}, matchingRules: [{eventProperty: key, instanceProperty: key}]}
    transitions:
      - {from: Idle, to: Fired, event: FIRE}
  - name: Target
    initialState: Whole
    states: [{name: Whole}, {name: Down}]
    transitions:
      - {from: Whole, to: Down, event: HIT, triggeredMethod: fall}
";

/// Two machines that hit each other for as long as they may.
const RALLY: &str = r"
name: Rally
version: '1'
stateMachines:
  - name: Left
    initialState: Ready
    states:
      - name: Ready
        cascadingRules: [{targetMachine: Right, event: BALL}]
    transitions:
      - {from: Ready, to: Ready, event: BALL}
  - name: Right
    initialState: Ready
    states:
      - name: Ready
        cascadingRules: [{targetMachine: Left, event: BALL}]
    transitions:
      - {from: Ready, to: Ready, event: BALL}
";

#[tokio::test]
async fn a_transition_on_one_shard_causes_one_on_another() {
    let world = World::start(HIT, Setup::default()).await;
    let source = world.create("Source", 0, r#"{"key": 1}"#).await;
    let hit = world.create("Target", 1, r#"{"key": 1}"#).await;
    let missed = world.create("Target", 1, r#"{"key": 2}"#).await;
    let filter = RecordFilter {
        instance: Some(hit.clone()),
        kinds: vec![Kind::Transitioned],
        ..RecordFilter::default()
    };
    let mut records = world.handle.subscribe(&world.tenant, filter, None);
    let fired = world.handled(&source, "FIRE").await;
    let records = soon(records.next()).await.unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(world.state(&hit).await, "Down");
    assert_eq!(world.state(&missed).await, "Whole");
    let trace = world
        .handle
        .trace(&world.tenant, &fired.event.id)
        .await
        .unwrap();
    assert!(
        trace
            .iter()
            .any(|entry| entry.position == records[0].position)
    );
}

#[tokio::test]
async fn a_slow_store_delays_answers_but_not_cascades() {
    let (falls, mut fell) = mpsc::channel(1);
    let guests = Scripted::new(move |call| {
        falls.try_send(call.instance.clone()).unwrap();
        Behaviour::Answers(willing(call))
    });
    let world = World::start(
        HIT,
        Setup {
            guests,
            ..Setup::default()
        },
    )
    .await;
    let source = world.create("Source", 0, r#"{"key": 1}"#).await;
    let target = world.create("Target", 1, r#"{"key": 1}"#).await;
    world.store.hold();
    let mut pending = world.handle.submit(&world.tenant, sending(&source, "FIRE"));
    let read = world.handle.submit(
        &world.tenant,
        xcomponent_core::input::Request::Read {
            instance: source.clone(),
        },
    );
    assert_eq!(soon(fell.recv()).await, Some(target.clone()));
    assert!((&mut pending).now_or_never().is_none());
    world.store.release();
    assert_eq!(
        handled(soon(pending).await).disposition,
        Disposition::Transitioned
    );
    soon(read).await;
    assert_eq!(world.state(&target).await, "Down");
}

#[tokio::test]
async fn two_shards_that_cascade_into_each_other_at_full_rate_drain() {
    let world = World::start(RALLY, Setup::default()).await;
    let mut players = Vec::new();
    for number in 0..4 {
        players.push(
            world
                .create(
                    if number % 2 == 0 { "Left" } else { "Right" },
                    number % 2,
                    "{}",
                )
                .await,
        );
    }
    let balls = players
        .iter()
        .cycle()
        .take(20)
        .map(|player| sending(player, "BALL"))
        .collect();
    let pending = world.handle.submit_batch(&world.tenant, balls);
    assert_eq!(soon(world.state(&players[0])).await, "Ready");
    for reply in soon(pending).await {
        assert_eq!(handled(reply).disposition, Disposition::Transitioned);
    }
    let (handle, tenant) = (world.handle.clone(), world.tenant.clone());
    assert!(
        world.joiner.shutdown(PATIENCE),
        "everything that was caused comes to an end"
    );
    let filter = LetterFilter {
        code: Some("cascade_budget".to_owned()),
        ..LetterFilter::default()
    };
    assert!(handle.dead_letter_count(&tenant, filter).await.unwrap() > 0);
    assert!(handle.gauges().commit.records > 100_000);
}

#[tokio::test]
async fn what_a_shard_cannot_take_any_more_is_parked() {
    let limits = Limits {
        debt_hard_max: 1,
        breaker: false,
        ..Limits::default()
    };
    let world = World::start(
        RALLY,
        Setup {
            limits,
            ..Setup::default()
        },
    )
    .await;
    for number in 0..200 {
        world
            .create(
                if number % 2 == 0 { "Left" } else { "Right" },
                number % 2,
                "{}",
            )
            .await;
    }
    let player = world.create("Left", 0, "{}").await;
    soon(world.handled(&player, "BALL")).await;
    let (handle, tenant) = (world.handle.clone(), world.tenant.clone());
    assert!(world.joiner.shutdown(PATIENCE));
    let filter = LetterFilter {
        code: Some("overload".to_owned()),
        ..LetterFilter::default()
    };
    assert!(handle.dead_letter_count(&tenant, filter).await.unwrap() > 0);
}
