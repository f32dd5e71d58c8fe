//! Every way to misbehave, by eight callers at once, while orders are taken beside them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};
use xcomponent_core::{
    limits::Limits,
    time::{Duration, Timestamp},
};
use xcomponent_host::{driver::clock::ManualClock, sandbox};

use crate::{
    NOTHING,
    allocator::gives_back,
    guests::guest,
    host::{PATIENCE, TestHost, config},
    turn,
};

/// Each event, and the fault that its method must end in: every one that the definition has.
const FAULTS: [(&str, &str); 10] = [
    ("PANIC", "trap"),
    ("LOOP", "cpu_budget"),
    ("MEMORY", "memory_limit"),
    ("STACK", "stack_overflow"),
    ("HUGE", "memory_limit"),
    ("LARGE", "answer_too_large"),
    ("SENDS", "too_many_sends"),
    ("MALFORMED", "answer_malformed"),
    ("LOGS", "cpu_budget"),
    ("GUARD", "send_in_guard"),
];

/// Callers at once.
const CALLERS: usize = 8;

/// How much more memory may be resident after three rounds than before.
const GROWTH_BYTES_MAX: u64 = 32 << 20;

/// Processor time of a call that is stopped: 100 ms of the guest's, as its fuel is meant to be on
/// the machines it was measured on, and the host's own beside it on a slower one.
const CPU_MS_MAX: u64 = 250;

/// What one round leaves in histories and dead letters, and what the allocator takes at a time.
const ROUND_BYTES_MAX: u64 = 8 << 20;

struct World {
    host: TestHost,
    clock: Arc<ManualClock>,
    /// One instance for each caller.
    instances: Vec<String>,
    n_orders: AtomicUsize,
    /// The events that misbehave, and the fault of each.
    methods: Vec<(String, &'static str)>,
}

impl World {
    async fn start() -> Arc<Self> {
        let clock = Arc::new(ManualClock::start(Timestamp(1_000_000)));
        let mut config = config();
        config.clock = clock.clone();
        config.limits = Limits {
            breaker: false,
            ..Limits::default()
        };
        // Work decides, not time: the machine may be busy with something else.
        config.sandbox.wall_per_call_max = PATIENCE;
        let host = TestHost::start_with(config).await;
        for (name, file) in [
            ("MisbehavingComponent", "misbehaving"),
            ("OrderComponent", "order"),
            ("PaymentComponent", "payment"),
        ] {
            assert_eq!(host.upload(name, guest(file)).await.status, 201);
        }
        let mut instances = Vec::new();
        for _ in 0..CALLERS {
            let machine = host.create("MisbehavingComponent", "Misbehaving", NOTHING);
            instances.push(machine.await);
        }
        let methods = methods(&host).await;
        Arc::new(Self {
            methods,
            host,
            clock,
            instances,
            n_orders: AtomicUsize::new(0),
        })
    }

    /// One round of all methods by all callers, with an order beside each call.
    async fn round(self: &Arc<Self>) -> u64 {
        let calls = Arc::new(Semaphore::new(0));
        let mut tasks = JoinSet::new();
        for caller in 0..CALLERS {
            let (world, calls) = (Arc::clone(self), Arc::clone(&calls));
            tasks.spawn(async move { world.misbehave(caller, &calls).await });
        }
        let (world, calls) = (Arc::clone(self), Arc::clone(&calls));
        tasks.spawn(async move { world.take_orders(&calls).await });
        tasks.join_all().await;
        self.pay().await;
        resident_bytes()
    }

    async fn misbehave(&self, caller: usize, calls: &Semaphore) {
        let instance = &self.instances[caller];
        for (event, fault) in &self.methods {
            calls.add_permits(1);
            let answer = self.host.send(instance, event, NOTHING).await;
            assert_eq!(answer.problem(422), "method_failed", "{event}");
            assert_eq!(answer.text("/fault"), *fault, "{event}: {answer:?}");
            let good = self.host.send(instance, "PING", NOTHING).await;
            assert_eq!(good.status, 200, "after {event}: {good:?}");
            assert_eq!(good.text("/disposition"), "transitioned");
        }
    }

    /// Submits an order whenever a caller calls.
    async fn take_orders(&self, calls: &Semaphore) {
        for _ in 0..CALLERS * self.methods.len() {
            let call = calls.acquire().await.expect("it stays open");
            call.forget();
            let number = self.n_orders.fetch_add(1, Ordering::Relaxed);
            let context = json!({"orderId": format!("O-{number}"), "amount": 10});
            let order = self.host.create("OrderComponent", "Order", &context).await;
            let submitted = self.host.send(&order, "SUBMIT", NOTHING).await;
            assert_eq!(submitted.text("/disposition"), "transitioned");
        }
    }

    /// Lets the time pass that payments take, until every order has been paid for.
    async fn pay(&self) {
        let n_orders = self.n_orders.load(Ordering::Relaxed);
        self.until_all("Payment", n_orders).await;
        self.clock.advance(Duration(500));
        let mut left = self.orders("Submitted").await;
        while let Some(order) = left.pop() {
            self.host.until_state(&order, "Paid").await;
        }
        assert_eq!(self.orders("Paid").await.len(), n_orders);
        self.clock.advance(Duration(100));
    }

    /// Waits until there are so many instances of a machine.
    async fn until_all(&self, machine: &str, wanted: usize) {
        let tenant = xcomponent_core::id::TenantId::default_tenant();
        let filter = xcomponent_host::driver::RecordFilter::default();
        let mut records = self.host.host.handle().subscribe(&tenant, filter, None);
        while self.count(&format!("machine={machine}")).await < wanted {
            let more = tokio::time::timeout(PATIENCE, records.next()).await;
            more.expect("something happens soon")
                .expect("the log reaches back");
        }
    }

    async fn count(&self, query: &str) -> usize {
        let path = format!("/v1/instances?count=true&{query}");
        let counts = self.host.get(&path).await.json();
        let counts = counts["items"].as_array().unwrap().iter();
        let sum: u64 = counts.map(|one| one["instances"].as_u64().unwrap()).sum();
        usize::try_from(sum).unwrap()
    }

    /// The orders in a state.
    async fn orders(&self, state: &str) -> Vec<String> {
        let path = format!("/v1/instances?machine=Order&state={state}&limit=1000");
        let orders = self.host.get(&path).await.json();
        let ids = orders["items"].as_array().unwrap().iter();
        ids.map(|order| order["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// All dead letters of the component that misbehaves.
    async fn dead_letters(&self) -> Vec<Value> {
        let path = "/v1/dead-letters?component=MisbehavingComponent&limit=1000";
        let letters = self.host.get(path).await.json();
        letters["items"].as_array().unwrap().clone()
    }
}

/// Every event of the component but the good one, and the fault that it must end in.
async fn methods(host: &TestHost) -> Vec<(String, &'static str)> {
    let machines = host.get("/api/components/MisbehavingComponent/machines");
    let machines = machines.await.json();
    let transitions = machines["machines"][0]["transitions"].as_array().unwrap();
    let events = transitions.iter().map(|one| one["event"].as_str().unwrap());
    let bad = events.filter(|event| *event != "PING");
    let methods: Vec<_> = bad
        .map(|event| {
            let fault = FAULTS.iter().find(|(known, _)| *known == event);
            let (_, fault) = fault.unwrap_or_else(|| panic!("{event} is not expected"));
            (event.to_owned(), *fault)
        })
        .collect();
    assert!(methods.len() >= 9, "{methods:?}");
    methods
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_callers_misbehave_in_every_way_and_nobody_else_notices() {
    if !gives_back("misbehaving::eight_callers_misbehave_in_every_way_and_nobody_else_notices") {
        return;
    }
    let _turn = turn().await;
    let world = World::start().await;
    let before = resident_bytes();
    let threads = n_threads();
    let [first, second, third] = [
        world.round().await,
        world.round().await,
        world.round().await,
    ];
    println!("resident: {before} before, then {first}, {second}, {third} bytes");
    assert_are_parked(&world.methods, &world.dead_letters().await);
    assert_orders_are_whole(&world).await;
    assert!(
        third <= before + GROWTH_BYTES_MAX,
        "{before} bytes were resident before, {third} after three rounds"
    );
    assert!(
        third <= second + ROUND_BYTES_MAX,
        "resident memory grew from {second} to {third} bytes in the third round"
    );
    for shard in world.host.host.handle().gauges().shards {
        assert_eq!((shard.away, shard.inbox), (0, 0), "a call is still out");
    }
    assert!(n_threads() <= threads + 8, "threads were left behind");
    let world = Arc::into_inner(world).expect("nobody else has it");
    assert!(
        world.host.host.shutdown(PATIENCE).await,
        "a thread is stuck"
    );
}

/// Each method of each caller in each round left one letter that names its cause.
fn assert_are_parked(methods: &[(String, &str)], letters: &[Value]) {
    for (event, fault) in methods {
        let own = letters.iter().filter(|one| one["event"]["name"] == **event);
        let own: Vec<&Value> = own.collect();
        assert_eq!(own.len(), 3 * CALLERS, "{event}");
        assert!(own.iter().all(|one| one["reason"]["code"] == **fault));
        assert!(own.iter().all(|one| one["reason"]["message"] != ""));
    }
    let ids: BTreeSet<&str> = letters
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 3 * CALLERS * methods.len());
}

/// Every order has each of its events once, and nothing of it was parked.
async fn assert_orders_are_whole(world: &World) {
    let orders = world.orders("Paid").await;
    assert_eq!(orders.len(), 3 * CALLERS * world.methods.len());
    for order in orders {
        let history = world.host.history(&order).await;
        let events = history.iter().map(|one| one["event"]["name"].as_str());
        let events: Vec<&str> = events.flatten().collect();
        assert_eq!(events, ["$created", "SUBMIT", "PAYMENT_COMPLETED"]);
    }
    let letters = world.host.get("/v1/dead-letters?component=OrderComponent");
    assert_eq!(letters.await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_call_without_end_is_stopped_within_its_budget() {
    let _turn = turn().await;
    let world = World::start().await;
    let instance = &world.instances[0];
    world.host.send(instance, "PING", NOTHING).await;
    for event in ["LOOP", "LOGS"] {
        let mut least_ms = u64::MAX;
        for _ in 0..3 {
            let before = cpu_ms();
            let answer = world.host.send(instance, event, NOTHING).await;
            assert_eq!(answer.text("/fault"), "cpu_budget");
            least_ms = least_ms.min(cpu_ms() - before);
        }
        println!("processor time of a {event} without end: {least_ms} ms");
        assert!(least_ms <= CPU_MS_MAX, "it took {least_ms} ms");
    }
    let fuel_max = sandbox::Config::default().fuel_per_call_max;
    for record in world.host.history(instance).await {
        let fuel = record["fuel"].as_u64().unwrap();
        assert!(fuel <= fuel_max, "{record}");
    }
}

#[tokio::test]
async fn a_memory_bomb_never_has_more_than_its_budget() {
    let _turn = turn().await;
    let world = World::start().await;
    let instance = &world.instances[0];
    world.host.send(instance, "PING", NOTHING).await;
    let before = peak_bytes();
    let answer = world.host.send(instance, "MEMORY", NOTHING).await;
    assert_eq!(answer.text("/fault"), "memory_limit");
    let budget = sandbox::Config::default().memory_bytes_max as u64;
    let peak = peak_bytes();
    println!("peak: {before} before, {peak} after a bomb of {budget} bytes");
    assert!(peak <= before + budget + (8 << 20));
}

/// Memory of this process that is in use now, as the kernel counts it.
fn resident_bytes() -> u64 {
    status_kib("VmRSS:") * 1_024
}

/// The most memory that this process ever used.
fn peak_bytes() -> u64 {
    status_kib("VmHWM:") * 1_024
}

fn n_threads() -> u64 {
    status_kib("Threads:")
}

/// A number in the kernel's account of this process.
fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().split_whitespace().next();
    number.unwrap().parse().unwrap()
}

/// Processor time that this process has used.
fn cpu_ms() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs());
    seconds * 1_000 + nanos / 1_000_000
}
