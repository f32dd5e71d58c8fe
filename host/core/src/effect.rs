//! Everything an engine wants done. Closed: a new kind of effect breaks every match.

use std::{ops::Deref, sync::Arc};

use crate::{
    call::{Call, Deployment, Fault, Lease, Refusal},
    id::{
        ComponentName, EventId, InstanceId, MachineName, Partition, StateName, TenantId, Version,
    },
    input::Ticket,
    record::{AppendSeq, Disposition, Handled, Outgoing, Record, Snapshot},
    schema::Violation,
    time::Timestamp,
};

/// What an engine wants done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Ask a sandbox. The answer is `Input::Outcome`. The first call of a lease checks a sandbox
    /// out; the following ones use the same.
    Invoke {
        /// Which sandbox.
        lease: Lease,
        /// What.
        call: Box<Call>,
    },
    /// The sandbox is no longer needed.
    Release {
        /// Which.
        lease: Lease,
        /// Whether everything it did has been taken over: if not, it is thrown away.
        healthy: bool,
    },
    /// Enqueue a record at the log, before any later effect is performed.
    Append {
        /// Its number on this shard, counted from 1 without gaps.
        seq: AppendSeq,
        /// What happened.
        record: Record,
    },
    /// Hand something to another shard.
    Deliver {
        /// On whose behalf.
        tenant: TenantId,
        /// To whom: one partition, or every other shard.
        to: Destination,
        /// What.
        outgoing: Box<Outgoing>,
        /// The record that caused it: the last one appended.
        after: AppendSeq,
    },
    /// Answer a caller, once every record up to `after` is durable.
    Reply {
        /// Who waits.
        ticket: Ticket,
        /// What it depends on.
        after: AppendSeq,
        /// The answer.
        reply: Reply,
    },
    /// Read these instances from the store; the answer is `Input::Reloaded`.
    Reload {
        /// Which.
        instances: Vec<(TenantId, InstanceId)>,
    },
    /// Ask the store what became of an event that a caller sent under this id; the answer is
    /// `Input::Recalled`.
    Recall {
        /// Whose.
        tenant: TenantId,
        /// At which instance.
        instance: InstanceId,
        /// The caller's id.
        event: EventId,
    },
    /// Ask the store whom a broadcast from outside reached; the answer is
    /// `Input::BroadcastRecalled`.
    RecallBroadcast {
        /// Whose.
        tenant: TenantId,
        /// The caller's id.
        event: EventId,
    },
    /// Nothing here runs on this version any more.
    Unused {
        /// Which.
        deployment: Arc<Deployment>,
    },
}

/// Who gets a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Whoever owns this partition.
    Partition(Partition),
    /// Every shard but this one.
    Others,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To `Create`: the instance; `existing` if it was there before.
    Created {
        /// The instance.
        instance: Box<Snapshot>,
        /// Whether this was a repetition.
        existing: bool,
    },
    /// To `Send` and `Replay`: what became of the event.
    Handled(HandledReply),
    /// To `Broadcast`: what became of the instances here.
    Tally {
        /// How many ended how.
        tally: Tally,
        /// Whether this was a repetition.
        replayed: bool,
    },
    /// To `Read`, `Terminate`, `Delete` and `UnblockInstance`.
    Instance(Box<Snapshot>),
    /// To `Discard`.
    Discarded,
    /// To `Preview`.
    Preview(Vec<Fit>),
    /// To `Migrate`.
    Migrated(Vec<Migrated>),
    /// To `Receive`: every parcel up to this one is taken in, by this request or before.
    Received {
        /// Its number.
        through: u64,
    },
    /// To `Return`.
    Returned,
    /// To `Census`.
    Census(Vec<Count>),
    /// To `Breakers` and `Unblock`: one for each version.
    Breakers(Vec<Breaker>),
    /// To anything: no, and why.
    Refused(Refused),
}

/// What became of an event: its record, as the log has it.
#[derive(Clone, Debug)]
pub struct HandledReply {
    /// The record.
    pub handled: Arc<Handled>,
    /// Whether this answer was given before.
    pub replayed: bool,
}

impl Deref for HandledReply {
    type Target = Handled;

    fn deref(&self) -> &Handled {
        &self.handled
    }
}

/// How a broadcast ended; the last five add up to `matched`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Instances chosen.
    pub matched: u64,
    /// Of these: took a transition.
    pub transitioned: u64,
    /// Of these: ignored it.
    pub ignored: u64,
    /// Of these: deferred it, or will try again.
    pub deferred: u64,
    /// Of these: refused it.
    pub rejected: u64,
    /// Of these: parked it.
    pub dead_lettered: u64,
}

impl Tally {
    /// Counts one more.
    pub fn count(&mut self, disposition: Disposition) {
        match disposition {
            Disposition::Transitioned => self.transitioned += 1,
            Disposition::Ignored => self.ignored += 1,
            Disposition::Deferred | Disposition::Retrying => self.deferred += 1,
            Disposition::Rejected => self.rejected += 1,
            Disposition::DeadLettered => self.dead_lettered += 1,
        }
    }

    /// Takes one back that was counted.
    pub(crate) fn uncount(&mut self, disposition: Disposition) {
        match disposition {
            Disposition::Transitioned => self.transitioned -= 1,
            Disposition::Ignored => self.ignored -= 1,
            Disposition::Deferred | Disposition::Retrying => self.deferred -= 1,
            Disposition::Rejected => self.rejected -= 1,
            Disposition::DeadLettered => self.dead_lettered -= 1,
        }
    }

    /// How many have been counted.
    pub fn settled(&self) -> u64 {
        self.transitioned + self.ignored + self.deferred + self.rejected + self.dead_lettered
    }

    /// Adds another shard's.
    pub fn add(&mut self, other: Self) {
        self.matched += other.matched;
        self.transitioned += other.transitioned;
        self.ignored += other.ignored;
        self.deferred += other.deferred;
        self.rejected += other.rejected;
        self.dead_lettered += other.dead_lettered;
    }
}

/// How many live instances there are of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// The tenant and component are those asked for; the component's name.
    pub component: ComponentName,
    /// On which version.
    pub version: Version,
    /// Of which machine.
    pub machine: MachineName,
    /// In which state.
    pub state: StateName,
    /// How many.
    pub instances: u64,
}

/// How the breaker of one version stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Of which version.
    pub version: Version,
    /// Whether events get through.
    pub state: BreakerState,
    /// When an open one lets the next event through.
    pub until: Option<Timestamp>,
    /// Events of the present window that called methods.
    pub calls: u32,
    /// How many of these faulted.
    pub faults: u32,
}

/// Whether events get through; what lets fewer through is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// All do.
    Closed,
    /// One does, to try whether the version works again.
    HalfOpen,
    /// None does.
    Open,
}

impl BreakerState {
    /// The stable text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

impl Breaker {
    /// What several shards know together: the worst state, the sums of the counts.
    pub fn add(&mut self, other: &Self) {
        self.state = self.state.max(other.state);
        self.until = self.until.max(other.until);
        self.calls = self.calls.saturating_add(other.calls);
        self.faults = self.faults.saturating_add(other.faults);
    }
}

/// How live instances of one state would fit another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// On which version they are.
    pub version: Version,
    /// Of which machine.
    pub machine: MachineName,
    /// In which state.
    pub state: StateName,
    /// How many there are.
    pub instances: u64,
    /// How many of them would not fit.
    pub misfits: u64,
    /// How many of them only the store has and have a context that the other version's schema may
    /// refuse; each is looked at when it comes back.
    pub unexamined: u64,
    /// Why the first of those would not.
    pub reason: Option<Arc<str>>,
}

/// What became of one instance that was to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Which.
    pub instance: InstanceId,
    /// The reason why it stays; none = it moved (or would).
    pub held: Option<Arc<str>>,
}

/// Why a request is not carried out. Nothing was recorded.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// No such component.
    UnknownComponent(Arc<str>),
    /// No such machine in the component.
    UnknownMachine(Arc<str>),
    /// No such instance.
    UnknownInstance(InstanceId),
    /// The instance exists, with another machine or context.
    InstanceExists(InstanceId),
    /// The instance has ended by itself.
    InstanceFinished(InstanceId),
    /// The instance has not ended yet, so it is not deleted.
    InstanceActive(InstanceId),
    /// The id is that of a deleted instance whose records the store has not removed yet.
    InstanceDeleted(InstanceId),
    /// The machine is a singleton and has its instance.
    SingletonExists(InstanceId),
    /// The context breaks the schema.
    Schema(Vec<Violation>),
    /// A method of the initial state said no.
    Refusal(Refusal),
    /// A method of the initial state faulted.
    Fault(Fault),
    /// The key was used for another event or payload.
    KeyReused,
    /// The key was used and its event applied; what became of that is not kept any more.
    AnswerLost,
    /// Too many events wait at the instance, or its component has more than its share of what waits.
    Busy(Arc<str>),
    /// The instance faulted too often in a row; it is left alone until then.
    InstanceSuspended {
        /// When it is asked again.
        until: Timestamp,
    },
    /// What the store has of the instance cannot be read: it is suspended until that can be.
    RecordUnreadable(InstanceId),
    /// As many streams of other hosts are remembered as may be.
    TooManyStreams,
    /// The component's breaker is open.
    ComponentSuspended {
        /// When it is asked again.
        until: Timestamp,
    },
    /// Parcels of the stream are missing before these.
    Gap {
        /// The last one that is taken in.
        through: u64,
    },
    /// Too many instances would be reached.
    TooManyMatched(u64),
    /// The records it depends on could not be made durable.
    NotCommitted,
}
