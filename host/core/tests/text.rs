//! JSON, paths, templates: whatever stands there, nothing panics and nothing is lost.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use xcomponent_core::{
    definition::{Strictness, check},
    json::{Json, Path},
    template::{Mapping, Template},
};

/// Any JSON value, a few levels deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
        "[^\u{0}]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            members(inner).prop_map(Value::Object),
        ]
    })
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec(("[a-c.]{0,3}", value), 0..5).prop_map(|all| all.into_iter().collect())
}

fn object() -> impl Strategy<Value = Value> {
    members(value()).prop_map(Value::Object)
}

/// What a path leads to in a parsed value.
fn lookup<'v>(path: &Path, value: &'v Value) -> Option<&'v Value> {
    let mut segments = path.segments().iter();
    segments.try_fold(value, |value, segment| match value {
        Value::Object(members) => members.get(&**segment),
        Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

proptest! {
    #[test]
    fn any_text_is_json_or_refused(text in ".{0,200}") {
        if let Ok(json) = Json::parse(&text) {
            let twice = Json::parse(json.as_str()).unwrap();
            prop_assert_eq!(twice.value(), json.value());
        }
    }

    #[test]
    fn json_keeps_every_value(value in value()) {
        let json = Json::from_value(&value);
        prop_assert_eq!(Json::parse(json.as_str()).unwrap().value(), value);
    }

    #[test]
    fn broken_json_never_panics(value in value(), at in any::<prop::sample::Index>(), with in ".{0,3}") {
        let text = value.to_string();
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let broken = format!("{}{with}{}", &text[..at], &text[at..]);
        if let Ok(json) = Json::parse(&broken) {
            json.value();
        }
    }

    #[test]
    fn a_path_finds_in_the_text_what_it_finds_in_the_value(value in object(), path in "[a-c0-2](\\.[a-c0-2]){0,3}") {
        let path = Path::parse(&path).unwrap();
        prop_assert_eq!(Json::from_value(&value).get(&path), lookup(&path, &value).cloned());
    }

    #[test]
    fn merging_is_what_it_is_for_values(base in object(), over in object()) {
        let mut merged = base.as_object().unwrap().clone();
        merged.extend(over.as_object().unwrap().clone());
        let text = Json::from_value(&base).merge(&Json::from_value(&over));
        prop_assert_eq!(text.value(), Value::Object(merged));
    }

    #[test]
    fn any_template_renders_to_json(template in value(), scope in object()) {
        let rendered = Template::new(template).render_within(&Json::from_value(&scope), 1 << 20).unwrap();
        Json::parse(rendered.as_str()).unwrap();
    }

    #[test]
    fn braces_in_any_order_never_panic(text in "[{} a.b]{0,20}", scope in object()) {
        Template::new(json!({ "x": text })).render_within(&Json::from_value(&scope), 1 << 20).unwrap();
    }

    #[test]
    fn a_path_alone_keeps_the_type(value in value()) {
        let rendered = Template::new(json!("{{x}}")).render_within(&Json::from_value(&json!({ "x": value })), 1 << 20).unwrap();
        prop_assert_eq!(rendered.value(), value);
    }

    #[test]
    fn a_mapping_never_invents_anything(scope in object(), source in "[a-c](\\.[a-c]){0,2}") {
        let path = Path::parse(&source).unwrap();
        let mapped = Mapping::new(vec![("x".to_owned(), path.clone())]).apply_within(&Json::from_value(&scope), 1 << 20).unwrap();
        prop_assert_eq!(mapped.value().get("x").cloned(), lookup(&path, &scope).cloned());
    }

    #[test]
    fn any_path_is_read_or_refused(text in ".{0,30}") {
        if let Some(path) = Path::parse(&text) {
            prop_assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn any_yaml_value_in_any_place_is_a_finding_or_nothing(value in value(), place in 0..8_usize) {
        let keys = ["name", "stateMachines", "entryMachine", "routing", "isolation", "onFault", "metadata", "version"];
        let source = format!("name: Shop\nstateMachines: [{{name: M, initialState: A, states: [A]}}]\n{}: {value}\n", keys[place]);
        check(&source, Strictness::Normal);
    }

    #[test]
    fn deep_nesting_is_refused(depth in 65..5_000_usize) {
        for (open, close) in [("[", "]"), ("{a: ", "}")] {
            let source = format!("metadata: {}x{}", open.repeat(depth), close.repeat(depth));
            let checked = check(&source, Strictness::Normal);
            prop_assert!(checked.definition.is_none());
            prop_assert_eq!(checked.findings[0].code, "invalid_yaml");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn an_alias_bomb_of_any_shape_is_refused(width in 9..12_usize, levels in 8..12_usize) {
        let mut source = "l0: &l0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..levels {
            let list = vec![format!("*l{}", level - 1); width].join(", ");
            source.push_str(&format!("l{level}: &l{level} [{list}]\n"));
        }
        prop_assert_eq!(check(&source, Strictness::Normal).findings[0].code, "invalid_yaml");
    }
}
