//! JSON as the text it is. Values are parsed where a rule looks into them, nowhere else: a
//! context that nobody looks into is carried by reference from the guest to the store.

mod members;
mod names;
mod number;
mod search;
mod tree;

use std::{borrow::Cow, fmt, sync::Arc};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

pub(crate) use self::tree::hash_text;
use self::{
    members::{Items, Member, Members, unquoted},
    names::{Name, Names},
};
pub use self::{number::Decimal, tree::Tree};
use crate::{
    id::route_of,
    limits::{JSON_BYTES_MAX, JSON_DEPTH_MAX, PATH_BYTES_MAX},
};

/// Deepest nesting of what a store has. The parser of values goes one level deeper than this.
const STORED_DEPTH_MAX: usize = 126;

/// JSON text (RFC 8259) that has been checked: at most [`JSON_BYTES_MAX`] bytes and
/// [`JSON_DEPTH_MAX`] levels, no U+0000, no lone surrogate, no member twice, every number within a
/// double.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Arc<str>);

/// Why a text is not accepted as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More bytes than allowed.
    #[error("{bytes} bytes of JSON, at most {JSON_BYTES_MAX} are accepted")]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// Not JSON, or with something in it that could not be stored.
    #[error("{0}")]
    Malformed(String),
}

impl Json {
    /// The empty object.
    pub fn empty() -> Self {
        Self("{}".into())
    }

    /// Checks a text.
    ///
    /// # Errors
    ///
    /// If it is too large, not JSON, nested too deep, or holds U+0000, a lone surrogate, a member
    /// twice or a number outside a double; the message gives line and column.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// Looks at a text that is read back from where this program wrote it, and where somebody else
    /// or the disk may have changed it. What it nests may be deeper than what callers may send, since
    /// a payload may hold a whole context, but no reader's stack overflows.
    ///
    /// # Errors
    ///
    /// If it is not JSON, or nested too deep.
    pub fn of_stored(text: impl Into<Arc<str>>) -> Result<Self, JsonError> {
        let text = text.into();
        read(&text, STORED_DEPTH_MAX)?;
        Ok(Self(text))
    }

    /// The text of a value that was built here.
    pub fn from_value(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    /// Wraps text that this program wrote itself.
    pub fn from_trusted(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many bytes the text has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is an object without members.
    pub fn is_empty(&self) -> bool {
        &*self.0 == "{}" || Members::of(&self.0).is_some_and(|mut members| members.next().is_none())
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.0.trim_start().starts_with('{')
    }

    /// Whether both are the very same text in memory: then nothing has changed.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// All of it, unread.
    pub fn whole(&self) -> Raw<'_> {
        Raw(self.0.trim())
    }

    /// The value at a path by itself, if there is one.
    pub fn part(&self, path: &Path) -> Option<Self> {
        self.raw(path).map(Raw::to_json)
    }

    /// This object with one member more, or with another value for it.
    #[must_use]
    pub fn with(&self, name: &str, value: &Self) -> Self {
        let name = Value::from(name).to_string();
        self.merge(&Self(format!("{{{name}:{value}}}").into()))
    }

    /// The parsed value.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).expect("checked when it was made")
    }

    /// The values it stands for.
    pub fn tree(&self) -> Tree<'_> {
        Tree::read(&self.0)
    }

    /// A hash that texts share which stand for the same values: the same on every host and in every
    /// release.
    pub fn fingerprint(&self) -> u64 {
        self.tree().hash()
    }

    /// The value at a path, if there is one.
    pub fn get(&self, path: &Path) -> Option<Value> {
        self.raw(path).map(Raw::value)
    }

    /// The value at a path, unread, if there is one.
    pub fn raw(&self, path: &Path) -> Option<Raw<'_>> {
        let mut segments = path.segments.iter();
        let first = member(&self.0, segments.next()?)?;
        segments
            .try_fold(first, |text, segment| inside(text, segment))
            .map(Raw)
    }

    /// The 16 routing bits of the scalar at a path.
    pub fn route(&self, path: &Path) -> Option<u16> {
        match self.get(path)? {
            Value::String(text) => Some(route_of(&text)),
            scalar @ (Value::Number(_) | Value::Bool(_)) => Some(route_of(&scalar.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// This object with the members of another laid over it: shallow. Anything that is not an
    /// object changes nothing. New members come last, in their own order.
    #[must_use]
    pub fn merge(&self, over: &Self) -> Self {
        if &*over.0 == "{}" {
            return self.clone();
        }
        let (Some(base), Some(over)) = (Members::of(&self.0), Members::of(&over.0)) else {
            return self.clone();
        };
        let over: Vec<Member<'_>> = over.collect();
        if over.is_empty() {
            return self.clone();
        }
        let mut by_name: Vec<(Cow<'_, str>, usize)> = over
            .iter()
            .enumerate()
            .map(|(at, member)| (member.name(), at))
            .collect();
        by_name.sort_unstable();
        // Of several members with one name the last one counts.
        by_name.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            earlier.1 = if same { later.1 } else { earlier.1 };
            same
        });
        let mut is_new = vec![false; over.len()];
        for (_, at) in &by_name {
            is_new[*at] = true;
        }
        let added = over
            .iter()
            .map(|member| member.key.len() + member.value.len() + 2);
        let mut merged = String::with_capacity(self.len() + added.sum::<usize>());
        merged.push('{');
        for member in base {
            let name = member.name();
            let replaced = by_name.binary_search_by(|(other, _)| other.cmp(&name));
            let value = replaced.map_or(member.value, |found| {
                let at = by_name[found].1;
                is_new[at] = false;
                over[at].value
            });
            push_member(&mut merged, member.key, value);
        }
        let new = over.iter().zip(&is_new).filter(|(_, is_new)| **is_new);
        for (member, _) in new {
            push_member(&mut merged, member.key, member.value);
        }
        merged.push('}');
        Self(merged.into())
    }

    /// The members of an object, in order: their names, and their values unparsed.
    pub fn members(&self) -> Option<Vec<(Cow<'_, str>, &str)>> {
        let members = Members::of(&self.0)?;
        Some(
            members
                .map(|member| (member.name(), member.value))
                .collect(),
        )
    }
}

/// A value within a [`Json`], unread.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'j>(&'j str);

impl<'j> Raw<'j> {
    /// A value of an object that was checked as a whole.
    pub(crate) fn of(text: &'j str) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(self) -> &'j str {
        self.0
    }

    /// What it says, if it is a text without escapes.
    pub fn plain(self) -> Option<&'j str> {
        unquoted(self.0)
    }

    /// The value it stands for.
    pub fn tree(self) -> Tree<'j> {
        Tree::read(self.0)
    }

    /// The same value by itself.
    pub fn to_json(self) -> Json {
        Json(self.0.into())
    }

    /// The parsed value.
    pub fn value(self) -> Value {
        self.plain().map_or_else(
            || serde_json::from_str(self.0).expect("checked with the whole"),
            Value::from,
        )
    }
}

/// The value of a member of an object, the last of that name.
fn member<'j>(object: &'j str, name: &str) -> Option<&'j str> {
    let named = Members::of(object)?.filter(|member| member.is(name));
    named.last().map(|member| member.value)
}

/// What a segment of a path leads to within an object or array.
fn inside<'j>(text: &'j str, segment: &str) -> Option<&'j str> {
    match Items::of(text) {
        Some(mut items) => items.nth(segment.parse().ok()?),
        None => member(text, segment),
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds a member to an object that is being written; both parts are JSON texts.
pub(crate) fn push_member(object: &mut String, key: &str, value: &str) {
    if object.len() > 1 {
        object.push(',');
    }
    object.push_str(key);
    object.push(':');
    object.push_str(value);
}

/// A dotted path into a JSON value: `customer.tier`. Segments that are numbers reach into arrays.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    segments: Arc<[Box<str>]>,
}

impl Path {
    /// Reads a path; none if a segment is empty, or beyond [`PATH_BYTES_MAX`].
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > PATH_BYTES_MAX {
            return None;
        }
        let segments: Arc<[Box<str>]> = text.split('.').map(Into::into).collect();
        (!segments.iter().any(|segment| segment.is_empty())).then_some(Self { segments })
    }

    /// The path without its first segment, if that is `name` and something is left.
    #[must_use]
    pub fn without_prefix(&self, name: &str) -> Option<Self> {
        let (first, rest) = self.segments.split_first()?;
        (&**first == name && !rest.is_empty()).then(|| Self {
            segments: rest.into(),
        })
    }

    /// The segments, at least one.
    pub fn segments(&self) -> &[Box<str>] {
        &self.segments
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("."))
    }
}

/// Checks that a text is JSON that every store can hold.
fn check(text: &str) -> Result<(), JsonError> {
    if text.len() > JSON_BYTES_MAX {
        return Err(JsonError::TooLarge { bytes: text.len() });
    }
    read(text, JSON_DEPTH_MAX)
}

/// Reads a whole text to see whether it is JSON.
fn read(text: &str, max: usize) -> Result<(), JsonError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let result = Checked { depth: 0, max }
        .deserialize(&mut json)
        .and_then(|()| json.end());
    result.map_err(|error| JsonError::Malformed(error.to_string()))
}

/// Checks a string, or the name of a member.
fn check_text<E: de::Error>(text: &str) -> Result<(), E> {
    if text.as_bytes().contains(&0) {
        return Err(E::custom("U+0000 is not accepted in a text"));
    }
    Ok(())
}

/// Visits a whole value without keeping more of it than names.
#[derive(Clone, Copy)]
struct Checked {
    depth: usize,
    max: usize,
}

impl Checked {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let Self { depth, max } = self;
        if depth == max {
            return Err(E::custom(format_args!("nested deeper than {max} levels")));
        }
        Ok(Self {
            depth: depth + 1,
            max,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        check_text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = Names::default();
        while let Some(name) = members.next_key_seed(Name)? {
            names.push(name);
            members.next_value_seed(inner)?;
        }
        names.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn refusal(text: &str) -> String {
        Json::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_no_store_could_hold_is_refused_at_the_door() {
        assert!(refusal(r#"{"a":"x\u0000y"}"#).contains("U+0000"));
        assert!(refusal(r#"{"a\u0000":1}"#).contains("U+0000"));
        assert!(refusal(r#"["\ud800"]"#).contains("escape"));
        assert!(refusal("[1e999]").contains("out of range"));
        assert!(refusal(r#"[{"a":1,"b":2,"\u0061":3}]"#).contains("`a` twice"));
        assert!(refusal("{} {}").contains("trailing"));
        assert!(refusal(&"[".repeat(65)).contains("nested deeper than 64"));
        assert!(refusal(&"[".repeat(10_000)).contains("nested deeper than 64"));
        assert!(refusal(&format!("\"{}\"", "x".repeat(JSON_BYTES_MAX))).contains("at most"));
    }

    #[test]
    fn sixty_four_levels_are_accepted() {
        json(&format!("{}{}", "[".repeat(64), "]".repeat(64)));
    }

    #[test]
    fn merging_is_shallow_and_keeps_the_order() {
        let merged = json(r#"{"a":1,"b":{"x":1},"c":3}"#).merge(&json(r#"{"b":{"y":2},"d":4}"#));
        assert_eq!(merged.as_str(), r#"{"a":1,"b":{"y":2},"c":3,"d":4}"#);
    }

    #[test]
    fn merging_nothing_shares_the_text() {
        let context = json(r#"{"a":1}"#);
        assert!(context.merge(&Json::empty()).same(&context));
        assert!(context.merge(&json("[1]")).same(&context));
        assert!(context.merge(&json(" { } ")).same(&context));
    }

    #[test]
    fn paths_reach_into_objects_and_arrays() {
        let value = json(r#"{"customer":{"orders":[{"id":"A"},{"id":"B"}]},"x":null}"#);
        let get = |path: &str| value.get(&Path::parse(path).unwrap());
        assert_eq!(get("customer.orders.1.id"), Some("B".into()));
        assert_eq!(get("customer.orders.2.id"), None);
        assert_eq!(get("x"), Some(Value::Null));
        assert_eq!(get("x.y"), None);
    }

    #[test]
    fn escaped_names_are_found() {
        assert_eq!(
            json(r#"{"na\u006de":1}"#).get(&Path::parse("name").unwrap()),
            Some(1.into())
        );
    }
}
