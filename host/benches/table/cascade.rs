//! Cascades by matching rule: from a source's event to the target's transition.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    time::Instant,
};

use anyhow::{Context, ensure};
use xcomponent_core::{
    call::{Answer, Call, Deployment, Outcome},
    definition::OnLive,
    effect::{Effect, Reply},
    id::{EventName, InstanceId, MachineName, PartitionCount, TenantId},
    input::Request,
    json::Json,
    limits::Limits,
    record::Body,
};
use xcomponent_host::{
    driver::{
        self, Handle,
        clock::SystemClock,
        guests::{Checkout, Guests, Progress},
    },
    store::{
        memory::{self, Memory},
        retention::Retention,
    },
};

use crate::{
    ROUNDS, components,
    engine::{Alone, send},
    note,
    report::{Rounds, number, percentile},
};

/// How many instances are alive in each measurement.
const POPULATIONS: [usize; 4] = [1, 1_000, 100_000, 1_000_000];
/// Cascades of one round.
const CASCADES: usize = 20_000;
/// Instances that cascade.
const SOURCES: usize = 100;
/// Cascades of one round between shards: each waits for threads.
const CASCADES_ACROSS: usize = 5_000;
/// A prime: multiples of it visit instances in no order that a cache would like.
const STRIDE: usize = 7_919;

/// `cascade_same_*`: the engine is asked as a shard asks it, and looked at until it appends the
/// target's record.
pub(crate) fn on_one_shard() -> anyhow::Result<Vec<Rounds>> {
    let mut rows = Vec::new();
    for population in POPULATIONS {
        let (p50, p99) = among(population)?;
        rows.extend([p50, p99]);
    }
    let median = |row: &Rounds| percentile(&mut row.clone(), 0.5);
    note(&format!(
        "   1 000 000 instances against 1 000: p50 ×{}, p99 ×{}",
        number(median(&rows[6]) / median(&rows[2])),
        number(median(&rows[7]) / median(&rows[3])),
    ));
    Ok(rows)
}

fn among(population: usize) -> anyhow::Result<(Rounds, Rounds)> {
    let mut alone = Alone::new(&components::deployment(include_str!(
        "../../../components/bench/component.yaml"
    ))?);
    for n in 0..population {
        alone.create("Target", n, components::order(n));
    }
    let sources: Vec<InstanceId> = (0..SOURCES)
        .map(|n| alone.create("Source", population + n, Json::empty()))
        .collect();
    let event = EventName::new("GO");
    let (mut p50, mut p99) = (Rounds::new(), Rounds::new());
    for _ in 0..ROUNDS {
        let mut taken = Vec::with_capacity(CASCADES);
        for n in 0..CASCADES {
            let payload = Json::from_trusted(named(n * STRIDE % population));
            let request = Request::Send(send(&sources[n % SOURCES], &event, &payload));
            let began = Instant::now();
            alone.ask(request);
            let mut applied = None;
            alone.perform(|effect| {
                if is_applied(effect) {
                    applied = Some(began.elapsed());
                }
            });
            taken.push(micros(applied.context("no target took a transition")?));
            alone.commit();
        }
        p50.push(percentile(&mut taken, 0.5));
        p99.push(percentile(&mut taken, 0.99));
    }
    Ok((p50, p99))
}

/// Whether the target's transition is done with this.
fn is_applied(effect: &Effect) -> bool {
    let Effect::Append { record, .. } = effect else {
        return false;
    };
    matches!(&record.body, Body::Handled(handled) if handled.event.name.as_str() == "EXECUTE")
}

fn named(n: usize) -> String {
    format!(r#"{{"orderId":"ORD-{n:07}"}}"#)
}

fn micros(span: std::time::Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// Two machines that ask their guests in every transition, which is what makes them observable.
const ACROSS: &str = r#"
name: Across
version: 1.0.0
stateMachines:
  - name: Target
    initialState: Open
    states: [{name: Open}]
    transitions:
      - from: Open
        to: Open
        event: EXECUTE
        triggeredMethod: execute
        mergePayload: false
        matchingRules: [{eventProperty: orderId, instanceProperty: orderId}]
  - name: Source
    initialState: Idle
    states:
      - name: Idle
      - name: Sent
        cascadingRules:
          - targetMachine: Target
            event: EXECUTE
            matchingRules: [{eventProperty: orderId, instanceProperty: orderId}]
            payload: {orderId: "{{orderId}}"}
    transitions:
      - {from: "*", to: Sent, event: GO, triggeredMethod: go}
"#;

/// `cascade_other_shard_p50`: from the source's shard asking its guest to the target's shard
/// asking its own.
pub(crate) fn to_another_shard() -> anyhow::Result<Vec<Rounds>> {
    let mut row = Vec::new();
    for shards in [2, 8, 32] {
        let mut world = Across::start(shards)?;
        let (mut p50, mut submitted) = (Rounds::new(), Rounds::new());
        for _ in 0..ROUNDS {
            let (from_source, from_caller) = world.round()?;
            p50.push(from_source);
            submitted.push(from_caller);
        }
        let median = |row: &Rounds| number(percentile(&mut row.clone(), 0.5));
        note(&format!(
            "   asking {shards} shards: {} µs from the source's shard to the target's, {} µs from the caller",
            median(&p50),
            median(&submitted),
        ));
        if shards == 2 {
            row = p50;
        }
    }
    Ok(vec![row])
}

/// Shards with a probe for guests.
struct Across {
    handle: Handle,
    _joiner: driver::Joiner,
    asked: Receiver<Asked>,
    sources: Vec<InstanceId>,
    targets: usize,
}

/// A guest was asked.
struct Asked {
    method: &'static str,
    at: Instant,
}

impl Across {
    /// Sources on the first shard, targets on the last.
    fn start(shards: usize) -> anyhow::Result<Self> {
        let (probe, asked) = mpsc::channel();
        let config = driver::Config {
            shards,
            partitions: PartitionCount::DEFAULT,
            limits: Limits::default(),
            seed: 1,
            clock: Arc::new(SystemClock::start()),
            slow_threads: 1,
            retention: Retention::default(),
            memory: xcomponent_host::memory::Memory::new(1 << 30),
        };
        let store = Arc::new(Memory::new(memory::Config::default()));
        let (handle, joiner) = driver::start(config, store, Probe { asked: probe })?;
        let deployment = components::deployment(ACROSS)?;
        let mut world = Self {
            handle,
            _joiner: joiner,
            asked,
            sources: Vec::new(),
            targets: 0,
        };
        world.deploy(&deployment)?;
        let first_of = |shard: usize| u16::try_from(shard << 8).expect("shards are few");
        for n in 0..SOURCES {
            let source = world.create(&deployment, "Source", first_of(0), n)?;
            world.sources.push(source);
        }
        for n in 0..1_000 {
            world.create(&deployment, "Target", first_of(shards - 1), n)?;
            world.targets = n + 1;
        }
        Ok(world)
    }

    fn deploy(&self, deployment: &Arc<Deployment>) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let definition = &deployment.definition;
        runtime.block_on(async {
            self.handle.deploy(Arc::clone(deployment)).await;
            self.handle
                .activate(
                    &deployment.tenant,
                    &definition.name,
                    &definition.version,
                    OnLive::NextEvent,
                )
                .await;
        });
        Ok(())
    }

    fn create(
        &self,
        deployment: &Arc<Deployment>,
        machine: &str,
        route: u16,
        n: usize,
    ) -> anyhow::Result<InstanceId> {
        let id = self.handle.new_instance_id(Some(route));
        let (component, machine) = (&deployment.definition.name, MachineName::new(machine));
        let request = components::creation(component, &machine, id.clone(), n);
        let reply = self.handle.submit(&deployment.tenant, request).wait();
        ensure!(
            matches!(reply, Reply::Created { .. }),
            "not created: {reply:?}"
        );
        Ok(id)
    }

    /// Medians of a round, in µs: from the source's shard, and from the caller.
    fn round(&mut self) -> anyhow::Result<(f64, f64)> {
        let (tenant, event) = (TenantId::default_tenant(), EventName::new("GO"));
        let (mut from_source, mut from_caller) = (Vec::new(), Vec::new());
        for n in 0..CASCADES_ACROSS {
            let payload = Json::from_trusted(named(n * STRIDE % self.targets));
            let request = Request::Send(send(&self.sources[n % SOURCES], &event, &payload));
            let began = Instant::now();
            let pending = self.handle.submit(&tenant, request);
            let source = self.asked.recv()?;
            let target = self.asked.recv()?;
            ensure!(
                (source.method, target.method) == ("go", "execute"),
                "each cascade reaches one target"
            );
            from_source.push(micros(target.at - source.at));
            from_caller.push(micros(target.at - began));
            drop(pending.wait());
        }
        Ok((
            percentile(&mut from_source, 0.5),
            percentile(&mut from_caller, 0.5),
        ))
    }
}

/// Guests that note when they were asked, and change nothing.
#[derive(Clone)]
struct Probe {
    asked: Sender<Asked>,
}

impl Guests for Probe {
    type Sandbox = ();

    fn checkout(&self, _: &Arc<Deployment>) -> Checkout<()> {
        Checkout::Ready(())
    }

    fn call(&self, (): (), call: Call) -> Progress<()> {
        let method = match call.method.as_str() {
            "go" => "go",
            _ => "execute",
        };
        let at = Instant::now();
        // Whoever listens ends after the last shard.
        let _ = self.asked.send(Asked { method, at });
        let unchanged = Answer::Action {
            context: None,
            sends: Vec::new(),
        };
        let outcome = Outcome {
            result: Ok(unchanged),
            logs: Vec::new(),
            fuel: 0,
        };
        Progress::Finished((), outcome)
    }

    fn release(&self, (): (), _: bool) {}

    fn unused(&self, _: &Arc<Deployment>) {}
}
