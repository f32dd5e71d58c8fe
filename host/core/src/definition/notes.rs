//! Everything noted while a definition is read, and what is rationed over the whole of it.

use crate::{
    definition::{
        diagnostic::{Finding, Findings, Severity},
        parse::Place,
    },
    limits::{FINDING_BYTES_MAX, FINDINGS_MAX, NAME_BYTES_MAX},
    schema::Patterns,
};

/// Pairs of characters compared for suggestions in one check: a few milliseconds. After that,
/// findings come without a suggestion.
const SUGGESTIONS_MAX: usize = 4_000_000;

/// Everything noted so far.
#[derive(Debug)]
pub(crate) struct Notes {
    errors: Kept,
    warnings: Kept,
    suggestions_left: usize,
    /// The patterns of all schemas, each different one once.
    pub(crate) patterns: Patterns,
}

/// Findings of one severity: the first ones, and how many followed.
#[derive(Debug, Default)]
struct Kept {
    first: Vec<Finding>,
    more: usize,
    /// The last of those that are only counted, for the caller who completes it.
    spare: Option<Finding>,
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            errors: Kept::default(),
            warnings: Kept::default(),
            suggestions_left: SUGGESTIONS_MAX,
            patterns: Patterns::default(),
        }
    }
}

impl Notes {
    /// Notes something that keeps the definition from being used.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        place: Place,
        path: &str,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.note(Severity::Error, code, place, path, message)
    }

    /// Notes something that does not.
    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        place: Place,
        path: &str,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.note(Severity::Warning, code, place, path, message)
    }

    /// Notes that a key does nothing where it stands, and why.
    pub(crate) fn no_effect(&mut self, key: &str, place: Place, path: &str, why: &str) {
        let message = format!("`{key}` has no effect here");
        self.warning("no_effect", place, path, message).help = Some(why.to_owned());
    }

    /// Notes something.
    pub(crate) fn note(
        &mut self,
        severity: Severity,
        code: &'static str,
        place: Place,
        path: &str,
        message: impl Into<String>,
    ) -> &mut Finding {
        let kept = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        kept.push(Finding {
            severity,
            code,
            line: place.line,
            column: place.column,
            length: place.length,
            path: clipped(path.to_owned()),
            message: clipped(message.into()),
            help: None,
        })
    }

    /// `did you mean …?`, with the known name that is nearest to one that is not known.
    pub(crate) fn suggest<'k>(
        &mut self,
        name: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<String> {
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        let name: Vec<char> = name.to_lowercase().chars().collect();
        let mut best: Option<(usize, usize, &str)> = None;
        for other in known {
            let letters: Vec<char> = other.to_lowercase().chars().collect();
            let allowed = 1 + letters.len() / 3;
            if letters.len().abs_diff(name.len()) > allowed {
                continue;
            }
            let work = (letters.len() + 1) * (name.len() + 1);
            self.suggestions_left = self.suggestions_left.checked_sub(work)?;
            let distance = distance(&name, &letters);
            let rank = (distance, other.len());
            if distance <= allowed && best.is_none_or(|(d, length, _)| rank < (d, length)) {
                best = Some((distance, other.len(), other));
            }
        }
        best.map(|(_, _, near)| format!("did you mean `{near}`?"))
    }

    /// Whether anything keeps the definition from being used.
    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.first.is_empty()
    }

    /// All that was noted, in order.
    pub(crate) fn into_findings(self) -> Findings {
        let Self {
            errors, warnings, ..
        } = self;
        let mut found = errors.first;
        found.extend(warnings.first);
        for finding in &mut found {
            finding.help = finding.help.take().map(clipped);
        }
        Findings::new(found, errors.more, warnings.more)
    }
}

impl Kept {
    fn push(&mut self, finding: Finding) -> &mut Finding {
        if self.first.len() < FINDINGS_MAX {
            self.first.push(finding);
            return self.first.last_mut().expect("just pushed");
        }
        self.more += 1;
        self.spare.insert(finding)
    }
}

/// A text that is short enough to be shown.
fn clipped(mut text: String) -> String {
    if text.len() > FINDING_BYTES_MAX {
        text.truncate(text.floor_char_boundary(FINDING_BYTES_MAX));
        text.push('…');
    }
    text
}

/// Edits between two short texts (Levenshtein).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
