//! Reads typed fields out of a document, notes every mistake, and goes on.

use serde_json::Value;

use crate::{
    definition::{
        diagnostic::{Finding, Severity},
        parse::{Kind, Node, Place},
    },
    json::{Json, Path},
    limits::NAME_BYTES_MAX,
    time::Duration,
};

/// Everything noted so far.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) findings: Vec<Finding>,
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

    /// Notes something.
    pub(crate) fn note(
        &mut self,
        severity: Severity,
        code: &'static str,
        place: Place,
        path: &str,
        message: impl Into<String>,
    ) -> &mut Finding {
        let Place {
            line,
            column,
            length,
            ..
        } = place;
        let path = path.to_owned();
        self.findings.push(Finding {
            severity,
            code,
            line,
            column,
            length,
            path,
            message: message.into(),
            help: None,
        });
        self.findings.last_mut().expect("just pushed")
    }
}

/// A name and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// The fields of one mapping.
pub(crate) struct Fields<'n> {
    /// Where the mapping stands in the document.
    pub(crate) path: String,
    /// Where it begins.
    pub(crate) place: Place,
    source: &'n str,
    entries: Vec<(&'n str, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// Reads a mapping whose keys should be among `known`; none if it is no mapping.
    pub(crate) fn read(
        node: &'n Node,
        path: &str,
        known: &[&str],
        source: &'n str,
        notes: &mut Notes,
    ) -> Option<Self> {
        let Kind::Map(map) = &node.kind else {
            wrong_type(notes, node, path, "a mapping");
            return None;
        };
        let mut entries: Vec<(&str, &Node)> = Vec::new();
        for (key, value) in map {
            let Kind::Text(name) = &key.kind else {
                notes.error(
                    "invalid_key",
                    key.place,
                    path,
                    format!("a key must be a text, not {}", key.describe()),
                );
                continue;
            };
            if entries.iter().any(|(other, _)| other == name) {
                notes.error(
                    "duplicate_key",
                    key.place,
                    &join(path, name),
                    format!("`{name}` is written twice"),
                );
                continue;
            }
            if !known.contains(&name.as_str()) {
                let finding = notes.warning(
                    "unknown_key",
                    key.place,
                    &join(path, name),
                    format!("unknown key `{name}`"),
                );
                finding.help = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
            }
            entries.push((name, value));
        }
        Some(Self {
            path: path.to_owned(),
            place: node.place,
            source,
            entries,
        })
    }

    /// The value of a field; one written without a value counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        let value = self.entries.iter().find(|(other, _)| *other == name)?.1;
        (!matches!(value.kind, Kind::Null)).then_some(value)
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
        let text = match &node.kind {
            Kind::Text(text) => text.clone(),
            Kind::Bool(_) | Kind::Number(_) => node
                .place
                .text(self.source)
                .map_or_else(|| node.to_json().to_string(), str::to_owned),
            Kind::Null | Kind::List(_) | Kind::Map(_) => {
                wrong_type(notes, node, path, "a text");
                return None;
            }
        };
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
            let message =
                format!("a name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
            notes.error("invalid_name", node.place, path, message);
            return None;
        }
        Some(Named {
            text,
            place: node.place,
        })
    }

    /// A longer text.
    pub(crate) fn text(&self, name: &str, notes: &mut Notes) -> Option<String> {
        let node = self.get(name)?;
        match &node.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Bool(_) | Kind::Number(_) => Some(node.to_json().to_string()),
            Kind::Null | Kind::List(_) | Kind::Map(_) => {
                wrong_type(notes, node, &self.path_of(name), "a text");
                None
            }
        }
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

    /// A nested mapping.
    pub(crate) fn fields(&self, name: &str, known: &[&str], notes: &mut Notes) -> Option<Self> {
        let node = self.get(name)?;
        Self::read(node, &self.path_of(name), known, self.source, notes)
    }

    /// One item of a list, read as a mapping.
    pub(crate) fn item(
        &self,
        node: &'n Node,
        path: &str,
        known: &[&str],
        notes: &mut Notes,
    ) -> Option<Self> {
        Self::read(node, path, known, self.source, notes)
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

/// The known name that is nearest to one that is not known, if any is near.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let close = |other: &&str| {
        (
            distance(&name.to_lowercase(), &other.to_lowercase()),
            other.len(),
        )
    };
    let best = known.iter().min_by_key(|other| close(other))?;
    (close(best).0 <= 1 + best.chars().count() / 3).then_some(*best)
}

/// Edits between two short texts (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().take(NAME_BYTES_MAX).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn whole_of(number: f64) -> Option<u64> {
    let value = serde_json::from_str::<Value>(&format!("{number:.0}"))
        .ok()?
        .as_u64()?;
    let exact = number.fract() == 0.0;
    exact.then_some(value)
}
