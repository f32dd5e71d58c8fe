//! What is sent, where to, and why it exists.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use xcomponent_core::{
    definition::{MatchingRule, Operator},
    id::{ComponentName, EventId, EventName, InstanceId, MachineName, StateName},
    json::Path,
    limits::{CASCADE_CREDITS, CHAIN_LINKS_MAX},
    record::{Cause, Condition, Link, Outgoing, Parent, SelectBy, Selector, Target},
};

use super::{PortableEvent, PortableJson, Read, word};

/// Why an event exists.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PortableCause {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    root: String,
    /// The nearest step first. Of a chain that is longer than one may be, only the nearest.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nearest"
    )]
    chain: Vec<PortableLink>,
    depth: u16,
    credits: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    spread: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_parent: Option<Arc<str>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PortableLink {
    instance: String,
    event: String,
}

impl PortableCause {
    pub(crate) fn of(cause: &Cause) -> Self {
        let links = std::iter::successors(cause.chain.as_ref(), |link| link.before.as_ref());
        let link = |link: &Arc<Link>| PortableLink {
            instance: link.instance.to_string(),
            event: link.event.to_string(),
        };
        Self {
            event: cause.event.as_ref().map(ToString::to_string),
            instance: cause.instance.as_ref().map(ToString::to_string),
            root: cause.root.to_string(),
            chain: links.map(link).collect(),
            depth: cause.depth,
            credits: cause.credits,
            spread: cause.spread,
            trace_parent: cause.trace_parent.clone(),
        }
    }

    pub(crate) fn read(self) -> Cause {
        let steps = u16::try_from(self.chain.len()).unwrap_or(u16::MAX);
        let links = self.chain.into_iter().map(|link| {
            let instance = InstanceId::from_stored(&link.instance);
            (instance, EventName::new(&link.event))
        });
        let chain = Link::chain(links);
        Cause {
            event: self.event.as_deref().map(EventId::from_stored),
            instance: self.instance.as_deref().map(InstanceId::from_stored),
            root: EventId::from_stored(&self.root),
            chain,
            // Whoever says less would let a chain grow for ever.
            depth: self.depth.max(steps),
            credits: self.credits.min(CASCADE_CREDITS),
            spread: self.spread,
            trace_parent: self.trace_parent,
        }
    }
}

/// Reads the steps of a chain that are kept, and skips the rest without keeping any of it.
fn nearest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PortableLink>, D::Error> {
    struct Nearest;

    impl<'de> Visitor<'de> for Nearest {
        type Value = Vec<PortableLink>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the steps of a chain of causes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut steps: A) -> Result<Self::Value, A::Error> {
            let mut kept = Vec::new();
            while kept.len() < CHAIN_LINKS_MAX
                && let Some(step) = steps.next_element()?
            {
                kept.push(step);
            }
            while steps.next_element::<IgnoredAny>()?.is_some() {}
            Ok(kept)
        }
    }

    deserializer.deserialize_seq(Nearest)
}

/// What a transition sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PortableOutgoing {
    n: u32,
    to: PortableTarget,
    event: PortableEvent,
    cause: PortableCause,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    elsewhere: bool,
}

impl PortableOutgoing {
    pub(crate) fn of(outgoing: &Outgoing) -> Self {
        Self {
            n: outgoing.n,
            to: PortableTarget::of(&outgoing.to),
            event: PortableEvent::of(&outgoing.event),
            cause: PortableCause::of(&outgoing.cause),
            elsewhere: outgoing.elsewhere,
        }
    }

    pub(crate) fn read(self) -> Read<Outgoing> {
        Ok(Outgoing {
            n: self.n,
            to: self.to.read()?,
            event: self.event.read()?,
            cause: self.cause.read(),
            elsewhere: self.elsewhere,
        })
    }
}

/// Where something is sent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PortableTarget {
    Instance {
        component: String,
        id: String,
    },
    Selection(PortableSelector),
    Create {
        component: String,
        machine: Option<String>,
        id: String,
        parent: Option<PortableParent>,
    },
}

impl PortableTarget {
    pub(crate) fn of(target: &Target) -> Self {
        match target {
            Target::Instance { component, id } => Self::Instance {
                component: component.to_string(),
                id: id.to_string(),
            },
            Target::Selection(selector) => Self::Selection(PortableSelector::of(selector)),
            Target::Create {
                component,
                machine,
                id,
                parent,
            } => Self::Create {
                component: component.to_string(),
                machine: machine.as_ref().map(ToString::to_string),
                id: id.to_string(),
                parent: parent.as_deref().map(PortableParent::of),
            },
        }
    }

    pub(crate) fn read(self) -> Read<Target> {
        Ok(match self {
            Self::Instance { component, id } => Target::Instance {
                component: ComponentName::new(component),
                id: InstanceId::from_stored(&id),
            },
            Self::Selection(selector) => Target::Selection(Arc::new(selector.read()?)),
            Self::Create {
                component,
                machine,
                id,
                parent,
            } => Target::Create {
                component: ComponentName::new(component),
                machine: machine.map(MachineName::new),
                id: InstanceId::from_stored(&id),
                parent: parent.map(|parent| Box::new(parent.read())),
            },
        })
    }
}

/// Who made an instance.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PortableParent {
    id: String,
    component: String,
    machine: String,
}

impl PortableParent {
    pub(crate) fn of(parent: &Parent) -> Self {
        Self {
            id: parent.id.to_string(),
            component: parent.component.to_string(),
            machine: parent.machine.to_string(),
        }
    }

    pub(crate) fn read(self) -> Parent {
        Parent {
            id: InstanceId::from_stored(&self.id),
            component: ComponentName::new(self.component),
            machine: MachineName::new(self.machine),
        }
    }
}

/// Which instances an event goes to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PortableSelector {
    component: String,
    machine: Option<String>,
    state: Option<String>,
    /// None = by the machine's own rules.
    conditions: Option<Vec<PortableCondition>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PortableCondition {
    event_property: String,
    instance_property: String,
    operator: String,
    /// Absent = missing: no instance matches. `null` is a value.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    value: Option<PortableJson>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PortableJson>, D::Error> {
    PortableJson::deserialize(deserializer).map(Some)
}

impl PortableSelector {
    pub(crate) fn of(selector: &Selector) -> Self {
        let conditions = match &selector.by {
            SelectBy::MachineRules => None,
            SelectBy::Conditions(conditions) => {
                Some(conditions.iter().map(PortableCondition::of).collect())
            }
        };
        Self {
            component: selector.component.to_string(),
            machine: selector.machine.as_ref().map(ToString::to_string),
            state: selector.state.as_ref().map(ToString::to_string),
            conditions,
        }
    }

    pub(crate) fn read(self) -> Read<Selector> {
        let by = match self.conditions {
            None => SelectBy::MachineRules,
            Some(conditions) => {
                let conditions = conditions.into_iter().map(PortableCondition::read);
                SelectBy::Conditions(conditions.collect::<Read<_>>()?)
            }
        };
        Ok(Selector {
            component: ComponentName::new(self.component),
            machine: self.machine.map(MachineName::new),
            state: self.state.map(StateName::new),
            by,
        })
    }
}

impl PortableCondition {
    fn of(condition: &Condition) -> Self {
        Self {
            event_property: condition.rule.event_property.to_string(),
            instance_property: condition.rule.instance_property.to_string(),
            operator: condition.rule.operator.to_string(),
            value: condition.value.as_ref().map(PortableJson::of),
        }
    }

    fn read(self) -> Read<Condition> {
        let path = |text: &str| word::<Path>(text, Path::parse, "path");
        Ok(Condition {
            rule: MatchingRule {
                event_property: path(&self.event_property)?,
                instance_property: path(&self.instance_property)?,
                operator: word(&self.operator, Operator::parse, "operator")?,
            },
            value: self.value.map(PortableJson::read).transpose()?,
        })
    }
}
