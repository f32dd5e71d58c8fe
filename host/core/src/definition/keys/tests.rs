//! Every key of every table is written into a definition: what has an effect changes what is read,
//! what has none is reported and changes nothing.

use super::*;
use crate::definition::{Strictness, check};

/// An object in a definition: `{}` stands where the key under test is written.
struct Place {
    object: &'static Object,
    /// The definition around it.
    around: &'static str,
    /// Which key is written already, since nothing could be read without it.
    has: &'static [&'static str],
    /// The `type` that is written there.
    kind: Option<&'static str>,
}

const MACHINE_HEAD: &str = "name: C\nstateMachines:\n  - name: M\n    initialState: A\n";

/// A value for a key that differs from what is there without it.
fn sample(object: &Object, key: &str) -> &'static str {
    match key {
        "name" => "Other",
        "version" => "9.9.9",
        "stateMachines" => "[{name: N, initialState: A, states: [A], transitions: []}]",
        "entryMachine" | "targetMachine" => "M",
        "entryMachineMode" => "singleton",
        "routing" => "customer.id",
        "isolation" => "fresh",
        "onFault" => "{retry: {max: 7}}",
        "initialState" | "to" => "B",
        "states" => "[A, B, C]",
        "transitions" => "[{from: A, to: B, event: X}]",
        "parentLink" => "{onStateChange: CHANGED}",
        "contextSchema" => "{amount: {type: number}}",
        "enabled" | "autoCreateEntryPoint" | "includeState" | "resetOnTransition" => "false",
        "includeContext" | "required" => "true",
        "mergePayload" => "false",
        "type" if std::ptr::eq(object, &STATE) => "error",
        "type" if std::ptr::eq(object, &FIELD) => "boolean",
        "type" => "internal",
        "defer" => "[E]",
        "cascadingRules" => "[{targetMachine: M, event: E}]",
        "matchingRules" => "[{eventProperty: a, instanceProperty: b}]",
        "from" => "B",
        "payload" | "contextMapping" => "{a: b}",
        "timeoutMs" | "backoffMs" | "max" | "min" | "priority" => "77",
        "notifyParent" => "{event: TOLD}",
        "operator" => "'>'",
        "retry" => "{max: 9}",
        "state" => "Bad",
        "default" => "'12'",
        "pattern" => "'^\\d+$'",
        "options" => "['1', '2']",
        _ => "other",
    }
}

fn places() -> Vec<Place> {
    let mut places = vec![
        Place {
            object: &COMPONENT,
            around: "stateMachines: [{name: M, initialState: A, states: [A], transitions: []}]\nname: C\nentryMachine: M\n{}",
            has: &["name", "stateMachines", "entryMachine"],
            kind: None,
        },
        Place {
            object: &MACHINE,
            around: "name: C\nstateMachines: [{name: M, initialState: A, states: [A, B], transitions: [], {}}]",
            has: &["name", "initialState", "states", "transitions"],
            kind: None,
        },
        Place {
            object: &CASCADE,
            around: "    states: [{name: A, cascadingRules: [{targetMachine: M, event: E, {}}]}]\n    transitions: []",
            has: &["targetMachine", "event"],
            kind: None,
        },
        Place {
            object: &RULE,
            around: "    states: [A]\n    transitions: [{from: A, to: A, event: E, matchingRules: [{eventProperty: a, instanceProperty: b, {}}]}]",
            has: &["eventProperty", "instanceProperty"],
            kind: None,
        },
        Place {
            object: &NOTIFY_PARENT,
            around: "    states: [A]\n    transitions: [{from: A, to: A, event: E, notifyParent: {event: T, {}}}]",
            has: &["event"],
            kind: None,
        },
        Place {
            object: &PARENT_LINK,
            around: "    states: [A]\n    transitions: []\n    parentLink: {onStateChange: T, {}}",
            has: &["onStateChange"],
            kind: None,
        },
        Place {
            object: &RETRY,
            around: "    states: [A]\n    transitions: []\n    onFault: {retry: { {} }}",
            has: &[],
            kind: None,
        },
        Place {
            object: &ON_FAULT,
            around: "    states: [A, {name: Bad, type: error}]\n    transitions: []\n    onFault: { {} }",
            has: &[],
            kind: None,
        },
    ];
    places.extend(states());
    places.extend(transitions());
    places.extend(schema_fields());
    places
}

/// States of each type.
fn states() -> Vec<Place> {
    let mut places = Vec::new();
    for kind in STATE.types {
        places.push(Place {
            object: &STATE,
            around: "    states: [A, {name: B, type: TYPE, {}}]\n    transitions: [{from: A, to: B, event: E}]",
            has: &["name", "type"],
            kind: Some(kind),
        });
    }
    places
}

/// Transitions of each type.
fn transitions() -> Vec<Place> {
    let mut places = Vec::new();
    for kind in TRANSITION.types {
        let (around, has): (_, &[&str]) = match *kind {
            "timeout" => (
                "    states: [A, B]\n    transitions: [{from: A, to: A, event: E, type: TYPE, timeoutMs: 5, {}}, {from: A, to: B, event: E, guard: h, priority: 50}]",
                &["from", "to", "event", "type", "timeoutMs"],
            ),
            "inter_machine" => (
                "    states: [A, B]\n    transitions: [{from: A, to: A, event: E, type: TYPE, targetMachine: M, {}}, {from: A, to: B, event: E, guard: h, priority: 50}]",
                &["from", "to", "event", "type", "targetMachine"],
            ),
            "cross_component" => (
                "    states: [A, B]\n    transitions: [{from: A, to: A, event: E, type: TYPE, targetComponent: D, matchingRules: [{eventProperty: q, instanceProperty: r}], {}}, {from: A, to: B, event: E, guard: h, priority: 50}]",
                &[
                    "from",
                    "to",
                    "event",
                    "type",
                    "targetComponent",
                    "matchingRules",
                ],
            ),
            _ => (
                "    states: [A, B]\n    transitions: [{from: A, to: A, event: E, type: TYPE, {}}, {from: A, to: B, event: E, guard: h, priority: 50}]",
                &["from", "to", "event", "type"],
            ),
        };
        places.push(Place {
            object: &TRANSITION,
            around,
            has,
            kind: Some(kind),
        });
    }
    places
}

/// Fields of a schema of each type.
fn schema_fields() -> Vec<Place> {
    let mut places = Vec::new();
    for kind in FIELD.types {
        let (around, has): (_, &[&str]) = match *kind {
            "select" => (
                "    states: [A]\n    transitions: []\n    contextSchema: {f: {type: TYPE, options: ['12'], {}}}",
                &["type", "options"],
            ),
            _ => (
                "    states: [A]\n    transitions: []\n    contextSchema: {f: {type: TYPE, {}}}",
                &["type"],
            ),
        };
        places.push(Place {
            object: &FIELD,
            around,
            has,
            kind: Some(kind),
        });
    }
    places
}

/// What is read of a definition, and the keys that are reported to do nothing.
fn read(place: &Place, written: &str) -> (String, Vec<String>, Vec<String>) {
    let mut source = String::new();
    if place.around.starts_with(' ') {
        source.push_str(MACHINE_HEAD);
    }
    source.push_str(
        &place
            .around
            .replace("TYPE", place.kind.unwrap_or_default())
            .replace("{}", written),
    );
    let checked = check(&source, Strictness::Normal);
    let of_code = |code: &str| -> Vec<String> {
        let found = checked
            .findings
            .iter()
            .filter(|finding| finding.code == code);
        found.map(|finding| finding.path.clone()).collect()
    };
    let other = checked
        .findings
        .iter()
        .filter(|one| one.code != "no_effect");
    let other = other.map(|one| format!("{source}\n{one}")).collect();
    let read = checked.definition.map(|read| {
        let machines = format!("{:?}", read.machines);
        format!(
            "{} {} {:?} {:?} {:?} {machines}",
            read.name, read.version, read.entry, read.routing, read.isolation
        )
    });
    (read.unwrap_or_default(), of_code("no_effect"), other)
}

#[test]
fn every_key_has_an_effect_or_is_reported() {
    for place in places() {
        // A version that nobody wrote is made of the text's digest.
        let version = if std::ptr::eq(place.object, &COMPONENT) {
            "version: 1\n"
        } else {
            ""
        };
        let (plain, ..) = read(&place, version);
        for key in place.object.keys {
            if place.has.contains(&key.name) {
                continue;
            }
            let sample = match (key.name, place.kind) {
                // With rules, it is off unless it is written.
                ("mergePayload", Some("cross_component")) => "true",
                ("default", Some("number")) => "12",
                ("default", Some("boolean")) => "true",
                ("default", Some("array")) => "[]",
                ("default", Some("object")) => "{}",
                _ => sample(place.object, key.name),
            };
            let written = match (version, key.name) {
                ("", _) | (_, "version") => format!("{}: {sample}", key.name),
                _ => format!("{}: {sample}\n{version}", key.name),
            };
            let (with, reported, other) = read(&place, &written);
            let name = format!("{} of type {:?}\n{other:?}", key.name, place.kind);
            match place.object.judge(key.name, place.kind) {
                Judgement::NoEffect(_) => {
                    assert!(
                        reported.iter().any(|path| path.ends_with(key.name)),
                        "{name}"
                    );
                    assert_eq!(without_text(&with), without_text(&plain), "{name}");
                }
                Judgement::Effective if matches!(key.effect, Effect::Shown) => {
                    assert!(reported.is_empty(), "{name}: {reported:?}");
                }
                Judgement::Effective => {
                    assert!(reported.is_empty(), "{name}: {reported:?}");
                    assert_ne!(without_text(&with), without_text(&plain), "{name}");
                }
                Judgement::Unknown => unreachable!("it is in the table"),
            }
        }
    }
}

/// Without what repeats the text: a version that is made of its digest, and a schema's source.
fn without_text(read: &str) -> String {
    let words = read.split(' ').filter(|word| !word.starts_with("0.0.0+"));
    let mut read = words.collect::<Vec<_>>().join(" ");
    if let (Some(from), Some(to)) = (read.find("source: Object"), read.find("has_defaults")) {
        read.replace_range(from..to, "");
    }
    read
}

#[test]
fn a_key_that_no_table_has_is_unknown() {
    assert_eq!(TRANSITION.judge("timeoutMS", None), Judgement::Unknown);
    assert_eq!(
        TRANSITION.judge("to", Some("no such type")),
        Judgement::Effective
    );
}
