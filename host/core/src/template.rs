//! Payload templates and context mappings: how what one machine knows becomes what another gets.
//! Both copy texts: nothing is parsed that goes on as it is.

use serde_json::Value;

use crate::{
    json::{Json, Path, Raw, Tree, push_member},
    limits::PATH_BYTES_MAX,
};

/// A JSON value in which texts may hold `{{path}}`. Alone, a path keeps the type of what it leads
/// to; inside a text it becomes part of the text. What leads nowhere is null, or nothing in a
/// text.
#[derive(Clone, Debug)]
pub struct Template {
    root: Part,
    /// Bytes of all that is no path.
    fixed: usize,
    paths: usize,
}

#[derive(Clone, Debug)]
enum Part {
    /// JSON as it is written.
    Fixed(String),
    Path(Path),
    Text(Vec<Piece>),
    List(Vec<Self>),
    /// Names are JSON texts.
    Map(Vec<(String, Self)>),
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Path(Path),
}

impl Template {
    /// Reads a template.
    pub fn new(value: Value) -> Self {
        let root = Part::new(value);
        let (fixed, paths) = root.parts();
        Self { root, fixed, paths }
    }

    /// Fills it in; none if that takes more than so many bytes. A leading `context.` of a path is
    /// skipped where the scope has no such member.
    pub fn render_within(&self, scope: &Json, bytes_max: usize) -> Option<Json> {
        let mut json = String::new();
        self.root.render(scope, &mut json, bytes_max)?;
        Some(Json::from_trusted(json))
    }

    /// More bytes than filling it in takes, without looking anything up. Within a text, a value's
    /// quotes and backslashes are escaped once more.
    pub(crate) fn size_bound(&self, scope: &Json) -> usize {
        let values = self.paths.saturating_mul(2 * scope.len());
        values.saturating_add(self.fixed)
    }
}

impl Part {
    fn new(value: Value) -> Self {
        match value {
            Value::String(text) => Self::text(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::new).collect()),
            Value::Object(members) => Self::Map(
                members
                    .into_iter()
                    .map(|(name, value)| (quoted(name), Self::new(value)))
                    .collect(),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Fixed(value.to_string()),
        }
    }

    fn text(text: String) -> Self {
        let mut pieces = pieces(&text);
        match pieces.pop() {
            Some(Piece::Path(path)) if pieces.is_empty() => Self::Path(path),
            Some(Piece::Text(only)) if pieces.is_empty() => Self::Fixed(quoted(only)),
            Some(last) => {
                pieces.push(last);
                Self::Text(pieces)
            }
            None => Self::Fixed(quoted(text)),
        }
    }

    /// Bytes that are no path, and paths.
    fn parts(&self) -> (usize, usize) {
        let sum = |(fixed, paths): (usize, usize), (more, others): (usize, usize)| {
            (fixed + more + 1, paths + others)
        };
        match self {
            Self::Fixed(fixed) => (fixed.len(), 0),
            Self::Path(_) => (4, 1),
            Self::Text(pieces) => pieces.iter().map(Piece::parts).fold((2, 0), sum),
            Self::List(items) => items.iter().map(Self::parts).fold((2, 0), sum),
            Self::Map(members) => {
                let parts = members.iter().map(|(name, part)| {
                    let (fixed, paths) = part.parts();
                    (fixed + name.len() + 1, paths)
                });
                parts.fold((2, 0), sum)
            }
        }
    }

    /// None once it has become longer than that.
    fn render(&self, scope: &Json, json: &mut String, bytes_max: usize) -> Option<()> {
        match self {
            Self::Fixed(fixed) => json.push_str(fixed),
            Self::Path(path) => json.push_str(lookup(path, scope).map_or("null", Raw::as_str)),
            Self::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    text.push_str(&piece.render(scope));
                    (text.len() <= bytes_max).then_some(())?;
                }
                json.push_str(&quoted(text));
            }
            Self::List(items) => {
                json.push('[');
                for (n, item) in items.iter().enumerate() {
                    separate(n, json);
                    item.render(scope, json, bytes_max)?;
                }
                json.push(']');
            }
            Self::Map(members) => {
                json.push('{');
                for (n, (name, part)) in members.iter().enumerate() {
                    separate(n, json);
                    json.push_str(name);
                    json.push(':');
                    part.render(scope, json, bytes_max)?;
                }
                json.push('}');
            }
        }
        (json.len() <= bytes_max).then_some(())
    }
}

impl Piece {
    /// Bytes that are no path, and paths.
    fn parts(&self) -> (usize, usize) {
        match self {
            // As JSON, a control character takes six.
            Self::Text(text) => (6 * text.len(), 0),
            Self::Path(_) => (0, 1),
        }
    }

    fn render(&self, scope: &Json) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Path(path) => match lookup(path, scope).map(|raw| (raw.as_str(), raw.tree())) {
                None | Some((_, Tree::Null)) => String::new(),
                Some((_, Tree::Text(text))) => text.into_owned(),
                Some((raw, _)) => raw.to_owned(),
            },
        }
    }
}

/// Which members another machine gets, and where they are read from.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Target members, as JSON texts, and source paths.
    pairs: Vec<(String, Path)>,
}

impl Mapping {
    /// From pairs of target member and source path; of several for one member the last counts.
    pub fn new(pairs: Vec<(String, Path)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, path)| (quoted(name), path));
        Self {
            pairs: pairs.collect(),
        }
    }

    /// Picks from a context; none if that takes more than so many bytes. What leads nowhere is
    /// left out.
    pub fn apply_within(&self, scope: &Json, bytes_max: usize) -> Option<Json> {
        let mut json = String::from("{");
        for (name, path) in &self.pairs {
            if let Some(value) = lookup(path, scope) {
                push_member(&mut json, name, value.as_str());
                (json.len() <= bytes_max).then_some(())?;
            }
        }
        json.push('}');
        Some(Json::from_trusted(json))
    }

    /// More bytes than that takes, without looking anything up.
    pub(crate) fn size_bound(&self, scope_bytes: usize) -> usize {
        let names = self.pairs.iter().map(|(name, _)| name.len() + 2);
        let values = self.pairs.len().saturating_mul(scope_bytes);
        names.sum::<usize>().saturating_add(values)
    }
}

fn lookup<'j>(path: &Path, scope: &'j Json) -> Option<Raw<'j>> {
    scope
        .raw(path)
        .or_else(|| scope.raw(&path.without_prefix("context")?))
}

/// A text as JSON.
fn quoted(text: String) -> String {
    Value::String(text).to_string()
}

fn separate(n: usize, json: &mut String) {
    if n > 0 {
        json.push(',');
    }
}

/// Splits a text at its `{{path}}`s. What is not a path between braces stays text.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("{{") {
        // A path ends soon, or it is none: no text is searched twice.
        let near = after.floor_char_boundary(PATH_BYTES_MAX);
        let end = after[..near].find("}}");
        let inside = end
            .map(|end| (&after[..end], &after[end + 2..]))
            .and_then(|(path, after)| Some((Path::parse(path.trim())?, after)));
        plain.push_str(before);
        if let Some((path, after)) = inside {
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Path(path));
            rest = after;
        } else {
            plain.push_str("{{");
            rest = after;
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(template: Value) -> Value {
        let scope = Json::from_value(&json!({ "a": { "b": 7 }, "list": [1, 2], "name": "Ada" }));
        let filled = Template::new(template).render_within(&scope, 1_000);
        filled.unwrap().value()
    }

    #[test]
    fn a_path_alone_keeps_its_type() {
        assert_eq!(render(json!("{{a.b}}")), json!(7));
        assert_eq!(render(json!("{{ list }}")), json!([1, 2]));
        assert_eq!(render(json!("{{nobody.knows}}")), json!(null));
    }

    #[test]
    fn inside_a_text_it_becomes_text() {
        assert_eq!(
            render(json!("{{name}} has {{a.b}}{{x}}!")),
            json!("Ada has 7!")
        );
        assert_eq!(render(json!("{{not a path")), json!("{{not a path"));
    }

    #[test]
    fn a_number_keeps_its_text() {
        let scope = Json::parse(r#"{"a":2.50,"b":12345678901234567890123}"#).unwrap();
        let filled = |template| {
            Template::new(template)
                .render_within(&scope, 1_000)
                .unwrap()
                .to_string()
        };
        assert_eq!(filled(json!("{{a}}")), "2.50");
        assert_eq!(
            filled(json!("{{a}} of {{b}}")),
            r#""2.50 of 12345678901234567890123""#
        );
    }

    #[test]
    fn it_works_in_lists_and_nested_objects() {
        assert_eq!(
            render(json!({ "x": [{ "y": "{{context.a.b}}" }, 1] })),
            json!({ "x": [{ "y": 7 }, 1] })
        );
    }

    #[test]
    fn a_mapping_leaves_out_what_leads_nowhere() {
        let pair = |target: &str, source: &str| (target.to_owned(), Path::parse(source).unwrap());
        let mapping = Mapping::new(vec![
            pair("x", "a.b"),
            pair("y", "nobody"),
            pair("z", "context.name"),
        ]);
        assert_eq!(
            mapping
                .apply_within(
                    &Json::from_value(&json!({ "a": { "b": 7 }, "name": "Ada" })),
                    100
                )
                .unwrap()
                .value(),
            json!({ "x": 7, "z": "Ada" })
        );
    }

    #[test]
    fn what_would_be_too_large_is_not_made() {
        let scope = Json::from_value(&json!({ "a": "x".repeat(100) }));
        for template in [
            json!(["{{a}}", "{{a}}"]),
            json!("{{a}}{{a}}"),
            json!({ "b": "{{a}}", "c": "{{a}}" }),
        ] {
            let template = Template::new(template);
            let whole = template.render_within(&scope, 1_000).unwrap();
            assert!(whole.len() <= template.size_bound(&scope));
            assert!(template.render_within(&scope, 150).is_none());
        }
        let pair = |name: &str| (name.to_owned(), Path::parse("a").unwrap());
        let mapping = Mapping::new(vec![pair("b"), pair("c")]);
        assert!(mapping.apply_within(&scope, 150).is_none());
        let whole = mapping.apply_within(&scope, 1_000).unwrap();
        assert!(whole.len() <= mapping.size_bound(scope.len()));
    }
}
