//! What goes from one host to another at once, and its form on the way: JSON.
//!
//! Hosts of different versions speak to each other in it. It grows by optional members only.

use serde::{Deserialize, Serialize};
use xcomponent_core::{
    id::{ComponentName, InstanceId, StreamId, TenantId},
    input::{Parcel, Receive},
    json::Json,
    limits::NAME_BYTES_MAX,
    record::{Outgoing, Target},
};

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
    /// If the text is none, or its parcels are not in order.
    pub fn of_json(text: &str) -> Result<Self, NoShipment> {
        let shipment = read(text).map_err(|error| NoShipment(Box::new(error)))?;
        let numbers = shipment.receive.parcels.iter().map(|parcel| parcel.number);
        if shipment.receive.parcels.is_empty() || !numbers.is_sorted_by(|one, next| one < next) {
            return Err(NoShipment("its parcels are not in order".into()));
        }
        let parcels = shipment.receive.parcels.iter();
        let mut deliveries = parcels.flat_map(|parcel| &parcel.deliveries);
        deliveries.try_for_each(|outgoing| {
            let wrong = if *outgoing.to.component() == shipment.component {
                check(outgoing).err()
            } else {
                Some("it is for two components".to_owned())
            };
            wrong.map_or(Ok(()), |wrong| Err(NoShipment(wrong.into())))
        })?;
        Ok(shipment)
    }
}

/// Looks at what another host says as at what a caller says: it may be neither.
pub(super) fn check(outgoing: &Outgoing) -> Result<(), String> {
    let Outgoing { to, event, .. } = outgoing;
    let payload = Json::parse(event.payload.as_str()).map_err(|error| error.to_string())?;
    if !payload.is_object() {
        return Err("a payload must be a JSON object".to_owned());
    }
    let (machine, state, id) = match to {
        Target::Instance { id, .. } => (None, None, Some(id)),
        Target::Create { machine, id, .. } => (machine.as_ref(), None, Some(id)),
        Target::Selection(selector) => (selector.machine.as_ref(), selector.state.as_ref(), None),
    };
    let names = [
        Some(to.component().as_str()),
        Some(event.name.as_str()),
        machine.map(|machine| machine.as_str()),
        state.map(|state| state.as_str()),
    ];
    let is_name = |name: &str| {
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
    };
    if let Some(name) = names.into_iter().flatten().find(|name| !is_name(name)) {
        return Err(format!("{name:?} is no name"));
    }
    match id.map(|id| InstanceId::parse(&id.to_string())) {
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(_)) | None => Ok(()),
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
