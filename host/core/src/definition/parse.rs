//! YAML as a tree in which every value knows its place. The only file that knows the YAML library.
//!
//! The library's budgets end alias bombs and absurd nesting before they cost anything.

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
    Map(Vec<(Node, Node)>),
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
    /// In bytes from the start of the document.
    bytes: (usize, usize),
}

impl Place {
    /// The start of the document.
    pub(crate) const START: Self = Self {
        line: 1,
        column: 1,
        length: 1,
        bytes: (0, 0),
    };

    fn of(location: Location) -> Self {
        let span = location.span();
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let start = span.byte_offset().unwrap_or_default();
        let length = span.byte_len().unwrap_or_default();
        let size = |number: u64| usize::try_from(number).unwrap_or_default();
        Self {
            line: small(location.line()).max(1),
            column: small(location.column()).max(1),
            length: small(span.len()).max(1),
            bytes: (size(start), size(start + length)),
        }
    }

    /// The text that stands there.
    pub(crate) fn text(self, source: &str) -> Option<&str> {
        source
            .get(self.bytes.0..self.bytes.1)
            .map(str::trim)
            .filter(|text| !text.is_empty())
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

    /// The same as a JSON value.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(truth) => Value::Bool(*truth),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => items.iter().map(Self::to_json).collect(),
            Kind::Map(entries) => {
                let name = |key: &Self| match &key.kind {
                    Kind::Text(text) => text.clone(),
                    Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => {
                        key.to_json().to_string()
                    }
                };
                Value::Object(
                    entries
                        .iter()
                        .map(|(key, value)| (name(key), value.to_json()))
                        .collect::<Map<_, _>>(),
                )
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
    let budget = serde_yaml::budget! { max_depth: JSON_DEPTH_MAX, max_nodes: 500_000 };
    let aliases = serde_yaml::alias_limits! { max_total_replayed_events: ALIASED_MAX };
    let options = serde_yaml::options! { budget: budget, alias_limits: aliases, strict_booleans: true, with_snippet: false, duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough };
    serde_yaml::from_str_with_options::<Spanned<Kind>>(source, options)
        .map(node)
        .map_err(|error| {
            let place = error.location().map_or(Place::START, Place::of);
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
        place: Place::of(spanned.referenced),
        kind: spanned.value,
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
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
        if text.as_bytes().contains(&0) {
            return Err(E::custom("U+0000 is not accepted in a text"));
        }
        Ok(Kind::Text(text.to_owned()))
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
        while let Some(key) = entries.next_key::<Spanned<Kind>>()? {
            map.push((node(key), node(entries.next_value::<Spanned<Kind>>()?)));
        }
        Ok(Kind::Map(map))
    }
}
