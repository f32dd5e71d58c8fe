//! Why no transition was taken, as callers see it.

use serde::Serialize;
use utoipa::ToSchema;
use xcomponent_core::record::{Mismatch, Reason};

/// What the first transition that was tried failed at: a matching rule with the two values that it
/// compared, or a guard.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct MismatchView {
    /// In words.
    message: String,
    /// The guard that said no.
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<String>,
    /// Where the rule reads the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_property: Option<String>,
    /// How the rule compares.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    /// Where the rule reads the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_property: Option<String>,
    /// The instance's value as JSON text, cut after 256 bytes; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_value: Option<String>,
    /// The event's value, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_value: Option<String>,
}

impl MismatchView {
    /// The wire form, where a reason has that.
    pub(super) fn of(reason: Option<&Reason>) -> Option<Box<Self>> {
        let Some(Reason::NothingMatched(Some(mismatch))) = reason else {
            return None;
        };
        let message = mismatch.to_string();
        Some(Box::new(match &**mismatch {
            Mismatch::Guard(guard) => Self {
                message,
                guard: Some(guard.to_string()),
                ..Self::default()
            },
            Mismatch::Rule {
                rule,
                instance,
                event,
            } => Self {
                message,
                instance_property: Some(rule.instance_property.to_string()),
                operator: Some(rule.operator.to_string()),
                event_property: Some(rule.event_property.to_string()),
                instance_value: instance.as_ref().map(ToString::to_string),
                event_value: event.as_ref().map(ToString::to_string),
                ..Self::default()
            },
        }))
    }
}
