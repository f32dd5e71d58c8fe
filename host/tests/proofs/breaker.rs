//! A component that faults too often is left alone, and asked again after a while.

use std::sync::Arc;

use serde_json::{Value, json};
use xcomponent_core::{
    limits::Limits,
    time::{Duration, Timestamp},
};
use xcomponent_host::driver::clock::ManualClock;

use crate::{
    NOTHING,
    guests::guest,
    host::{TestHost, config},
    turn,
};

/// Instances that fault: few enough times each that none is suspended on its own account.
const INSTANCES: usize = 20;

struct World {
    host: TestHost,
    clock: Arc<ManualClock>,
    instances: Vec<String>,
    limits: Limits,
}

impl World {
    /// A host with one shard, since breakers count by shard.
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::start(Timestamp(1_000_000)));
        let mut config = config();
        config.shards = 1;
        config.clock = clock.clone();
        let limits = config.limits.clone();
        let host = TestHost::start_with(config).await;
        for (name, file) in [
            ("MisbehavingComponent", "misbehaving"),
            ("OrderComponent", "order"),
            ("PaymentComponent", "payment"),
        ] {
            assert_eq!(host.upload(name, guest(file)).await.status, 201);
        }
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            let machine = host.create("MisbehavingComponent", "Misbehaving", NOTHING);
            instances.push(machine.await);
        }
        Self {
            host,
            clock,
            instances,
            limits,
        }
    }

    /// Has the component fault until its breaker opens, and says after how many faults.
    async fn open(&self) -> u32 {
        for (n, instance) in (0..).zip(self.instances.iter().cycle()) {
            let answer = self.host.send(instance, "PANIC", NOTHING).await;
            if answer.status == 503 {
                assert_eq!(answer.problem(503), "component_suspended");
                return n;
            }
            assert_eq!(answer.problem(422), "method_failed");
        }
        unreachable!("the breaker opens")
    }

    async fn state(&self) -> Value {
        let path = "/v1/components/MisbehavingComponent";
        self.host.get(path).await.json()["versions"][0]["breaker"]["state"].take()
    }

    async fn ping(&self, instance: usize) -> u16 {
        let answer = self.host.send(&self.instances[instance], "PING", NOTHING);
        answer.await.status.as_u16()
    }

    fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }
}

#[tokio::test]
async fn a_breaker_opens_after_fifty_faults_and_closes_when_the_component_works_again() {
    let _turn = turn().await;
    let world = World::start().await;
    assert_eq!(world.state().await, "closed");
    assert_eq!(world.open().await, world.limits.breaker_calls_min);
    assert_eq!(world.state().await, "open");
    let answer = world.host.send(&world.instances[0], "PING", NOTHING);
    let answer = answer.await;
    assert_eq!(answer.problem(503), "component_suspended");
    assert_eq!(answer.headers["retry-after"], "10");
    world.pass(world.limits.suspend_for);
    assert_eq!(world.ping(0).await, 200);
    assert_eq!(world.state().await, "closed");
    for instance in 0..INSTANCES {
        assert_eq!(world.ping(instance).await, 200);
    }
}

#[tokio::test]
async fn an_open_breaker_is_nobody_elses_business() {
    let _turn = turn().await;
    let world = World::start().await;
    world.open().await;
    let context = json!({"orderId": "O-1", "amount": 10});
    let order = world.host.create("OrderComponent", "Order", &context).await;
    let submitted = world.host.send(&order, "SUBMIT", NOTHING).await;
    assert_eq!(submitted.text("/disposition"), "transitioned");
}

#[tokio::test]
async fn a_trial_that_faults_doubles_the_time_until_the_next() {
    let _turn = turn().await;
    let world = World::start().await;
    world.open().await;
    world.pass(world.limits.suspend_for);
    let trial = world.host.send(&world.instances[1], "PANIC", NOTHING);
    assert_eq!(trial.await.problem(422), "method_failed");
    assert_eq!(world.state().await, "open");
    world.pass(world.limits.suspend_for);
    assert_eq!(world.ping(0).await, 503);
    world.pass(world.limits.suspend_for);
    assert_eq!(world.ping(0).await, 200);
    assert_eq!(world.state().await, "closed");
}

#[tokio::test]
async fn an_instance_that_faults_five_times_in_a_row_is_left_alone_on_its_own() {
    let _turn = turn().await;
    let world = World::start().await;
    for _ in 0..world.limits.faults_in_row_max {
        let answer = world.host.send(&world.instances[0], "PANIC", NOTHING);
        assert_eq!(answer.await.problem(422), "method_failed");
    }
    let answer = world.host.send(&world.instances[0], "PING", NOTHING);
    assert_eq!(answer.await.problem(503), "instance_suspended");
    assert_eq!(world.ping(1).await, 200);
    world.pass(world.limits.suspend_for);
    assert_eq!(world.ping(0).await, 200);
}
