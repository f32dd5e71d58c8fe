//! What waits at a host for the component of another, as a relay takes it from the log.

use xcomponent_core::{id::ComponentName, input::Parcel, owed::relayed_by, record::Outgoing};

use crate::log::Log;

/// Parcels that are sent at once.
const PARCELS_MAX: usize = 3;

/// One lane.
#[derive(Debug)]
pub(super) struct Lane {
    component: ComponentName,
    /// Everything up to here has arrived.
    pub(super) through: u64,
    /// Up to here the bus does not forget that.
    pub(super) settled: u64,
    /// Up to here the store knows it.
    noted: u64,
    /// Up to where what is on its way reaches.
    pub(super) sent: Option<u64>,
}

impl Lane {
    pub(super) fn new(component: ComponentName) -> Self {
        Self {
            component,
            through: 0,
            settled: 0,
            noted: 0,
            sent: None,
        }
    }

    /// What is sent next: the same again while nobody says that it arrived.
    pub(super) fn next(&mut self, log: &Log) -> Vec<Parcel> {
        let mut before = self.through;
        let durable = log.entries[..log.durable].iter().zip(1_u64..);
        let later = durable.skip(usize::try_from(self.through).expect("it is small"));
        let mut parcels = Vec::new();
        for (entry, number) in later {
            let ours = |outgoing: &&Outgoing| *outgoing.to.component() == self.component;
            let deliveries: Vec<_> = relayed_by(&entry.record.body).filter(ours).collect();
            if deliveries.is_empty() {
                continue;
            }
            parcels.push(Parcel {
                number,
                before: Some(std::mem::replace(&mut before, number)),
                source: None,
                deliveries: deliveries.into_iter().cloned().collect(),
            });
            if parcels.len() == PARCELS_MAX {
                break;
            }
        }
        self.sent = parcels.last().map(|parcel| parcel.number);
        parcels
    }

    /// What was sent up to there has arrived.
    pub(super) fn arrived(&mut self, through: u64) {
        if self.sent == Some(through) {
            self.through = through;
            self.sent = None;
        }
    }

    /// The bus has forgotten what is not settled.
    pub(super) fn forgotten(&mut self) {
        self.through = self.settled;
        self.sent = None;
    }

    /// The store is told.
    pub(super) fn note(&mut self) {
        self.noted = self.settled;
    }

    /// Another host goes on.
    pub(super) fn crash(&mut self) {
        self.through = self.noted;
        self.settled = self.noted;
        self.sent = None;
    }
}
