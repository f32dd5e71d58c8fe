//! Takes what is for other hosts from the log to them: one lane for each component there.
//!
//! What was committed lately is at hand in the lane; when that becomes too much, because the other
//! end is away or slow, the lane forgets it and reads it from the store when its turn comes. So what
//! waits is bounded by the disk, and a lane by a few thousand records. A lane has one shipment on
//! its way at a time: what one host sends to one component arrives in order.

mod age;
mod lane;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::Notify;
use xcomponent_core::{
    effect::Reply, id::StreamId, input::Request, record::Outgoing, time::Timestamp,
};

pub use self::lane::LaneGauges;
use self::lane::{Backlog, Lane};
use super::Handle;
use crate::{
    bus::{Directory, Inlet as _, SendError, Shipment},
    store::{
        Entry, Error, Position,
        crossing::{Channel, Outlet, awaited},
    },
};

/// Wait after a shipment that did not get through: doubled from the first to the last, and up to
/// half of it more or less by chance.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// How long it may stay in memory only that something was relayed, while there is more of it.
const NOTED_AFTER: Duration = Duration::from_millis(50);

/// The lanes to other hosts.
#[derive(Default)]
pub(super) struct Relays {
    lanes: Mutex<HashMap<Channel, Arc<Lane>>>,
    /// Told when there is a new lane.
    opened: Notify,
}

impl Relays {
    /// What a host before this one left behind.
    pub(super) fn new(outlets: Vec<Outlet>) -> Self {
        let relays = Self::default();
        for outlet in outlets {
            if outlet.channel.is_to_component() {
                relays.lane(outlet);
            }
        }
        relays
    }

    /// Takes over what was committed.
    pub(super) fn committed(&self, entries: &[Entry]) {
        for entry in entries {
            for component in awaited(&entry.record) {
                let channel = Channel {
                    tenant: entry.record.tenant.clone(),
                    component: component.clone(),
                };
                self.lane(Outlet::new(channel)).add(entry);
            }
        }
    }

    /// How every lane is.
    pub(super) fn gauges(&self, now: Timestamp) -> Vec<LaneGauges> {
        self.lanes().values().map(|lane| lane.gauges(now)).collect()
    }

    /// The lane of an outlet, if there is one; else it begins as the outlet is.
    fn lane(&self, outlet: Outlet) -> Arc<Lane> {
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get(&outlet.channel) {
            return Arc::clone(lane);
        }
        let channel = outlet.channel.clone();
        let lane = Arc::new(Lane::new(outlet));
        lanes.insert(channel, Arc::clone(&lane));
        self.opened.notify_one();
        lane
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Channel, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Relays what waits for other hosts, for as long as this is polled: the lanes end with it.
    /// What a host before this one left behind is first.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked what waits.
    pub async fn relay(&self, directory: Arc<Directory>) -> Result<(), Error> {
        let log = self.log_name().await?;
        let relays = &self.shared.relays;
        let mut changes = directory.changes();
        // Not tasks of their own: they end at once when this does.
        let mut running = FuturesUnordered::new();
        let mut begun: HashSet<Channel> = HashSet::new();
        loop {
            self.tell_elsewhere(directory.elsewhere()).await;
            let lanes: Vec<Arc<Lane>> = relays.lanes().values().cloned().collect();
            for lane in lanes {
                if begun.insert(lane.channel.clone()) {
                    let driver = Driver {
                        handle: self.clone(),
                        directory: Arc::clone(&directory),
                        stream: StreamId::new(format!("{log}/{}", lane.channel.component)),
                        lane,
                    };
                    running.push(driver.run());
                }
            }
            tokio::select! {
                () = relays.opened.notified() => {}
                Some(()) = running.next() => {}
                changed = changes.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    relays.lanes().values().for_each(|lane| lane.news.notify_one());
                }
            }
        }
    }

    /// The name of the log: this host's, as others know it.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn log_name(&self) -> Result<String, Error> {
        self.ask(|store| store.log_name()).await
    }

    /// Up to where everything of a channel has arrived.
    ///
    /// # Errors
    ///
    /// If the store cannot be asked.
    pub async fn relayed_through(&self, channel: &Channel) -> Result<Position, Error> {
        let outlets = self.ask(|store| store.outlets()).await?;
        let outlet = outlets
            .into_iter()
            .find(|outlet| outlet.channel == *channel);
        Ok(outlet.map_or(Position(0), |outlet| outlet.through))
    }

    /// Notes that it has arrived up to `through`; up to `after` that was noted before.
    ///
    /// # Errors
    ///
    /// If it was not noted.
    pub async fn note_relayed(
        &self,
        channel: &Channel,
        after: Position,
        through: Position,
    ) -> Result<(), Error> {
        let channel = channel.clone();
        self.ask(move |store| store.relayed(&channel, after, through))
            .await
    }

    /// How the lanes to other hosts are.
    pub fn lanes(&self) -> Vec<LaneGauges> {
        self.shared.relays.gauges(self.now())
    }
}

/// Who drives one lane.
struct Driver {
    handle: Handle,
    directory: Arc<Directory>,
    stream: StreamId,
    lane: Arc<Lane>,
}

impl Driver {
    async fn run(self) {
        let mut backlog = Backlog::of(&self.lane);
        let mut absences = self.absences();
        loop {
            let now = self.absences();
            if now != absences {
                absences = now;
                backlog.begin_again(&self.lane);
            }
            let mut next = self.next(&mut backlog).await;
            let mut failures = 0;
            while let Some(mut shipment) = next {
                let through = self.attempt(&mut shipment, &mut backlog, failures).await;
                next = shipment.split_after(through);
                self.lane.arrived(&shipment, self.handle.now());
                failures = match shipment.receive.parcels.is_empty() {
                    true => failures + 1,
                    false => 0,
                };
            }
            self.note_if_due(NOTED_AFTER).await;
        }
    }

    /// Tries once, after so many failures; up to which parcel it has arrived.
    async fn attempt(&self, shipment: &mut Shipment, backlog: &mut Backlog, failures: u32) -> u64 {
        if failures > 0 {
            self.pause(failures).await;
        }
        let error = match self.carry(shipment).await {
            Ok(through) => return through,
            Err(error) => error,
        };
        match error {
            SendError::Gap { through } => {
                tracing::error!(
                    component = %self.lane.channel.component, through,
                    "{error}: what it had later is sent by nobody any more"
                );
                *shipment = shipment.clone().despite_gap();
            }
            SendError::TooLarge { .. } if shipment.receive.parcels.len() > 1 => {
                backlog.give_back(shipment);
            }
            SendError::TooLarge { .. } => {
                if self.give_up(shipment, &error.to_string()).await {
                    return shipment.last();
                }
            }
            SendError::Unavailable(why) => self.lane.failed(&why),
        }
        0
    }

    /// What is to be sent next; none if it must be looked for again.
    async fn next(&self, backlog: &mut Backlog) -> Option<Shipment> {
        if let Some(shipment) = backlog.next(&self.lane, &self.stream) {
            return Some(shipment);
        }
        if let Some((after, limit)) = backlog.behind(&self.lane) {
            let channel = self.lane.channel.clone();
            let found = self
                .handle
                .ask(move |store| store.outbox(&channel, after, limit));
            let found = found.await;
            if let Err(error) = &found {
                self.lane.failed(&error.to_string());
                self.pause(1).await;
            }
            backlog.read(&self.lane, found.ok());
            return None;
        }
        if !self.lane.is_noted() {
            tokio::select! {
                () = self.lane.news.notified() => {}
                () = tokio::time::sleep(NOTED_AFTER) => self.note_if_due(Duration::ZERO).await,
            }
        } else {
            self.lane.news.notified().await;
        }
        None
    }

    /// How often what leads there was away.
    fn absences(&self) -> u64 {
        let Channel { tenant, component } = &self.lane.channel;
        let transport = self.directory.find(tenant, component);
        transport.map_or(0, |transport| transport.absences())
    }

    /// Takes a shipment to where its component is now, which may be here.
    async fn carry(&self, shipment: &Shipment) -> Result<u64, SendError> {
        let Channel { tenant, component } = &self.lane.channel;
        match self.directory.find(tenant, component) {
            Some(transport) if !self.handle.is_here(tenant, component) => {
                let began = SystemTime::now();
                let sent = transport.send(shipment).await;
                self.trace(shipment, transport.name(), began, sent.as_ref().copied());
                sent
            }
            Some(_) | None => {
                let taken_in = self.handle.take_in(shipment.clone()).await;
                taken_in.map_err(SendError::unavailable)
            }
        }
    }

    /// Tells what of a shipment has arrived.
    fn trace(
        &self,
        shipment: &Shipment,
        over: &str,
        began: SystemTime,
        sent: Result<u64, &SendError>,
    ) {
        if let (Some(tracer), Ok(through)) = (self.handle.shared.tracer.get(), sent) {
            let parcels = &shipment.receive.parcels;
            let arrived = parcels.partition_point(|parcel| parcel.number <= through);
            tracer.sent(&parcels[..arrived], over, began);
        }
    }

    /// Parks what no transport takes; whether that is durable.
    async fn give_up(&self, shipment: &Shipment, why: &str) -> bool {
        let parcels = shipment.receive.parcels.iter();
        let deliveries: Vec<Outgoing> = parcels
            .flat_map(|parcel| parcel.deliveries.iter().cloned())
            .collect();
        let why = why.into();
        let request = Request::Return { deliveries, why };
        let parked = self.handle.request(&shipment.tenant, request).await;
        matches!(parked, Reply::Returned)
    }

    /// Has the store know what has arrived, if it did not for so long.
    async fn note_if_due(&self, after: Duration) {
        let Channel { tenant, component } = &self.lane.channel;
        let transport = self.directory.find(tenant, component);
        let settles_after = transport.map_or(Duration::ZERO, |it| it.settles_after());
        if !self.lane.is_due(after, settles_after) {
            return;
        }
        let (noted, through) = self.lane.unnoted();
        let channel = self.lane.channel.clone();
        let asked = self
            .handle
            .ask(move |store| store.relayed(&channel, noted, through));
        match asked.await {
            Ok(()) => self.lane.note(through),
            // Then it is sent once more after a start, and known again.
            Err(error) => self.lane.failed(&error.to_string()),
        }
    }

    async fn pause(&self, failures: u32) {
        let doubled = AGAIN_AFTER[0] * 2_u32.saturating_pow(failures.min(16));
        let span = doubled.min(AGAIN_AFTER[1]);
        tokio::time::sleep(span.mul_f64(0.5 + fastrand::f64())).await;
    }
}
