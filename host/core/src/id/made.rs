//! Ids that the host makes of other ids: the cause's id with a mark behind it.
//!
//! A chain of causes may go on for ever, an instance with a clock of its own makes one. A cause
//! whose id is longer than a caller's may be is therefore shortened before the mark is added: to
//! the beginning of its root's id, a `~`, and 128 bits of the SHA-256 of the whole. That depends on
//! the text alone, so that an event which is handled again gets the same ids, on every host.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::ID_BYTES_MAX;

/// The longest mark: `~` and 16 digits.
const MARK_BYTES_MAX: usize = 17;

/// The longest id that a host makes, in bytes.
pub const MADE_ID_BYTES_MAX: usize = ID_BYTES_MAX + MARK_BYTES_MAX;

/// How much of its root's id a shortened one keeps, in bytes: enough for a person to know it by.
const ROOT_BYTES_MAX: usize = 64;

/// Hexadecimal digits of a shortened id.
const DIGITS: usize = 32;

/// The id of a cause with a mark and something more behind it. Each cascade makes some, and
/// formatting would take longer than all the rest of it.
pub(super) fn derived(cause: &str, mark: &str, more: &str) -> String {
    if cause.len() > ID_BYTES_MAX {
        [&*shortened(cause), mark, more].concat()
    } else {
        [cause, mark, more].concat()
    }
}

/// What [`derived`] gives for the cause and the mark of an id that was made without shortening.
pub(super) fn bounded(id: &str) -> String {
    let mark = id.rfind(['.', '~']);
    match mark.map(|at| id.split_at(at)) {
        Some((cause, mark)) if mark.len() <= MARK_BYTES_MAX => derived(cause, mark, ""),
        Some(_) | None => shortened(id),
    }
}

/// Whether some of an id was shortened: no caller may choose such a one.
pub(super) fn is_shortened(id: &str) -> bool {
    end_of_root(id).is_some()
}

fn shortened(id: &str) -> String {
    let mut end = end_of_root(id).unwrap_or(id.len()).min(ROOT_BYTES_MAX);
    while !id.is_char_boundary(end) {
        end -= 1;
    }
    let digest = Sha256::digest(id.as_bytes());
    let mut text = String::with_capacity(end + 1 + DIGITS);
    text.push_str(&id[..end]);
    text.push('~');
    for byte in &digest[..DIGITS / 2] {
        write!(text, "{byte:02x}").expect("a text takes whatever is written");
    }
    text
}

/// Where what is left of the root's id ends in a shortened one.
fn end_of_root(id: &str) -> Option<usize> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_end = |at: &usize| {
        let digits = id.as_bytes()[at + 1..]
            .iter()
            .take_while(|byte| is_digit(byte));
        digits.count() == DIGITS
    };
    let mut marks = id.match_indices('~').map(|(at, _)| at);
    marks.find(is_end)
}
