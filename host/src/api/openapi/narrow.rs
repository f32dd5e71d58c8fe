//! What the types of parameters and of members of bodies do not say: which texts are accepted.

use serde_json::{Map, Value, json};

/// What an id looks like.
const ID: &str = "^[A-Za-z0-9._~-]{1,128}$";

/// What a name of an event or a state looks like.
const NAME: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]{1,128}$";

/// What cursors and positions look like; nothing can be read from them.
const OPAQUE: &str = "^[0-9a-f]{32}$";

/// What a condition of a search looks like.
const CONDITION: &str = "^[^.:]+(\\.[^.:]+)*:(={1,3}|!==?|[<>]=?|contains|in):";

const STATUSES: [&str; 4] = ["active", "completed", "error", "terminated"];

const ON_LIVE: [&str; 3] = ["next-event", "pin", "refuse"];

/// Says of each parameter and of each member of a body which texts it may be.
pub(super) fn texts(document: &mut Value) {
    let mut bodies = Vec::new();
    let paths = document["paths"].as_object_mut().into_iter();
    let operations = paths.flatten().flat_map(|(path, methods)| {
        let methods = methods.as_object_mut().into_iter();
        methods.flat_map(move |methods| methods.values_mut().map(move |one| (path, one)))
    });
    for (path, operation) in operations {
        let parameters = operation.get_mut("parameters");
        for parameter in parameters
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(schema) = parameter_schema(path, &parameter["name"]) {
                parameter["schema"] = schema;
            }
        }
        let body = operation.pointer_mut("/requestBody/content/application~1json/schema");
        if let Some(body) = body {
            members(body);
            references(body, &mut bodies);
        }
    }
    for body in bodies {
        let body = document.pointer_mut(body.trim_start_matches('#'));
        if let Some(body) = body {
            members(body);
        }
    }
}

fn parameter_schema(path: &str, name: &Value) -> Option<Value> {
    Some(match name.as_str()? {
        "id" | "instance" | "Idempotency-Key" | "event" => json!({"type": "string", "pattern": ID}),
        "cursor" | "after" => json!({"type": "string", "pattern": OPAQUE}),
        "where" => json!({"type": "array", "items": {"type": "string", "pattern": CONDITION}}),
        "status" if path.starts_with("/api/") => json!({"type": "string", "enum": STATUSES}),
        "status" => {
            let all: Vec<_> = STATUSES.into_iter().chain(["unreadable"]).collect();
            json!({"type": "string", "enum": all})
        }
        "on-live" => json!({"type": "string", "enum": ON_LIVE}),
        "format" => json!({"type": "string", "enum": ["mermaid", "dot", "svg"]}),
        _ => return None,
    })
}

/// The schemas that a body is one of.
fn references(body: &Value, found: &mut Vec<String>) {
    let either = ["oneOf", "anyOf"].map(|kind| body[kind].as_array());
    let either = either.into_iter().flatten().flatten();
    for schema in either.chain([body]) {
        found.extend(schema["$ref"].as_str().map(str::to_owned));
    }
}

fn members(body: &mut Value) {
    let Some(members) = body.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, schema) in members {
        let Some(schema) = schema.as_object_mut() else {
            continue;
        };
        member(name, schema);
    }
}

fn member(name: &str, schema: &mut Map<String, Value>) {
    let (keyword, value) = match name {
        "id" => ("pattern", json!(ID)),
        "event" | "state" | "expected_state" | "machineName" | "type" => ("pattern", json!(NAME)),
        "on_live" => {
            let [next, pin, refuse] = ON_LIVE;
            ("enum", json!([next, pin, refuse, null]))
        }
        "states" => {
            let names = json!({"type": "string", "pattern": NAME});
            schema.insert("additionalProperties".to_owned(), names.clone());
            ("propertyNames", names)
        }
        _ => return,
    };
    schema.insert(keyword.to_owned(), value);
}
