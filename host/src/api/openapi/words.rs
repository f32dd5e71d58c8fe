//! Words that members of answers are made of, for the description only.

#![expect(dead_code, reason = "they describe what is written elsewhere")]

use utoipa::ToSchema;

/// What became of an event.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(in super::super) enum Disposition {
    /// The instance took a transition.
    Transitioned,
    /// The instance had no use for it.
    Ignored,
    /// It is kept for a later state.
    Deferred,
    /// It faulted and will be tried again.
    Retrying,
    /// A method, the schema or the instance's state refused it.
    Rejected,
    /// It was parked.
    DeadLettered,
}

/// How an instance is.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(in super::super) enum InstanceStatus {
    /// It goes on.
    Active,
    /// It has reached a final state.
    Completed,
    /// It has reached an error state.
    Error,
    /// It was ended by a person.
    Terminated,
}

/// What a record of an instance says.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(in super::super) enum HistoryKind {
    /// The instance came into being.
    Created,
    /// The instance took a transition.
    Transitioned,
    /// The instance had no use for the event.
    Ignored,
    /// The event is kept for a later state.
    Deferred,
    /// The event faulted and will be tried again.
    Retrying,
    /// The event was refused.
    Rejected,
    /// The event was parked.
    DeadLettered,
    /// The instance moved to another version.
    Moved,
    /// The instance was ended by a person.
    Terminated,
}

/// How the host is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in super::super) enum HealthStatus {
    /// All is well.
    Ok,
    /// It takes work; another host or a broker is away.
    Degraded,
    /// Another host has the store.
    Standby,
    /// It starts.
    Recovering,
    /// It is going to end.
    Draining,
    /// Nothing can be made durable.
    NotReady,
    /// A thread has failed or makes no progress.
    Failed,
}
