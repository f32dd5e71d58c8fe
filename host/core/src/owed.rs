//! What a log still owes: deliveries whose targets have not recorded them.
//!
//! A store notes every record here as it is written, and a host that starts reads the log from
//! [`Owed::settled_below`] on in the same way. What is then left was sent and not received when the
//! host before it ended: it is handed to the engines again, before anything new.
//!
//! A delivery to one instance is settled by the record of the event there, which has its id. A
//! selection is taken in by each shard for itself, and most choose nobody and write nothing: a
//! shard therefore says, with its records, up to which record of each other shard it has taken in
//! all that was sent to it ([`TakenIn`]).

use std::{collections::BTreeMap, sync::Arc};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::{
    engine::exhausted,
    id::{EventId, InstanceId, Partition, PartitionCount, TenantId, route_of},
    record::{Body, Outgoing, Parked, Record, Selected, Target},
};

/// How instances are placed: partitions go around the shards in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Into how many partitions the instances are divided.
    pub partitions: PartitionCount,
    /// How many shards there are.
    pub shards: usize,
}

impl Placement {
    /// The shard that owns a partition.
    pub fn owner(self, partition: Partition) -> usize {
        usize::from(partition.0) % self.shards
    }

    /// The shard that an instance lives on.
    pub fn shard_of(self, id: &InstanceId) -> usize {
        self.shard_of_route(id.route())
    }

    /// The shard of these routing bits.
    pub fn shard_of_route(self, route: u16) -> usize {
        self.owner(self.partitions.partition_of_route(route))
    }

    /// The partitions that a shard owns.
    pub fn owned_by(self, shard: usize) -> impl Iterator<Item = Partition> {
        let all = (0..self.partitions.get())
            .map(|number| Partition(u16::try_from(number).expect("at most 65 536 partitions")));
        all.filter(move |partition| self.owner(*partition) == shard)
    }
}

/// By shard: the last record of each shard (itself included) up to which it has taken in every
/// selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenIn {
    /// How instances are placed.
    pub placement: Placement,
    /// By shard that takes in: by shard that sent, a position.
    pub rows: Vec<Arc<[u64]>>,
}

impl TakenIn {
    /// Everything up to this record is taken in by everybody.
    pub fn all(placement: Placement, through: u64) -> Self {
        let row: Arc<[u64]> = vec![through; placement.shards].into();
        Self {
            placement,
            rows: vec![row; placement.shards],
        }
    }

    /// The same for shards that are placed like this: no more than this says, if they were placed
    /// otherwise.
    #[must_use]
    pub fn placed(&self, placement: Placement) -> Self {
        if placement == self.placement {
            return self.clone();
        }
        let positions = self.rows.iter().flat_map(|row| row.iter().copied());
        Self::all(placement, positions.min().unwrap_or_default())
    }

    /// Whether a shard has taken in what the record at `position` of `source` sent.
    fn has(&self, shard: usize, source: usize, position: u64) -> bool {
        let row = self.rows.get(shard);
        let through = row.and_then(|row| row.get(source).copied());
        through.unwrap_or_default() >= position
    }
}

/// Something that was sent and not received.
#[derive(Clone, Debug)]
pub struct Debt {
    /// Whose.
    pub tenant: TenantId,
    /// What.
    pub what: Undelivered,
}

impl Debt {
    /// Who is to get it: the shard of the instance it is for, or each that has not chosen, its
    /// own part.
    pub fn addressed(self, placement: Placement) -> Vec<(usize, Self)> {
        let Self { tenant, what } = self;
        let one = |id: &InstanceId, what| {
            let shard = placement.shard_of(id);
            let tenant = tenant.clone();
            vec![(shard, Self { tenant, what })]
        };
        match what {
            Undelivered::Sent(outgoing) => match &outgoing.to {
                Target::Instance { id, .. } | Target::Create { id, .. } => {
                    one(&id.clone(), Undelivered::Sent(outgoing))
                }
                Target::Selection(_) => Vec::new(),
            },
            Undelivered::Chosen(selected, id) => {
                one(&id.clone(), Undelivered::Chosen(selected, id))
            }
            Undelivered::Selection(unselected) => {
                let mut parts: Vec<Vec<Partition>> = vec![Vec::new(); placement.shards];
                for partition in &unselected.partitions {
                    parts[placement.owner(*partition)].push(*partition);
                }
                let owing = parts.into_iter().enumerate();
                let owing = owing.filter(|(_, partitions)| !partitions.is_empty());
                let part = |(shard, partitions)| {
                    let what = Undelivered::Selection(Box::new(Unselected {
                        partitions,
                        ..Unselected::clone(&unselected)
                    }));
                    let tenant = tenant.clone();
                    (shard, Self { tenant, what })
                };
                owing.map(part).collect()
            }
        }
    }
}

/// What was not received.
#[derive(Clone, Debug)]
pub enum Undelivered {
    /// A delivery to one instance, or a creation.
    Sent(Box<Outgoing>),
    /// A selected event, at one of the instances that were chosen.
    Chosen(Arc<Selected>, InstanceId),
    /// A selection, in some of the partitions.
    Selection(Box<Unselected>),
}

/// A selection that some partitions have not taken in.
#[derive(Clone, Debug)]
pub struct Unselected {
    /// What was sent.
    pub outgoing: Outgoing,
    /// In which partitions nothing, or not all, was chosen; sorted.
    pub partitions: Vec<Partition>,
    /// Instances there that were chosen already.
    pub chosen: Vec<InstanceId>,
}

/// An event at an instance, by its [bounded](EventId::bounded) id: what was chosen by a version that
/// did not shorten ids is handled under the id which that version gave it, or under this one's.
type Address = (TenantId, InstanceId, EventId);

fn address(tenant: &TenantId, id: &InstanceId, event: &EventId) -> Address {
    (tenant.clone(), id.clone(), event.bounded())
}

/// What a log still owes.
#[derive(Clone, Debug)]
pub struct Owed {
    taken_in: TakenIn,
    /// By address: the record that sent it.
    letters: HashMap<Address, u64, FixedState>,
    /// By the selected event: the record that sent it.
    selections: HashMap<(TenantId, EventId), u64, FixedState>,
    /// Records that owe something.
    open: BTreeMap<u64, Open>,
    /// The last record.
    last: u64,
    /// Whether large records are not kept.
    is_lean: bool,
}

/// Bytes of a record above which a host at work does not keep it for what it owes: it is in the
/// log.
const KEPT_BYTES_MAX: usize = 4 << 10;

/// A record that owes something.
#[derive(Clone, Debug)]
struct Open {
    /// None if it is too large to be kept.
    record: Option<Record>,
    /// Letters of it that nobody recorded.
    letters: usize,
    /// Selections of it that not every shard has taken in.
    selections: Vec<Selection>,
    /// The shard that wrote it.
    source: usize,
}

/// A selection that not every shard has taken in.
#[derive(Clone, Debug)]
struct Selection {
    event: EventId,
    /// Whether it went no further than the shard that made it.
    ends_there: bool,
    /// Instances that it chose.
    chosen: Vec<InstanceId>,
}

impl Open {
    /// The shards that have not taken a selection in.
    fn owing<'o>(
        &'o self,
        selection: &'o Selection,
        position: u64,
        taken_in: &'o TakenIn,
    ) -> impl Iterator<Item = usize> + 'o {
        let concerned = |shard: &usize| !selection.ends_there || *shard == self.source;
        let shards = (0..taken_in.placement.shards).filter(concerned);
        shards.filter(move |shard| !taken_in.has(*shard, self.source, position))
    }
}

impl Owed {
    /// Nothing is owed, and nothing was recorded.
    pub fn nothing() -> Self {
        Self::new(TakenIn::all(
            Placement {
                partitions: PartitionCount::DEFAULT,
                shards: 1,
            },
            0,
        ))
    }

    /// Nothing is owed yet, by shards that are so far.
    pub fn new(taken_in: TakenIn) -> Self {
        Self {
            taken_in,
            letters: HashMap::default(),
            selections: HashMap::default(),
            open: BTreeMap::new(),
            last: 0,
            is_lean: false,
        }
    }

    /// From now on large records are not kept, and are not among the debts: a host at work knows
    /// what it owes, and one that starts reads the log.
    pub fn keep_no_large_ones(&mut self) {
        self.is_lean = true;
    }

    /// How far the shards were when the last record was noted.
    pub fn known(&self) -> &TakenIn {
        &self.taken_in
    }

    /// The log goes on after this record.
    pub fn ends_at(&mut self, last: u64) {
        self.last = last.max(self.last);
    }

    /// Whether any selection has not been taken in by every shard.
    pub fn has_selections(&self) -> bool {
        !self.selections.is_empty()
    }

    /// Every record before this position owes nothing.
    pub fn settled_below(&self) -> u64 {
        let first = self.open.first_key_value();
        first.map_or(self.last + 1, |(position, _)| *position)
    }

    /// Takes a record in, the next of the log.
    pub fn note(&mut self, position: u64, record: &Record) {
        self.last = position;
        self.settle(record);
        let mut letters = 0;
        let mut selections = Vec::new();
        let mut replaced = Vec::new();
        let tenant = &record.tenant;
        let mut owe = |id: &InstanceId, event: &EventId| {
            letters += 1;
            replaced.extend(self.letters.insert(address(tenant, id, event), position));
        };
        for outgoing in sent_by(&record.body) {
            match &outgoing.to {
                Target::Instance { id, .. } | Target::Create { id, .. } => {
                    owe(id, &outgoing.event.id);
                }
                Target::Selection(_) => selections.push(Selection {
                    event: outgoing.event.id.clone(),
                    ends_there: exhausted(&outgoing.cause).is_some(),
                    chosen: Vec::new(),
                }),
            }
        }
        if let Body::Selected(selected) = &record.body {
            for id in &selected.instances {
                owe(id, &selected.event.id.at(id));
            }
            let key = (tenant.clone(), selected.event.id.clone());
            if let Some(sender) = self.selections.get(&key).copied()
                && let Some(open) = self.open.get_mut(&sender)
            {
                let selections = open.selections.iter_mut();
                for selection in selections.filter(|own| own.event == selected.event.id) {
                    let chosen = selected.instances.iter().cloned();
                    selection.chosen.extend(chosen);
                }
            }
        }
        for earlier in replaced {
            self.settled(earlier);
        }
        if letters == 0 && selections.is_empty() {
            return;
        }
        for selection in &selections {
            let key = (tenant.clone(), selection.event.clone());
            self.selections.insert(key, position);
        }
        let placement = self.taken_in.placement;
        self.open.insert(
            position,
            Open {
                record: (!self.is_lean || record.bytes() <= KEPT_BYTES_MAX)
                    .then(|| record.without_waiting()),
                letters,
                selections,
                source: source_of(&record.body, placement),
            },
        );
    }

    /// Takes in how far the shards are.
    pub fn taken_in(&mut self, taken_in: &TakenIn) {
        if taken_in.placement != self.taken_in.placement {
            for open in self.open.values_mut() {
                if let Some(record) = &open.record {
                    open.source = source_of(&record.body, taken_in.placement);
                }
            }
        }
        self.taken_in.clone_from(taken_in);
        if self.selections.is_empty() {
            return;
        }
        let owed: Vec<_> = self.selections.iter().collect();
        let is_settled = |(key, position): &(&(TenantId, EventId), &u64)| {
            let open = self.open.get(*position);
            open.is_none_or(|open| {
                let selection = open.selections.iter().find(|open| open.event == key.1);
                selection.is_none_or(|selection| {
                    open.owing(selection, **position, taken_in).next().is_none()
                })
            })
        };
        let settled = owed.into_iter().filter(is_settled);
        let settled: Vec<_> = settled.map(|(key, _)| key.clone()).collect();
        for (tenant, event) in settled {
            self.gave_up(&tenant, &event);
        }
    }

    /// What is owed, in the order in which it was sent.
    pub fn debts(&self) -> Vec<Debt> {
        let mut debts = Vec::new();
        let mut slices: HashMap<(&TenantId, &EventId), Vec<u64>, FixedState> = HashMap::default();
        for (position, open) in &self.open {
            if let Some(record) = &open.record
                && let Body::Selected(selected) = &record.body
            {
                let key = (&record.tenant, &selected.event.id);
                slices.entry(key).or_default().push(*position);
            }
        }
        for (position, open) in &self.open {
            let Some(record) = &open.record else {
                continue;
            };
            let tenant = &record.tenant;
            let mut owe_chosen = |event, debts: &mut Vec<Debt>| {
                let slices = slices.remove(&(tenant, event)).into_iter().flatten();
                slices.for_each(|position| self.owe_chosen(position, debts));
            };
            let owe = |what| Debt {
                tenant: tenant.clone(),
                what,
            };
            for outgoing in sent_by(&record.body) {
                match &outgoing.to {
                    Target::Instance { id, .. } | Target::Create { id, .. } => {
                        if self.is_open(*position, tenant, id, &outgoing.event.id) {
                            debts.push(owe(Undelivered::Sent(Box::new(outgoing.clone()))));
                        }
                    }
                    Target::Selection(_) => {
                        // What was chosen for it comes before what was sent after it.
                        owe_chosen(&outgoing.event.id, &mut debts);
                        let unselected = self.unselected(*position, open, outgoing);
                        let unselected = unselected.map(Box::new).map(Undelivered::Selection);
                        debts.extend(unselected.map(owe));
                    }
                }
            }
            if let Body::Selected(selected) = &record.body {
                owe_chosen(&selected.event.id, &mut debts);
            }
        }
        debts
    }

    /// What a slice of a selection chose and nobody recorded.
    fn owe_chosen(&self, position: u64, debts: &mut Vec<Debt>) {
        let open = self.open.get(&position);
        let Some(record) = open.and_then(|open| open.record.as_ref()) else {
            return;
        };
        let Body::Selected(selected) = &record.body else {
            return;
        };
        let tenant = &record.tenant;
        for id in &selected.instances {
            if self.is_open(position, tenant, id, &selected.event.id.at(id)) {
                debts.push(Debt {
                    tenant: tenant.clone(),
                    what: Undelivered::Chosen(Arc::clone(selected), id.clone()),
                });
            }
        }
    }

    /// Whether nobody has recorded what a record sent to an instance.
    fn is_open(&self, position: u64, tenant: &TenantId, id: &InstanceId, event: &EventId) -> bool {
        self.letters.get(&address(tenant, id, event)) == Some(&position)
    }

    fn unselected(&self, position: u64, open: &Open, outgoing: &Outgoing) -> Option<Unselected> {
        let mut selections = open.selections.iter();
        let selection = selections.find(|selection| selection.event == outgoing.event.id)?;
        let placement = self.taken_in.placement;
        let owing = open.owing(selection, position, &self.taken_in);
        let mut partitions: Vec<Partition> =
            owing.flat_map(|shard| placement.owned_by(shard)).collect();
        partitions.sort_unstable();
        Some(Unselected {
            outgoing: outgoing.clone(),
            partitions,
            chosen: selection.chosen.clone(),
        })
    }

    /// Takes off what a record settles.
    fn settle(&mut self, record: &Record) {
        if self.open.is_empty() {
            return;
        }
        let tenant = &record.tenant;
        match &record.body {
            Body::Handled(handled) => {
                let id = &handled.after.id;
                self.received(tenant, id, &handled.event.id);
                for event in &handled.cancels {
                    self.received(tenant, id, event);
                }
            }
            Body::Parked(letter) => match &letter.instance {
                Some(id) => self.received(tenant, id, &letter.event.id),
                // One shard may be overloaded alone; all else holds for each.
                None if letter.why == Parked::Overload => {}
                None => self.gave_up(tenant, &letter.event.id),
            },
            Body::Discarded(discarded) => match &discarded.instance {
                Some(id) => self.received(tenant, id, &discarded.id),
                None => self.gave_up(tenant, &discarded.id),
            },
            Body::Selected(_) | Body::Departed(_) | Body::Moved(_) | Body::Received(_) => {}
        }
    }

    /// An instance has recorded an event, or never will.
    fn received(&mut self, tenant: &TenantId, id: &InstanceId, event: &EventId) {
        if let Some(position) = self.letters.remove(&address(tenant, id, event)) {
            self.settled(position);
        }
    }

    /// A record owes one letter less.
    fn settled(&mut self, position: u64) {
        if let Some(open) = self.open.get_mut(&position) {
            open.letters -= 1;
            self.close(position);
        }
    }

    /// No shard will choose anybody for an event any more.
    fn gave_up(&mut self, tenant: &TenantId, event: &EventId) {
        let key = (tenant.clone(), event.clone());
        let Some(position) = self.selections.remove(&key) else {
            return;
        };
        if let Some(open) = self.open.get_mut(&position) {
            open.selections
                .retain(|selection| selection.event != *event);
            self.close(position);
        }
    }

    fn close(&mut self, position: u64) {
        let is_settled = |open: &Open| open.letters == 0 && open.selections.is_empty();
        if self.open.get(&position).is_some_and(is_settled) {
            self.open.remove(&position);
        }
    }
}

/// Whether a record sends something to a selection of instances.
pub fn sends_selection(body: &Body) -> bool {
    sent_by(body).any(|outgoing| matches!(outgoing.to, Target::Selection(_)))
}

/// What a record sends.
fn all_sent_by(body: &Body) -> impl Iterator<Item = &Outgoing> {
    let (many, one): (&[Outgoing], Option<&Outgoing>) = match body {
        Body::Handled(handled) => (&handled.deliveries, None),
        Body::Departed(departed) => (&[], Some(&departed.outgoing)),
        Body::Discarded(discarded) => (&[], discarded.resent.as_deref()),
        Body::Received(received) => (&received.deliveries, None),
        Body::Selected(_) | Body::Moved(_) | Body::Parked(_) => (&[], None),
    };
    many.iter().chain(one)
}

/// What a record sends to instances of this host.
fn sent_by(body: &Body) -> impl Iterator<Item = &Outgoing> {
    all_sent_by(body).filter(|outgoing| !outgoing.elsewhere)
}

/// What a record sends to components on other hosts.
pub fn relayed_by(body: &Body) -> impl Iterator<Item = &Outgoing> {
    all_sent_by(body).filter(|outgoing| outgoing.elsewhere)
}

/// The shard that wrote a record which sends something.
fn source_of(body: &Body, placement: Placement) -> usize {
    let route = match body {
        Body::Handled(handled) => handled.after.id.route(),
        Body::Departed(departed) => departed.after.id.route(),
        Body::Discarded(discarded) => letter_route(&discarded.id, discarded.instance.as_ref()),
        Body::Received(received) => received.stream.route(),
        Body::Selected(_) | Body::Moved(_) | Body::Parked(_) => return 0,
    };
    placement.shard_of_route(route)
}

/// Where what is asked about a dead letter is done.
pub fn letter_route(id: &EventId, instance: Option<&InstanceId>) -> u16 {
    instance.map_or_else(|| route_of(&id.to_string()), InstanceId::route)
}
