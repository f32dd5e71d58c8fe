//! What there is to say about a definition: findings with a stable code and a place.

use std::{fmt, ops::Deref};

use crate::limits::FINDINGS_MAX;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the definition can be used in spite of it.
    pub severity: Severity,
    /// Stable, for programs and documentation.
    pub code: &'static str,
    /// Where, from 1.
    pub line: u32,
    /// Where in the line, in characters, from 1.
    pub column: u32,
    /// Length of the place in characters; at least 1.
    pub length: u32,
    /// Where in the document: `stateMachines[0].transitions[2].to`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// Whether a definition can be used in spite of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It can.
    Warning,
    /// It cannot.
    Error,
}

/// How strictly a definition is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// As documented.
    #[default]
    Normal,
    /// An ambiguous pair of transitions is a warning: the first wins.
    Lenient,
}

/// The findings of one check: at most [`FINDINGS_MAX`] are listed, the others are counted.
///
/// Errors come first, then warnings, each in the order of the document; so warnings never hide an
/// error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    listed: Vec<Finding>,
    unlisted_errors: usize,
    unlisted_warnings: usize,
}

impl Findings {
    /// Puts findings in order and keeps the first of them. `errors` and `warnings` are further
    /// ones that were only counted.
    pub fn new(mut found: Vec<Finding>, errors: usize, warnings: usize) -> Self {
        found.sort_by(|left, right| {
            let place = |finding: &Finding| (finding.line, finding.column);
            let by_severity = right.severity.cmp(&left.severity);
            by_severity.then_with(|| place(left).cmp(&place(right)))
        });
        let rest = found.split_off(found.len().min(FINDINGS_MAX));
        let more = |severity: Severity| rest.iter().filter(|one| one.severity == severity).count();
        Self {
            unlisted_errors: errors + more(Severity::Error),
            unlisted_warnings: warnings + more(Severity::Warning),
            listed: found,
        }
    }

    /// How many there are of one severity, the unlisted ones included.
    pub fn count(&self, severity: Severity) -> usize {
        let unlisted = match severity {
            Severity::Error => self.unlisted_errors,
            Severity::Warning => self.unlisted_warnings,
        };
        let listed = self.listed.iter();
        unlisted + listed.filter(|one| one.severity == severity).count()
    }

    /// How many were found and are not listed.
    pub fn unlisted(&self) -> usize {
        self.unlisted_errors + self.unlisted_warnings
    }

    /// Whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }
}

/// The listed ones.
impl Deref for Findings {
    type Target = [Finding];

    fn deref(&self) -> &[Finding] {
        &self.listed
    }
}

impl<'f> IntoIterator for &'f Findings {
    type Item = &'f Finding;
    type IntoIter = std::slice::Iter<'f, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.listed.iter()
    }
}

/// `2 errors and 1 warning`; `no findings` where there are none.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |severity: Severity| {
            let n = self.count(severity);
            (n > 0).then(|| format!("{n} {severity}{}", if n == 1 { "" } else { "s" }))
        };
        match (of(Severity::Error), of(Severity::Warning)) {
            (Some(errors), Some(warnings)) => write!(f, "{errors} and {warnings}"),
            (Some(found), None) | (None, Some(found)) => f.write_str(&found),
            (None, None) => f.write_str("no findings"),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            code,
            line,
            column,
            message,
            ..
        } = self;
        write!(f, "{line}:{column}: {severity}[{code}]: {message}")?;
        self.help
            .as_ref()
            .map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}
