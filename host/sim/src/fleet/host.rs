//! One host: a few shards, a log, lanes to the others.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use fastrand::Rng;
use serde_json::json;
use xcomponent_core::{
    call::Deployment,
    definition::{OnLive, Strictness, check},
    effect::{Destination, Effect, Refused, Reply},
    engine::{Config, Engine},
    id::{
        ComponentName, Digest, EventName, InstanceId, MachineName, PartitionCount, StreamId,
        TenantId,
    },
    input::{Create, Elsewhere, Found, Input, Receive, Repeatable, Request, SendEvent, Ticket},
    json::Json,
    limits::Limits,
    owed::{Owed, Placement, TakenIn},
    record::{AppendSeq, Body, Outgoing},
    time::Timestamp,
};

use super::{bus::Bus, lane::Lane};
use crate::log::Log;

/// Instances of each component.
pub(super) const NODES: usize = 2;

const NOW: Timestamp = Timestamp(1_000);

/// One host.
#[derive(Debug)]
pub(super) struct Host {
    number: usize,
    /// How many hosts there are.
    count: usize,
    pub(super) log: Log,
    shards: Vec<Shard>,
    /// What is on its way from one shard to another, in order.
    links: BTreeMap<(usize, usize), VecDeque<(Outgoing, u64)>>,
    reloads: VecDeque<(usize, Vec<(TenantId, InstanceId)>)>,
    tickets: u64,
    pub(super) lanes: BTreeMap<usize, Lane>,
}

#[derive(Debug)]
struct Shard {
    engine: Engine,
    inbox: VecDeque<Input>,
    positions: BTreeMap<AppendSeq, u64>,
    durable: AppendSeq,
    gate: Vec<(AppendSeq, Ticket, Reply)>,
    received: Vec<u64>,
}

/// The component of a host.
pub(super) fn component(host: usize) -> ComponentName {
    ComponentName::new(format!("C{host}"))
}

/// An instance of it.
pub(super) fn node(host: usize, number: usize) -> InstanceId {
    InstanceId::from_stored(&format!("n-{host}-{number}"))
}

/// Whose everything is.
pub(super) fn tenant() -> TenantId {
    TenantId::default_tenant()
}

/// The stream from one host to the component of another.
pub(super) fn stream(from: usize, to: usize) -> StreamId {
    StreamId::new(format!("h{from}/C{to}"))
}

impl Host {
    pub(super) fn new(number: usize, count: usize, chance: &mut Rng) -> Self {
        let shards = chance.usize(1..=2);
        let others = (0..count).filter(|other| *other != number);
        let mut host = Self {
            number,
            count,
            log: Log::new(shards),
            shards: Vec::new(),
            links: BTreeMap::new(),
            reloads: VecDeque::new(),
            tickets: 0,
            lanes: others
                .map(|other| (other, Lane::new(component(other))))
                .collect(),
        };
        host.shards = (0..shards).map(|_| Shard::new(chance, shards)).collect();
        host.begin();
        for key in 0..NODES {
            let create = Create {
                component: component(number),
                machine: MachineName::new("Node"),
                context: Json::from_value(&json!({ "key": key })),
                id: node(number, key),
                repeatable: Repeatable::ById,
                entry_point: false,
                trace_parent: None,
            };
            host.request(Request::Create(create));
        }
        host
    }

    /// Something happens here that the others are told.
    pub(super) fn ask(&mut self, chance: &mut Rng) {
        let event = if chance.u32(0..4) == 0 { "MAKE" } else { "GO" };
        let send = SendEvent {
            instance: node(self.number, chance.usize(0..NODES)),
            component: None,
            event: EventName::new(event),
            payload: Json::empty(),
            id: None,
            expected_state: None,
            sent_at: None,
            trace_parent: None,
        };
        self.request(Request::Send(send));
    }

    /// What another host sent; whoever waits is told by this ticket.
    pub(super) fn take_in(&mut self, receive: Receive) -> Ticket {
        self.request(Request::Receive(receive))
    }

    fn request(&mut self, request: Request) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let route = match &request {
            Request::Create(create) => create.id.route(),
            Request::Send(send) => send.instance.route(),
            Request::Receive(receive) => receive.stream.route(),
            _ => 0,
        };
        let shard = self.placement().shard_of_route(route);
        self.shards[shard].inbox.push_back(Input::Request {
            ticket,
            tenant: tenant(),
            request,
        });
        ticket
    }

    /// One of the shards does a little.
    pub(super) fn work(&mut self, chance: &mut Rng) -> Result<(), String> {
        let shard = chance.usize(0..self.shards.len());
        match chance.u32(0..4) {
            0 => self.take_from_inbox(shard),
            1 => self.take_from_links(shard),
            2 => self.answer_reload(),
            _ => {
                let effects = chance.usize(1..6);
                self.poll(shard, effects)?;
            }
        }
        let through = self.shards[shard].durable;
        let durable = Input::Durable { through };
        self.shards[shard].engine.handle(durable, NOW);
        Ok(())
    }

    /// All of them do everything there is.
    pub(super) fn work_all(&mut self) -> Result<(), String> {
        for _ in 0..200 {
            for shard in 0..self.shards.len() {
                self.take_from_inbox(shard);
                self.take_from_links(shard);
                self.answer_reload();
                self.poll(shard, usize::MAX)?;
                let through = self.shards[shard].durable;
                let durable = Input::Durable { through };
                self.shards[shard].engine.handle(durable, NOW);
            }
            if self.is_idle() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        let idle = |shard: &Shard| shard.inbox.is_empty() && shard.engine.debt() == 0;
        self.shards.iter().all(idle)
            && self.links.values().all(VecDeque::is_empty)
            && self.reloads.is_empty()
    }

    /// Whether nothing happens here.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_idle() && self.log.waiting() == 0
    }

    fn take_from_inbox(&mut self, shard: usize) {
        if let Some(input) = self.shards[shard].inbox.pop_front() {
            self.shards[shard].engine.handle(input, NOW);
        }
    }

    /// What one record sent to a shard comes all at once.
    fn take_from_links(&mut self, shard: usize) {
        for from in 0..self.shards.len() {
            let Some(link) = self.links.get_mut(&(from, shard)) else {
                continue;
            };
            let Some(after) = link.front().map(|(_, after)| *after) else {
                continue;
            };
            let shard = &mut self.shards[shard];
            while let Some((outgoing, _)) = link.pop_front_if(|(_, of)| *of == after) {
                let delivery = Input::Delivery {
                    tenant: tenant(),
                    outgoing,
                    after,
                };
                shard.engine.handle(delivery, NOW);
            }
            shard.received[from] = after.max(shard.received[from]);
        }
    }

    fn answer_reload(&mut self) {
        let Some((shard, asked)) = self.reloads.pop_front() else {
            return;
        };
        let known = asked
            .iter()
            .filter_map(|(tenant, id)| self.log.instance(tenant, id));
        let found = Found {
            instances: known.cloned().collect(),
            unreadable: Vec::new(),
        };
        let input = Input::Reloaded { asked, found };
        self.shards[shard].engine.handle(input, NOW);
    }

    fn poll(&mut self, shard: usize, at_most: usize) -> Result<(), String> {
        let mut left = at_most;
        while let Some(effect) = self.shards[shard].engine.poll_effect() {
            let delivers = matches!(effect, Effect::Deliver { .. });
            self.perform(shard, effect)?;
            left -= usize::from(left > 0);
            // What one record sends leaves at once.
            if left == 0 && !delivers {
                return Ok(());
            }
        }
        self.tell_received(shard);
        Ok(())
    }

    fn tell_received(&mut self, number: usize) {
        let shard = &mut self.shards[number];
        if !shard.engine.holds_selections() {
            let own = shard.positions.values().next_back().copied();
            shard.received[number] = own.unwrap_or_default().max(shard.received[number]);
            self.log.take_in(number, shard.received.as_slice().into());
        }
    }

    fn perform(&mut self, number: usize, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Append { seq, record } => {
                if let Body::Parked(letter) = &record.body {
                    return Err(format!("{} was parked: {:?}", letter.event.id, letter.why));
                }
                let position = self.log.append(number, seq, record);
                self.shards[number].positions.insert(seq, position);
            }
            Effect::Deliver {
                to,
                outgoing,
                after,
                ..
            } => {
                let position = self.shards[number].positions.get(&after).copied();
                let position = position.ok_or("a delivery before its record")?;
                let count = self.shards.len();
                let targets: Vec<usize> = match to {
                    Destination::Partition(partition) => vec![self.placement().owner(partition)],
                    Destination::Others => (0..count).filter(|other| *other != number).collect(),
                };
                for target in targets {
                    let link = self.links.entry((number, target)).or_default();
                    link.push_back((Outgoing::clone(&outgoing), position));
                }
            }
            Effect::Reply {
                ticket,
                after,
                reply,
            } => self.shards[number].gate.push((after, ticket, reply)),
            Effect::Reload { instances } => self.reloads.push_back((number, instances)),
            Effect::Recall { event, .. } | Effect::RecallBroadcast { event, .. } => {
                return Err(format!("nobody repeats {event}"));
            }
            Effect::Invoke { .. } => return Err("there are no methods".to_owned()),
            Effect::Release { .. } | Effect::Unused { .. } => {}
        }
        Ok(())
    }

    /// So many records become durable, and what waits for them leaves.
    pub(super) fn commit(&mut self, records: usize, bus: &mut Bus) -> Result<(), String> {
        for _ in 0..records {
            let Some(entry) = self.log.commit()? else {
                break;
            };
            let (shard, seq) = (entry.shard, entry.seq);
            self.shards[shard].durable = seq;
        }
        for shard in &mut self.shards {
            let durable = shard.durable;
            let gate = std::mem::take(&mut shard.gate);
            let (leave, stay): (Vec<_>, Vec<_>) =
                gate.into_iter().partition(|(after, ..)| *after <= durable);
            shard.gate = stay;
            for (_, ticket, reply) in leave {
                match reply {
                    Reply::Received { .. } => bus.taken_in(self.number, ticket, true),
                    Reply::Refused(Refused::Gap { .. } | Refused::NotCommitted) => {
                        bus.taken_in(self.number, ticket, false);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Sends what is next on some of the lanes, or once more what was not confirmed.
    pub(super) fn ship(&mut self, chance: &mut Rng, bus: &mut Bus) {
        self.ship_to(bus, |_| chance.bool());
    }

    /// The same on all of them; whether there was anything.
    pub(super) fn ship_all(&mut self, bus: &mut Bus) -> bool {
        self.ship_to(bus, |_| true)
    }

    fn ship_to(&mut self, bus: &mut Bus, mut is_meant: impl FnMut(usize) -> bool) -> bool {
        let mut has_sent = false;
        for (other, lane) in &mut self.lanes {
            if !is_meant(*other) {
                continue;
            }
            let parcels = lane.next(&self.log);
            if !parcels.is_empty() {
                has_sent = true;
                let stream = stream(self.number, *other);
                bus.send(self.number, *other, Receive { stream, parcels });
            }
        }
        has_sent
    }

    /// The store is told what has arrived.
    pub(super) fn note(&mut self) {
        self.lanes.values_mut().for_each(Lane::note);
    }

    /// Nothing of what is not durable will ever be.
    pub(super) fn truncate(&mut self) {
        let position = self.log.durable as u64;
        self.log.truncate();
        for parcels in self.links.values_mut() {
            parcels.retain(|(_, after)| *after <= position);
        }
        for shard in &mut self.shards {
            let told = shard.positions.keys().next_back().copied();
            shard.positions.retain(|_, at| *at <= position);
            // This log gives out the same positions again.
            let received = shard.received.iter_mut();
            received.for_each(|through| *through = position.min(*through));
            shard.gate.clear();
            let after = shard.durable;
            shard.durable = shard.durable.max(told.unwrap_or_default());
            let truncated = Input::Truncated {
                after,
                position,
                unstorable: false,
            };
            shard.engine.handle(truncated, NOW);
        }
    }

    /// The host is killed, and another goes on with what its log has.
    pub(super) fn crash(&mut self, chance: &mut Rng) {
        self.log.truncate();
        self.links.clear();
        self.reloads.clear();
        let count = self.shards.len();
        self.shards = (0..count).map(|_| Shard::new(chance, count)).collect();
        self.lanes.values_mut().for_each(Lane::crash);
        self.begin();
    }

    fn begin(&mut self) {
        let placement = self.placement();
        let deployment = Arc::new(deployment(self.number, self.count));
        let elsewhere = Arc::new(Elsewhere {
            named: Default::default(),
            all: true,
        });
        for number in 0..self.shards.len() {
            let here = |id: &InstanceId| placement.shard_of(id) == number;
            let live = self.log.live().filter(|found| here(&found.id));
            let inputs = [
                Input::Deploy(Arc::clone(&deployment)),
                Input::Activate {
                    tenant: tenant(),
                    component: deployment.definition.name.clone(),
                    version: deployment.definition.version.clone(),
                    on_live: OnLive::NextEvent,
                },
                Input::Elsewhere(Arc::clone(&elsewhere)),
                Input::Own(placement.owned_by(number).collect()),
                Input::Streams(self.streams()),
                Input::Load(live.cloned().collect()),
            ];
            for input in inputs {
                self.shards[number].engine.handle(input, NOW);
            }
        }
        for debt in self.owed().debts() {
            for (number, debt) in debt.addressed(placement) {
                let redeliver = Input::Redeliver(debt);
                self.shards[number].engine.handle(redeliver, NOW);
            }
        }
        let last = self.log.durable as u64;
        for shard in &mut self.shards {
            shard.received.fill(last);
        }
    }

    /// Up to where the durable log has taken in each stream.
    fn streams(&self) -> Vec<(TenantId, StreamId, u64)> {
        let mut streams = BTreeMap::new();
        for entry in &self.log.entries[..self.log.durable] {
            if let Body::Received(received) = &entry.record.body {
                streams.insert(received.stream.clone(), received.through);
            }
        }
        let all = streams.into_iter();
        all.map(|(stream, through)| (tenant(), stream, through))
            .collect()
    }

    fn owed(&self) -> Owed {
        let taken_in = TakenIn {
            placement: self.placement(),
            rows: self.log.taken_in.clone(),
        };
        let mut owed = Owed::new(taken_in.clone());
        for (entry, position) in self.log.entries.iter().zip(1..).take(self.log.durable) {
            owed.note(position, &entry.record);
        }
        owed.taken_in(&taken_in);
        owed
    }

    fn placement(&self) -> Placement {
        Placement {
            partitions: PartitionCount::new(8).expect("it is a power of two"),
            shards: self.shards.len(),
        }
    }
}

impl Shard {
    fn new(chance: &mut Rng, count: usize) -> Self {
        let limits = Limits {
            breaker: false,
            passivate_after: None,
            ..Limits::default()
        };
        Self {
            engine: Engine::new(Config {
                seed: chance.u64(..),
                partitions: PartitionCount::new(8).expect("it is a power of two"),
                limits,
            }),
            inbox: VecDeque::new(),
            positions: BTreeMap::new(),
            durable: AppendSeq(0),
            gate: Vec::new(),
            received: vec![0; count],
        }
    }
}

/// What an instance does, all others are told; what one makes is made at the next host.
fn deployment(number: usize, count: usize) -> Deployment {
    let rules: String = (0..count)
        .filter(|other| *other != number)
        .map(|other| {
            format!(
                "    - {{targetComponent: C{other}, targetMachine: Node, event: HIT, \
                 matchingRules: [{{eventProperty: key, instanceProperty: key}}], \
                 payload: {{key: '{{{{key}}}}'}}}}\n"
            )
        })
        .collect();
    let next = (number + 1) % count;
    let yaml = format!(
        "name: C{number}
version: '1'
stateMachines:
- name: Node
  initialState: Idle
  states:
  - Idle
  - name: Gone
    cascadingRules:
{rules}  transitions:
  - {{from: [Idle, Gone], to: Gone, event: GO}}
  - {{from: Idle, to: Idle, event: HIT, type: internal, mergePayload: false}}
  - {{from: Gone, to: Gone, event: HIT, type: internal, mergePayload: false}}
  - {{from: Idle, to: Idle, event: MAKE, type: cross_component, targetComponent: C{next}, targetMachine: Made}}
  - {{from: Gone, to: Idle, event: MAKE, type: cross_component, targetComponent: C{next}, targetMachine: Made}}
- name: Made
  initialState: There
  states: [There]
  transitions: []
"
    );
    let checked = check(&yaml, Strictness::Lenient);
    let definition = checked.definition;
    Deployment {
        tenant: tenant(),
        definition: definition.unwrap_or_else(|| panic!("{:#?}", checked.findings)),
        artifact: Digest([0; 32]),
    }
}
