//! Why a method gives no answer.

use std::{error::Error, fmt};

/// Why a method gives no answer. Any error turns into [`Failure::Failed`] by `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A business "no": the transition is undone, the caller told. Not a fault.
    Refused {
        /// For programs, for example `card_declined`; at most 64 bytes.
        code: String,
        /// For people; at most 1 KiB.
        message: String,
    },
    /// Something is broken: a fault.
    Failed(String),
}

/// A business "no".
pub fn refuse(code: impl Into<String>, message: impl Into<String>) -> Failure {
    Failure::Refused {
        code: code.into(),
        message: message.into(),
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message } => write!(f, "refused ({code}): {message}"),
            Self::Failed(message) => f.write_str(message),
        }
    }
}
