//! What a transition that was not taken failed at.

use std::{fmt, sync::Arc};

#[cfg(doc)]
use crate::limits::SHOWN_VALUE_BYTES_MAX;
use crate::{definition::MatchingRule, id::MethodName};

/// What a transition that was not taken failed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// A matching rule.
    Rule {
        /// Which.
        rule: MatchingRule,
        /// The instance's value: JSON, cut after [`SHOWN_VALUE_BYTES_MAX`] bytes; none = it
        /// has none.
        instance: Option<Arc<str>>,
        /// The event's, likewise.
        event: Option<Arc<str>>,
    },
    /// A guard that said no.
    Guard(MethodName),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule {
                rule,
                instance,
                event,
            } => {
                let shown = |value: &Option<Arc<str>>| match value {
                    Some(value) => format!("is {value}"),
                    None => "is missing".to_owned(),
                };
                write!(
                    f,
                    "the rule `{} {} {}` failed: the instance's `{}` {}, the event's `{}` {}",
                    rule.instance_property,
                    rule.operator,
                    rule.event_property,
                    rule.instance_property,
                    shown(instance),
                    rule.event_property,
                    shown(event),
                )
            }
            Self::Guard(guard) => write!(f, "the guard `{guard}` said no"),
        }
    }
}
