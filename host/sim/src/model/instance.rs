//! One instance as the model keeps it.

use serde_json::Value;

/// One instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its component.
    pub component: String,
    /// On which version.
    pub version: String,
    /// Its machine.
    pub machine: String,
    /// Its state.
    pub state: String,
    /// Whether it has ended.
    pub ended: bool,
    /// Its context or public member.
    pub context: Value,
    /// What it waits for.
    pub timers: Vec<Timer>,
    /// Events kept for later, by id.
    pub deferred: Vec<String>,
    /// The event that is tried again, by id, and when.
    pub retry: Option<(String, u64)>,
    /// Component and id of who made it.
    pub parent: Option<(String, String)>,
    /// Records so far.
    pub seq: u64,
    /// When its state was entered.
    pub entered: u64,
}

/// A deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    /// When.
    pub due: u64,
    /// What for.
    pub wait: Wait,
    /// The id of the event that follows; empty until the log has named it.
    pub id: String,
}

/// What a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// A timeout on that event after so long.
    Timeout(String, u64),
    /// The autos after so long.
    Auto(u64),
    /// A delayed send; whether it goes to the instance itself.
    Send(bool),
}

impl Instance {
    /// Whether an event is one that it kept or has a timer for.
    pub fn waits_for(&self, event: &str) -> bool {
        self.timers.iter().any(|timer| timer.id == event)
            || self.deferred.iter().any(|id| id == event)
            || self.retry.as_ref().is_some_and(|(id, _)| id == event)
    }

    /// The timer whose event this is.
    pub fn timer(&self, event: &str) -> Option<&Timer> {
        self.timers.iter().find(|timer| timer.id == event)
    }

    /// The same, taken away.
    pub fn take_timer(&mut self, event: &str) -> Option<Timer> {
        let position = self.timers.iter().position(|timer| timer.id == event)?;
        Some(self.timers.remove(position))
    }
}
