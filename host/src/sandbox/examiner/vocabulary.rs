//! Words that never go away: the codes of findings, which the core has as constants.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Words there may be. The core has about a hundred codes.
const WORDS_MAX: usize = 512;

/// Bytes of each.
const BYTES_MAX: usize = 40;

/// What stands for a word that is none.
const OTHER: &str = "other";

/// A code as a constant: the examiner says it in bytes that are gone soon. Whatever it says, a
/// bounded number of short words is kept.
pub(super) fn word(text: &str) -> &'static str {
    static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if text.len() > BYTES_MAX || !text.bytes().all(is_word) {
        return OTHER;
    }
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = words.get(text) {
        return known;
    }
    if words.len() == WORDS_MAX {
        return OTHER;
    }
    let word: &'static str = String::from(text).leak();
    words.insert(word);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_word_is_the_same_constant_and_what_is_no_code_is_other() {
        assert!(std::ptr::eq(word("unknown_key"), word("unknown_key")));
        assert_eq!(word("Not a code\n"), OTHER);
        assert_eq!(word(&"a".repeat(BYTES_MAX + 1)), OTHER);
    }
}
