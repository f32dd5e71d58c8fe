//! Deliveries as JSON: the same text in a database and between hosts.
//!
//! The shapes here are part of the format of every database that a host ever wrote, and hosts of
//! different versions speak to each other in them. They grow by optional members only; what a
//! member means never changes.

mod delivery;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use xcomponent_core::{
    call::Event,
    id::{EventId, EventName},
    json::{Json, JsonError},
    time::Timestamp,
};

pub(crate) use self::delivery::{
    PortableCause, PortableOutgoing, PortableParent, PortableSelector, PortableTarget,
};

/// A text is not what this program writes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    /// It is not the JSON that is expected.
    #[error("it is not the JSON that is expected")]
    Json(#[from] serde_json::Error),
    /// JSON inside it is not what this program writes.
    #[error("what is kept as JSON in it is none")]
    Inner(#[from] JsonError),
    /// A text that stands for one of a few things stands for none.
    #[error("`{0}` is no {1}")]
    Word(String, &'static str),
}

/// The result of reading a text.
pub(crate) type Read<T> = Result<T, Malformed>;

/// Writes one thing.
pub(crate) fn to_text(portable: &impl Serialize) -> String {
    serde_json::to_string(portable).expect("texts, numbers and JSON are written without fail")
}

/// Reads one thing.
pub(crate) fn of_text<T: DeserializeOwned>(text: &str) -> Read<T> {
    Ok(serde_json::from_str(text)?)
}

/// Reads a text that stands for one of a few things.
pub(crate) fn word<T>(
    text: &str,
    parse: impl Fn(&str) -> Option<T>,
    what: &'static str,
) -> Read<T> {
    parse(text).ok_or_else(|| Malformed::Word(text.to_owned(), what))
}

/// JSON inside JSON, byte for byte.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PortableJson(Box<RawValue>);

impl PortableJson {
    pub(crate) fn of(json: &Json) -> Self {
        let raw = RawValue::from_string(json.as_str().to_owned());
        Self(raw.expect("checked when it was made"))
    }

    pub(crate) fn read(self) -> Read<Json> {
        let text: Box<str> = self.0.into();
        Ok(Json::of_stored(text)?)
    }
}

/// An event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PortableEvent {
    id: String,
    name: String,
    payload: PortableJson,
    at: u64,
}

impl PortableEvent {
    pub(crate) fn of(event: &Event) -> Self {
        Self {
            id: event.id.to_string(),
            name: event.name.to_string(),
            payload: PortableJson::of(&event.payload),
            at: event.at.0,
        }
    }

    pub(crate) fn read(self) -> Read<Event> {
        Ok(Event {
            id: EventId::from_stored(&self.id),
            name: EventName::new(&self.name),
            payload: self.payload.read()?,
            at: Timestamp(self.at),
        })
    }
}
