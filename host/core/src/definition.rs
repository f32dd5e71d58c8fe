//! The checked definition of a component: its machines, their states and transitions.
//!
//! A [`Definition`] is always valid. What a person wrote is another type (`parse::Raw…`), and
//! [`check()`] is the only way from one to the other; it reports all findings at once. Names are
//! resolved to indexes here, so that the engine never looks a state up by its text.

mod check;
mod choices;
mod diagnostic;
mod diagram;
pub(crate) mod keys;
pub(crate) mod notes;
pub(crate) mod parse;
pub(crate) mod read;
mod written;

use std::{fmt, sync::Arc};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use serde_json::Value;
use smallvec::SmallVec;

use self::choices::Choices;
pub use self::{
    check::{Checked, check},
    diagnostic::{Finding, Findings, Severity, Strictness},
    diagram::{Highlight, dot, mermaid, svg},
};
use crate::{
    id::{ComponentName, Digest, EventName, MachineName, MethodName, StateName, Version},
    json::{Json, Path},
    schema::Schema,
    text::stable_text,
    time::Duration,
};

/// A component's definition, checked.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The component's name, unique within a tenant.
    pub name: ComponentName,
    /// The version as written, or `0.0.0+<8 digits of the digest>`.
    pub version: Version,
    /// SHA-256 of the source text.
    pub digest: Digest,
    /// The YAML, byte for byte.
    pub source: Arc<str>,
    /// In document order, at least one.
    pub machines: Vec<Machine>,
    /// The machine that is created at load or by `cross_component` without a target machine.
    pub entry: Option<Entry>,
    /// The property whose value decides the partition.
    pub routing: Option<Path>,
    /// Whether a sandbox may serve more than one transition.
    pub isolation: Isolation,
    /// Free data of the author, shown by the API.
    pub metadata: Option<Json>,
    /// Position of each machine's name in `machines`.
    pub(crate) positions: HashMap<MachineName, MachineIdx, FixedState>,
}

/// The entry machine of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which machine.
    pub machine: MachineIdx,
    /// Exactly one live instance, or any number.
    pub singleton: bool,
    /// Whether one is created when the component is loaded.
    pub auto_create: bool,
}

/// Whether a sandbox may be used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// A sandbox serves many transitions, one after the other.
    #[default]
    Reused,
    /// Every transition gets a new sandbox.
    Fresh,
}

/// One finite state machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Unique within the component.
    pub name: MachineName,
    /// Where an instance starts.
    pub initial: StateIdx,
    /// In document order.
    pub states: Vec<State>,
    /// In document order.
    pub transitions: Vec<Transition>,
    /// Names of all events the machine uses, in order of first use.
    pub events: Vec<EventName>,
    /// Present if creation hands over a public member instead of a context.
    pub public_member_type: Option<Arc<str>>,
    /// `parentLink.onStateChange`: the event sent to the parent on every state change.
    pub parent_link: Option<ParentLink>,
    /// What the context must look like.
    pub schema: Option<Schema>,
    /// What happens after a fault (the component's `onFault` where the machine has none).
    pub on_fault: OnFault,
    /// A sentence for people.
    pub description: Option<Arc<str>>,
    /// Free data of the author, shown by the API.
    pub metadata: Option<Json>,
    /// What may be tried by state and event.
    pub(crate) choices: Choices,
    /// Position of each state's name in `states`.
    pub(crate) state_positions: HashMap<StateName, StateIdx, FixedState>,
    /// Position of each event's name in `events`.
    pub(crate) event_positions: HashMap<EventName, EventIdx, FixedState>,
}

/// A state of a machine.
#[derive(Clone, Debug)]
pub struct State {
    /// Unique within the machine.
    pub name: StateName,
    /// What kind of state it is.
    pub kind: StateKind,
    /// Method that runs when the state is entered.
    pub on_entry: Option<MethodName>,
    /// Method that runs when the state is left.
    pub on_exit: Option<MethodName>,
    /// What entering the state sends to other machines.
    pub cascades: Vec<CascadingRule>,
    /// Events kept until a state that handles them.
    pub defer: Vec<EventName>,
    /// The same, to be asked.
    pub(crate) deferred: HashSet<EventName, FixedState>,
    /// Transitions that fire by themselves (`auto`), in the order in which they are tried.
    pub autos: Vec<TransitionIdx>,
    /// Transitions that fire after a time (`timeout`), in document order.
    pub timeouts: Vec<TransitionIdx>,
    /// A sentence for people.
    pub description: Option<Arc<str>>,
    /// Free data of the author.
    pub metadata: Option<Json>,
}

/// What a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// The initial one, or another marked `entry`.
    Entry,
    /// Anything in between.
    Regular,
    /// The instance has ended well.
    Final,
    /// The instance has ended badly.
    Error,
}

impl StateKind {
    /// Whether an instance in such a state is finished.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Final | Self::Error)
    }
}

/// A transition of a machine, possibly from several states.
#[derive(Clone, Debug)]
pub struct Transition {
    /// The states it leaves.
    pub from: Sources,
    /// Where it leads; equals `from` for `internal`.
    pub to: StateIdx,
    /// The event it fires on.
    pub event: EventIdx,
    /// What else it does, and what makes it fire.
    pub kind: TransitionKind,
    /// Asked before it is taken.
    pub guard: Option<MethodName>,
    /// All must hold before it is taken. Empty for `cross_component` with a target event, whose
    /// rules are in its kind.
    pub rules: Vec<MatchingRule>,
    /// Runs between exit and entry.
    pub method: Option<MethodName>,
    /// Whether the payload is merged into the context.
    pub merge_payload: bool,
    /// What the parent is told.
    pub notify_parent: Option<NotifyParent>,
    /// A sentence for people.
    pub description: Option<Arc<str>>,
    /// Free data of the author.
    pub metadata: Option<Json>,
}

/// The states that a transition leaves. One that names them beats one from any state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// `"*"`: every state that is neither final nor error.
    Any,
    /// These, sorted, each once.
    States(Vec<StateIdx>),
}

/// What makes a transition fire, and what it does besides changing the state.
#[derive(Clone, Debug)]
pub enum TransitionKind {
    /// `regular` or `triggerable`: fires on its event.
    Regular,
    /// Runs its method only: no exit, no entry, no timers, no cascades.
    Internal,
    /// Fires by itself when its state is entered, at once or after a time.
    Auto {
        /// How long after; zero = at once.
        after: Duration,
    },
    /// Fires a time after its state was entered.
    Timeout {
        /// How long after; more than zero.
        after: Duration,
        /// Whether a self-loop restarts it.
        reset: bool,
    },
    /// Also creates an instance of another machine of the component, child of this one.
    InterMachine {
        /// Which machine.
        machine: MachineIdx,
        /// How its context is made; absent = everything is handed over.
        mapping: Option<Mapping>,
    },
    /// Also creates an instance in another component.
    CreateAcross {
        /// Which component.
        component: ComponentName,
        /// Which machine; absent = the entry machine there.
        machine: Option<MachineName>,
        /// How its context is made; absent = everything is handed over.
        mapping: Option<Mapping>,
    },
    /// Also sends an event to instances of another component.
    SendAcross {
        /// Which component.
        component: ComponentName,
        /// Which machine; absent = the entry machine there.
        machine: Option<MachineName>,
        /// Which event.
        event: EventName,
        /// How its payload is made; absent = everything is handed over.
        mapping: Option<Mapping>,
        /// Which instances: `event` side read from the outgoing payload.
        rules: Vec<MatchingRule>,
    },
}

/// `instance OP event`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatchingRule {
    /// Dotted path into the event's payload.
    pub event_property: Path,
    /// Dotted path into the instance's public member or context.
    pub instance_property: Path,
    /// How the two are compared.
    pub operator: Operator,
}

/// How two values are compared; the instance's is on the left. A missing value on either side is
/// no match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// `===`: JSON equality, numbers by value.
    #[default]
    Equal,
    /// `!==`: both exist and differ.
    NotEqual,
    /// `>`: two numbers, or two strings by code point.
    Greater,
    /// `<`
    Less,
    /// `>=`
    GreaterOrEqual,
    /// `<=`
    LessOrEqual,
    /// The instance's array has the element, or its string the substring.
    Contains,
    /// The instance's value is an element of the event's array.
    In,
}

/// What entering a state sends to other machines.
#[derive(Clone, Debug)]
pub struct CascadingRule {
    /// Which component; absent = the same.
    pub component: Option<ComponentName>,
    /// Which machine.
    pub machine: MachineName,
    /// Only instances in this state; absent = any.
    pub state: Option<StateName>,
    /// Which event.
    pub event: EventName,
    /// Only instances for which all hold; `event_property` is read from the built payload, then
    /// from the source's context.
    pub rules: Vec<MatchingRule>,
    /// The payload with `{{path}}` templates; absent = `{}`.
    pub payload: Option<Template>,
}

/// A JSON value in which strings may be `{{path}}` templates; see `crate::template`.
pub type Template = crate::template::Template;

/// `contextMapping`: target property and the path it is read from.
pub type Mapping = crate::template::Mapping;

/// `parentLink`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentLink {
    /// The event the parent gets on every state change.
    pub on_state_change: EventName,
}

/// `notifyParent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyParent {
    /// The event the parent gets.
    pub event: EventName,
    /// Whether states are told.
    pub include_state: bool,
    /// Whether the context is told.
    pub include_context: bool,
}

/// What happens to an instance whose transition faulted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFault {
    /// It stays as it was; the event goes to the dead letters.
    #[default]
    Keep,
    /// The event is tried again, at most `max` times, then kept.
    Retry {
        /// Further attempts after the first.
        max: u32,
        /// Wait before the first further attempt; doubles each time.
        backoff: Duration,
    },
    /// It moves to this error state.
    Goto(StateIdx),
}

/// What happens to live instances when another version becomes the active one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLive {
    /// Each moves as part of its next transition, if it fits.
    #[default]
    NextEvent,
    /// Each stays on its version until it finishes.
    Pin,
}

stable_text!(OnLive {
    NextEvent = "next-event",
    Pin = "pin",
});

/// What a method is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MethodKind {
    /// Decides whether a transition may be taken.
    Guard,
    /// Takes part in a transition.
    Action,
}

/// Position of a machine in its definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MachineIdx(pub u16);

/// Position of a state in its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateIdx(pub u16);

/// Position of a transition in its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransitionIdx(pub u16);

/// Position of an event's name in its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventIdx(pub u16);

impl Definition {
    /// The machine at `idx`.
    pub fn machine(&self, idx: MachineIdx) -> &Machine {
        &self.machines[usize::from(idx.0)]
    }

    /// The machine of that name and its position.
    pub fn find(&self, name: &str) -> Option<(MachineIdx, &Machine)> {
        let idx = *self.positions.get(name)?;
        Some((idx, self.machine(idx)))
    }

    /// The document as JSON: the keys, values and order of its YAML. Names are texts, also where
    /// the author wrote a number.
    ///
    /// It is read again each time: as objects it takes many times the memory of its text.
    pub fn written(&self) -> Value {
        written::of(&self.source)
    }

    /// Every method the definition names, each once per kind, sorted.
    pub fn methods(&self) -> Vec<(MethodKind, MethodName)> {
        let mut methods = Vec::new();
        for machine in &self.machines {
            for state in &machine.states {
                methods.extend(
                    state
                        .on_entry
                        .iter()
                        .chain(&state.on_exit)
                        .map(|name| (MethodKind::Action, name.clone())),
                );
            }
            for transition in &machine.transitions {
                methods.extend(
                    transition
                        .guard
                        .iter()
                        .map(|name| (MethodKind::Guard, name.clone())),
                );
                methods.extend(
                    transition
                        .method
                        .iter()
                        .map(|name| (MethodKind::Action, name.clone())),
                );
            }
        }
        methods.sort();
        methods.dedup();
        methods
    }
}

impl Machine {
    /// The state at `idx`.
    pub fn state(&self, idx: StateIdx) -> &State {
        &self.states[usize::from(idx.0)]
    }

    /// The state of that name.
    pub fn find_state(&self, name: &str) -> Option<StateIdx> {
        self.state_positions.get(name).copied()
    }

    /// The transition at `idx`.
    pub fn transition(&self, idx: TransitionIdx) -> &Transition {
        &self.transitions[usize::from(idx.0)]
    }

    /// The event of that name, if the machine uses it at all.
    pub fn find_event(&self, name: &str) -> Option<EventIdx> {
        self.event_positions.get(name).copied()
    }

    /// The event's name.
    pub fn event(&self, idx: EventIdx) -> &EventName {
        &self.events[usize::from(idx.0)]
    }

    /// Transitions that may fire in `state` on `event`, in the order in which they are tried.
    /// Includes `auto` and `timeout` transitions: a person may send their event by hand.
    pub fn candidates(&self, state: StateIdx, event: EventIdx) -> SmallVec<[TransitionIdx; 4]> {
        self.choices.of(state, event, self.is_live(state))
    }

    /// Whether any transition may fire in `state` on `event`.
    pub fn handles(&self, state: StateIdx, event: EventIdx) -> bool {
        self.choices.any_of(state, event, self.is_live(state))
    }

    fn is_live(&self, state: StateIdx) -> bool {
        !self.state(state).kind.is_terminal()
    }

    /// Each state that a transition leaves.
    pub fn sources(&self, transition: &Transition) -> impl Iterator<Item = StateIdx> {
        let (all, named) = match &transition.from {
            Sources::Any => (self.states.len(), &[] as &[StateIdx]),
            Sources::States(states) => (0, states.as_slice()),
        };
        let all = (0..all).filter_map(|position| u16::try_from(position).ok().map(StateIdx));
        let live = all.filter(|state| self.is_live(*state));
        live.chain(named.iter().copied())
    }

    /// How many ways lead from one state to another.
    pub fn n_ways(&self) -> usize {
        let n_live = self
            .states
            .iter()
            .filter(|one| !one.kind.is_terminal())
            .count();
        let ways = self.transitions.iter().map(|one| match &one.from {
            Sources::Any => n_live,
            Sources::States(states) => states.len(),
        });
        ways.sum()
    }

    /// Whether sources are no other state than this.
    pub(crate) fn is_only_source(&self, from: &Sources, state: StateIdx) -> bool {
        match from {
            Sources::Any => {
                let live = self.states.iter().filter(|one| !one.kind.is_terminal());
                live.take(2).count() == 1 && self.is_live(state)
            }
            Sources::States(states) => states.iter().all(|one| *one == state),
        }
    }

    /// Instance properties that an index is kept for: those which any transition's rules compare
    /// for equality.
    pub fn indexed(&self) -> &[Path] {
        &self.choices.indexed
    }

    /// Transitions that fire on `event` and have matching rules; of several with the same rules,
    /// one. If there are any, a broadcast selects by them, else it reaches every live instance.
    pub fn ruled(&self, event: EventIdx) -> impl Iterator<Item = &Transition> {
        let ruled = self.choices.ruled(event).iter();
        ruled.map(|idx| self.transition(*idx))
    }

    /// Whether any transition that fires on `event` has matching rules.
    pub fn selects_by_rules(&self, event: EventIdx) -> bool {
        !self.choices.ruled(event).is_empty()
    }
}

impl State {
    /// Whether the state keeps an event for a later one.
    pub fn defers(&self, event: &str) -> bool {
        self.deferred.contains(event)
    }
}

impl Transition {
    /// Whether a guard or rules decide if it is taken.
    pub fn is_conditional(&self) -> bool {
        self.guard.is_some() || !self.rules.is_empty()
    }
}

impl Operator {
    /// Reads the text form; `==`, `=` and `!=` are accepted too.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "===" | "==" | "=" => Self::Equal,
            "!==" | "!=" => Self::NotEqual,
            ">" => Self::Greater,
            "<" => Self::Less,
            ">=" => Self::GreaterOrEqual,
            "<=" => Self::LessOrEqual,
            "contains" => Self::Contains,
            "in" => Self::In,
            _ => return None,
        })
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "===",
            Self::NotEqual => "!==",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
            Self::Contains => "contains",
            Self::In => "in",
        })
    }
}
