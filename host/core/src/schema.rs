//! `contextSchema`: what the context of a machine's instances must look like.

mod ecma;
mod pattern;

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde_json::Value;

use self::pattern::Pattern;
pub(crate) use self::pattern::Patterns;
use crate::{
    definition::{
        keys,
        notes::Notes,
        parse::{Kind, Node},
        read::{Fields, wrong_type},
    },
    json::{Decimal, Json, Raw, Tree, push_member},
    limits::{
        FINDING_BYTES_MAX, MACHINE_PARTS_MAX, PATTERN_STEPS_MAX, VIOLATIONS_BYTES_MAX,
        VIOLATIONS_MAX,
    },
};

/// What a context must look like. Fields that it does not name are free.
#[derive(Clone, Debug)]
pub struct Schema {
    fields: Vec<Field>,
    source: Value,
    has_defaults: bool,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    kind: FieldKind,
    required: bool,
    default: Option<Json>,
    /// A JSON number.
    min: Option<Json>,
    /// A JSON number.
    max: Option<Json>,
    pattern: Option<Arc<Pattern>>,
    options: Vec<Json>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldKind {
    Text,
    Number,
    Boolean,
    Select,
    Array,
    Object,
}

/// A field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which field.
    pub field: String,
    /// Stable, for programs.
    pub code: Cow<'static, str>,
    /// What is wrong.
    pub message: String,
}

impl Violation {
    /// The texts in it.
    pub(crate) fn bytes(&self) -> usize {
        self.field.len() + self.code.len() + self.message.len()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.message)
    }
}

impl Schema {
    /// Reads a schema from the document.
    pub(crate) fn read(node: &Node, parent: &Fields<'_>, notes: &mut Notes) -> Option<Self> {
        let path = parent.path_of("contextSchema");
        let Kind::Map(entries) = &node.kind else {
            wrong_type(notes, node, &path, "a mapping of field names");
            return None;
        };
        if entries.len() > MACHINE_PARTS_MAX {
            let message = format!("at most {MACHINE_PARTS_MAX} fields");
            notes.error("too_many", node.place, &path, message);
            return None;
        }
        let mut fields = Vec::new();
        for (key, value) in entries {
            let Some(name) = parent.legal_name(&key.text, key.place, &path, notes) else {
                continue;
            };
            let path = format!("{path}.{}", name.text);
            let Some(written) = parent.item(value, &path, &keys::FIELD, notes) else {
                continue;
            };
            fields.extend(Field::read(name.text, &written, notes));
        }
        let has_defaults = fields.iter().any(|field| field.default.is_some());
        Some(Self {
            fields,
            source: node.to_json(),
            has_defaults,
        })
    }

    /// The schema as it was written.
    pub fn to_json(&self) -> Value {
        self.source.clone()
    }

    /// What checking a context costs at most, in steps of [`PATTERN_STEPS_MAX`].
    pub(crate) fn cost(&self, context: &Json) -> usize {
        let patterns = self
            .fields
            .iter()
            .filter_map(|field| field.pattern.as_ref());
        let largest = patterns
            .map(|pattern| pattern.steps(context.as_str()))
            .max();
        largest.unwrap_or(0).min(PATTERN_STEPS_MAX) + context.len() + self.fields.len()
    }

    /// The context with the defaults of the fields that it lacks.
    #[must_use]
    pub fn defaults(&self, context: &Json) -> Json {
        if !self.has_defaults {
            return context.clone();
        }
        let present = context.members().unwrap_or_default();
        let present: BTreeSet<&str> = present.iter().map(|(name, _)| &**name).collect();
        let lacking = |field: &&Field| !present.contains(&*field.name);
        let mut defaults = String::from("{");
        for field in self.fields.iter().filter(lacking) {
            if let Some(default) = &field.default {
                let name = Value::from(&*field.name).to_string();
                push_member(&mut defaults, &name, default.as_str());
            }
        }
        defaults.push('}');
        context.merge(&Json::from_trusted(defaults))
    }

    /// Whether a context is as it should be.
    ///
    /// # Errors
    ///
    /// The fields that are not: the first [`VIOLATIONS_MAX`] of them, or fewer where these take
    /// more than [`VIOLATIONS_BYTES_MAX`].
    pub fn check(&self, context: &Json) -> Result<(), Vec<Violation>> {
        let Some(members) = by_name(context) else {
            let message = "must be an object".to_owned();
            return Err(vec![Violation {
                field: "context".to_owned(),
                code: "type".into(),
                message,
            }]);
        };
        let mut steps = PATTERN_STEPS_MAX;
        let wrong = self.fields.iter().filter_map(|field| {
            let member = members.get(field.name.as_str()).copied();
            let (code, mut message) = field.check(member, &mut steps).err()?;
            message.truncate(message.floor_char_boundary(FINDING_BYTES_MAX));
            Some(Violation {
                field: field.name.clone(),
                code: code.into(),
                message,
            })
        });
        let mut bytes = 0;
        let fits = |violation: &Violation| {
            let is_first = bytes == 0;
            bytes += violation.bytes();
            is_first || bytes <= VIOLATIONS_BYTES_MAX
        };
        let violations: Vec<Violation> = wrong.take(VIOLATIONS_MAX).take_while(fits).collect();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(violations)
        }
    }
}

/// The members of an object by name; of several with one name, the last.
fn by_name(object: &Json) -> Option<BTreeMap<Cow<'_, str>, &str>> {
    Some(object.members()?.into_iter().collect())
}

impl Field {
    fn read(name: String, written: &Fields<'_>, notes: &mut Notes) -> Option<Self> {
        let kind = written.required_name("type", notes)?;
        let kind = match kind.text.as_str() {
            "text" | "string" => FieldKind::Text,
            "number" => FieldKind::Number,
            "boolean" => FieldKind::Boolean,
            "select" => FieldKind::Select,
            "array" => FieldKind::Array,
            "object" => FieldKind::Object,
            other => {
                let help = notes.suggest(other, keys::FIELD.types.iter().copied());
                let message = format!("unknown field type `{other}`");
                let path = written.path_of("type");
                notes
                    .error("unknown_value", kind.place, &path, message)
                    .help = help;
                return None;
            }
        };
        let options: Vec<Json> = written
            .list("options", notes)
            .iter()
            .map(|(_, option)| Json::from_value(&option_value(option)))
            .collect();
        if kind == FieldKind::Select && options.is_empty() {
            notes.error(
                "missing_key",
                written.place,
                &written.path_of("options"),
                "a `select` needs `options`",
            );
        }
        let field = Self {
            name,
            kind,
            required: written.boolean("required", notes).unwrap_or(false),
            default: written.json("default"),
            min: number(written, "min", notes),
            max: number(written, "max", notes),
            pattern: pattern::read(written, notes),
            options,
        };
        if let Some(default) = &field.default
            && let Err((_, message)) =
                field.check_value(default.whole(), &mut { PATTERN_STEPS_MAX })
        {
            notes.error(
                "bad_default",
                written.place_of("default"),
                &written.path_of("default"),
                format!("the default {message}"),
            );
        }
        Some(field)
    }

    fn check(&self, member: Option<&str>, steps: &mut usize) -> Result<(), (&'static str, String)> {
        let missing = || Err(("required", "is required".to_owned()));
        let Some(raw) = member.filter(|raw| *raw != "null") else {
            return if self.required { missing() } else { Ok(()) };
        };
        if self.required && raw == "\"\"" {
            return missing();
        }
        self.check_value(Raw::of(raw), steps)
    }

    /// `steps` is what matching may still cost.
    fn check_value(&self, raw: Raw<'_>, steps: &mut usize) -> Result<(), (&'static str, String)> {
        let value = raw.tree();
        let expected = match (self.kind, &value) {
            (FieldKind::Text, Tree::Text(text)) => return self.check_text(text, steps),
            (FieldKind::Number, Tree::Number(number)) => return self.check_size(*number, ""),
            (FieldKind::Array, Tree::List(items)) => {
                return self.check_count(items.len(), " items");
            }
            (FieldKind::Select, value) => {
                if self.options.iter().any(|option| option.tree() == *value) {
                    return Ok(());
                }
                return Err((
                    "options",
                    format!("must be one of {}", listed(&self.options)),
                ));
            }
            (FieldKind::Boolean, Tree::Bool(_)) | (FieldKind::Object, Tree::Object(_)) => {
                return Ok(());
            }
            (FieldKind::Text, _) => "a text",
            (FieldKind::Number, _) => "a number",
            (FieldKind::Boolean, _) => "`true` or `false`",
            (FieldKind::Array, _) => "an array",
            (FieldKind::Object, _) => "an object",
        };
        Err(("type", format!("must be {expected}")))
    }

    fn check_text(&self, text: &str, steps: &mut usize) -> Result<(), (&'static str, String)> {
        if let Some(pattern) = &self.pattern {
            let Some(left) = steps.checked_sub(pattern.steps(text)) else {
                return Err(("pattern", "is too long to be matched".to_owned()));
            };
            *steps = left;
            if !pattern.matches(text) {
                return Err(("pattern", format!("must match {}", pattern.as_str())));
            }
        }
        self.check_count(text.chars().count(), " characters")
    }

    fn check_count(&self, count: usize, unit: &str) -> Result<(), (&'static str, String)> {
        let count = count.to_string();
        let count = Decimal::parse(&count).expect("digits are a number");
        self.check_size(count, unit)
    }

    fn check_size(&self, size: Decimal<'_>, unit: &str) -> Result<(), (&'static str, String)> {
        let limit = |limit: &Option<Json>, passed: Ordering| {
            let limit = limit.as_ref()?;
            let is_passed = size.order(Decimal::parse(limit.as_str())?) == passed;
            is_passed.then(|| limit.clone())
        };
        if let Some(min) = limit(&self.min, Ordering::Less) {
            return Err(("min", format!("must be at least {min}{unit}")));
        }
        if let Some(max) = limit(&self.max, Ordering::Greater) {
            return Err(("max", format!("must be at most {max}{unit}")));
        }
        Ok(())
    }
}

/// The first values of a list, about as many as a message has room for.
fn listed(values: &[Json]) -> String {
    let mut text = String::new();
    for value in values {
        if text.len() > FINDING_BYTES_MAX {
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(value.as_str());
    }
    text
}

/// An option is a value, or `{value, label}`.
fn option_value(node: &Node) -> Value {
    match node.to_json() {
        Value::Object(mut option) => option.remove("value").unwrap_or(Value::Object(option)),
        value @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)) => value,
    }
}

fn number(written: &Fields<'_>, name: &str, notes: &mut Notes) -> Option<Json> {
    let node = written.get(name)?;
    if let Kind::Number(_) = &node.kind {
        return Some(Json::from_value(&node.to_json()));
    }
    wrong_type(notes, node, &written.path_of(name), "a number");
    None
}
