//! What the types of parameters do not say: which texts are accepted.

use serde_json::{Value, json};

/// What an id looks like.
const ID: &str = "^[A-Za-z0-9._~-]{1,128}$";

/// Says of each parameter which texts it may be.
pub(super) fn parameters(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter();
    let operations = paths.flat_map(|paths| paths.values_mut());
    let operations = operations.filter_map(Value::as_object_mut);
    for operation in operations.flat_map(|methods| methods.values_mut()) {
        let parameters = operation["parameters"].as_array_mut();
        for parameter in parameters.into_iter().flatten() {
            if let Some(schema) = schema(&parameter["name"]) {
                parameter["schema"] = schema;
            }
        }
    }
    // An empty list is a page of either kind.
    let found = document.pointer_mut("/components/schemas/Found");
    if let Some(found) = found.and_then(Value::as_object_mut)
        && let Some(either) = found.remove("oneOf")
    {
        found.insert("anyOf".to_owned(), either);
    }
}

fn schema(name: &Value) -> Option<Value> {
    Some(match name.as_str()? {
        "id" | "instance" | "Idempotency-Key" | "event" => json!({"type": "string", "pattern": ID}),
        "status" => {
            json!({"type": "string", "enum": ["active", "completed", "error", "terminated"]})
        }
        "on-live" => json!({"type": "string", "enum": ["next-event", "pin", "refuse"]}),
        "format" => json!({"type": "string", "enum": ["mermaid", "dot", "svg"]}),
        _ => return None,
    })
}
