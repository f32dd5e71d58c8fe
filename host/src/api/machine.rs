//! Machines as callers see them: states, transitions, and what the context must look like.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use xcomponent_core::definition::{
    Definition, Machine, MatchingRule, Sources, State, StateKind, Transition, TransitionKind,
};

/// Ways between states up to which the transitions of a component's machines name all the states
/// that they leave.
const WAYS_MAX: usize = 10_000;

/// The machines of a component.
pub(super) fn machines(definition: &Definition) -> Vec<MachineView> {
    let n_ways: usize = definition.machines.iter().map(Machine::n_ways).sum();
    let names_all = n_ways <= WAYS_MAX;
    let machines = definition.machines.iter();
    machines
        .map(|machine| MachineView::of(machine, names_all))
        .collect()
}

/// A machine of a component.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MachineView {
    /// Its name.
    name: String,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The state that instances begin in.
    initial_state: String,
    /// In document order.
    states: Vec<StateView>,
    /// In document order.
    transitions: Vec<TransitionView>,
    /// All events that it uses.
    events: Vec<String>,
    /// What the context must look like; forms are built from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    context_schema: Option<Value>,
    /// Present if instances have a public member instead of a context.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_member_type: Option<String>,
}

/// A state of a machine.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StateView {
    /// Its name.
    name: String,
    /// `entry`, `regular`, `final` or `error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Method that runs when it is entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_entry: Option<String>,
    /// Method that runs when it is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_exit: Option<String>,
    /// Events kept for a later state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    defer: Vec<String>,
}

/// A transition of a machine.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TransitionView {
    /// The states that it leaves; `*` = all that are neither final nor error, where naming them
    /// would take too long.
    from: Vec<String>,
    /// The rest.
    #[serde(flatten)]
    step: Step,
}

/// Where a transition leads, and what decides about it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Step {
    /// The event that it fires on.
    event: String,
    /// Where it leads.
    to: String,
    /// `regular`, `internal`, `auto`, `timeout`, `inter_machine` or `cross_component`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The method that is asked first.
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<String>,
    /// What must hold between instance and event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    matching_rules: Vec<RuleView>,
    /// The method that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// Milliseconds after which it fires by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
    /// The component that it reaches, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_component: Option<String>,
    /// The machine that it reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_machine: Option<String>,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// A matching rule: `instance_property operator event_property`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RuleView {
    /// Path into the payload.
    event_property: String,
    /// Path into the context or public member.
    instance_property: String,
    /// How they are compared.
    operator: String,
}

impl MachineView {
    /// The wire form of a machine; `names_all` = for `"*"` there is every state that it stands for.
    fn of(machine: &Machine, names_all: bool) -> Self {
        let transition = |transition: &Transition| TransitionView {
            from: match &transition.from {
                Sources::Any if !names_all => vec!["*".to_owned()],
                Sources::Any | Sources::States(_) => {
                    let sources = machine.sources(transition);
                    sources
                        .map(|state| machine.state(state).name.to_string())
                        .collect()
                }
            },
            step: Step::of(machine, transition),
        };
        Self {
            name: machine.name.to_string(),
            description: machine.description.as_ref().map(ToString::to_string),
            initial_state: machine.state(machine.initial).name.to_string(),
            states: machine.states.iter().map(StateView::of).collect(),
            transitions: machine.transitions.iter().map(transition).collect(),
            events: machine.events.iter().map(ToString::to_string).collect(),
            context_schema: machine.schema.as_ref().map(|schema| schema.to_json()),
            public_member_type: machine.public_member_type.as_ref().map(ToString::to_string),
        }
    }
}

impl StateView {
    fn of(state: &State) -> Self {
        Self {
            name: state.name.to_string(),
            kind: match state.kind {
                StateKind::Entry => "entry",
                StateKind::Regular => "regular",
                StateKind::Final => "final",
                StateKind::Error => "error",
            },
            description: state.description.as_ref().map(ToString::to_string),
            on_entry: state.on_entry.as_ref().map(ToString::to_string),
            on_exit: state.on_exit.as_ref().map(ToString::to_string),
            defer: state.defer.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Step {
    /// The wire form of a transition, without where it comes from.
    pub(super) fn of(machine: &Machine, transition: &Transition) -> Self {
        let (mut after_ms, mut target_component, mut target_machine) = (None, None, None);
        let kind = match &transition.kind {
            TransitionKind::Regular => "regular",
            TransitionKind::Internal => "internal",
            TransitionKind::Auto { after } => {
                after_ms = Some(after.0);
                "auto"
            }
            TransitionKind::Timeout { after, .. } => {
                after_ms = Some(after.0);
                "timeout"
            }
            TransitionKind::InterMachine { .. } => "inter_machine",
            TransitionKind::CreateAcross {
                component, machine, ..
            }
            | TransitionKind::SendAcross {
                component, machine, ..
            } => {
                target_component = Some(component.to_string());
                target_machine = machine.as_ref().map(ToString::to_string);
                "cross_component"
            }
        };
        Self {
            event: machine.event(transition.event).to_string(),
            to: machine.state(transition.to).name.to_string(),
            kind,
            guard: transition.guard.as_ref().map(ToString::to_string),
            matching_rules: transition.rules.iter().map(RuleView::of).collect(),
            method: transition.method.as_ref().map(ToString::to_string),
            after_ms,
            target_component,
            target_machine,
            description: transition.description.as_ref().map(ToString::to_string),
        }
    }
}

impl RuleView {
    fn of(rule: &MatchingRule) -> Self {
        Self {
            event_property: rule.event_property.to_string(),
            instance_property: rule.instance_property.to_string(),
            operator: rule.operator.to_string(),
        }
    }
}
