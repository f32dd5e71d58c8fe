//! YAML as a tree in which every value knows its place. The only file that knows the YAML library.
//!
//! Keys are texts however they are written; scalars know the text that they were written as, also
//! where an alias or a merge key brings them in.
//!
//! The library's budgets end alias bombs and absurd nesting before they cost anything: values that
//! aliases repeat count like written ones, in number, depth and bytes.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_yaml::{Location, Spanned};

use crate::{
    definition::diagnostic::{Finding, Severity},
    limits::{DEFINITION_BYTES_MAX, JSON_DEPTH_MAX},
};

/// What aliases repeat, in parts of values: a definition that repeats a mapping of twenty parts a
/// thousand times is below, a bomb of aliases is over after a few milliseconds.
const ALIASED_MAX: usize = 50_000;

/// Bytes of all scalars, those that aliases repeat included.
const SCALAR_BYTES_MAX: usize = 2 * DEFINITION_BYTES_MAX;

/// A value of the document and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// In the order of the document, keys that are written twice included.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) place: Place,
    /// As it is written, also where YAML takes it for a number.
    pub(crate) text: String,
}

/// Where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: u32,
    /// In characters, from 1.
    pub(crate) column: u32,
    /// In characters.
    pub(crate) length: u32,
    /// Where its text is, in bytes from the start of the document. For an alias, that is where its
    /// anchor stands.
    text: (u32, u32),
}

impl Place {
    /// The start of the document.
    pub(crate) const START: Self = Self {
        line: 1,
        column: 1,
        length: 1,
        text: (0, 0),
    };

    /// Where something is used, and where it is written; these differ for an alias.
    fn of(used: Location, written: Location) -> Self {
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let start = written.span().byte_offset().unwrap_or_default();
        let length = written.span().byte_len().unwrap_or_default();
        Self {
            line: small(used.line()).max(1),
            column: small(used.column()).max(1),
            length: small(used.span().len()).max(1),
            text: (small(start), small(start + length)),
        }
    }

    /// The text that is written there.
    fn written(self, source: &str) -> Option<&str> {
        let text = source.get(self.text.0 as usize..self.text.1 as usize)?;
        let plain = |text: &&str| !text.is_empty() && !text.starts_with(['!', '"', '\'']);
        Some(text.trim()).filter(plain)
    }
}

impl Node {
    /// What kind of value it is, for a person.
    pub(crate) fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The text of a scalar: what YAML takes for a number or a boolean is read as it is written.
    pub(crate) fn text(&self, source: &str) -> Option<String> {
        match &self.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Bool(_) | Kind::Number(_) => Some(
                self.place
                    .written(source)
                    .map_or_else(|| self.to_json().to_string(), str::to_owned),
            ),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The value of a key; none if this is no mapping or has no such key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Kind::Map(entries) = &self.kind else {
            return None;
        };
        let named = entries.iter().find(|(name, _)| name.text == key);
        named.map(|(_, value)| value)
    }

    /// The same as a JSON value.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(truth) => Value::Bool(*truth),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => items.iter().map(Self::to_json).collect(),
            Kind::Map(entries) => {
                let members = entries
                    .iter()
                    .map(|(key, value)| (key.text.clone(), value.to_json()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

/// Reads a document.
///
/// # Errors
///
/// The one finding that keeps it from being YAML at all.
pub(crate) fn parse(source: &str) -> Result<Node, Box<Finding>> {
    if source.len() > DEFINITION_BYTES_MAX {
        let message = format!(
            "the definition has {} bytes, at most {DEFINITION_BYTES_MAX} are accepted",
            source.len()
        );
        return Err(Box::new(syntax("too_large", Place::START, message)));
    }
    let budget = serde_yaml::budget! { max_depth: JSON_DEPTH_MAX, max_nodes: 500_000, max_total_scalar_bytes: SCALAR_BYTES_MAX, enforce_alias_anchor_ratio: false };
    let aliases = serde_yaml::alias_limits! { max_total_replayed_events: ALIASED_MAX };
    let options = serde_yaml::options! { budget: budget, alias_limits: aliases, strict_booleans: true, with_snippet: false, duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough };
    serde_yaml::from_str_with_options::<Spanned<Kind>>(source, options)
        .map(node)
        .map_err(|error| {
            let place = error.location();
            let place = place.map_or(Place::START, |place| Place::of(place, place));
            let message = error.without_snippet().to_string();
            let message = message
                .split(" at line ")
                .next()
                .unwrap_or(&message)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            Box::new(syntax("invalid_yaml", place, message))
        })
}

fn syntax(code: &'static str, place: Place, message: String) -> Finding {
    let Place {
        line,
        column,
        length,
        ..
    } = place;
    Finding {
        severity: Severity::Error,
        code,
        line,
        column,
        length,
        path: String::new(),
        message,
        help: None,
    }
}

fn node(spanned: Spanned<Kind>) -> Node {
    Node {
        place: Place::of(spanned.referenced, spanned.defined),
        kind: spanned.value,
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

fn checked_text<E: de::Error>(text: &str) -> Result<String, E> {
    if text.as_bytes().contains(&0) {
        return Err(E::custom("U+0000 is not accepted in a text"));
    }
    Ok(text.to_owned())
}

/// A key's text.
struct KeyText(String);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextOnly).map(Self)
    }
}

struct TextOnly;

impl Visitor<'_> for TextOnly {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text as key")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        checked_text(text)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Kind, E> {
        Ok(Kind::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Kind, E> {
        Ok(Kind::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Kind, E> {
        let finite = Number::from_f64(number).map(Kind::Number);
        finite.ok_or_else(|| E::custom("only finite numbers are accepted"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Kind, E> {
        checked_text(text).map(Kind::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Kind>>()? {
            list.push(node(item));
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<KeyText>>()? {
            let place = Place::of(key.referenced, key.defined);
            let text = key.value.0;
            let value = entries.next_value::<Spanned<Kind>>()?;
            map.push((Key { place, text }, node(value)));
        }
        Ok(Kind::Map(map))
    }
}
