//! Guests that yield, are late, or fault.

use std::sync::{Arc, Mutex, atomic::Ordering};

use futures_util::FutureExt;
use tokio::sync::oneshot;
use xcomponent_core::{
    call::{Failure, Fault, FaultCode, Outcome},
    record::Disposition,
};
use xcomponent_host::driver::{LetterFilter, PageRequest};

use crate::{
    script::{Behaviour, Scripted, willing},
    world::{Setup, World, handled, sending, soon},
};

const ORDER: &str = r"
name: Shop
version: '1'
stateMachines:
  - name: Order
    initialState: Created
    states: [{name: Created}, {name: Paid}]
    transitions:
      - {from: Created, to: Paid, event: PAY, guard: allowed, triggeredMethod: charge}
";

/// Guests of which the first that is asked for `method` yields until it is told to go on.
fn yielding(method: &'static str) -> (Scripted, oneshot::Sender<()>) {
    let (go_on, told) = oneshot::channel();
    let told = Mutex::new(Some(told));
    let guests = Scripted::new(move |call| {
        let outcome = willing(call);
        let told = told
            .lock()
            .unwrap()
            .take_if(|_| call.method.as_str() == method);
        match told {
            Some(told) => Behaviour::Yields(Box::pin(told.map(|_| outcome))),
            None => Behaviour::Answers(outcome),
        }
    });
    (guests, go_on)
}

#[tokio::test]
async fn a_yielding_guest_blocks_only_its_own_instance() {
    let (guests, go_on) = yielding("charge");
    let world = World::start(
        ORDER,
        Setup {
            guests,
            ..Setup::default()
        },
    )
    .await;
    let slow = world.create("Order", 0, "{}").await;
    let quick = world.create("Order", 0, "{}").await;
    let waiting = world.handle.submit(&world.tenant, sending(&slow, "PAY"));
    let behind = world.handle.submit(&world.tenant, sending(&slow, "PAY"));
    assert_eq!(
        soon(world.handled(&quick, "PAY")).await.disposition,
        Disposition::Transitioned
    );
    assert_eq!(world.state(&slow).await, "Created");
    go_on.send(()).unwrap();
    assert_eq!(
        handled(soon(waiting).await).disposition,
        Disposition::Transitioned
    );
    assert_eq!(
        handled(soon(behind).await).disposition,
        Disposition::Ignored
    );
}

#[tokio::test]
async fn one_sandbox_serves_a_transition_and_is_given_back() {
    let world = World::start(ORDER, Setup::default()).await;
    let order = world.create("Order", 0, "{}").await;
    world.handled(&order, "PAY").await;
    let counts = world.guests.counts();
    assert_eq!(counts.out.load(Ordering::Relaxed), 1);
    assert_eq!(counts.healthy.load(Ordering::Relaxed), 1);
    assert_eq!(counts.unhealthy.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_sandbox_that_comes_later_is_waited_for() {
    let world = World::start(ORDER, Setup::default()).await;
    let order = world.create("Order", 1, "{}").await;
    let (ready, wait) = oneshot::channel();
    world
        .guests
        .next_checkout(Behaviour::SandboxLater(Box::pin(wait.map(drop))));
    let pending = world.handle.submit(&world.tenant, sending(&order, "PAY"));
    assert_eq!(world.state(&order).await, "Created");
    ready.send(()).unwrap();
    assert_eq!(
        handled(soon(pending).await).disposition,
        Disposition::Transitioned
    );
}

#[tokio::test]
async fn without_a_sandbox_the_event_is_parked() {
    let world = World::start(ORDER, Setup::default()).await;
    let order = world.create("Order", 0, "{}").await;
    world.guests.next_checkout(Behaviour::NoSandbox);
    let reply = world.handled(&order, "PAY").await;
    assert_eq!(reply.disposition, Disposition::DeadLettered);
    let letter = world
        .handle
        .dead_letter(&world.tenant, &reply.event.id, Some(&order))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(letter.letter.why.code(), "sandbox_unavailable");
}

#[tokio::test]
async fn a_replay_settles_the_dead_letter() {
    let broken = Arc::new(Mutex::new(true));
    let switch = Arc::clone(&broken);
    let guests = Scripted::new(move |call| {
        let fault = Fault {
            code: FaultCode::Trap,
            message: "boom".into(),
            backtrace: None,
        };
        let faulted = Outcome {
            result: Err(Failure::Fault(fault)),
            logs: Vec::new(),
            fuel: 0,
        };
        Behaviour::Answers(if *switch.lock().unwrap() {
            faulted
        } else {
            willing(call)
        })
    });
    let world = World::start(
        ORDER,
        Setup {
            guests,
            ..Setup::default()
        },
    )
    .await;
    let order = world.create("Order", 0, "{}").await;
    let parked = world.handled(&order, "PAY").await;
    assert_eq!(parked.disposition, Disposition::DeadLettered);
    assert_eq!(world.guests.counts().unhealthy.load(Ordering::Relaxed), 1);

    *broken.lock().unwrap() = false;
    let letters = world.handle.dead_letters(
        &world.tenant,
        LetterFilter::default(),
        PageRequest::first(10),
    );
    let letter = letters.await.unwrap().items.remove(0).letter;
    let replay = xcomponent_core::input::Request::Replay {
        letter: Box::new((*letter).clone()),
    };
    let replayed = handled(world.handle.request(&world.tenant, replay).await);
    assert_eq!(replayed.disposition, Disposition::Transitioned);
    let left = world
        .handle
        .dead_letter_count(&world.tenant, LetterFilter::default());
    assert_eq!(left.await.unwrap(), 0);
}

#[tokio::test]
async fn a_version_is_given_up_when_every_shard_has() {
    let world = World::start(ORDER, Setup::default()).await;
    assert_eq!(world.guests.counts().unused.load(Ordering::Relaxed), 0);
    world
        .handle
        .retire(&world.tenant, &world.component(), None)
        .await;
    // Each shard says so in the turn in which it took the order; its next answer comes later.
    for shard in 0..2 {
        let id = world.handle.new_instance_id(Some(shard << 15));
        world
            .handle
            .request(&world.tenant, sending(&id, "PAY"))
            .await;
    }
    assert_eq!(world.guests.counts().unused.load(Ordering::Relaxed), 1);
}
