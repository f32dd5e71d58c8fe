//! What is persisted: one [`Record`] per thing that happened.
//!
//! A record is appended before anything it causes leaves the shard. It carries the instance as it
//! is afterwards, so that a store only ever replaces; and what it sends, so that nothing is
//! forgotten by a crash between the commit and the delivery. What waits at the instance with a
//! payload is not repeated: a record says what of it began and what ended ([`Waits`]), and a store
//! keeps each in a row of its own, written in the same transaction.

mod mismatch;
mod sent;
mod waiting;
mod weight;

use std::sync::Arc;

use thin_vec::ThinVec;

pub(crate) use self::waiting::weight;
pub use self::{
    mismatch::Mismatch,
    sent::{Condition, Outgoing, SelectBy, Selector, Target},
    waiting::{Began, Delayed, Extra, Retry, Waiting, WaitingKind, Waits},
};
use crate::{
    call::{Deployment, Event, Fault, LogLine, Refusal},
    definition::{Machine, MachineIdx, State, StateIdx, TransitionIdx},
    id::{
        ComponentName, EventId, EventName, InstanceId, MachineName, StateName, StreamId, TenantId,
    },
    json::Json,
    limits::{CASCADE_CREDITS, CHAIN_LINKS_MAX},
    schema::Violation,
    text::stable_text,
    time::Timestamp,
};

/// The `n`th record that a shard appended since it started. The driver maps it to a position in
/// the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendSeq(pub u64);

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whose it is.
    pub tenant: TenantId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub body: Body,
}

/// What happened. Shared by the log, whoever waits for the answer and whoever reads.
#[derive(Clone, Debug)]
pub enum Body {
    /// An instance looked at an event (or was created by one).
    Handled(Arc<Handled>),
    /// A shard chose the instances that an event goes to.
    Selected(Arc<Selected>),
    /// A delayed send left its instance. Not part of the instance's history.
    Departed(Arc<Departed>),
    /// An instance was moved to another version by request; its `seq` is unchanged.
    Moved(Arc<Snapshot>),
    /// An event that no instance took was parked.
    Parked(Arc<DeadLetter>),
    /// An event was given up: a dead letter by a person, a delivery over its budget.
    Discarded(Arc<Discarded>),
    /// What another host sent was taken in.
    Received(Arc<Received>),
}

impl Body {
    /// The instance as it is afterwards, if the record is about one.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Handled(handled) => Some(&handled.after),
            Self::Departed(departed) => Some(&departed.after),
            Self::Moved(snapshot) => Some(snapshot),
            Self::Selected(_) | Self::Parked(_) | Self::Discarded(_) | Self::Received(_) => None,
        }
    }
}

/// What another host sent. Once this is durable the other need not remember it, and what is sent
/// again is known by its number.
#[derive(Clone, Debug)]
pub struct Received {
    /// From whom, and for which component.
    pub stream: StreamId,
    /// The number of the last parcel that is taken in.
    pub through: u64,
    /// What was in the parcels, in order.
    pub deliveries: Vec<Outgoing>,
}

/// An event that is given up: a dead letter, or a delivery that may go no further.
#[derive(Clone, Debug)]
pub struct Discarded {
    /// Which.
    pub id: EventId,
    /// The instance it was for, if one was chosen.
    pub instance: Option<InstanceId>,
    /// What is sent instead: the replay of a dead letter that reached no instance.
    pub resent: Option<Box<Outgoing>>,
}

/// An instance looked at an event. A million of these are kept: what few have is boxed.
#[derive(Clone, Debug)]
pub struct Handled {
    /// The event.
    pub event: Event,
    /// The sender's own timestamp, only shown.
    pub sent_at: Option<Timestamp>,
    /// What became of it.
    pub disposition: Disposition,
    /// Why, for `ignored` and `rejected`.
    pub reason: Option<Box<Reason>>,
    /// State before; none for a creation.
    pub from: Option<StateIdx>,
    /// State after; equals `from` where nothing changed.
    pub to: StateIdx,
    /// The instance as it is now, its `seq` counting this record.
    pub after: Snapshot,
    /// What caused the event.
    pub cause: Cause,
    /// What goes out, in order; a delayed send begins to wait instead.
    pub deliveries: ThinVec<Outgoing>,
    /// What began to wait at the instance, and what waits no more.
    pub waits: Option<Box<Waits>>,
    /// What went wrong, if something did.
    pub fault: Option<Box<Fault>>,
    /// Lines the methods wrote.
    pub logs: ThinVec<LogLine>,
    /// Work the methods did, in fuel.
    pub fuel: u64,
    /// Attempts it took.
    pub attempts: u32,
    /// The dead letter that this made, under the event's id.
    pub parked: Option<Arc<DeadLetter>>,
    /// The dead letter that this settles: it was its replay.
    pub settles: Option<EventId>,
    /// Own sends that waited in the mailbox and were taken back.
    pub cancels: ThinVec<EventId>,
}

impl Handled {
    /// Name of the state before; none for a creation.
    #[expect(
        clippy::wrong_self_convention,
        reason = "`from` is the state before, not a source"
    )]
    pub fn from_name(&self) -> Option<&StateName> {
        self.from
            .map(|state| &self.after.machine().state(state).name)
    }

    /// Whether an operator ended the instance with it.
    pub fn is_termination(&self) -> bool {
        self.disposition == Disposition::Transitioned && self.after.status == Status::Terminated
    }

    /// Whether an operator deleted the instance with it.
    pub fn is_deletion(&self) -> bool {
        self.disposition == Disposition::Transitioned && self.after.is_deleted()
    }

    /// Name of the state after.
    pub fn to_name(&self) -> &StateName {
        &self.after.machine().state(self.to).name
    }

    /// When the event is tried again.
    pub fn retry_at(&self) -> Option<Timestamp> {
        let mut began = self.waits.as_ref()?.began.iter();
        began.find(|began| began.kind == WaitingKind::Retry)?.due
    }
}

/// A delayed send left its instance.
#[derive(Clone, Debug)]
pub struct Departed {
    /// The instance without that timer; its `seq` is unchanged.
    pub after: Snapshot,
    /// What left.
    pub outgoing: Outgoing,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Disposition {
    /// A transition was taken.
    Transitioned,
    /// No transition applied.
    Ignored,
    /// Kept until a state that handles it.
    Deferred,
    /// A fault; it will be tried again.
    Retrying,
    /// Refused: by a method, the schema, an expected state, a finished or unknown instance.
    Rejected,
    /// Parked.
    DeadLettered,
}

stable_text!(Disposition {
    Transitioned = "transitioned",
    Ignored = "ignored",
    Deferred = "deferred",
    Retrying = "retrying",
    Rejected = "rejected",
    DeadLettered = "dead-lettered",
});

/// Why an event was ignored or rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The state has no transition for it.
    NoTransition,
    /// There are transitions, but no rules or guard passed: what the first of them failed at, where
    /// that is known.
    NothingMatched(Option<Box<Mismatch>>),
    /// It was selected by state or rules that no longer hold.
    NoLongerMatches,
    /// None of the state's `auto` transitions passed.
    NoAutoPassed,
    /// The instance had finished.
    Finished,
    /// The instance is not in the state the caller expected.
    UnexpectedState(StateName),
    /// A method said no.
    Refused(Refusal),
    /// The payload, merged into the context, breaks the schema.
    Schema(Vec<Violation>),
    /// The instance a creation names exists already.
    Exists,
}

/// An instance as it is stored.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its id.
    pub id: InstanceId,
    /// The version it runs on.
    pub deployment: Arc<Deployment>,
    /// Its machine there.
    pub machine: MachineIdx,
    /// Its state there.
    pub state: StateIdx,
    /// Active, completed, error, terminated or deleted.
    pub status: Status,
    /// Context, or public member where the machine has one.
    pub context: Json,
    /// Records so far.
    pub seq: u64,
    /// How often a state was entered: timers carry it.
    pub entry: u64,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// When the state was entered.
    pub entered: Timestamp,
    /// Hash of the machine and context it was created with, to recognise a repeated creation.
    pub origin: u64,
    /// Whether it was created at load: it stays visible and in memory after finishing.
    pub entry_point: bool,
    /// Who made it.
    pub parent: Option<Box<Parent>>,
    /// Deadlines of its state, unordered.
    pub timers: ThinVec<Timer>,
    /// What waits at it, and other things that few have; absent while there is none.
    pub extra: Option<Arc<Extra>>,
}

impl Snapshot {
    /// Whose it is.
    pub fn tenant(&self) -> &TenantId {
        &self.deployment.tenant
    }

    /// Whether it was deleted: nobody is shown it any more.
    pub fn is_deleted(&self) -> bool {
        self.status == Status::Deleted
    }

    /// Whether it belongs in memory: it goes on, was created at load and is not deleted, or has
    /// ended and still owes a delayed send or what becomes of a deferred event.
    pub fn is_live(&self) -> bool {
        self.status == Status::Active
            || self.entry_point && !self.is_deleted()
            || !self.timers.is_empty()
            || self.extra.is_some()
    }

    /// Its component's name.
    pub fn component(&self) -> &ComponentName {
        &self.deployment.definition.name
    }

    /// Its machine.
    pub fn machine(&self) -> &Machine {
        self.deployment.definition.machine(self.machine)
    }

    /// Its state.
    pub fn state(&self) -> &State {
        self.machine().state(self.state)
    }
}

/// Whether an instance goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// It goes on.
    Active,
    /// It reached a final state.
    Completed,
    /// It reached an error state.
    Error,
    /// An operator ended it.
    Terminated,
    /// It had ended, and an operator deleted it. Its id stays taken until the store has removed its
    /// records.
    Deleted,
}

stable_text!(Status {
    Active = "active",
    Completed = "completed",
    Error = "error",
    Terminated = "terminated",
    Deleted = "deleted",
});

/// Who made an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub id: InstanceId,
    /// Its component.
    pub component: ComponentName,
    /// Its machine.
    pub machine: MachineName,
}

/// A deadline of an instance's state.
#[derive(Clone, Debug)]
pub struct Timer {
    /// When it is due.
    pub due: Timestamp,
    /// What happens then.
    pub kind: TimerKind,
    /// The `<cause>.<n>` under which it fires.
    pub id: EventId,
    /// The chain it belongs to.
    pub cause: Cause,
    /// Whether it fired and its event waits in the mailbox. False when read from a store.
    pub fired: bool,
}

/// What happens at a deadline.
#[derive(Clone, Debug)]
pub enum TimerKind {
    /// A `timeout` transition of the state entered as number `entry`.
    Timeout {
        /// Which transition.
        transition: TransitionIdx,
        /// Which entry of the state; a later one makes it void.
        entry: u64,
    },
    /// The `auto` transitions of the state entered as number `entry` that share a delay.
    Auto {
        /// The first of them.
        transition: TransitionIdx,
        /// Which entry of the state.
        entry: u64,
    },
}

/// Why an event exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The event whose transition sent it; none for an event from outside and its timers' roots.
    pub event: Option<EventId>,
    /// The instance that sent it.
    pub instance: Option<InstanceId>,
    /// The event from outside that everything began with.
    pub root: EventId,
    /// The steps from the root to this one, the nearest first.
    pub chain: Option<Arc<Link>>,
    /// Steps from the root, or from the last deadline in between.
    pub depth: u16,
    /// Work that may still be caused.
    pub credits: u32,
    /// Whether a selection on several shards is part of the chain: then each shard counts.
    pub spread: bool,
    /// The trace that it belongs to: W3C `traceparent`, and behind a space `tracestate` if there is
    /// one.
    pub trace_parent: Option<Arc<str>>,
}

impl Cause {
    /// Why an event from outside exists: it is a root itself.
    pub fn outside(id: &EventId, trace_parent: Option<Arc<str>>) -> Self {
        Self {
            event: None,
            instance: None,
            root: id.clone(),
            chain: None,
            depth: 0,
            credits: CASCADE_CREDITS,
            spread: false,
            trace_parent,
        }
    }
}

/// One step of a chain of causes.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// The instance whose transition was a step.
    pub instance: InstanceId,
    /// The event it took.
    pub event: EventName,
    /// The step before.
    pub before: Option<Arc<Self>>,
}

impl Link {
    /// A chain of these steps, the nearest first. Only the nearest [`CHAIN_LINKS_MAX`] are kept.
    pub fn chain(
        nearest_first: impl IntoIterator<Item = (InstanceId, EventName)>,
    ) -> Option<Arc<Self>> {
        let kept: Vec<_> = nearest_first.into_iter().take(CHAIN_LINKS_MAX).collect();
        kept.into_iter().rfold(None, |before, (instance, event)| {
            Some(Arc::new(Self {
                instance,
                event,
                before,
            }))
        })
    }
}

impl Drop for Link {
    /// Link by link: a call for each would need a stack as long as the chain.
    fn drop(&mut self) {
        let mut before = self.before.take();
        while let Some(mut link) = before.and_then(Arc::into_inner) {
            before = link.before.take();
        }
    }
}

/// A shard chose the instances that an event goes to; written before it delivers.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The event; each instance gets it under an id of its own, [`EventId::at`].
    pub event: Event,
    /// Where it came from.
    pub cause: Cause,
    /// How they were chosen.
    pub selector: Arc<Selector>,
    /// Which they are: one slice.
    pub instances: Vec<InstanceId>,
}

/// An event in an instance's mailbox.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The event.
    pub event: Event,
    /// Why it exists.
    pub cause: Cause,
    /// The sender's own timestamp, only shown.
    pub sent_at: Option<Timestamp>,
}

/// A parked event.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The event; its id is the dead letter's, unique per instance.
    pub event: Event,
    /// Whose it is.
    pub tenant: TenantId,
    /// The component it was for.
    pub component: ComponentName,
    /// The version that failed, if one was chosen.
    pub version: Option<crate::id::Version>,
    /// The machine it was for, if known.
    pub machine: Option<MachineName>,
    /// The instance it was for, if one was chosen.
    pub instance: Option<InstanceId>,
    /// Why it could not be handled.
    pub why: Parked,
    /// The chain it belongs to.
    pub cause: Cause,
    /// Attempts made, replays included.
    pub attempts: u32,
    /// What was sent, so that a replay can repeat it where no instance was chosen.
    pub to: Option<Target>,
    /// When it was parked.
    pub at: Timestamp,
}

/// Why an event was parked.
#[derive(Clone, Debug, PartialEq)]
pub enum Parked {
    /// A method faulted.
    Fault(Fault),
    /// No such component, machine or instance.
    UnknownTarget(Arc<str>),
    /// The instance had finished before a deferred event could be handled.
    InstanceFinished,
    /// The shard was too far behind.
    Overload,
    /// The chain of causes was too deep or had no credits left; the chain is in the text.
    CascadeBudget(Arc<str>),
    /// The component's breaker was open for too long.
    ComponentSuspended,
    /// The context handed over, or that of a deadline's transition, breaks the schema.
    SchemaViolation(Arc<str>),
    /// A method refused what nobody waits for: a deadline's transition, a creation.
    Refused(Arc<str>),
    /// The singleton it was to create exists.
    SingletonExists,
    /// The store refused what it led to, for what was in it.
    Unstorable,
    /// What the store has of its instance cannot be read, and as many events as may be are held
    /// there.
    RecordUnreadable,
    /// No transport takes it to the host that its component is on.
    Undeliverable(Arc<str>),
}

impl Parked {
    /// Why an event is parked that was rejected and that nobody waits for; none if it was rejected
    /// for what is no business of the definition's.
    pub(crate) fn of_rejection(reason: &Reason) -> Option<Self> {
        match reason {
            Reason::Schema(violations) => Some(Self::of_violations(violations)),
            Reason::Refused(refusal) => Some(Self::of_refusal(refusal)),
            Reason::NoTransition
            | Reason::NothingMatched(_)
            | Reason::NoLongerMatches
            | Reason::NoAutoPassed
            | Reason::Finished
            | Reason::UnexpectedState(_)
            | Reason::Exists => None,
        }
    }

    /// A context that breaks the schema.
    pub(crate) fn of_violations(violations: &[Violation]) -> Self {
        let fields: Vec<String> = violations.iter().map(ToString::to_string).collect();
        Self::SchemaViolation(fields.join("; ").into())
    }

    /// A method that refused.
    pub(crate) fn of_refusal(refusal: &Refusal) -> Self {
        Self::Refused(format!("{}: {}", refusal.code, refusal.message).into())
    }

    /// The stable text form.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.code.as_str(),
            Self::UnknownTarget(_) => "unknown_target",
            Self::InstanceFinished => "instance_finished",
            Self::Overload => "overload",
            Self::CascadeBudget(_) => "cascade_budget",
            Self::ComponentSuspended => "component_suspended",
            Self::SchemaViolation(_) => "schema_violation",
            Self::Refused(_) => "refused",
            Self::SingletonExists => "singleton_exists",
            Self::Unstorable => "unstorable",
            Self::RecordUnreadable => "record_unreadable",
            Self::Undeliverable(_) => "undeliverable",
        }
    }
}
