//! Everything that can happen to an engine. Closed: a new kind of input breaks every match.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use crate::{
    call::{Deployment, Lease, Outcome},
    definition::OnLive,
    id::{
        ComponentName, EventId, EventName, InstanceId, MachineName, Partition, StateName, StreamId,
        TenantId, Version,
    },
    json::Json,
    owed::Debt,
    record::{
        AppendSeq, Cause, DeadLetter, Disposition, Handled, Outgoing, Selected, Selector, Snapshot,
    },
    time::Timestamp,
};

/// What an engine is told.
#[derive(Debug)]
pub enum Input {
    /// Somebody outside asks; the answer is an `Effect::Reply` with the same ticket.
    Request {
        /// Names the waiting caller; chosen by the driver.
        ticket: Ticket,
        /// On whose behalf.
        tenant: TenantId,
        /// What is asked.
        request: Request,
    },
    /// Another shard sends something that concerns instances here.
    Delivery {
        /// On whose behalf.
        tenant: TenantId,
        /// What.
        outgoing: Outgoing,
        /// Position in the log of the record that caused it; the engine only compares.
        after: u64,
    },
    /// A host before this one sent something, and nobody received it. Comes before anything new.
    Redeliver(Debt),
    /// Another engine worked on these instances until now: what callers' ids came to is known to
    /// the store only.
    Resume,
    /// The answer to `Effect::Recall`: the last record of the event, if the store has any.
    Recalled {
        /// Whose.
        tenant: TenantId,
        /// At which instance.
        instance: InstanceId,
        /// The caller's id.
        event: EventId,
        /// What became of it.
        handled: Option<Arc<Handled>>,
    },
    /// The answer to `Effect::RecallBroadcast`.
    BroadcastRecalled {
        /// Whose.
        tenant: TenantId,
        /// The caller's id.
        event: EventId,
        /// Whom it reached.
        reached: Reached,
    },
    /// The store does not answer what it was asked about these. Callers are refused; what was
    /// accepted goes on waiting for the answer, which comes once the store works again.
    Unread {
        /// Instances that were asked for, or whose events were.
        instances: Vec<(TenantId, InstanceId)>,
        /// Broadcasts that were asked about.
        broadcasts: Vec<(TenantId, EventId)>,
    },
    /// Which components are on other hosts from now on.
    Elsewhere(Arc<Elsewhere>),
    /// Up to which parcel the store has taken in each stream. Comes before anything new.
    Streams(Vec<(TenantId, StreamId, u64)>),
    /// A sandbox was asked and this became of it.
    Outcome {
        /// Which sandbox.
        lease: Lease,
        /// What became of it.
        outcome: Outcome,
    },
    /// A version is there: from now on it may be activated. Every engine gets it.
    Deploy(Arc<Deployment>),
    /// New instances run on this version, and live ones move as `on_live` says.
    Activate {
        /// Whose.
        tenant: TenantId,
        /// Which component.
        component: ComponentName,
        /// Which version of it.
        version: Version,
        /// What happens to live instances.
        on_live: OnLive,
    },
    /// A version is gone; nothing lives on it.
    Retire {
        /// Whose.
        tenant: TenantId,
        /// Which component.
        component: ComponentName,
        /// Which version of it; none = the whole component.
        version: Option<Version>,
    },
    /// This engine owns these partitions from now on.
    Own(Vec<Partition>),
    /// Live instances of partitions that it owns, as the store has them. All of them are there
    /// before anything is sent to one and before time goes on.
    Load(Vec<Snapshot>),
    /// This engine no longer owns the partition; its instances leave memory.
    Unload {
        /// Which.
        partition: Partition,
    },
    /// Every record up to this one is durable.
    Durable {
        /// The last durable record of this shard.
        through: AppendSeq,
    },
    /// How many bytes of records may wait to be durable before components with more than their
    /// share of them start no more work. The driver knows how fast the store is.
    Pace {
        /// So many.
        bytes: usize,
    },
    /// No record after this one will ever be durable: whatever was touched later is dropped and
    /// asked for again by `Effect::Reload`.
    Truncated {
        /// The last durable record of this shard.
        after: AppendSeq,
        /// The last durable position of the log: deliveries caused later are void.
        position: u64,
        /// Whether the shard's first record after that is void because the store refuses what is in
        /// it: its event is parked, and everything else is done again.
        unstorable: bool,
    },
    /// The answer to `Effect::Reload`: instances as the store has them; those not named are gone.
    Reloaded {
        /// Those that were asked for.
        asked: Vec<(TenantId, InstanceId)>,
        /// What of them there is.
        found: Found,
    },
}

/// Whom a broadcast from outside reached, as far as that is durable.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// Who was chosen, slice by slice, on all shards.
    pub selected: Vec<Arc<Selected>>,
    /// What it came to at those of them that are settled.
    pub settled: Vec<(InstanceId, Disposition)>,
}

/// Which components are on other hosts. What is here is here, whatever this says.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// These.
    pub named: HashSet<(TenantId, ComponentName), FixedState>,
    /// And every other that is not here.
    pub all: bool,
}

/// Instances as the store has them.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Those that can be read.
    pub instances: Vec<Snapshot>,
    /// Those that are there and cannot be read.
    pub unreadable: Vec<(TenantId, InstanceId)>,
}

/// Names a waiting caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What somebody outside asks.
#[derive(Clone, Debug)]
pub enum Request {
    /// A new instance.
    Create(Create),
    /// An event for one instance.
    Send(SendEvent),
    /// An event for a selection of the instances here; asked of every shard.
    Broadcast(Broadcast),
    /// An instance ends, whatever its state.
    Terminate(Terminate),
    /// An instance that has ended is deleted.
    Delete(Delete),
    /// The instance as it is.
    Read {
        /// Which.
        instance: InstanceId,
    },
    /// An event that was parked is tried again, on the active version, as `<id>.r<attempts>`.
    Replay {
        /// The dead letter, from the store.
        letter: Box<DeadLetter>,
    },
    /// A parked event is given up.
    Discard {
        /// The dead letter, from the store.
        letter: Box<DeadLetter>,
    },
    /// How many live instances here would not fit a version; nothing changes.
    Preview {
        /// The version to compare with.
        with: Arc<Deployment>,
    },
    /// Live instances here move from one version to another now.
    Migrate(Migrate),
    /// What another host sent.
    Receive(Receive),
    /// What no transport takes to another host is parked.
    Return {
        /// As it was to be sent.
        deliveries: Vec<Outgoing>,
        /// Why not.
        why: Arc<str>,
    },
    /// How many instances live here per version, machine and state.
    Census {
        /// Only of this component.
        component: Option<ComponentName>,
    },
    /// How the breakers of a component's versions stand here.
    Breakers {
        /// Which component.
        component: ComponentName,
    },
    /// The breakers of a component's versions close here now.
    Unblock {
        /// Which component.
        component: ComponentName,
    },
    /// An instance in memory that is suspended for its faults goes on now.
    UnblockInstance {
        /// Which.
        instance: InstanceId,
    },
}

impl Request {
    /// Bytes of the payloads in it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Create(create) => create.context.len(),
            Self::Send(send) => send.payload.len(),
            Self::Broadcast(broadcast) => broadcast.payload.len(),
            Self::Replay { letter } | Self::Discard { letter } => letter.event.payload.len(),
            Self::Receive(receive) => {
                let parcels = receive.parcels.iter();
                payload_bytes(parcels.flat_map(|parcel| &parcel.deliveries))
            }
            Self::Return { deliveries, .. } => payload_bytes(deliveries),
            Self::Terminate(terminate) => {
                terminate.reason.as_ref().map_or(0, |reason| reason.len())
            }
            Self::Delete(_)
            | Self::Read { .. }
            | Self::Preview { .. }
            | Self::Migrate(_)
            | Self::Census { .. }
            | Self::Breakers { .. }
            | Self::Unblock { .. }
            | Self::UnblockInstance { .. } => 0,
        }
    }
}

fn payload_bytes<'o>(deliveries: impl IntoIterator<Item = &'o Outgoing>) -> usize {
    let deliveries = deliveries.into_iter();
    deliveries
        .map(|outgoing| outgoing.event.payload.len())
        .sum()
}

/// A new instance.
#[derive(Clone, Debug)]
pub struct Create {
    /// Of which component.
    pub component: ComponentName,
    /// Of which machine.
    pub machine: MachineName,
    /// Its context (or public member).
    pub context: Json,
    /// Its id: the caller's, or made by the driver in the right partition.
    pub id: InstanceId,
    /// How a repetition finds the first instance.
    pub repeatable: Repeatable,
    /// Created at load.
    pub entry_point: bool,
    /// The trace of the request: W3C `traceparent`, and behind a space `tracestate` if it had one.
    pub trace_parent: Option<Arc<str>>,
}

/// How a creation that is asked for again is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeatable {
    /// It is not: the instance's id was made for it.
    No,
    /// By the instance's id, which is the caller's own.
    ById,
    /// By the caller's key, of which the instance's id was made: [`keyed_instance_id`].
    ///
    /// [`keyed_instance_id`]: crate::id::keyed_instance_id
    ByKey(EventId),
}

impl Repeatable {
    /// The caller's key, if there is one.
    pub fn key(&self) -> Option<&EventId> {
        match self {
            Self::ByKey(key) => Some(key),
            Self::No | Self::ById => None,
        }
    }
}

/// An event for one instance.
#[derive(Clone, Debug)]
pub struct SendEvent {
    /// Which instance.
    pub instance: InstanceId,
    /// Its component, if the caller named one: then it must be that.
    pub component: Option<ComponentName>,
    /// The event's name.
    pub event: EventName,
    /// What it carries.
    pub payload: Json,
    /// The caller's own id for it: then it is applied once.
    pub id: Option<EventId>,
    /// Refused unless the instance is in this state.
    pub expected_state: Option<StateName>,
    /// The sender's own timestamp, only shown.
    pub sent_at: Option<Timestamp>,
    /// The trace of the request: W3C `traceparent`, and behind a space `tracestate` if it had one.
    pub trace_parent: Option<Arc<str>>,
}

/// The end of an instance, on an operator's request.
#[derive(Clone, Debug)]
pub struct Terminate {
    /// Which instance.
    pub instance: InstanceId,
    /// Why, in the operator's words.
    pub reason: Option<Arc<str>>,
    /// The trace of the request: W3C `traceparent`, and behind a space `tracestate` if it had one.
    pub trace_parent: Option<Arc<str>>,
}

/// The deletion of an instance, on an operator's request.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Which instance.
    pub instance: InstanceId,
    /// The trace of the request: W3C `traceparent`, and behind a space `tracestate` if it had one.
    pub trace_parent: Option<Arc<str>>,
}

/// An event for a selection of instances.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// Which instances.
    pub selector: Arc<Selector>,
    /// The event's name.
    pub event: EventName,
    /// What it carries.
    pub payload: Json,
    /// Its id, the same on every shard.
    pub id: EventId,
    /// Whether the id is the caller's own: then it is applied once.
    pub repeatable: bool,
    /// The root of what it causes; more than one shard takes part.
    pub cause: Cause,
}

/// What another host sent, in the order in which it did.
#[derive(Clone, Debug)]
pub struct Receive {
    /// From whom, and for which component.
    pub stream: StreamId,
    /// Never empty; their numbers grow.
    pub parcels: Vec<Parcel>,
}

/// What one record of another host sends to one component.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Its place in the log of the other host.
    pub number: u64,
    /// The number of the parcel before it in the same stream, 0 if it is the first: then none can
    /// be missing. None where the transport may lose some.
    pub before: Option<u64>,
    /// The component that sends it, if one does.
    pub source: Option<ComponentName>,
    /// What is in it.
    pub deliveries: Vec<Outgoing>,
}

/// Live instances move from one version to another.
#[derive(Clone, Debug)]
pub struct Migrate {
    /// Of which component.
    pub component: ComponentName,
    /// From which version.
    pub from: Version,
    /// To which.
    pub to: Version,
    /// What the states of the old version are called in the new one, where that differs.
    pub states: Vec<(StateName, StateName)>,
    /// At most so many.
    pub limit: usize,
    /// Only say what would happen.
    pub dry_run: bool,
}
