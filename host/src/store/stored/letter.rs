//! Parked events.

use serde::{Deserialize, Serialize};
use xcomponent_core::{
    id::{ComponentName, InstanceId, MachineName, TenantId, Version},
    record::{DeadLetter, Parked},
    time::Timestamp,
};

use super::{Malformed, PortableCause, PortableEvent, PortableTarget, Read, StoredFault};

/// A parked event; whose it is stands beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct StoredLetter {
    event: PortableEvent,
    component: String,
    version: Option<String>,
    machine: Option<String>,
    instance: Option<String>,
    /// `Parked::code`, or `fault`.
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<StoredFault>,
    cause: PortableCause,
    attempts: u32,
    to: Option<PortableTarget>,
    at: u64,
}

impl StoredLetter {
    pub(in crate::store) fn of(letter: &DeadLetter) -> Self {
        let (text, fault) = match &letter.why {
            Parked::Fault(fault) => (None, Some(StoredFault::of(fault))),
            Parked::UnknownTarget(text)
            | Parked::CascadeBudget(text)
            | Parked::SchemaViolation(text)
            | Parked::Refused(text)
            | Parked::Undeliverable(text) => (Some(text.to_string()), None),
            Parked::InstanceFinished
            | Parked::Overload
            | Parked::ComponentSuspended
            | Parked::SingletonExists
            | Parked::Unstorable
            | Parked::RecordUnreadable => (None, None),
        };
        let why = if fault.is_some() {
            "fault"
        } else {
            letter.why.code()
        };
        Self {
            event: PortableEvent::of(&letter.event),
            component: letter.component.to_string(),
            version: letter.version.as_ref().map(ToString::to_string),
            machine: letter.machine.as_ref().map(ToString::to_string),
            instance: letter.instance.as_ref().map(ToString::to_string),
            why: why.to_owned(),
            text,
            fault,
            cause: PortableCause::of(&letter.cause),
            attempts: letter.attempts,
            to: letter.to.as_ref().map(PortableTarget::of),
            at: letter.at.0,
        }
    }

    pub(in crate::store) fn read(self, tenant: &TenantId) -> Read<DeadLetter> {
        Ok(DeadLetter {
            why: read_why(&self.why, self.text, self.fault)?,
            event: self.event.read()?,
            tenant: tenant.clone(),
            component: ComponentName::new(self.component),
            version: self.version.map(Version::new),
            machine: self.machine.map(MachineName::new),
            instance: self.instance.as_deref().map(InstanceId::from_stored),
            cause: self.cause.read(),
            attempts: self.attempts,
            to: self.to.map(PortableTarget::read).transpose()?,
            at: Timestamp(self.at),
        })
    }
}

fn read_why(code: &str, text: Option<String>, fault: Option<StoredFault>) -> Read<Parked> {
    if let Some(fault) = fault {
        return Ok(Parked::Fault(fault.read()?));
    }
    let text = text.unwrap_or_default();
    let texts = [
        Parked::UnknownTarget(text.as_str().into()),
        Parked::CascadeBudget(text.as_str().into()),
        Parked::SchemaViolation(text.as_str().into()),
        Parked::Refused(text.as_str().into()),
        Parked::InstanceFinished,
        Parked::Overload,
        Parked::ComponentSuspended,
        Parked::SingletonExists,
        Parked::Unstorable,
        Parked::RecordUnreadable,
        Parked::Undeliverable(text.as_str().into()),
    ];
    let found = texts.into_iter().find(|why| why.code() == code);
    found.ok_or_else(|| Malformed::Word(code.to_owned(), "reason"))
}
