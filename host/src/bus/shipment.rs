//! What goes from one host to another at once, and its form on the way: JSON.
//!
//! Hosts of different versions speak to each other in it. It grows by optional members only.

mod check;

use serde::{Deserialize, Serialize};
use xcomponent_core::{
    id::{ComponentName, StreamId, TenantId},
    input::{Parcel, Receive},
    record::Outgoing,
};

pub(super) use self::check::check;
use crate::portable::{PortableOutgoing, Read, of_text, to_text};

/// Parcels of one stream, oldest first.
#[derive(Clone, Debug)]
pub struct Shipment {
    /// On whose behalf.
    pub tenant: TenantId,
    /// For which component.
    pub component: ComponentName,
    /// From whom, and what.
    pub receive: Receive,
}

/// A text is no shipment.
#[derive(Debug, thiserror::Error)]
#[error("it is not what a host sends to another")]
pub struct NoShipment(#[source] Box<dyn std::error::Error + Send + Sync>);

#[derive(Debug, Serialize, Deserialize)]
struct PortableShipment {
    tenant: String,
    component: String,
    stream: String,
    parcels: Vec<PortableParcel>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PortableParcel {
    number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    deliveries: Vec<PortableOutgoing>,
}

impl Shipment {
    /// The number of the last parcel.
    pub fn last(&self) -> u64 {
        let last = self.receive.parcels.last();
        last.map_or(0, |parcel| parcel.number)
    }

    /// Keeps what is up to a parcel, and gives the rest, if there is any.
    pub fn split_after(&mut self, through: u64) -> Option<Self> {
        let parcels = &mut self.receive.parcels;
        let arrived = parcels.partition_point(|parcel| parcel.number <= through);
        let rest = parcels.split_off(arrived);
        (!rest.is_empty()).then(|| {
            let stream = self.receive.stream.clone();
            Self {
                tenant: self.tenant.clone(),
                component: self.component.clone(),
                receive: Receive {
                    stream,
                    parcels: rest,
                },
            }
        })
    }

    /// The same, where parcels before it may be missing.
    #[must_use]
    pub fn despite_gap(mut self) -> Self {
        if let Some(first) = self.receive.parcels.first_mut() {
            first.before = None;
        }
        self
    }

    /// As a text.
    pub fn to_json(&self) -> String {
        let parcel = |parcel: &Parcel| PortableParcel {
            number: parcel.number,
            before: parcel.before,
            source: parcel.source.as_ref().map(ToString::to_string),
            deliveries: parcel.deliveries.iter().map(PortableOutgoing::of).collect(),
        };
        to_text(&PortableShipment {
            tenant: self.tenant.to_string(),
            component: self.component.to_string(),
            stream: self.receive.stream.to_string(),
            parcels: self.receive.parcels.iter().map(parcel).collect(),
        })
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// If the text is none, its parcels are not in order, or something in it is not as it may be.
    pub fn of_json(text: &str) -> Result<Self, NoShipment> {
        let mut shipment = read(text).map_err(|error| NoShipment(Box::new(error)))?;
        check::check_all(&mut shipment).map_err(|wrong| NoShipment(wrong.into()))?;
        Ok(shipment)
    }
}

fn read(text: &str) -> Read<Shipment> {
    let shipment: PortableShipment = of_text(text)?;
    let parcel = |parcel: PortableParcel| {
        let deliveries = parcel.deliveries.into_iter();
        Ok(Parcel {
            number: parcel.number,
            before: parcel.before,
            source: parcel.source.map(ComponentName::new),
            deliveries: deliveries
                .map(PortableOutgoing::read)
                .collect::<Read<Vec<Outgoing>>>()?,
        })
    };
    Ok(Shipment {
        tenant: TenantId::new(shipment.tenant),
        component: ComponentName::new(shipment.component),
        receive: Receive {
            stream: StreamId::new(shipment.stream),
            parcels: shipment
                .parcels
                .into_iter()
                .map(parcel)
                .collect::<Read<_>>()?,
        },
    })
}
