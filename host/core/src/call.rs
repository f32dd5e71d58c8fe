//! What a sandbox is asked, and what it may answer.
//!
//! The engine writes a [`Call`] for each guard and action of a transition; whoever runs it (a
//! sandbox, the simulator's fake guest) gives back an [`Outcome`]. Everything a guest did wrong is
//! an ordinary [`Fault`] in there.

use std::sync::Arc;

use crate::{
    definition::{Definition, MachineIdx, MethodKind, StateIdx},
    id::{
        ComponentName, Digest, EventId, EventName, InstanceId, MachineName, MethodName, StateName,
        TenantId,
    },
    json::Json,
    text::stable_text,
    time::{Duration, Timestamp},
};

/// One version of a component as it runs for a tenant: the definition, and which artifact answers
/// its methods. Shared by everything that runs on it.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it means.
    pub definition: Definition,
    /// SHA-256 of the component's bytes.
    pub artifact: Digest,
}

impl Deployment {
    /// Whether both are the same version of the same component.
    pub fn is_same(&self, other: &Self) -> bool {
        let own = &self.definition;
        (self.artifact, &self.tenant, &own.name, &own.version)
            == (
                other.artifact,
                &other.tenant,
                &other.definition.name,
                &other.definition.version,
            )
    }
}

/// An event as an instance sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The caller's, the host's, or `<cause>.<n>`.
    pub id: EventId,
    /// What transitions refer to.
    pub name: EventName,
    /// What it carries.
    pub payload: Json,
    /// When the host accepted it.
    pub at: Timestamp,
}

/// A ticket for a checked-out sandbox: held from the first guard of an event to its outcome.
/// Unique on its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease(pub u64);

/// One question to a sandbox.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which component, in which version, for whom.
    pub deployment: Arc<Deployment>,
    /// Guard or action.
    pub kind: MethodKind,
    /// Which method.
    pub method: MethodName,
    /// Who asks.
    pub instance: InstanceId,
    /// Its machine.
    pub machine: MachineIdx,
    /// Its state: the source of the transition.
    pub state: StateIdx,
    /// The state the transition leads to.
    pub target: StateIdx,
    /// Context or public member as the method is to see it.
    pub context: Json,
    /// When the instance was created.
    pub created: Timestamp,
    /// How many records the instance has; with its id the seed of the guest's random numbers.
    pub seq: u64,
    /// The event at hand.
    pub event: Event,
    /// From 1; more under `onFault: retry` and after a replay.
    pub attempt: u32,
    /// The event that caused this one.
    pub cause: Option<EventId>,
    /// The trace that it belongs to: W3C `traceparent`, and behind a space `tracestate` if there is
    /// one.
    pub trace_parent: Option<Arc<str>>,
    /// Sends that earlier methods of this transition made: the next one is `<event id>.<sends + 1>`.
    pub sends: u32,
}

impl Call {
    /// The definition at hand.
    pub fn definition(&self) -> &Definition {
        &self.deployment.definition
    }

    /// Name of the instance's machine.
    pub fn machine_name(&self) -> &MachineName {
        &self.definition().machine(self.machine).name
    }

    /// Name of the source state.
    pub fn state_name(&self) -> &StateName {
        &self
            .definition()
            .machine(self.machine)
            .state(self.state)
            .name
    }

    /// Name of the target state.
    pub fn target_name(&self) -> &StateName {
        &self
            .definition()
            .machine(self.machine)
            .state(self.target)
            .name
    }

    /// The id of an instance created by the `n`th send: in the partition of its routing value if
    /// the component has one, else in that of its parent.
    pub fn child_id(&self, n: u32, context: &Json) -> InstanceId {
        child_id(
            self.definition(),
            &self.instance,
            &self.event.id,
            n,
            context,
        )
    }
}

/// The id of the instance that the `n`th effect of `cause` creates.
pub fn child_id(
    definition: &Definition,
    parent: &InstanceId,
    cause: &EventId,
    n: u32,
    context: &Json,
) -> InstanceId {
    let routed = definition
        .routing
        .as_ref()
        .and_then(|path| context.route(path));
    InstanceId::derive(cause, n, Some(routed.unwrap_or_else(|| parent.route())))
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The answer, or why there is none.
    pub result: Result<Answer, Failure>,
    /// Lines the method wrote, in order.
    pub logs: Vec<LogLine>,
    /// Work done, in units of wasmtime's fuel.
    pub fuel: u64,
}

/// What a method answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A guard: may the transition be taken?
    Guard(bool),
    /// An action.
    Action {
        /// The whole new context, or none = unchanged.
        context: Option<Json>,
        /// What it sent, in order.
        sends: Vec<Send>,
    },
}

/// Why a method gave no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// A business "no".
    Refused(Refusal),
    /// Something is broken.
    Fault(Fault),
}

/// A business "no": the transition is undone and the caller told. Not a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs, at most 64 bytes.
    pub code: Arc<str>,
    /// For people, at most 1 KiB.
    pub message: Arc<str>,
}

/// What is broken. The transition did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For programs.
    pub code: FaultCode,
    /// For people, without the backtrace.
    pub message: Arc<str>,
    /// Frames of the guest, one a line, innermost first.
    pub backtrace: Option<Arc<str>>,
}

/// Kinds of faults; the text form is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultCode {
    /// The method answered `failed`.
    Failed,
    /// The guest trapped; the message is the panic's text where there was one.
    Trap,
    /// The fuel of one call was used up: a loop without end, or too much work.
    Fuel,
    /// The wall limit ended the call: the last resort.
    WallTime,
    /// The memory limit was reached.
    Memory,
    /// The stack limit was reached.
    Stack,
    /// The answer is larger than a context may be.
    AnswerTooLarge,
    /// The answer is not valid JSON, nested too deep, or not an object.
    AnswerMalformed,
    /// A send was malformed: payload, name, id or delay.
    BadSend,
    /// More sends than one transition may make.
    TooManySends,
    /// A guard called `sender`.
    SendInGuard,
    /// The context after an action breaks the schema.
    SchemaViolation,
    /// The component does not answer the method.
    MissingMethod,
    /// The host could not give the method a sandbox in time.
    Unavailable,
}

stable_text!(FaultCode {
    Failed = "failed",
    Trap = "trap",
    Fuel = "cpu_budget",
    WallTime = "wall_time",
    Memory = "memory_limit",
    Stack = "stack_overflow",
    AnswerTooLarge = "answer_too_large",
    AnswerMalformed = "answer_malformed",
    BadSend = "bad_send",
    TooManySends = "too_many_sends",
    SendInGuard = "send_in_guard",
    SchemaViolation = "schema_violation",
    MissingMethod = "missing_method",
    Unavailable = "sandbox_unavailable",
});

impl FaultCode {
    /// Whether it counts for the breaker: traps, budgets and limits do; what the author's code
    /// said in an orderly way never does.
    pub fn counts_for_breaker(self) -> bool {
        !matches!(
            self,
            Self::Failed | Self::SchemaViolation | Self::MissingMethod | Self::Unavailable
        )
    }
}

/// One line of a guest's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How important.
    pub level: LogLevel,
    /// At most 4 KiB.
    pub message: Arc<str>,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Finest.
    Trace,
    /// For whoever debugs.
    Debug,
    /// Ordinary.
    Info,
    /// Worth a look.
    Warn,
    /// Broken; also the text of a panic.
    Error,
}

stable_text!(LogLevel {
    Trace = "trace",
    Debug = "debug",
    Info = "info",
    Warn = "warn",
    Error = "error",
});

/// A buffered call of `sender`; takes effect when the transition commits.
#[derive(Clone, Debug, PartialEq)]
pub enum Send {
    /// To the instance itself.
    ToSelf {
        /// Event name.
        event: EventName,
        /// What it carries.
        payload: Json,
        /// How much later; none = before any event from outside.
        delay: Option<Duration>,
    },
    /// To one instance of this or another component.
    ToInstance {
        /// The component; none = this one.
        component: Option<ComponentName>,
        /// Which instance.
        instance: InstanceId,
        /// Event name.
        event: EventName,
        /// What it carries.
        payload: Json,
        /// How much later.
        delay: Option<Duration>,
    },
    /// To a selection of instances.
    Broadcast {
        /// The component; none = this one.
        component: Option<ComponentName>,
        /// Which machine.
        machine: MachineName,
        /// Only instances in this state.
        state: Option<StateName>,
        /// Event name.
        event: EventName,
        /// What it carries.
        payload: Json,
        /// How much later.
        delay: Option<Duration>,
    },
    /// A new instance, child of this one; its id is `Call::child_id` of its number.
    Create {
        /// The component; none = this one.
        component: Option<ComponentName>,
        /// Which machine.
        machine: MachineName,
        /// Its context.
        context: Json,
    },
    /// Takes an own send back.
    Cancel {
        /// `<event id>.<n>` of that send.
        id: EventId,
    },
}
