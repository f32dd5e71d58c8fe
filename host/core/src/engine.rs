//! Many instances: everything a shard decides.
//!
//! The engine has four verbs. [`Engine::handle`] takes what happened, [`Engine::poll_effect`]
//! gives what is to be done and, where nothing is left to give, does the next piece of queued
//! work; [`Engine::poll_timeout`] and [`Engine::handle_timeout`] do the same for time. The same
//! seed, inputs and times give the same effects.
//!
//! Reading order: `intake` (how events come in), `run` (one event at one instance), `apply` and
//! `settle` (what it comes to), `cascade` (what goes on to others), `elsewhere` (what comes from
//! other hosts), `outbox` (what is durable and what never will be).

mod apply;
mod birth;
mod breaker;
mod budget;
mod cascade;
mod census;
mod delete;
mod elsewhere;
pub mod figures;
mod fingerprint;
mod instances;
mod intake;
mod outbox;
mod outgoing;
mod passivate;
mod rebroadcast;
mod recall;
mod redeliver;
mod repeats;
mod replay;
mod run;
mod schedule;
mod selection;
mod settle;
mod share;
mod spill;
mod survey;
mod suspensions;
mod tally;
mod terminate;
mod timers;
mod unblock;
mod unread;
mod unreadable;
mod unstorable;
mod versions;
mod waiting;

use std::{collections::VecDeque, sync::Arc};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use self::{
    breaker::Breakers,
    budget::Budget,
    elsewhere::Streams,
    instances::{Instances, Slot},
    outbox::Outbox,
    passivate::Passivation,
    rebroadcast::Rebroadcasts,
    repeats::Repeats,
    schedule::{Schedule, Work},
    selection::Want,
    survey::Survey,
    tally::Counting,
    timers::Timers,
    unreadable::Unreadable,
    unstorable::LeftAlone,
    versions::Components,
};
pub(crate) use self::{budget::exhausted, schedule::Account};
pub use self::{
    delete::DELETED,
    elsewhere::Parcels,
    suspensions::{Suspension, Suspensions},
    terminate::TERMINATED,
    versions::fit,
};
use crate::{
    call::Lease,
    effect::{Effect, Reply},
    id::{EventId, InstanceId, Partition, PartitionCount, TenantId},
    input::{Elsewhere, Input, Ticket},
    instance::{After, mailbox::Mailbox},
    limits::{DUE_MAX, Limits},
    record::{AppendSeq, Disposition},
    time::Timestamp,
};

/// What an engine is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where its chance comes from; differs from shard to shard.
    pub seed: u64,
    /// Partitions of the whole deployment; it owns those that are loaded into it.
    pub partitions: PartitionCount,
    /// What it may hold.
    pub limits: Limits,
}

/// Many instances.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    partitions: PartitionCount,
    owned: Vec<bool>,
    owned_count: u32,
    chance: fastrand::Rng,
    now: Timestamp,
    effects: VecDeque<Effect>,
    instances: Instances,
    components: Components,
    schedule: Schedule,
    timers: Timers,
    outbox: Outbox,
    repeats: Repeats,
    tallies: HashMap<u64, Counting, FixedState>,
    last_tally: u64,
    /// Settled broadcasts, with the last record that each depends on.
    tallies_done: VecDeque<(AppendSeq, u64)>,
    /// Events for instances that the store was asked for.
    absent: HashMap<(TenantId, InstanceId), Mailbox, FixedState>,
    /// Where their bytes are counted.
    absent_account: Arc<Account>,
    /// By the record that has them: instances that wait for payloads.
    fetching: HashMap<repeats::Key, Vec<InstanceId>, FixedState>,
    /// Bytes of records that are not durable, above which components with more than their share
    /// start no work.
    pace: usize,
    /// Instances that the store was asked for and has not answered about.
    asked: HashSet<(TenantId, InstanceId), FixedState>,
    /// Instances that a truncation sent out of memory and that are not back yet.
    returning: HashSet<(TenantId, InstanceId), FixedState>,
    /// Callers' ids that the store is asked about, and whether it must know the answer.
    recalling: HashMap<repeats::Key, bool, FixedState>,
    rebroadcasts: Rebroadcasts,
    /// Whether the store may know answers that this engine does not: it goes on where another
    /// stopped, or was truncated.
    resumed: bool,
    /// Whether it is to make this mistake: see `sabotage`.
    pub(crate) forgets_index: bool,
    /// The same: payloads that were left in the log are never read again.
    pub(crate) forgets_spilled: bool,
    /// What waits for them, or for a survey of the same tenant.
    held: Vec<Want>,
    /// By tenant: what waits for passive instances.
    surveys: HashMap<TenantId, Survey, FixedState>,
    passivation: Passivation,
    leases: HashMap<Lease, Slot, FixedState>,
    last_lease: u64,
    breakers: Breakers,
    left_alone: LeftAlone,
    /// Instances whose records the store cannot read.
    unreadable: Unreadable,
    budget: Budget,
    /// Which components are on other hosts.
    elsewhere: Arc<Elsewhere>,
    /// What other hosts send.
    streams: Streams,
    counters: Counters,
    suspensions: Suspensions,
}

/// How many events came to what since the engine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Took a transition.
    pub transitioned: u64,
    /// Were ignored.
    pub ignored: u64,
    /// Were deferred.
    pub deferred: u64,
    /// Faulted and will be tried again.
    pub retrying: u64,
    /// Were refused.
    pub rejected: u64,
    /// Were parked.
    pub dead_lettered: u64,
    /// Internal deliveries whose payloads stayed in the log while they waited.
    pub spilled: u64,
}

impl Counters {
    pub(crate) fn count(&mut self, disposition: Disposition) {
        self.add(disposition, 1);
    }

    pub(crate) fn add(&mut self, disposition: Disposition, count: u64) {
        let counter = match disposition {
            Disposition::Transitioned => &mut self.transitioned,
            Disposition::Ignored => &mut self.ignored,
            Disposition::Deferred => &mut self.deferred,
            Disposition::Retrying => &mut self.retrying,
            Disposition::Rejected => &mut self.rejected,
            Disposition::DeadLettered => &mut self.dead_lettered,
        };
        *counter += count;
    }
}

impl Engine {
    /// An engine that owns no partition yet.
    pub fn new(config: Config) -> Self {
        let schedule = Schedule::new();
        Self {
            absent_account: Arc::clone(schedule.common_account()),
            pace: config.limits.commit_bytes_max,
            fetching: HashMap::default(),
            forgets_spilled: false,
            limits: config.limits,
            partitions: config.partitions,
            owned: vec![false; config.partitions.get() as usize],
            owned_count: 0,
            chance: fastrand::Rng::with_seed(config.seed),
            now: Timestamp(0),
            effects: VecDeque::new(),
            instances: Instances::default(),
            components: Components::default(),
            schedule,
            timers: Timers::default(),
            outbox: Outbox::default(),
            repeats: Repeats::new(config.seed),
            tallies: HashMap::default(),
            last_tally: 0,
            tallies_done: VecDeque::new(),
            absent: HashMap::default(),
            asked: HashSet::default(),
            returning: HashSet::default(),
            recalling: HashMap::default(),
            rebroadcasts: Rebroadcasts::default(),
            resumed: false,
            forgets_index: false,
            held: Vec::new(),
            surveys: HashMap::default(),
            passivation: Passivation::default(),
            leases: HashMap::default(),
            last_lease: 0,
            breakers: Breakers::default(),
            left_alone: LeftAlone::default(),
            unreadable: Unreadable::default(),
            budget: Budget::default(),
            elsewhere: Arc::default(),
            streams: Streams::default(),
            counters: Counters::default(),
            suspensions: Suspensions::default(),
        }
    }

    /// Takes what happened. Time never goes back.
    pub fn handle(&mut self, input: Input, now: Timestamp) {
        self.now = self.now.max(now);
        match input {
            Input::Request {
                ticket,
                tenant,
                request,
            } => self.request(ticket, tenant, request),
            Input::Delivery {
                tenant,
                outgoing,
                after,
            } => self.receive(&tenant, outgoing, After::There(after)),
            Input::Redeliver(debt) => self.redeliver(debt),
            Input::Resume => self.resumed = true,
            Input::Recalled {
                tenant,
                instance,
                event,
                handled,
            } => self.recalled(tenant, instance, event, handled),
            Input::BroadcastRecalled {
                tenant,
                event,
                reached,
            } => self.broadcast_recalled(tenant, event, &reached),
            Input::Unread {
                instances,
                broadcasts,
            } => self.unread(instances, broadcasts),
            Input::Elsewhere(elsewhere) => self.elsewhere = elsewhere,
            Input::Streams(streams) => self.streams.begin(streams),
            Input::Outcome { lease, outcome } => self.outcome(lease, outcome),
            Input::Deploy(deployment) => self.deploy(deployment),
            Input::Activate {
                tenant,
                component,
                version,
                on_live,
            } => self.activate(&tenant, &component, &version, on_live),
            Input::Retire {
                tenant,
                component,
                version,
            } => self.retire(&tenant, &component, version.as_ref()),
            Input::Own(partitions) => {
                for partition in partitions {
                    self.own(partition, true);
                }
            }
            Input::Load(instances) => {
                instances
                    .into_iter()
                    .for_each(|snapshot| self.load(snapshot));
            }
            Input::Unload { partition } => self.unload(partition),
            Input::Durable { through } => self.durable(through),
            Input::Pace { bytes } => self.pace = bytes.max(1),
            Input::Truncated {
                after,
                position,
                unstorable,
            } => self.truncated(after, position, unstorable),
            Input::Reloaded { asked, found } => self.reloaded(asked, found),
        }
    }

    /// The next thing to be done, after doing queued work where none is ready.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            let undurable_bytes_max = self.undurable_share();
            match self.schedule.pop(undurable_bytes_max)? {
                Work::Instance(slot) => self.run(slot),
                Work::Selection(selecting) => self.go_on(selecting),
            }
        }
    }

    /// When [`Self::handle_timeout`] should be called next; it may be early.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers
            .next()
            .filter(|_| self.schedule.len() < DUE_MAX)
            .into_iter()
            .chain(self.next_passivation())
            .min()
    }

    /// Time has come this far.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while self.schedule.len() < DUE_MAX
            && let Some(slot) = self.timers.pop_due(self.now)
        {
            self.wake(slot);
        }
        self.summon_due();
        self.passivate_idle();
    }

    /// Queued work and effects that nobody has taken.
    pub fn debt(&self) -> usize {
        self.schedule.len() + self.effects.len()
    }

    /// Whether selections wait, for their turn or for instances that are not back yet. Where this
    /// is false and no effect is left, everything that selects instances has been taken in.
    pub fn holds_selections(&self) -> bool {
        self.schedule.has_selections() || !self.held.is_empty() || !self.surveys.is_empty()
    }

    /// Instances in memory.
    pub fn live(&self) -> usize {
        self.instances.len() - self.passive()
    }

    /// Instances that go on and that only the store has.
    pub fn passive(&self) -> usize {
        self.instances.passive_len()
    }

    /// Versions of components that fault too often and are left alone for a while.
    pub fn suspended(&self) -> usize {
        self.breakers.open()
    }

    /// Records that are not durable yet.
    pub fn undurable(&self) -> usize {
        self.outbox.len()
    }

    /// Bytes that callers' keys take.
    pub fn remembered_bytes(&self) -> usize {
        self.repeats.bytes()
    }

    /// How many events came to what.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Deliveries dropped after the first dead letter of their root and instance.
    pub fn dropped_over_budget(&self) -> u64 {
        self.budget.dropped
    }

    fn owns(&self, partition: Partition) -> bool {
        self.owned
            .get(usize::from(partition.0))
            .copied()
            .unwrap_or_default()
    }

    fn owns_everything(&self) -> bool {
        self.owned_count == self.partitions.get()
    }

    fn own(&mut self, partition: Partition, owned: bool) {
        let Some(known) = self.owned.get_mut(usize::from(partition.0)) else {
            return;
        };
        match (std::mem::replace(known, owned), owned) {
            (false, true) => self.owned_count += 1,
            (true, false) => self.owned_count -= 1,
            _ => {}
        }
    }

    fn unload(&mut self, partition: Partition) {
        self.own(partition, false);
        let partitions = self.partitions;
        let inside = |instances: &Instances, slot: Slot| {
            partitions.partition(instances.name(slot).1) == partition
        };
        let mut passive: Vec<Slot> = self.instances.passive_slots().collect();
        passive.retain(|slot| inside(&self.instances, *slot));
        for slot in passive {
            self.instances.forget(slot);
        }
        let mut slots: Vec<Slot> = self.instances.slots().collect();
        slots.retain(|slot| inside(&self.instances, *slot));
        for slot in slots {
            let Some(instance) = self.instances.remove(slot) else {
                continue;
            };
            if let Some(running) = instance.busy.and_then(|busy| busy.running) {
                self.leases.remove(&running.lease);
                self.effects.push_back(Effect::Release {
                    lease: running.lease,
                    healthy: false,
                });
            }
        }
    }

    fn reply(&mut self, ticket: Ticket, reply: Reply) {
        let after = self.outbox.appended();
        self.effects.push_back(Effect::Reply {
            ticket,
            after,
            reply,
        });
    }

    /// A new event's id.
    fn mint(&mut self) -> EventId {
        EventId::made(self.now, self.chance.u128(..))
    }
}
