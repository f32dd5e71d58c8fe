//! What of a record has no column of its own, one shape for each kind of body.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xcomponent_core::{
    id::{EventId, InstanceId, StreamId},
    record::{Began, Discarded, Handled, Received, Selected, WaitingKind, Waits},
    time::Timestamp,
};

use super::{
    PortableCause, PortableEvent, PortableOutgoing, PortableSelector, Read, StoredFault,
    StoredLetter, StoredLog, StoredReason, word,
};

/// The rest of an event that an instance looked at; most have nothing of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::store) struct StoredHandled {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::store) sent_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::store) reason: Option<StoredReason>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::store) deliveries: Vec<PortableOutgoing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::store) fault: Option<StoredFault>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::store) logs: Vec<StoredLog>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::store) parked: Option<StoredLetter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::store) settles: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::store) cancels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::store) waits: Option<StoredWaits>,
}

/// What began and what stopped waiting.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct StoredWaits {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    began: Vec<StoredWait>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<StoredWait>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredWait {
    kind: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<u64>,
}

impl StoredWaits {
    fn of(waits: &Waits) -> Self {
        let began = waits.began.iter().map(|began| StoredWait {
            kind: began.kind.to_string(),
            id: began.id.to_string(),
            due: began.due.map(|due| due.0),
        });
        let ended = waits.ended.iter().map(|(kind, id)| StoredWait {
            kind: kind.to_string(),
            id: id.to_string(),
            due: None,
        });
        Self {
            began: began.collect(),
            ended: ended.collect(),
        }
    }

    pub(in crate::store) fn read(self) -> Read<Waits> {
        let read = |wait: StoredWait| {
            let kind = word(&wait.kind, WaitingKind::parse, "reason to wait")?;
            let id = EventId::from_stored(&wait.id);
            Ok((kind, id, wait.due.map(Timestamp)))
        };
        let began = self.began.into_iter().map(|wait| {
            let (kind, id, due) = read(wait)?;
            let what = None;
            Ok(Began {
                kind,
                id,
                due,
                what,
            })
        });
        let ended = self.ended.into_iter();
        let ended = ended.map(|wait| read(wait).map(|(kind, id, _)| (kind, id)));
        Ok(Waits {
            began: began.collect::<Read<_>>()?,
            ended: ended.collect::<Read<_>>()?,
        })
    }
}

impl StoredHandled {
    /// None if there is nothing to be written.
    pub(in crate::store) fn of(handled: &Handled) -> Option<Self> {
        let is_plain = handled.sent_at.is_none()
            && handled.reason.is_none()
            && handled.deliveries.is_empty()
            && handled.fault.is_none()
            && handled.logs.is_empty()
            && handled.parked.is_none()
            && handled.settles.is_none()
            && handled.cancels.is_empty()
            && handled.waits.is_none();
        (!is_plain).then(|| Self {
            sent_at: handled.sent_at.map(|at| at.0),
            reason: handled.reason.as_deref().map(StoredReason::of),
            deliveries: handled
                .deliveries
                .iter()
                .map(PortableOutgoing::of)
                .collect(),
            fault: handled.fault.as_deref().map(StoredFault::of),
            logs: handled.logs.iter().map(StoredLog::of).collect(),
            parked: handled.parked.as_deref().map(StoredLetter::of),
            settles: handled.settles.as_ref().map(ToString::to_string),
            cancels: handled.cancels.iter().map(ToString::to_string).collect(),
            waits: handled.waits.as_deref().map(StoredWaits::of),
        })
    }
}

/// A selection.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct StoredSelected {
    event: PortableEvent,
    cause: PortableCause,
    selector: PortableSelector,
    instances: Vec<String>,
}

impl StoredSelected {
    pub(in crate::store) fn of(selected: &Selected) -> Self {
        Self {
            event: PortableEvent::of(&selected.event),
            cause: PortableCause::of(&selected.cause),
            selector: PortableSelector::of(&selected.selector),
            instances: selected.instances.iter().map(ToString::to_string).collect(),
        }
    }

    pub(in crate::store) fn read(self) -> Read<Selected> {
        let instances = self.instances.iter();
        Ok(Selected {
            event: self.event.read()?,
            cause: self.cause.read(),
            selector: Arc::new(self.selector.read()?),
            instances: instances.map(|id| InstanceId::from_stored(id)).collect(),
        })
    }
}

/// An event that was given up.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct StoredDiscarded {
    id: String,
    instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resent: Option<Box<PortableOutgoing>>,
}

impl StoredDiscarded {
    pub(in crate::store) fn of(discarded: &Discarded) -> Self {
        Self {
            id: discarded.id.to_string(),
            instance: discarded.instance.as_ref().map(ToString::to_string),
            resent: discarded
                .resent
                .as_deref()
                .map(|outgoing| Box::new(PortableOutgoing::of(outgoing))),
        }
    }

    pub(in crate::store) fn read(self) -> Read<Discarded> {
        let resent = self.resent.map(|outgoing| outgoing.read()).transpose()?;
        Ok(Discarded {
            id: EventId::from_stored(&self.id),
            instance: self.instance.as_deref().map(InstanceId::from_stored),
            resent: resent.map(Box::new),
        })
    }
}

/// What another host sent.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct StoredReceived {
    stream: String,
    through: u64,
    deliveries: Vec<PortableOutgoing>,
}

impl StoredReceived {
    pub(in crate::store) fn of(received: &Received) -> Self {
        let deliveries = received.deliveries.iter();
        Self {
            stream: received.stream.to_string(),
            through: received.through,
            deliveries: deliveries.map(PortableOutgoing::of).collect(),
        }
    }

    pub(in crate::store) fn read(self) -> Read<Received> {
        let deliveries = self.deliveries.into_iter();
        Ok(Received {
            stream: StreamId::new(self.stream),
            through: self.through,
            deliveries: deliveries
                .map(PortableOutgoing::read)
                .collect::<Read<_>>()?,
        })
    }
}
