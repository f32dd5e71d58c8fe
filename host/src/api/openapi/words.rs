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
    /// The instance was deleted by a person: only streams say so, its history is not shown any more.
    Deleted,
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

/// What is said of what was taken in.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[schema(as = AcceptedDisposition)]
pub(in super::super) enum Accepted {
    /// What becomes of it is not known.
    Accepted,
}

/// An event that no instance took.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(in super::super) enum ParkedKind {
    /// It was parked.
    DeadLettered,
}

/// What a record says that is no part of an instance's history.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(in super::super) enum OtherKind {
    /// The instances were chosen that an event is for.
    Selected,
    /// An event left for another host.
    Departed,
    /// Instances moved to another version.
    Moved,
    /// A dead letter was discarded.
    Discarded,
    /// An event came from another host.
    Received,
}

/// A stream is still there.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(in super::super) enum HeartbeatKind {
    /// Nothing happened for a while.
    Heartbeat,
}

/// A stream ends.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(in super::super) enum EndKind {
    /// It cannot go on.
    Error,
}

/// What a search without `count` finds.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(in super::super) enum InstancesKind {
    /// Instances.
    Instances,
}

/// What a search for `unreadable` ones finds.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(in super::super) enum UnreadableKind {
    /// Instances that cannot be read.
    Unreadable,
}

/// What a search with `count` finds.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub(in super::super) enum CountsKind {
    /// How many instances there are of each kind.
    Counts,
}

/// The bytes of a component.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(in super::super) struct WasmBytes(Vec<u8>);
