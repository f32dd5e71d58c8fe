//! Reads typed fields out of a document, notes every mistake, and goes on.

use std::{collections::BTreeSet, fmt::Write};

use serde_json::Value;

use crate::{
    definition::{
        keys::{Judgement, Object},
        notes::Notes,
        parse::{Key, Kind, Node, Place},
    },
    json::{Json, Path},
    limits::NAME_BYTES_MAX,
    time::Duration,
};

/// A name and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// The fields of one object that have an effect where it stands.
pub(crate) struct Fields<'n> {
    /// Where the mapping stands in the document.
    pub(crate) path: String,
    /// Where it begins.
    pub(crate) place: Place,
    object: &'static Object,
    source: &'n str,
    /// Each key once, with its value.
    entries: Vec<(&'n Key, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// Reads a mapping that is an `object`; none if it is no mapping. Says which of its keys are
    /// unknown or have no effect, and leaves these out.
    pub(crate) fn read(
        node: &'n Node,
        path: &str,
        object: &'static Object,
        source: &'n str,
        notes: &mut Notes,
    ) -> Option<Self> {
        let Kind::Map(map) = &node.kind else {
            wrong_type(notes, node, path, "a mapping");
            return None;
        };
        let kind = node.get("type").and_then(|kind| kind.text(source));
        let mut entries: Vec<(&Key, &Node)> = Vec::new();
        for (key, value) in map {
            let name = key.text.as_str();
            match object.judge(name, kind.as_deref()) {
                // The first counts; that there are two was noted for the whole document.
                Judgement::Effective => {
                    if !entries.iter().any(|(other, _)| other.text == name) {
                        entries.push((key, value));
                    }
                }
                Judgement::NoEffect(why) => {
                    notes.no_effect(name, key.place, &join(path, name), &why);
                }
                Judgement::Unknown => {
                    let help = notes.suggest(name, object.names());
                    let message = format!("unknown key `{name}`");
                    let path = join(path, name);
                    let finding = notes.warning("unknown_key", key.place, &path, message);
                    finding.help = help;
                }
            }
        }
        Some(Self {
            path: path.to_owned(),
            place: node.place,
            object,
            source,
            entries,
        })
    }

    /// The value of a field; one written without a value counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        debug_assert!(self.object.names().any(|known| known == name), "{name}");
        let value = self.entry(name)?.1;
        (!matches!(value.kind, Kind::Null)).then_some(value)
    }

    /// Where a field's key stands, or where the mapping begins if it is absent.
    pub(crate) fn key_place(&self, name: &str) -> Place {
        self.entry(name).map_or(self.place, |(key, _)| key.place)
    }

    fn entry(&self, name: &str) -> Option<(&'n Key, &'n Node)> {
        let mut entries = self.entries.iter();
        entries.find(|(key, _)| key.text == name).copied()
    }

    /// Where a field stands in the document.
    pub(crate) fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Where a field's value stands, or where the mapping begins if it is absent.
    pub(crate) fn place_of(&self, name: &str) -> Place {
        self.get(name).map_or(self.place, |node| node.place)
    }

    /// A name: a text (or anything YAML took for something else, as it was written).
    pub(crate) fn name(&self, name: &str, notes: &mut Notes) -> Option<Named> {
        self.name_in(self.get(name)?, &self.path_of(name), notes)
    }

    /// A name that must be there.
    pub(crate) fn required_name(&self, name: &str, notes: &mut Notes) -> Option<Named> {
        if self.get(name).is_none() {
            self.missing(name, notes);
        }
        self.name(name, notes)
    }

    /// A value read as a name.
    pub(crate) fn name_in(&self, node: &Node, path: &str, notes: &mut Notes) -> Option<Named> {
        let Some(text) = node.text(self.source) else {
            wrong_type(notes, node, path, "a text");
            return None;
        };
        self.legal_name(&text, node.place, path, notes)
    }

    /// A key read as a name.
    pub(crate) fn legal_name(
        &self,
        text: &str,
        place: Place,
        path: &str,
        notes: &mut Notes,
    ) -> Option<Named> {
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
            let message =
                format!("a name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
            notes.error("invalid_name", place, path, message);
            return None;
        }
        let text = text.to_owned();
        Some(Named { text, place })
    }

    /// A longer text.
    pub(crate) fn text(&self, name: &str, notes: &mut Notes) -> Option<String> {
        let node = self.get(name)?;
        let text = node.text(self.source);
        if text.is_none() {
            wrong_type(notes, node, &self.path_of(name), "a text");
        }
        text
    }

    /// A boolean.
    pub(crate) fn boolean(&self, name: &str, notes: &mut Notes) -> Option<bool> {
        let node = self.get(name)?;
        if let Kind::Bool(truth) = node.kind {
            return Some(truth);
        }
        wrong_type(notes, node, &self.path_of(name), "`true` or `false`");
        None
    }

    /// A whole number, not negative.
    pub(crate) fn whole(&self, name: &str, notes: &mut Notes) -> Option<u64> {
        let node = self.get(name)?;
        let whole = match &node.kind {
            Kind::Number(number) => number
                .as_u64()
                .or_else(|| number.as_f64().and_then(whole_of)),
            Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => None,
        };
        if whole.is_none() {
            wrong_type(
                notes,
                node,
                &self.path_of(name),
                "a whole number, not negative",
            );
        }
        whole
    }

    /// A time in milliseconds.
    pub(crate) fn millis(&self, name: &str, notes: &mut Notes) -> Option<Duration> {
        let millis = self.whole(name, notes)?;
        if millis > crate::limits::DELAY_MAX.0 {
            let message = format!("at most {} ms lie ahead", crate::limits::DELAY_MAX.0);
            notes.error(
                "delay_too_long",
                self.place_of(name),
                &self.path_of(name),
                message,
            );
            return None;
        }
        Some(Duration(millis))
    }

    /// A number with a sign, also negative (a priority).
    pub(crate) fn integer(&self, name: &str, notes: &mut Notes) -> Option<i64> {
        let node = self.get(name)?;
        let integer = if let Kind::Number(number) = &node.kind {
            number.as_i64()
        } else {
            None
        };
        if integer.is_none() {
            wrong_type(notes, node, &self.path_of(name), "a whole number");
        }
        integer
    }

    /// A list, empty if absent.
    pub(crate) fn list(&self, name: &str, notes: &mut Notes) -> Vec<(String, &'n Node)> {
        let Some(node) = self.get(name) else {
            return Vec::new();
        };
        let Kind::List(items) = &node.kind else {
            wrong_type(notes, node, &self.path_of(name), "a list");
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .map(|(position, item)| (format!("{}[{position}]", self.path_of(name)), item))
            .collect()
    }

    /// A nested object.
    pub(crate) fn fields(
        &self,
        name: &str,
        object: &'static Object,
        notes: &mut Notes,
    ) -> Option<Self> {
        let node = self.get(name)?;
        Self::read(node, &self.path_of(name), object, self.source, notes)
    }

    /// One item of a list, read as an object.
    pub(crate) fn item(
        &self,
        node: &'n Node,
        path: &str,
        object: &'static Object,
        notes: &mut Notes,
    ) -> Option<Self> {
        Self::read(node, path, object, self.source, notes)
    }

    /// A dotted path.
    pub(crate) fn dotted(&self, name: &str, notes: &mut Notes) -> Option<Path> {
        let named = self.required_name(name, notes)?;
        let path = Path::parse(&named.text);
        if path.is_none() {
            notes.error(
                "invalid_path",
                named.place,
                &self.path_of(name),
                format!("`{}` is not a path like `customer.id`", named.text),
            );
        }
        path
    }

    /// Free data of the author.
    pub(crate) fn json(&self, name: &str) -> Option<Json> {
        self.get(name).map(|node| Json::from_value(&node.to_json()))
    }

    /// Notes that a field must be there.
    pub(crate) fn missing(&self, name: &str, notes: &mut Notes) {
        notes.error(
            "missing_key",
            self.place,
            &self.path_of(name),
            format!("`{name}` is required"),
        );
    }
}

/// Notes that a value is of another type than expected.
pub(crate) fn wrong_type(notes: &mut Notes, node: &Node, path: &str, expected: &str) {
    notes.error(
        "wrong_type",
        node.place,
        path,
        format!("expected {expected}, found {}", node.describe()),
    );
}

/// Notes every key that is written twice, in any mapping of the document, the author's own
/// included.
pub(crate) fn repeated_keys(root: &Node, notes: &mut Notes) {
    repeated_keys_in(root, &mut String::new(), notes);
}

/// `path` is that of the node, and is left as it was.
fn repeated_keys_in(node: &Node, path: &mut String, notes: &mut Notes) {
    let length = path.len();
    match &node.kind {
        Kind::List(items) => {
            for (position, item) in items.iter().enumerate() {
                let _ = write!(path, "[{position}]");
                repeated_keys_in(item, path, notes);
                path.truncate(length);
            }
        }
        Kind::Map(entries) => {
            let mut keys = BTreeSet::new();
            for (key, value) in entries {
                push_name(path, &key.text);
                if !keys.insert(key.text.as_str()) {
                    let message = format!("`{}` is written twice", key.text);
                    notes.error("duplicate_key", key.place, path, message);
                }
                repeated_keys_in(value, path, notes);
                path.truncate(length);
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
    }
}

fn join(path: &str, name: &str) -> String {
    let mut joined = path.to_owned();
    push_name(&mut joined, name);
    joined
}

/// Goes on to a member; keys that are too long for a name are cut.
fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(&name[..name.floor_char_boundary(NAME_BYTES_MAX)]);
}

fn whole_of(number: f64) -> Option<u64> {
    let value = serde_json::from_str::<Value>(&format!("{number:.0}"))
        .ok()?
        .as_u64()?;
    let exact = number.fract() == 0.0;
    exact.then_some(value)
}
