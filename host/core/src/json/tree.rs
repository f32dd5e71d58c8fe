//! A JSON text as the values it stands for: spaces, the order of members, escapes and the way a
//! number is written make no difference. The one place that says when two values are equal, which
//! is greater, and what hash equal ones share.
//!
//! The text has been checked before. It is read once, from left to right; members are sorted, so
//! that the cost is n log n.

use std::{borrow::Cow, cmp::Ordering};

use super::{Decimal, members};
use crate::{id::stable_hash, limits::JSON_DEPTH_MAX};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree<'t> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, by its exact value.
    Number(Decimal<'t>),
    /// A text, without its escapes.
    Text(Cow<'t, str>),
    /// Items, in order.
    List(Vec<Self>),
    /// Members, sorted by name; of several with one name the last.
    Object(Vec<(Cow<'t, str>, Self)>),
    /// What is nested deeper than anything that is let in: the text as it stands.
    Deep(&'t str),
}

impl<'t> Tree<'t> {
    /// Reads a text that has been checked.
    pub(super) fn read(text: &'t str) -> Self {
        Reader { text, at: 0 }.value(0)
    }

    /// A text.
    pub fn text(text: &'t str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// Two numbers by value, or two texts by code point; nothing else has an order.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(left), Self::Number(right)) => Some(left.order(*right)),
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }

    /// A hash that equal values share: the same on every host and in every release, since stored
    /// instances are recognised by it. Never zero.
    pub fn hash(&self) -> u64 {
        let hash = match self {
            Self::Null => 1,
            Self::Bool(truth) => 2 + u64::from(*truth),
            Self::Number(number) => number.hash(),
            Self::Text(text) => return hash_text(text),
            Self::List(items) => items.iter().fold(7, |hash, item| mix(hash, item.hash())),
            Self::Object(members) => members.iter().fold(11, |hash, (name, value)| {
                mix(mix(hash, hash_text(name)), value.hash())
            }),
            Self::Deep(text) => stable_hash(text.as_bytes()),
        };
        hash.max(1)
    }
}

/// [`Tree::hash`] of a text.
pub(crate) fn hash_text(text: &str) -> u64 {
    stable_hash(text.as_bytes()).max(1)
}

fn mix(left: u64, right: u64) -> u64 {
    stable_hash(&(u128::from(left) << 64 | u128::from(right)).to_le_bytes())
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn value(&mut self, depth: usize) -> Tree<'t> {
        self.skip_to_content();
        match self.peek() {
            Some(b'{' | b'[') if depth == JSON_DEPTH_MAX => Tree::Deep(self.take()),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.list(depth + 1),
            Some(b'"') => Tree::Text(members::unescaped(self.take())),
            _ => scalar(self.take()),
        }
    }

    fn list(&mut self, depth: usize) -> Tree<'t> {
        self.at += 1;
        let mut items = Vec::new();
        while self.has_more(b']') {
            items.push(self.value(depth));
        }
        Tree::List(items)
    }

    fn object(&mut self, depth: usize) -> Tree<'t> {
        self.at += 1;
        let mut found: Vec<(Cow<'t, str>, Tree<'t>)> = Vec::new();
        while self.has_more(b'}') {
            let name = members::unescaped(self.take());
            found.push((name, self.value(depth)));
        }
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        // Of equal names the last one stays: the sort is stable.
        found.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Tree::Object(found)
    }

    /// Whether another part follows; if not, the end is passed.
    fn has_more(&mut self, end: u8) -> bool {
        self.skip_to_content();
        match self.peek() {
            None => false,
            Some(byte) if byte == end => {
                self.at += 1;
                false
            }
            Some(_) => true,
        }
    }

    /// The value here, unread.
    fn take(&mut self) -> &'t str {
        let end = members::end_of_value(self.text.as_bytes(), self.at);
        // A checked text ends where its last value does.
        let end = end.unwrap_or(self.text.len()).max(self.at + 1);
        let taken = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        taken
    }

    /// Passes blanks and what stands between parts.
    fn skip_to_content(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let between = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
        self.at += rest.iter().take_while(between).count();
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

fn scalar(text: &str) -> Tree<'_> {
    match text {
        "true" => Tree::Bool(true),
        "false" => Tree::Bool(false),
        _ => Decimal::parse(text).map_or(Tree::Null, Tree::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(left: &str, right: &str) -> bool {
        let (left, right) = (Tree::read(left), Tree::read(right));
        assert_eq!(left == right, left.hash() == right.hash());
        left == right
    }

    #[test]
    fn spelling_makes_no_difference() {
        let alike = [
            (r#"{"a":1,"b":[2]}"#, " { \"b\" : [ 2.0 ] ,\n\"a\":1e0 } "),
            (r#""a/b""#, r#""\u0061\/b""#),
            (r#"{"\u0061":{}}"#, r#"{"a":{ }}"#),
            ("[true,null]", "[ true , null ]"),
            ("[[],[[]]]", "[ [ ] , [ [] ] ]"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ];
        for (left, right) in alike {
            assert!(same(left, right), "{left} and {right}");
        }
    }

    #[test]
    fn another_value_is_another_value() {
        let different = [
            ("1", "\"1\""),
            ("[1,2]", "[2,1]"),
            ("[[1],2]", "[1,[2]]"),
            (r#"{"a":{"b":1}}"#, r#"{"a":1,"b":{}}"#),
            ("null", "false"),
            ("9007199254740993", "9007199254740992"),
            (r#"{"a":null}"#, "{}"),
        ];
        for (left, right) in different {
            assert!(!same(left, right), "{left} and {right}");
        }
    }

    #[test]
    fn a_text_that_is_nested_too_deep_is_compared_as_it_stands() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(same(&nested(100_000), &nested(100_000)));
        assert!(!same(&nested(100_000), &nested(100_001)));
    }

    #[test]
    fn the_hash_of_a_value_never_changes() {
        let hash = Tree::read(r#"{"number":"A-1","amount":5,"tags":[true,null,2.5]}"#).hash();
        assert_eq!(hash, 17_447_406_922_175_079_701);
    }
}
