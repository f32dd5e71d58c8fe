//! One lane: what waits for one component on another host, and how far it is.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use xcomponent_core::{
    id::StreamId,
    input::{Parcel, Receive},
    owed::relayed_by,
    record::Outgoing,
    time::Timestamp,
};

use super::age::Ages;
use crate::{
    bus::Shipment,
    driver::gauges::Histogram,
    store::{
        Entry, Position,
        crossing::{Channel, Outlet},
    },
};

/// Records that are at hand at most.
const AT_HAND_MAX: usize = 4_096;

/// Records that are read from the store at once.
const READ_AT_ONCE: usize = 512;

/// Parcels of one shipment at most.
const PARCELS_MAX: usize = 256;

/// Bytes of one shipment, about: what comes on top of payloads is guessed.
const BYTES_MAX: usize = 256 << 10;

/// Bytes of a delivery besides its payload, about.
const DELIVERY_BYTES: usize = 512;

/// Records that have arrived and are not noted in the store, at most, while there are more.
const UNNOTED_MAX: u64 = 4_096;

/// What arrives within so long is settled together.
const SETTLES_TOGETHER: Duration = Duration::from_millis(100);

/// One lane.
pub(super) struct Lane {
    pub(super) channel: Channel,
    /// Told when there is something to do.
    pub(super) news: Notify,
    state: Mutex<State>,
}

struct State {
    /// What was committed lately.
    at_hand: VecDeque<Entry>,
    /// Whether what waits must be read from the store, and nothing is at hand.
    is_behind: bool,
    /// Everything up to here has arrived.
    through: Position,
    /// Up to here the store knows that.
    noted: Position,
    noted_at: Instant,
    arrived_since: u64,
    /// What has arrived and what carried it may still forget.
    settling: VecDeque<Settling>,
    /// Up to here it does not.
    settled: Position,
    waiting: u64,
    /// When what waits was committed.
    ages: Ages,
    latency: Histogram,
    relayed: u64,
    failures: u64,
    problem: Option<Arc<str>>,
}

/// Parcels that arrived within [`SETTLES_TOGETHER`], so that there are few of these.
struct Settling {
    /// When the first arrived.
    began: Instant,
    through: Position,
    parcels: u64,
}

impl Settling {
    /// Whether the last of them is there for so long.
    fn is_over(&self, settles_after: Duration) -> bool {
        settles_after.is_zero() || self.began.elapsed() >= settles_after + SETTLES_TOGETHER
    }
}

/// How a lane is.
#[derive(Clone, Debug)]
pub struct LaneGauges {
    /// Which.
    pub channel: Channel,
    /// Records that wait.
    pub waiting: u64,
    /// How old the oldest of them is, about.
    pub lag: Duration,
    /// How long it took from the commit until the oldest of a shipment had arrived.
    pub latency: Histogram,
    /// Records that have arrived since the start.
    pub relayed: u64,
    /// Attempts that failed since the start.
    pub failures: u64,
    /// Why the last attempt failed, if it did.
    pub problem: Option<Arc<str>>,
}

impl Lane {
    /// The lane of an outlet as the store has it.
    pub(super) fn new(outlet: Outlet) -> Self {
        Self {
            channel: outlet.channel,
            news: Notify::new(),
            state: Mutex::new(State {
                at_hand: VecDeque::new(),
                is_behind: outlet.waiting > 0,
                through: outlet.through,
                noted: outlet.through,
                noted_at: Instant::now(),
                arrived_since: 0,
                settling: VecDeque::new(),
                settled: outlet.through,
                waiting: outlet.waiting,
                ages: Ages::default(),
                latency: Histogram::default(),
                relayed: 0,
                failures: 0,
                problem: None,
            }),
        }
    }

    /// A record that was committed.
    pub(super) fn add(&self, entry: &Entry) {
        let mut state = self.state();
        state.waiting += 1;
        state.ages.add(entry.position, entry.record.at);
        if state.at_hand.len() == AT_HAND_MAX {
            state.at_hand.clear();
            state.is_behind = true;
        } else if !state.is_behind {
            state.at_hand.push_back(Entry {
                position: entry.position,
                record: entry.record.without_waiting(),
            });
        }
        drop(state);
        self.news.notify_one();
    }

    /// Everything of a shipment has arrived.
    pub(super) fn arrived(&self, shipment: &Shipment, now: Timestamp) {
        let mut state = self.state();
        let parcels = shipment.receive.parcels.len() as u64;
        if parcels == 0 {
            return;
        }
        state.through = Position(shipment.last());
        let through = state.through;
        let took = state.ages.oldest().map(|oldest| since(oldest, now));
        state.ages.arrived(through);
        if let Some(took) = took {
            state.latency.count(took);
        }
        match state.settling.back_mut() {
            Some(last) if last.began.elapsed() < SETTLES_TOGETHER => {
                last.through = through;
                last.parcels += parcels;
            }
            _ => state.settling.push_back(Settling {
                began: Instant::now(),
                through,
                parcels,
            }),
        }
        state.arrived_since += parcels;
        state.relayed += parcels;
        state.waiting = state.waiting.saturating_sub(parcels);
        if state.problem.take().is_some() {
            tracing::info!(component = %self.channel.component, "relaying goes on");
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&self, why: &str) {
        let mut state = self.state();
        state.failures += 1;
        if state.problem.is_none() {
            tracing::warn!(component = %self.channel.component, "relaying is held up: {why}");
        }
        state.problem = Some(why.into());
    }

    /// Whether the store knows all that has arrived.
    pub(super) fn is_noted(&self) -> bool {
        let state = self.state();
        state.noted == state.through
    }

    /// Whether it is time that the store knows what has arrived and is not forgotten any more.
    pub(super) fn is_due(&self, after: Duration, settles_after: Duration) -> bool {
        let mut state = self.state();
        while let Some(settled) = state
            .settling
            .pop_front_if(|settling| settling.is_over(settles_after))
        {
            state.settled = settled.through;
        }
        state.noted != state.settled
            && (state.noted_at.elapsed() >= after || state.arrived_since >= UNNOTED_MAX)
    }

    /// What carried it was started anew: what it may have forgotten waits again, after this.
    fn forgotten(&self) -> Option<Position> {
        let mut state = self.state();
        if state.settling.is_empty() {
            return None;
        }
        let settling = state.settling.drain(..);
        let again: u64 = settling.map(|settling| settling.parcels).sum();
        state.waiting += again;
        state.relayed = state.relayed.saturating_sub(again);
        state.through = state.settled;
        state.at_hand.clear();
        state.is_behind = true;
        Some(state.settled)
    }

    /// From where up to where it does not know it.
    pub(super) fn unnoted(&self) -> (Position, Position) {
        let state = self.state();
        (state.noted, state.settled)
    }

    /// The store knows it up to here.
    pub(super) fn note(&self, through: Position) {
        let mut state = self.state();
        state.noted = through;
        state.noted_at = Instant::now();
        state.arrived_since = 0;
    }

    /// How it is.
    pub(super) fn gauges(&self, now: Timestamp) -> LaneGauges {
        let state = self.state();
        let oldest = state.ages.oldest().filter(|_| state.waiting > 0);
        LaneGauges {
            channel: self.channel.clone(),
            waiting: state.waiting,
            lag: oldest.map_or(Duration::ZERO, |oldest| since(oldest, now)),
            latency: state.latency,
            relayed: state.relayed,
            failures: state.failures,
            problem: state.problem.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is taken out of a lane and has not been sent.
pub(super) struct Backlog {
    parcels: VecDeque<Parcel>,
    /// The number of the last parcel that was made.
    last: u64,
}

impl Backlog {
    /// Nothing yet.
    pub(super) fn of(lane: &Lane) -> Self {
        Self {
            parcels: VecDeque::new(),
            last: lane.state().through.0,
        }
    }

    /// What is sent next, of what is at hand.
    pub(super) fn next(&mut self, lane: &Lane, stream: &StreamId) -> Option<Shipment> {
        if self.parcels.is_empty() {
            let mut state = lane.state();
            let count = state.at_hand.len().min(PARCELS_MAX);
            let entries: Vec<Entry> = state.at_hand.drain(..count).collect();
            drop(state);
            self.take(lane, &entries);
        }
        let mut bytes = 0;
        let fits = |parcel: &&Parcel| {
            let first = bytes == 0;
            bytes += bytes_of(parcel);
            first || bytes <= BYTES_MAX
        };
        let count = self
            .parcels
            .iter()
            .take(PARCELS_MAX)
            .take_while(fits)
            .count();
        let parcels: Vec<Parcel> = self.parcels.drain(..count).collect();
        (!parcels.is_empty()).then(|| Shipment {
            tenant: lane.channel.tenant.clone(),
            component: lane.channel.component.clone(),
            receive: Receive {
                stream: stream.clone(),
                parcels,
            },
        })
    }

    /// Of a shipment that is too large only the first parcel is sent now.
    pub(super) fn give_back(&mut self, shipment: &mut Shipment) {
        let rest = shipment.receive.parcels.drain(1..);
        rest.rev()
            .for_each(|parcel| self.parcels.push_front(parcel));
    }

    /// Begins again with what may have been forgotten on its way.
    pub(super) fn begin_again(&mut self, lane: &Lane) {
        if let Some(settled) = lane.forgotten() {
            self.parcels.clear();
            self.last = settled.0;
        }
    }

    /// After which record the store is to be read, and how many from there on, if the lane is
    /// behind. What is committed from now on is at hand.
    pub(super) fn behind(&self, lane: &Lane) -> Option<(Position, usize)> {
        let mut state = lane.state();
        let is_behind = std::mem::take(&mut state.is_behind);
        is_behind.then_some((Position(self.last), READ_AT_ONCE))
    }

    /// Takes what the store has; none = it cannot be asked.
    pub(super) fn read(&mut self, lane: &Lane, entries: Option<Vec<Entry>>) {
        let is_all = entries
            .as_ref()
            .is_some_and(|entries| entries.len() < READ_AT_ONCE);
        if !is_all {
            let mut state = lane.state();
            state.is_behind = true;
            state.at_hand.clear();
        }
        let entries = entries.unwrap_or_default();
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let at = first.record.at;
            lane.state().ages.found(first.position, last.position, at);
        }
        self.take(lane, &entries);
    }

    /// Makes parcels of records; some may have been seen before.
    fn take(&mut self, lane: &Lane, entries: &[Entry]) {
        for entry in entries {
            let number = entry.position.0;
            if number <= self.last {
                continue;
            }
            let ours = |outgoing: &&Outgoing| *outgoing.to.component() == lane.channel.component;
            let deliveries = relayed_by(&entry.record.body).filter(ours);
            self.parcels.push_back(Parcel {
                number,
                before: Some(self.last),
                source: entry
                    .record
                    .body
                    .snapshot()
                    .map(|sender| sender.component().clone()),
                deliveries: deliveries.cloned().collect(),
            });
            self.last = number;
        }
    }
}

/// How long ago something was.
fn since(at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(now.0.saturating_sub(at.0))
}

/// How long a parcel is on its way, about.
fn bytes_of(parcel: &Parcel) -> usize {
    let deliveries = parcel.deliveries.iter();
    let bytes = deliveries.map(|outgoing| outgoing.event.payload.len() + DELIVERY_BYTES);
    bytes.sum()
}
