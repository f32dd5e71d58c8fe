//! Start, timers, end.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::sync::oneshot;
use xcomponent_core::{record::Disposition, time};
use xcomponent_host::driver::{Kind, RecordFilter};

use crate::{
    faulty::Faulty,
    script::{Behaviour, Scripted, willing},
    world::{PATIENCE, Setup, World, handled, is_busy, is_not_committed, sending, soon},
};

const ORDER: &str = r"
name: Shop
version: '1'
stateMachines:
  - name: Order
    initialState: Created
    states: [{name: Created}, {name: Paid}, {name: Expired}]
    transitions:
      - {from: Created, to: Paid, event: PAY, triggeredMethod: charge}
      - {from: Created, to: Expired, event: LATE, type: timeout, timeoutMs: 5000}
";

fn yielding() -> (Scripted, oneshot::Sender<()>) {
    let (go_on, told) = oneshot::channel::<()>();
    let mut told = Some(told);
    let guests = Scripted::new(move |call| {
        let outcome = willing(call);
        match told.take() {
            Some(told) => Behaviour::Yields(Box::pin(async move {
                told.await.unwrap();
                outcome
            })),
            None => Behaviour::Answers(outcome),
        }
    });
    (guests, go_on)
}

#[tokio::test]
async fn a_timeout_fires_when_its_time_comes() {
    let world = World::start(ORDER, Setup::default()).await;
    let order = world.create("Order", 1, "{}").await;
    let filter = RecordFilter {
        kinds: vec![Kind::Transitioned],
        ..RecordFilter::default()
    };
    let mut records = world.handle.subscribe(&world.tenant, filter, None);
    world.clock.advance(time::Duration(4_999));
    assert_eq!(world.state(&order).await, "Created");
    world.clock.advance(time::Duration(1));
    soon(records.next()).await.unwrap();
    assert_eq!(world.state(&order).await, "Expired");
}

#[tokio::test]
async fn a_shard_whose_thread_hangs_is_noticed() {
    let (enter, entered) = mpsc::sync_channel(1);
    let (go_on, told) = mpsc::sync_channel::<()>(1);
    let guests = Scripted::new(move |call| {
        enter.send(()).unwrap();
        told.recv().unwrap();
        Behaviour::Answers(willing(call))
    });
    let setup = Setup {
        guests,
        ..Setup::default()
    };
    let world = World::start(ORDER, setup).await;
    let order = world.create("Order", 1, "{}").await;
    assert_eq!(world.handle.failure(Duration::from_secs(3_600)), None);
    let paid = world.handle.submit(&world.tenant, sending(&order, "PAY"));
    let entered = tokio::task::spawn_blocking(move || entered.recv_timeout(PATIENCE));
    entered.await.unwrap().unwrap();
    // The first look remembers what the second one compares.
    world.handle.failure(Duration::ZERO);
    let failure = world.handle.failure(Duration::ZERO);
    assert_eq!(failure.unwrap(), "the thread of shard 1 makes no progress");

    go_on.send(()).unwrap();
    assert_eq!(
        handled(soon(paid).await).disposition,
        Disposition::Transitioned
    );
    soon(world.handle.quiet(&world.tenant)).await;
    assert_eq!(world.handle.failure(Duration::ZERO), None);
}

#[tokio::test]
async fn the_end_waits_for_what_is_in_flight_and_admits_nothing_more() {
    let (guests, go_on) = yielding();
    let world = World::start(
        ORDER,
        Setup {
            guests,
            ..Setup::default()
        },
    )
    .await;
    let order = world.create("Order", 0, "{}").await;
    let pending = world.handle.submit(&world.tenant, sending(&order, "PAY"));
    assert_eq!(world.state(&order).await, "Created");
    let (handle, tenant, joiner) = (world.handle.clone(), world.tenant.clone(), world.joiner);
    let ending = tokio::task::spawn_blocking(move || joiner.shutdown(PATIENCE));
    while handle.is_ready() {
        tokio::task::yield_now().await;
    }
    assert!(is_busy(
        &handle.request(&tenant, sending(&order, "PAY")).await
    ));
    go_on.send(()).unwrap();
    assert_eq!(
        handled(soon(pending).await).disposition,
        Disposition::Transitioned
    );
    assert!(soon(ending).await.unwrap());
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let (guests, go_on) = yielding();
    let world = World::start(
        ORDER,
        Setup {
            guests,
            ..Setup::default()
        },
    )
    .await;
    let order = world.create("Order", 0, "{}").await;
    let pending = world.handle.submit(&world.tenant, sending(&order, "PAY"));
    assert_eq!(world.state(&order).await, "Created");
    assert!(!world.joiner.shutdown(Duration::ZERO));
    assert!(is_not_committed(&soon(pending).await));
    drop(go_on);
}

#[tokio::test]
async fn answers_that_wait_for_the_store_leave_before_the_end() {
    let world = World::start(ORDER, Setup::default()).await;
    let order = world.create("Order", 0, "{}").await;
    world.store.hold();
    let pending = world.handle.submit(&world.tenant, sending(&order, "PAY"));
    world.store.wait_for_commit();
    let (store, joiner) = (Arc::clone(&world.store), world.joiner);
    let ending = tokio::task::spawn_blocking(move || joiner.shutdown(PATIENCE));
    store.release();
    assert_eq!(
        handled(soon(pending).await).disposition,
        Disposition::Transitioned
    );
    assert!(soon(ending).await.unwrap());
}

#[tokio::test]
async fn a_new_driver_goes_on_with_what_the_store_has() {
    let store = Arc::new(Faulty::new(true));
    let first = World::start(
        ORDER,
        Setup {
            store: Arc::clone(&store),
            ..Setup::default()
        },
    )
    .await;
    let order = first.create("Order", 0, "{}").await;
    assert!(first.joiner.shutdown(PATIENCE));
    let second = World::start(
        ORDER,
        Setup {
            store,
            ..Setup::default()
        },
    )
    .await;
    assert_eq!(
        second
            .handle
            .gauges()
            .shards
            .iter()
            .map(|shard| shard.live)
            .sum::<usize>(),
        1
    );
    assert_eq!(second.handled(&order, "PAY").await.after.seq, 2);
}
