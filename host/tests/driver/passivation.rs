//! Instances that nothing happens to leave memory, on a store that has them on a disk.

use std::{sync::Arc, time::Duration};

use xcomponent_core::{input::Request, limits::Limits, record::Disposition, time};
use xcomponent_host::store::sqlite::{self, Sqlite};

use crate::{
    faulty::Faulty,
    world::{Setup, World, soon},
};

const CART: &str = r"
name: Cart
version: '1'
stateMachines:
  - name: Cart
    initialState: Open
    states: [{name: Open}, {name: Full}, {name: Abandoned, type: final}]
    transitions:
      - {from: Open, to: Full, event: FILL}
      - {from: Full, to: Abandoned, event: TIRED, type: timeout, timeoutMs: 3600000}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_idle_leaves_memory_and_comes_back_with_an_event_or_a_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let sqlite = Sqlite::open(&path, sqlite::Config::default()).unwrap();
    let limits = Limits {
        passivate_after: Some(time::Duration::from_secs(60)),
        ..Limits::default()
    };
    let setup = Setup {
        store: Arc::new(Faulty::cut_off(Box::new(sqlite), None)),
        limits,
        ..Setup::default()
    };
    let world = World::start(CART, setup).await;
    let mut carts = Vec::new();
    for n in 0..100 {
        carts.push(world.create("Cart", n % 2, "{}").await);
    }
    assert_eq!(memory(&world), (100, 0));
    soon(until(&world, (0, 100))).await;
    let filled = world.handled(&carts[0], "FILL").await;
    assert_eq!(filled.disposition, Disposition::Transitioned);
    assert_eq!(memory(&world), (1, 99));
    assert_eq!(world.state(&carts[0]).await, "Full");
    soon(until(&world, (0, 100))).await;
    world.clock.advance(time::Duration::from_secs(3_600));
    soon(async {
        while world.state(&carts[0]).await != "Abandoned" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(world.joiner.shutdown(Duration::from_secs(10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_are_due_at_once_are_read_a_few_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let sqlite = Sqlite::open(&path, sqlite::Config::default()).unwrap();
    let store = Arc::new(Faulty::cut_off(Box::new(sqlite), None));
    let limits = Limits {
        passivate_after: Some(time::Duration::from_secs(60)),
        ..Limits::default()
    };
    let setup = Setup {
        store: Arc::clone(&store),
        limits,
        ..Setup::default()
    };
    let world = World::start(CART, setup).await;
    let mut carts = Vec::new();
    for n in 0..100 {
        let cart = world.create("Cart", n % 2, "{}").await;
        world.handled(&cart, "FILL").await;
        carts.push(cart);
    }
    soon(until(&world, (0, 100))).await;
    world.clock.advance(time::Duration::from_secs(3_600));
    soon(async {
        for cart in &carts {
            while world.state(cart).await != "Abandoned" {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    // Any of them may be as large as an instance with all that waits at it.
    assert_eq!(store.asked_at_once(), 8);
    assert!(world.joiner.shutdown(Duration::from_secs(10)));
}

/// How many instances are in memory, and how many only in the store.
fn memory(world: &World) -> (usize, usize) {
    let shards = world.handle.gauges().shards;
    let sum = |count: fn(&_) -> usize| shards.iter().map(count).sum();
    (sum(|shard| shard.live), sum(|shard| shard.passive))
}

/// Lets time go on until memory is like this.
async fn until(world: &World, wanted: (usize, usize)) {
    while memory(world) != wanted {
        world.clock.advance(time::Duration::from_secs(15));
        // Who answers has looked at the clock.
        let census = Request::Census { component: None };
        world.handle.request(&world.tenant, census).await;
    }
}
