//! Whether an instance and an event belong together: matching rules and how values compare.

use std::{cmp::Ordering, sync::Arc};

use serde_json::{Number, Value};

use crate::{
    definition::{MatchingRule, Operator, Transition},
    id::stable_hash,
    json::{Json, Raw},
    limits::SHOWN_VALUE_BYTES_MAX,
    record::{Condition, Mismatch},
};

/// Whether all rules hold between a context and a payload. No rules: yes.
pub(crate) fn rules_hold(rules: &[MatchingRule], context: &Json, payload: &Json) -> bool {
    failed_rule(rules, context, payload).is_none()
}

/// The first rule that does not hold between a context and a payload.
fn failed_rule<'r>(
    rules: &'r [MatchingRule],
    context: &Json,
    payload: &Json,
) -> Option<&'r MatchingRule> {
    rules.iter().find(|rule| {
        let event = payload.raw(&rule.event_property);
        let instance = event.and_then(|_| context.raw(&rule.instance_property));
        !matches!((instance, event), (Some(instance), Some(event)) if raw_holds(rule.operator, instance, event))
    })
}

/// What keeps rules from holding, with the two values.
pub(crate) fn mismatch(rules: &[MatchingRule], context: &Json, payload: &Json) -> Option<Mismatch> {
    let rule = failed_rule(rules, context, payload)?;
    let shown = |value: Raw<'_>| {
        let json = value.as_str();
        let short = &json[..json.floor_char_boundary(SHOWN_VALUE_BYTES_MAX)];
        match short.len() < json.len() {
            true => Arc::from(format!("{short}…")),
            false => Arc::from(short),
        }
    };
    Some(Mismatch::Rule {
        instance: context.raw(&rule.instance_property).map(shown),
        event: payload.raw(&rule.event_property).map(shown),
        rule: rule.clone(),
    })
}

/// The same as [`Operator::holds`]; texts that are to be equal need not be read.
fn raw_holds(operator: Operator, instance: Raw<'_>, event: Raw<'_>) -> bool {
    match (operator, instance.plain(), event.plain()) {
        (Operator::Equal, Some(instance), Some(event)) => instance == event,
        _ => operator.holds(&instance.value(), &event.value()),
    }
}

/// Whether all conditions hold for a context.
pub(crate) fn conditions_hold(conditions: &[Condition], context: &Json) -> bool {
    conditions.iter().all(|condition| {
        let value = condition.value.as_ref();
        let instance = value.and_then(|_| context.raw(&condition.rule.instance_property));
        matches!((instance, value), (Some(instance), Some(value)) if holds_for(condition.rule.operator, instance, value))
    })
}

fn holds_for(operator: Operator, instance: Raw<'_>, value: &Value) -> bool {
    match (operator, instance.plain(), value) {
        (Operator::Equal, Some(instance), Value::String(value)) => instance == value,
        _ => operator.holds(&instance.value(), value),
    }
}

/// The conditions that a transition's rules put on an instance, given the payload.
pub(crate) fn conditions_of(transition: &Transition, payload: &Json) -> Vec<Condition> {
    let value = |rule: &MatchingRule| payload.get(&rule.event_property);
    transition
        .rules
        .iter()
        .map(|rule| Condition {
            rule: rule.clone(),
            value: value(rule),
        })
        .collect()
}

impl Operator {
    /// Whether `instance OP event` holds.
    pub fn holds(self, instance: &Value, event: &Value) -> bool {
        match self {
            Self::Equal => equal(instance, event),
            Self::NotEqual => !equal(instance, event),
            Self::Greater => order(instance, event) == Some(Ordering::Greater),
            Self::Less => order(instance, event) == Some(Ordering::Less),
            Self::GreaterOrEqual => matches!(
                order(instance, event),
                Some(Ordering::Greater | Ordering::Equal)
            ),
            Self::LessOrEqual => matches!(
                order(instance, event),
                Some(Ordering::Less | Ordering::Equal)
            ),
            Self::Contains => contains(instance, event),
            Self::In => {
                matches!(event, Value::Array(items) if items.iter().any(|item| equal(instance, item)))
            }
        }
    }
}

/// JSON equality, numbers by value.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            order_numbers(left, right) == Some(Ordering::Equal)
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, left)| right.get(name).is_some_and(|right| equal(left, right)))
        }
        _ => left == right,
    }
}

/// Two numbers by value, or two texts by code point; nothing else has an order.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => order_numbers(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn order_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    let integer = |number: &Number| {
        number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
    };
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn contains(instance: &Value, event: &Value) -> bool {
    match (instance, event) {
        (Value::Array(items), _) => items.iter().any(|item| equal(item, event)),
        (Value::String(text), Value::String(part)) => text.contains(&**part),
        _ => false,
    }
}

/// [`hash_value`] of a value that need not be read if it is a text.
pub(crate) fn hash_raw(raw: Raw<'_>) -> u64 {
    match raw.plain() {
        Some(text) => hash_text(text),
        None => hash_value(&raw.value()),
    }
}

fn hash_text(text: &str) -> u64 {
    stable_hash(text.as_bytes()).max(1)
}

/// A hash that equal values share: what the property index is keyed by. Never zero.
pub(crate) fn hash_value(value: &Value) -> u64 {
    let hash = match value {
        Value::Null => 1,
        Value::Bool(truth) => 2 + u64::from(*truth),
        Value::Number(number) => {
            let double = number.as_f64().unwrap_or_default();
            stable_hash(
                &(if double == 0.0 { 0.0 } else { double })
                    .to_bits()
                    .to_le_bytes(),
            )
        }
        Value::String(text) => hash_text(text),
        Value::Array(items) => items
            .iter()
            .fold(7, |hash, item| stable_hash(&mix(hash, hash_value(item)))),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| stable_hash(&mix(stable_hash(name.as_bytes()), hash_value(value))))
            .fold(11, u64::wrapping_add),
    };
    hash.max(1)
}

fn mix(left: u64, right: u64) -> [u8; 16] {
    (u128::from(left) << 64 | u128::from(right)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comparison_is_typed() {
        assert!(Operator::Equal.holds(&json!(1), &json!(1.0)));
        assert!(!Operator::Equal.holds(&json!(1), &json!("1")));
        assert!(Operator::Greater.holds(&json!(10), &json!(9)));
        assert!(!Operator::Greater.holds(&json!("10"), &json!(9)));
        assert!(!Operator::Greater.holds(&json!("10"), &json!("9")));
        assert!(!Operator::GreaterOrEqual.holds(&json!(true), &json!(true)));
    }

    #[test]
    fn large_integers_are_not_rounded() {
        assert!(!Operator::Equal.holds(
            &json!(9_007_199_254_740_993_u64),
            &json!(9_007_199_254_740_992_u64)
        ));
    }

    #[test]
    fn the_instance_is_on_the_left() {
        assert!(Operator::Contains.holds(&json!(["a", "b"]), &json!("a")));
        assert!(Operator::Contains.holds(&json!("abc"), &json!("bc")));
        assert!(Operator::In.holds(&json!("a"), &json!(["a", "b"])));
        assert!(!Operator::In.holds(&json!(["a"]), &json!("a")));
    }

    #[test]
    fn a_missing_value_never_matches() {
        let rule = |operator| MatchingRule {
            event_property: crate::json::Path::parse("x").unwrap(),
            instance_property: crate::json::Path::parse("y").unwrap(),
            operator,
        };
        let (none, some) = (Json::empty(), Json::parse(r#"{"x":1,"y":2}"#).unwrap());
        for (context, payload) in [(&none, &some), (&some, &none), (&none, &none)] {
            assert!(!rules_hold(&[rule(Operator::NotEqual)], context, payload));
        }
        assert!(rules_hold(&[rule(Operator::NotEqual)], &some, &some));
    }

    #[test]
    fn equal_values_share_their_hash() {
        let pairs = [
            (json!(1), json!(1.0)),
            (json!(-0.0), json!(0)),
            (json!({"a":1,"b":[2]}), json!({"b":[2.0],"a":1})),
        ];
        for (left, right) in pairs {
            assert!(equal(&left, &right));
            assert_eq!(hash_value(&left), hash_value(&right));
        }
    }
}
