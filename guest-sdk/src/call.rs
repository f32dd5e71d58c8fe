//! What a method is asked about.

use serde::de::{Deserialize, Deserializer, IgnoredAny};

/// What a method is asked about: the context, the event, and where the transition leads.
#[derive(Clone, Debug)]
pub struct Call<C = Nothing, P = Nothing> {
    /// The context, or the public member where the machine has one.
    pub context: C,
    /// The event at hand.
    pub event: Event<P>,
    /// Who is asked.
    pub instance: Instance,
    /// The state that the transition leads to.
    pub target_state: String,
}

/// The event at hand.
#[derive(Clone, Debug)]
pub struct Event<P = Nothing> {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: P,
    /// When the host accepted it, in milliseconds since 1970-01-01T00:00:00Z.
    pub timestamp_ms: u64,
}

/// The instance that is asked.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its machine.
    pub machine: String,
    /// The state it is in until the transition commits.
    pub state: String,
    /// When it was created, in milliseconds since 1970-01-01T00:00:00Z.
    pub created_ms: u64,
}

/// A context or payload that a method does not look at: any JSON fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nothing;

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IgnoredAny).map(|_| Self)
    }
}
