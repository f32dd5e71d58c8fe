//! Whether an instance and an event belong together: matching rules and how values compare.

use std::{cmp::Ordering, sync::Arc};

use crate::{
    definition::{MatchingRule, Operator, Transition},
    json::{Json, Raw, Tree, hash_text},
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
        _ => operator.holds(&instance.tree(), &event.tree()),
    }
}

/// Whether all conditions hold for a context.
pub(crate) fn conditions_hold(conditions: &[Condition], context: &Json) -> bool {
    conditions.iter().all(|condition| {
        let value = condition.value.as_ref();
        let instance = value.and_then(|_| context.raw(&condition.rule.instance_property));
        matches!((instance, value), (Some(instance), Some(value)) if raw_holds(condition.rule.operator, instance, value.whole()))
    })
}

/// The conditions that a transition's rules put on an instance, given the payload.
pub(crate) fn conditions_of(transition: &Transition, payload: &Json) -> Vec<Condition> {
    let value = |rule: &MatchingRule| payload.part(&rule.event_property);
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
    pub fn holds(self, instance: &Tree<'_>, event: &Tree<'_>) -> bool {
        let order = || instance.order(event);
        match self {
            Self::Equal => instance == event,
            Self::NotEqual => instance != event,
            Self::Greater => order() == Some(Ordering::Greater),
            Self::Less => order() == Some(Ordering::Less),
            Self::GreaterOrEqual => matches!(order(), Some(Ordering::Greater | Ordering::Equal)),
            Self::LessOrEqual => matches!(order(), Some(Ordering::Less | Ordering::Equal)),
            Self::Contains => contains(instance, event),
            Self::In => matches!(event, Tree::List(items) if items.contains(instance)),
        }
    }
}

fn contains(instance: &Tree<'_>, event: &Tree<'_>) -> bool {
    match (instance, event) {
        (Tree::List(items), _) => items.contains(event),
        (Tree::Text(text), Tree::Text(part)) => text.contains(&**part),
        _ => false,
    }
}

/// What the property index is keyed by: a hash that equal values share. Never zero.
pub(crate) fn hash_raw(raw: Raw<'_>) -> u64 {
    raw.plain().map_or_else(|| raw.tree().hash(), hash_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(instance: &str, operator: &str, event: &str) -> bool {
        let read = |text| Json::parse(text).unwrap();
        let operator = Operator::parse(operator).unwrap();
        operator.holds(&read(instance).tree(), &read(event).tree())
    }

    #[test]
    fn comparison_is_typed() {
        assert!(holds("1", "===", "1.0"));
        assert!(!holds("1", "===", "\"1\""));
        assert!(holds("10", ">", "9"));
        assert!(!holds("\"10\"", ">", "9"));
        assert!(!holds("\"10\"", ">", "\"9\""));
        assert!(!holds("true", ">=", "true"));
    }

    #[test]
    fn numbers_are_not_rounded_however_long_they_are() {
        assert!(!holds("9007199254740993", "===", "9007199254740992"));
        assert!(!holds(
            "12345678901234567890123",
            "===",
            "12345678901234567890124"
        ));
        assert!(holds(
            "12345678901234567890124",
            ">",
            "12345678901234567890123.9"
        ));
        assert!(holds("1e-1000000000", ">", "0"));
    }

    #[test]
    fn the_instance_is_on_the_left() {
        assert!(holds(r#"["a","b"]"#, "contains", r#""a""#));
        assert!(holds(r#""abc""#, "contains", r#""bc""#));
        assert!(holds("2.0", "in", "[1,2]"));
        assert!(!holds(r#"["a"]"#, "in", r#""a""#));
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
    fn a_text_is_indexed_alike_with_and_without_escapes() {
        let hash = |text| hash_raw(Json::parse(text).unwrap().whole());
        assert_eq!(hash(r#""a/b""#), hash(r#""a\/b""#));
    }
}
