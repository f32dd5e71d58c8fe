//! JSON as the model compares it.

use serde_json::Value;

/// The same text for equal values.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort();
            let members: Vec<String> = names
                .into_iter()
                .map(|name| format!("{name}:{}", canonical(&members[name])))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// Whether `instance OP event` holds; the blueprints compare whole numbers and texts only.
pub fn holds(op: &str, instance: Option<&Value>, event: Option<&Value>) -> bool {
    let (Some(instance), Some(event)) = (instance, event) else {
        return false;
    };
    let numbers = instance.as_i64().zip(event.as_i64());
    match op {
        "===" => instance == event,
        "!==" => instance != event,
        ">" => numbers.is_some_and(|(instance, event)| instance > event),
        _ => false,
    }
}

/// The members of one object laid over another's.
pub(super) fn merge(base: &Value, over: &Value) -> Value {
    let mut merged = base.clone();
    if let (Some(merged), Some(over)) = (merged.as_object_mut(), over.as_object()) {
        for (name, value) in over {
            merged.insert(name.clone(), value.clone());
        }
    }
    merged
}
