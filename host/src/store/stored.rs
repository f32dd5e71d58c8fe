//! How parts of records are written where they have no column of their own: as JSON.
//!
//! The shapes here are the format of every database that a host ever wrote. They grow by optional
//! members only; what a member means never changes.

mod cause;
mod detail;
mod letter;
mod outcome;
mod timer;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use xcomponent_core::{
    call::Event,
    id::{EventId, EventName},
    json::Json,
    time::Timestamp,
};

use self::cause::StoredSelector;
pub(super) use self::{
    cause::{StoredCause, StoredOutgoing, StoredParent},
    detail::{StoredDiscarded, StoredHandled, StoredSelected},
    letter::StoredLetter,
    outcome::{StoredFault, StoredLog, StoredReason},
    timer::{StoredExtra, StoredTimer},
};

/// What is stored cannot be read back: somebody else wrote it, or the disk lied.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is not the JSON that was written.
    #[error("a stored part is not what was written")]
    Json(#[from] serde_json::Error),
    /// A text that stands for one of a few things stands for none.
    #[error("`{0}` is no {1}")]
    Word(String, &'static str),
    /// A name that the definition does not have.
    #[error("the definition of version `{version}` has no {what} `{name}`")]
    Name {
        /// The version's label.
        version: String,
        /// Machine or state.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// A column that is never empty is.
    #[error("column {0} of a row is empty")]
    Empty(usize),
    /// A version that was never saved.
    #[error("there is no version number {0}")]
    Version(i64),
}

/// The result of reading something stored.
pub(super) type Read<T> = Result<T, Unreadable>;

/// Writes one thing.
pub(super) fn to_text(stored: &impl Serialize) -> String {
    serde_json::to_string(stored).expect("texts, numbers and JSON are written without fail")
}

/// Reads one thing.
pub(super) fn of_text<T: DeserializeOwned>(text: &str) -> Read<T> {
    Ok(serde_json::from_str(text)?)
}

/// Reads a text that stands for one of a few things.
pub(super) fn word<T>(
    text: &str,
    parse: impl Fn(&str) -> Option<T>,
    what: &'static str,
) -> Read<T> {
    parse(text).ok_or_else(|| Unreadable::Word(text.to_owned(), what))
}

/// JSON inside JSON, byte for byte.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct StoredJson(Box<RawValue>);

impl StoredJson {
    fn of(json: &Json) -> Self {
        let raw = RawValue::from_string(json.as_str().to_owned());
        Self(raw.expect("checked when it was made"))
    }

    fn read(self) -> Json {
        Json::from_trusted(self.0.get())
    }
}

/// An event.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredEvent {
    id: String,
    name: String,
    payload: StoredJson,
    at: u64,
}

impl StoredEvent {
    fn of(event: &Event) -> Self {
        Self {
            id: event.id.to_string(),
            name: event.name.to_string(),
            payload: StoredJson::of(&event.payload),
            at: event.at.0,
        }
    }

    fn read(self) -> Event {
        Event {
            id: EventId::from_stored(&self.id),
            name: EventName::new(&self.name),
            payload: self.payload.read(),
            at: Timestamp(self.at),
        }
    }
}
