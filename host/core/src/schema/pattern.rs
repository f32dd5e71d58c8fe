//! The patterns of a schema: how they are read, shared and bounded.

use std::{collections::BTreeMap, sync::Arc};

use regex::{Regex, RegexBuilder};

use super::ecma::{self, Translated};
use crate::{
    definition::{notes::Notes, read::Fields},
    limits::{PATTERN_SIZE_MAX, PATTERN_SIZE_MIN, PATTERNS_SIZE_MAX},
};

/// Bytes of an automaton's state, generously: what is within [`PATTERN_SIZE_MAX`] compiles.
const STATE_BYTES: usize = 256;

/// Bytes of a cache that makes matching fast, for each pattern and thread.
const CACHE_BYTES: usize = 64 << 10;

/// A pattern that is enforced.
#[derive(Debug)]
pub(super) struct Pattern {
    /// As the author wrote it.
    written: String,
    /// About the states of its automaton.
    size: usize,
    compiled: Regex,
}

/// All different patterns of a definition; none = it is not enforced.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    known: BTreeMap<String, Option<Arc<Pattern>>>,
    size: usize,
}

/// Why a pattern is not enforced, or no pattern at all.
enum Problem {
    /// It is wrong.
    Invalid(String),
    /// It is right, and not for this host.
    NotEnforced(String),
}

impl Pattern {
    /// As it is written.
    pub(super) fn as_str(&self) -> &str {
        &self.written
    }

    /// What matching a text may cost.
    pub(super) fn steps(&self, text: &str) -> usize {
        text.len().saturating_mul(self.size)
    }

    /// Whether it is found in a text.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }
}

impl Patterns {
    /// What a browser accepts is accepted. What no automaton can do, and what is too large, is not
    /// enforced here.
    fn judge(&mut self, text: &str) -> Result<Pattern, Problem> {
        let (translated, size) = match ecma::translate(text) {
            Ok(Translated::Automaton { pattern, size }) => (pattern, size),
            Ok(Translated::NeedsBacktracking(what)) => {
                return Err(Problem::NotEnforced(format!("it has {what}")));
            }
            // Patterns of the matcher's own dialect, like `(?i)yes`, go on as they are.
            Err(problem) => {
                let may_try = text.len() <= PATTERN_SIZE_MAX && self.take(PATTERN_SIZE_MAX);
                let compiled = may_try.then(|| compile(text)).flatten();
                return Ok(Pattern {
                    written: text.to_owned(),
                    size: PATTERN_SIZE_MAX,
                    compiled: compiled.ok_or(Problem::Invalid(problem))?,
                });
            }
        };
        if size > PATTERN_SIZE_MAX {
            let message = format!("its size is {size}, at most {PATTERN_SIZE_MAX} is");
            return Err(Problem::NotEnforced(message));
        }
        if !self.take(size) {
            let message = "the patterns before it take all the room there is";
            return Err(Problem::NotEnforced(message.to_owned()));
        }
        let compiled = compile(&translated).ok_or_else(|| {
            let message = "the host has no matcher for it";
            Problem::NotEnforced(message.to_owned())
        })?;
        Ok(Pattern {
            written: text.to_owned(),
            size,
            compiled,
        })
    }

    /// Whether there is room for one more.
    fn take(&mut self, size: usize) -> bool {
        let size = self.size.saturating_add(size.max(PATTERN_SIZE_MIN));
        let fits = size <= PATTERNS_SIZE_MAX;
        if fits {
            self.size = size;
        }
        fits
    }
}

/// Reads a field's pattern; none if there is none that is enforced.
pub(super) fn read(written: &Fields<'_>, notes: &mut Notes) -> Option<Arc<Pattern>> {
    let text = written.text("pattern", notes)?;
    if let Some(known) = notes.patterns.known.get(&text) {
        return known.clone();
    }
    let (place, path) = (written.place_of("pattern"), written.path_of("pattern"));
    let pattern = match notes.patterns.judge(&text) {
        Ok(pattern) => Some(Arc::new(pattern)),
        Err(Problem::Invalid(problem)) => {
            let message = format!("not a pattern: {problem}");
            notes.error("invalid_pattern", place, &path, message);
            None
        }
        Err(Problem::NotEnforced(why)) => {
            let message = format!("this pattern is not enforced: {why}");
            let finding = notes.warning("pattern_not_enforced", place, &path, message);
            finding.help = Some("forms in browsers still check it".to_owned());
            None
        }
    };
    notes.patterns.known.insert(text, pattern.clone());
    pattern
}

fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern)
        .size_limit(PATTERN_SIZE_MAX * STATE_BYTES)
        .dfa_size_limit(CACHE_BYTES)
        .build()
        .ok()
}
