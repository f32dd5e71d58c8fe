//! The document as JSON, for clients that know the format as YAML.

use serde_json::{Map, Value};

use super::{
    keys::{self, Holds},
    parse::{Kind, Node, parse},
};

/// A checked document as it is written. Names are texts, also where YAML takes one for a number:
/// then they are the same in every answer.
pub(super) fn of(source: &str) -> Value {
    let document = parse(source).expect("it was parsed when it was checked");
    value(&document, Holds::Nested(&keys::COMPONENT), source)
}

fn value(node: &Node, holds: Holds, source: &str) -> Value {
    match (holds, &node.kind) {
        (Holds::Data, _) => node.to_json(),
        (_, Kind::Null) => Value::Null,
        (_, Kind::Bool(_) | Kind::Number(_) | Kind::Text(_)) => {
            node.text(source).map_or(Value::Null, Value::String)
        }
        (_, Kind::List(items)) => items
            .iter()
            .map(|item| value(item, holds, source))
            .collect(),
        (_, Kind::Map(entries)) => {
            let members = entries.iter().map(|(key, node)| {
                let holds = match holds {
                    Holds::Nested(object) => object.holds(&key.text),
                    Holds::Fields(object) => Holds::Nested(object),
                    Holds::Names | Holds::Texts => Holds::Names,
                    Holds::Data => Holds::Data,
                };
                (key.text.clone(), value(node, holds, source))
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}
