//! What became of an event: reasons, faults, log lines.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xcomponent_core::{
    call::{Fault, FaultCode, LogLevel, LogLine, Refusal},
    definition::{MatchingRule, Operator},
    id::{MethodName, StateName},
    json::Path,
    record::{Mismatch, Reason},
    schema::Violation,
};

use super::{Read, word};

/// Why an event was ignored or rejected.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::store) enum StoredReason {
    NoTransition,
    /// Of records of before, and where it is not known what failed.
    NothingMatched,
    NothingMatchedBy(StoredMismatch),
    NoLongerMatches,
    NoAutoPassed,
    Finished,
    Exists,
    UnexpectedState(String),
    Refused {
        code: Arc<str>,
        message: Arc<str>,
    },
    Schema(Vec<StoredViolation>),
}

/// What a transition that was not taken failed at.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::store) enum StoredMismatch {
    Rule {
        event_property: String,
        instance_property: String,
        operator: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        instance: Option<Arc<str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<Arc<str>>,
    },
    Guard(String),
}

impl StoredMismatch {
    fn of(mismatch: &Mismatch) -> Self {
        match mismatch {
            Mismatch::Rule {
                rule,
                instance,
                event,
            } => Self::Rule {
                event_property: rule.event_property.to_string(),
                instance_property: rule.instance_property.to_string(),
                operator: rule.operator.to_string(),
                instance: instance.clone(),
                event: event.clone(),
            },
            Mismatch::Guard(guard) => Self::Guard(guard.to_string()),
        }
    }

    /// None where it says nothing that this version understands: it explains, and decides nothing.
    fn read(self) -> Option<Mismatch> {
        Some(match self {
            Self::Rule {
                event_property,
                instance_property,
                operator,
                instance,
                event,
            } => Mismatch::Rule {
                rule: MatchingRule {
                    event_property: Path::parse(&event_property)?,
                    instance_property: Path::parse(&instance_property)?,
                    operator: Operator::parse(&operator)?,
                },
                instance,
                event,
            },
            Self::Guard(guard) => Mismatch::Guard(MethodName::new(guard)),
        })
    }
}

/// A field that is not as it should be.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct StoredViolation {
    field: String,
    code: String,
    message: String,
}

impl StoredReason {
    pub(in crate::store) fn of(reason: &Reason) -> Self {
        match reason {
            Reason::NoTransition => Self::NoTransition,
            Reason::NothingMatched(None) => Self::NothingMatched,
            Reason::NothingMatched(Some(mismatch)) => {
                Self::NothingMatchedBy(StoredMismatch::of(mismatch))
            }
            Reason::NoLongerMatches => Self::NoLongerMatches,
            Reason::NoAutoPassed => Self::NoAutoPassed,
            Reason::Finished => Self::Finished,
            Reason::Exists => Self::Exists,
            Reason::UnexpectedState(state) => Self::UnexpectedState(state.to_string()),
            Reason::Refused(Refusal { code, message }) => Self::Refused {
                code: Arc::clone(code),
                message: Arc::clone(message),
            },
            Reason::Schema(violations) => {
                let stored = |violation: &Violation| StoredViolation {
                    field: violation.field.clone(),
                    code: violation.code.to_string(),
                    message: violation.message.clone(),
                };
                Self::Schema(violations.iter().map(stored).collect())
            }
        }
    }

    pub(in crate::store) fn read(self) -> Reason {
        match self {
            Self::NoTransition => Reason::NoTransition,
            Self::NothingMatched => Reason::NothingMatched(None),
            Self::NothingMatchedBy(stored) => Reason::NothingMatched(stored.read().map(Box::new)),
            Self::NoLongerMatches => Reason::NoLongerMatches,
            Self::NoAutoPassed => Reason::NoAutoPassed,
            Self::Finished => Reason::Finished,
            Self::Exists => Reason::Exists,
            Self::UnexpectedState(state) => Reason::UnexpectedState(StateName::new(state)),
            Self::Refused { code, message } => Reason::Refused(Refusal { code, message }),
            Self::Schema(violations) => {
                let read = |stored: StoredViolation| Violation {
                    field: stored.field,
                    code: stored.code.into(),
                    message: stored.message,
                };
                Reason::Schema(violations.into_iter().map(read).collect())
            }
        }
    }
}

/// What is broken.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct StoredFault {
    code: String,
    message: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace: Option<Arc<str>>,
}

impl StoredFault {
    pub(in crate::store) fn of(fault: &Fault) -> Self {
        Self {
            code: fault.code.to_string(),
            message: Arc::clone(&fault.message),
            backtrace: fault.backtrace.clone(),
        }
    }

    pub(in crate::store) fn read(self) -> Read<Fault> {
        Ok(Fault {
            code: word(&self.code, FaultCode::parse, "fault")?,
            message: self.message,
            backtrace: self.backtrace,
        })
    }
}

/// One line of a guest's log.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct StoredLog {
    level: String,
    message: Arc<str>,
}

impl StoredLog {
    pub(in crate::store) fn of(line: &LogLine) -> Self {
        Self {
            level: line.level.to_string(),
            message: Arc::clone(&line.message),
        }
    }

    pub(in crate::store) fn read(self) -> Read<LogLine> {
        Ok(LogLine {
            level: word(&self.level, LogLevel::parse, "level")?,
            message: self.message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_kept_and_rows_of_before_are_read() {
        let of_before: StoredReason = serde_json::from_str(r#""nothing_matched""#).unwrap();
        assert_eq!(of_before.read(), Reason::NothingMatched(None));
        let rule = MatchingRule {
            event_property: Path::parse("a.b").unwrap(),
            instance_property: Path::parse("c").unwrap(),
            operator: Operator::GreaterOrEqual,
        };
        let (instance, event) = (Some(Arc::from("5")), None);
        let rule = Mismatch::Rule {
            rule,
            instance,
            event,
        };
        for mismatch in [rule, Mismatch::Guard(MethodName::new("enough"))] {
            let reason = Reason::NothingMatched(Some(Box::new(mismatch)));
            let text = serde_json::to_string(&StoredReason::of(&reason)).unwrap();
            let stored: StoredReason = serde_json::from_str(&text).unwrap();
            assert_eq!(stored.read(), reason);
        }
    }
}
