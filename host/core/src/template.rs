//! Payload templates and context mappings: how what one machine knows becomes what another gets.
//! Both copy texts: nothing is parsed that goes on as it is.

use serde_json::Value;

use crate::json::{Json, Path, Raw, Tree, push_member};

/// A JSON value in which texts may hold `{{path}}`. Alone, a path keeps the type of what it leads
/// to; inside a text it becomes part of the text. What leads nowhere is null, or nothing in a
/// text.
#[derive(Clone, Debug)]
pub struct Template {
    root: Part,
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
        Self {
            root: Part::new(value),
        }
    }

    /// Fills it in. A leading `context.` of a path is skipped where the scope has no such member.
    pub fn render(&self, scope: &Json) -> Json {
        let mut json = String::new();
        self.root.render(scope, &mut json);
        Json::from_trusted(json)
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

    fn render(&self, scope: &Json, json: &mut String) {
        match self {
            Self::Fixed(fixed) => json.push_str(fixed),
            Self::Path(path) => json.push_str(lookup(path, scope).map_or("null", Raw::as_str)),
            Self::Text(pieces) => {
                let text = pieces.iter().map(|piece| piece.render(scope)).collect();
                json.push_str(&quoted(text));
            }
            Self::List(items) => {
                json.push('[');
                for (n, item) in items.iter().enumerate() {
                    separate(n, json);
                    item.render(scope, json);
                }
                json.push(']');
            }
            Self::Map(members) => {
                json.push('{');
                for (n, (name, part)) in members.iter().enumerate() {
                    separate(n, json);
                    json.push_str(name);
                    json.push(':');
                    part.render(scope, json);
                }
                json.push('}');
            }
        }
    }
}

impl Piece {
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

    /// Picks from a context. What leads nowhere is left out.
    pub fn apply(&self, scope: &Json) -> Json {
        let mut json = String::from("{");
        for (name, path) in &self.pairs {
            if let Some(value) = lookup(path, scope) {
                push_member(&mut json, name, value.as_str());
            }
        }
        json.push('}');
        Json::from_trusted(json)
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
        let inside = after
            .split_once("}}")
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
        Template::new(template).render(&scope).value()
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
        let filled = |template| Template::new(template).render(&scope).to_string();
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
                .apply(&Json::from_value(
                    &json!({ "a": { "b": 7 }, "name": "Ada" })
                ))
                .value(),
            json!({ "x": 7, "z": "Ada" })
        );
    }
}
