//! Shards, the links between them, a log, a clock and callers, in an order that the seed decides.

mod crash;
mod perform;
mod requests;
mod rest;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use fastrand::Rng;
use xcomponent_core::{
    call::{Call, Deployment, Lease},
    definition::{OnLive, Strictness, check},
    effect::Reply,
    engine::{Config, Engine},
    id::{Digest, EventId, InstanceId, PartitionCount, TenantId, Version},
    input::{Input, Ticket},
    limits::Limits,
    record::{AppendSeq, Outgoing},
    sabotage::{Sabotage, sabotage},
    time::Timestamp,
};

use crate::{
    Plan, Report,
    log::Log,
    model::{Key, Model},
    plan::{Bug, Kind},
};

/// The tenants; their instances have the same names.
pub const TENANTS: [&str; 2] = ["acme", "umbra"];

const PARTITIONS: u32 = 8;

/// Everything there is.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    chance: Rng,
    now: Timestamp,
    shards: Vec<Shard>,
    partitions: PartitionCount,
    deployments: Vec<Arc<Deployment>>,
    log: Log,
    model: Model,
    /// What is on its way from one shard to another, in order.
    links: BTreeMap<(usize, usize), VecDeque<Parcel>>,
    /// Questions that no guest has answered yet.
    calls: Vec<(usize, Lease, Call)>,
    /// Who is in a sandbox.
    in_flight: BTreeMap<Key, (usize, Lease)>,
    /// Questions to the store.
    reloads: Vec<(usize, Vec<(TenantId, InstanceId)>)>,
    /// The same about events of callers.
    recalls: VecDeque<(usize, TenantId, InstanceId, EventId)>,
    /// Broadcasts that shards ask about.
    rebroadcasts: VecDeque<(usize, TenantId, EventId)>,
    /// Callers that wait.
    waiting: BTreeMap<Ticket, String>,
    requests: requests::Requests,
    truncations: u64,
    crashes: u64,
    passive: usize,
    /// By tenant: the version of the shop that is active, and what happens to live instances.
    active: BTreeMap<TenantId, (Version, OnLive)>,
    trace: Vec<String>,
}

/// One engine and what it has not been told yet.
#[derive(Debug)]
struct Shard {
    engine: Engine,
    inbox: VecDeque<Input>,
    /// The position of each of its records that is in the log.
    positions: BTreeMap<AppendSeq, u64>,
    /// Its last record that is durable, or void.
    durable: AppendSeq,
    /// Answers that wait for records to become durable.
    gate: Vec<(AppendSeq, Ticket, Reply)>,
    /// By shard: up to which of its records this one has what it sent.
    received: Vec<u64>,
}

/// Something on its way to another shard.
#[derive(Debug)]
struct Parcel {
    tenant: TenantId,
    outgoing: Outgoing,
    after: u64,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(plan: Plan) -> Self {
        let mut chance = Rng::with_seed(plan.seed);
        let partitions = PartitionCount::new(PARTITIONS).expect("it is a power of two");
        let count = chance.usize(1..=3);
        let shards = (0..count)
            .map(|_| Shard::new(&mut chance, &plan, partitions, count))
            .collect();
        let mut world = Self {
            plan,
            chance,
            now: Timestamp(1_000),
            shards,
            partitions,
            deployments: deployments(),
            log: Log::new(count),
            model: Model::new(),
            links: BTreeMap::new(),
            calls: Vec::new(),
            in_flight: BTreeMap::new(),
            reloads: Vec::new(),
            recalls: VecDeque::new(),
            rebroadcasts: VecDeque::new(),
            waiting: BTreeMap::new(),
            requests: requests::Requests::default(),
            truncations: 0,
            crashes: 0,
            passive: 0,
            active: BTreeMap::new(),
            trace: Vec::new(),
        };
        world.begin();
        for _ in 0..20 {
            let tenant = TenantId::new(TENANTS[world.chance.usize(0..TENANTS.len())]);
            world.ask_create(tenant);
        }
        world
    }

    /// Runs the whole plan, and checks everything on the way.
    ///
    /// # Errors
    ///
    /// The first thing that is not as it should be.
    pub fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.plan.steps {
            self.step()?;
        }
        self.come_to_rest()
    }

    /// What the run came to.
    pub fn into_report(self) -> Report {
        Report {
            records: self.log.entries.len(),
            truncations: self.truncations,
            crashes: self.crashes,
            passive: self.passive,
            trace: self.trace,
        }
    }

    /// The shard that an instance lives on.
    fn owner(&self, id: &InstanceId) -> usize {
        self.placement().shard_of(id)
    }

    fn has(&self, bug: Bug) -> bool {
        self.plan.bug == Some(bug)
    }

    fn allows(&self, kind: Kind) -> bool {
        !self.plan.without.contains(&kind)
    }

    fn step(&mut self) -> Result<(), String> {
        let shard = self.chance.usize(0..self.shards.len());
        match self.chance.u32(0..101) {
            0..=21 => self.ask(),
            22..=36 => self.take_from_inbox(shard),
            37..=50 => self.take_parcel(),
            51..=66 => self.answer_call(),
            67..=81 => {
                let effects = self.chance.usize(1..12);
                self.poll(shard, effects)?;
            }
            82..=86 => {
                self.answer_reload();
                self.answer_recall();
            }
            87..=91 => {
                let records = self.chance.usize(1..10);
                self.commit(records)?;
            }
            92..=93 => self.tell_durable(shard),
            94..=98 => self.tick(shard),
            99 => self.truncate(),
            // Long enough lives for something to happen in them.
            _ if self.chance.u32(0..4) == 0 => self.crash(),
            _ => {}
        }
        Ok(())
    }

    fn take_from_inbox(&mut self, shard: usize) {
        let (now, shard) = (self.now, &mut self.shards[shard]);
        if let Some(input) = shard.inbox.pop_front() {
            shard.engine.handle(input, now);
        }
    }

    fn take_parcel(&mut self) {
        let full: Vec<(usize, usize)> = self
            .links
            .iter()
            .filter(|(_, parcels)| !parcels.is_empty())
            .map(|(link, _)| *link)
            .collect();
        if full.is_empty() {
            return;
        }
        let link = full[self.chance.usize(0..full.len())];
        let parcel = self.links.get_mut(&link).and_then(VecDeque::pop_front);
        if let Some(Parcel {
            tenant,
            outgoing,
            after,
        }) = parcel
        {
            self.note(|| format!("s{} gets {} of s{}", link.1, outgoing.event.id, link.0));
            let delivery = Input::Delivery {
                tenant,
                outgoing,
                after,
            };
            let target = &mut self.shards[link.1];
            let received = &mut target.received[link.0];
            *received = after.max(*received);
            target.engine.handle(delivery, self.now);
        }
    }

    fn tell_durable(&mut self, shard: usize) {
        let (now, shard) = (self.now, &mut self.shards[shard]);
        let through = shard.durable;
        shard.engine.handle(Input::Durable { through }, now);
    }

    fn tick(&mut self, shard: usize) {
        if self.allows(Kind::Tick) {
            let span = self.chance.u64(0..20);
            self.now = Timestamp(self.now.0 + span);
        }
        self.note(|| format!("s{shard} looks at the clock"));
        self.shards[shard].engine.handle_timeout(self.now);
        let passive = self.shards.iter().map(|shard| shard.engine.passive());
        self.passive = self.passive.max(passive.sum());
    }

    /// Nothing of what is not durable will ever be: all shards go back together.
    fn truncate(&mut self) {
        if !self.allows(Kind::Truncate) || self.log.waiting() == 0 {
            return;
        }
        self.truncations += 1;
        let position = self.log.durable as u64;
        let first = self.log.entries.get(self.log.durable);
        let refused = first
            .filter(|_| self.plan.refuses() && self.truncations % 2 == 1)
            .filter(|entry| self.model.refused(&entry.record))
            .map(|entry| entry.shard);
        self.log.truncate();
        self.model.truncated(self.shards.len());
        self.note(|| format!("truncated after {position}, refused: {}", refused.is_some()));
        for parcels in self.links.values_mut() {
            parcels.retain(|parcel| parcel.after <= position);
        }
        let now = self.now;
        for (number, shard) in self.shards.iter_mut().enumerate() {
            let told = shard.positions.keys().next_back().copied();
            shard.positions.retain(|_, at| *at <= position);
            for (_, ticket, _) in shard.gate.drain(..) {
                self.waiting.remove(&ticket);
            }
            let after = shard.durable;
            // What is void needs no waiting for.
            shard.durable = shard.durable.max(told.unwrap_or_default());
            shard.engine.handle(
                Input::Truncated {
                    after,
                    position,
                    unstorable: refused == Some(number),
                },
                now,
            );
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{} {}", self.now.0, line());
        self.trace.push(line);
    }
}

impl Shard {
    fn new(chance: &mut Rng, plan: &Plan, partitions: PartitionCount, count: usize) -> Self {
        let limits = Limits {
            breaker: false,
            selection_slice: 3,
            passivate_after: plan.passivate_after(),
            remembered_bytes_max: if chance.bool() { 512 } else { 1 << 20 },
            // Room for the first event only, where the rest may stay in the log.
            mailbox_bytes_max: if plan.spills_from().is_some() {
                1
            } else {
                8 << 20
            },
            spills_from: plan.spills_from(),
            commit_bytes_max: plan.commit_bytes_max(),
            ..Limits::default()
        };
        let seed = chance.u64(..);
        let mut engine = Engine::new(Config {
            seed,
            partitions,
            limits,
        });
        if plan.bug == Some(Bug::ForgetSpilled) {
            sabotage(&mut engine, Sabotage::ForgetSpilled);
        }
        Self {
            engine,
            inbox: VecDeque::new(),
            positions: BTreeMap::new(),
            durable: AppendSeq(0),
            gate: Vec::new(),
            received: vec![0; count],
        }
    }
}

fn deployments() -> Vec<Arc<Deployment>> {
    let mut deployments = Vec::new();
    for tenant in TENANTS {
        for blueprint in crate::blueprint::all() {
            let checked = check(&blueprint.yaml(), Strictness::Normal);
            let definition = checked.definition.unwrap_or_else(|| {
                panic!("the blueprint is sound: {:#?}", checked.findings);
            });
            deployments.push(Arc::new(Deployment {
                tenant: TenantId::new(tenant),
                definition,
                artifact: Digest([0; 32]),
            }));
        }
    }
    deployments
}
