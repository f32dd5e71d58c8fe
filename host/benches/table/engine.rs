//! The engine alone, on one thread: no driver, no store, no sandbox.

use std::{sync::Arc, time::Instant};

use anyhow::ensure;
use xcomponent_core::{
    call::Deployment,
    definition::OnLive,
    effect::Effect,
    engine::{Config, Engine},
    id::{EventName, InstanceId, MachineName, Partition, PartitionCount, TenantId, uuid_v8},
    input::{Input, Request, SendEvent, Ticket},
    json::Json,
    limits::Limits,
    record::AppendSeq,
    time::Timestamp,
};

use crate::{
    ROUNDS, components,
    report::{Rounds, rate},
};

/// Instances that take turns.
const INSTANCES: usize = 10_000;
/// Events of one round.
const EVENTS: usize = 2_000_000;
/// Inputs after which the engine hears that its records are durable.
const TURN: usize = 256;

/// `engine_1t`
pub(crate) fn alone() -> anyhow::Result<Vec<Rounds>> {
    let mut alone = Alone::new(&components::deployment(include_str!(
        "../../../components/bench/component.yaml"
    ))?);
    let ids: Vec<InstanceId> = (0..INSTANCES)
        .map(|n| alone.create("Order", n, components::order(n)))
        .collect();
    let event = EventName::new("NOOP");
    let payload = Json::empty();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let before = alone.engine.counters().transitioned;
        let began = Instant::now();
        for n in 0..EVENTS {
            let send = send(&ids[n % INSTANCES], &event, &payload);
            alone.ask(Request::Send(send));
            alone.perform(|_| ());
            if n % TURN == 0 {
                alone.commit();
            }
        }
        rounds.push(rate(EVENTS, began.elapsed().as_secs_f64()));
        let taken = alone.engine.counters().transitioned - before;
        ensure!(taken == EVENTS as u64, "every event has its transition");
    }
    Ok(vec![rounds])
}

/// An engine that owns everything.
pub(crate) struct Alone {
    pub(crate) engine: Engine,
    deployment: Arc<Deployment>,
    tenant: TenantId,
    appended: AppendSeq,
}

impl Alone {
    /// One that runs a component.
    pub(crate) fn new(deployment: &Arc<Deployment>) -> Self {
        let partitions = PartitionCount::new(1).expect("one is a power of two");
        let mut engine = Engine::new(Config {
            seed: 1,
            partitions,
            limits: Limits::default(),
        });
        let definition = &deployment.definition;
        let tenant = TenantId::default_tenant();
        let inputs = [
            Input::Own(vec![Partition(0)]),
            Input::Deploy(Arc::clone(deployment)),
            Input::Activate {
                tenant: tenant.clone(),
                component: definition.name.clone(),
                version: definition.version.clone(),
                on_live: OnLive::NextEvent,
            },
        ];
        for input in inputs {
            engine.handle(input, NOW);
        }
        Self {
            engine,
            deployment: Arc::clone(deployment),
            tenant,
            appended: AppendSeq(0),
        }
    }

    /// Creates the `n`th instance.
    pub(crate) fn create(&mut self, machine: &str, n: usize, context: Json) -> InstanceId {
        let id = InstanceId::from_uuid(uuid_v8((n as u128 + 1) * 0x9E37_79B9_7F4A_7C15, None));
        let mut request = components::creation(
            &self.deployment.definition.name,
            &MachineName::new(machine),
            id.clone(),
            n,
        );
        if let Request::Create(create) = &mut request {
            create.context = context;
        }
        self.ask(request);
        self.perform(|_| ());
        self.commit();
        id
    }

    /// Tells the engine what somebody asks.
    pub(crate) fn ask(&mut self, request: Request) {
        let tenant = self.tenant.clone();
        self.engine.handle(
            Input::Request {
                ticket: Ticket(0),
                tenant,
                request,
            },
            NOW,
        );
    }

    /// Takes effects until there are none.
    pub(crate) fn perform(&mut self, mut see: impl FnMut(&Effect)) {
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Append { seq, .. } = &effect {
                self.appended = *seq;
            }
            see(&effect);
        }
    }

    /// What was appended so far is durable.
    pub(crate) fn commit(&mut self) {
        let through = self.appended;
        self.engine.handle(Input::Durable { through }, NOW);
    }
}

/// Time stands still: what is measured is not the clock.
const NOW: Timestamp = Timestamp(1_000_000);

/// An event for an instance.
pub(crate) fn send(instance: &InstanceId, event: &EventName, payload: &Json) -> SendEvent {
    SendEvent {
        instance: instance.clone(),
        component: None,
        event: event.clone(),
        payload: payload.clone(),
        id: None,
        expected_state: None,
        sent_at: None,
        trace_parent: None,
    }
}
