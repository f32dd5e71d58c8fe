//! What is sent, and where to.

use std::sync::Arc;

use super::{Cause, Parent};
use crate::{
    call::Event,
    definition::MatchingRule,
    id::{ComponentName, InstanceId, MachineName, StateName},
    json::Json,
};

/// What a transition sends.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its number: the event's id is `<cause>.<n>`, and it is among the deliveries of the record of
    /// that cause. 0 = it comes from elsewhere: from a deadline, a dead letter, another host.
    pub n: u32,
    /// Where to.
    pub to: Target,
    /// The event; its id is derived already. For a creation its payload is the context.
    pub event: Event,
    /// The chain it belongs to.
    pub cause: Cause,
    /// Whether its component was on another host when this was recorded: then no shard here
    /// delivers it; the log keeps it until that host has it.
    pub elsewhere: bool,
}

impl Outgoing {
    /// Whether the record of its cause's event has it.
    pub(crate) fn is_logged(&self) -> bool {
        self.n > 0 && self.cause.event.is_some() && self.cause.instance.is_some()
    }

    /// An event that is on its way already.
    pub(crate) fn underway(to: Target, event: Event, cause: Cause) -> Self {
        Self {
            n: 0,
            to,
            event,
            cause,
            elsewhere: false,
        }
    }
}

/// Where something is sent.
#[derive(Clone, Debug)]
pub enum Target {
    /// One instance.
    Instance {
        /// The component it must belong to.
        component: ComponentName,
        /// Which.
        id: InstanceId,
    },
    /// A selection of instances, each shard finds its own.
    Selection(Arc<Selector>),
    /// A new instance.
    Create {
        /// In which component.
        component: ComponentName,
        /// Of which machine; none = the entry machine.
        machine: Option<MachineName>,
        /// Under which id.
        id: InstanceId,
        /// Child of whom.
        parent: Option<Box<Parent>>,
    },
}

impl Target {
    /// The component that it is in.
    pub fn component(&self) -> &ComponentName {
        match self {
            Self::Instance { component, .. } | Self::Create { component, .. } => component,
            Self::Selection(selector) => &selector.component,
        }
    }
}

/// Which instances an event goes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// Of which component.
    pub component: ComponentName,
    /// Of which machine; none = the entry machine.
    pub machine: Option<MachineName>,
    /// Only in this state.
    pub state: Option<StateName>,
    /// How they are found.
    pub by: SelectBy,
}

/// How the instances of a selection are found.
#[derive(Clone, Debug, PartialEq)]
pub enum SelectBy {
    /// The target machine's own rules for the event, or all where it has none.
    MachineRules,
    /// These conditions, all of them: `instance_property OP value`.
    Conditions(Vec<Condition>),
}

/// A matching rule whose event side has been read.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The rule.
    pub rule: MatchingRule,
    /// The value on the event's side; none = missing: no instance matches.
    pub value: Option<Json>,
}
