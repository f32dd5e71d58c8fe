//! Checking a definition: all findings at once, each with its place.

use proptest::prelude::*;
use xcomponent_core::definition::{Finding, Severity, Strictness, check};

const ORDER: &str = "\
name: Shop
version: 1.0
stateMachines:
  - name: Order
    initialState: Created
    states: [{name: Created}, {name: Paid}, {name: Done, type: final}]
    transitions:
      - {from: Created, to: Paid, event: PAY, guard: enough, triggeredMethod: book}
      - {from: '*', to: Done, event: CLOSE}
";

fn findings(source: &str) -> Vec<Finding> {
    check(source, Strictness::Normal).findings.to_vec()
}

fn codes(source: &str) -> Vec<&'static str> {
    findings(source)
        .into_iter()
        .map(|finding| finding.code)
        .collect()
}

#[test]
fn a_sound_definition_has_no_findings() {
    let checked = check(ORDER, Strictness::Normal);
    assert_eq!(*checked.findings, []);
    let definition = checked.definition.unwrap();
    assert_eq!(definition.version.as_str(), "1.0");
    let (_, order) = definition.find("Order").unwrap();
    let close = order.find_event("CLOSE").unwrap();
    assert_eq!(
        order
            .candidates(order.find_state("Paid").unwrap(), close)
            .len(),
        1
    );
    assert_eq!(
        order
            .candidates(order.find_state("Done").unwrap(), close)
            .len(),
        0
    );
}

#[test]
fn ten_mistakes_are_ten_findings_with_their_places() {
    let found = findings(include_str!("fixtures/ten-mistakes.yaml"));
    let errors = found
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    let places: Vec<_> = errors
        .map(|finding| (finding.code, finding.line, finding.column))
        .collect();
    let expected = [
        ("unknown_machine", 2, 15),
        ("unknown_state", 5, 19),
        ("unknown_value", 8, 15),
        ("duplicate_name", 11, 9),
        ("unknown_value", 13, 22),
        ("invalid_pattern", 14, 35),
        ("unknown_state", 16, 29),
        ("timeout_without_time", 17, 9),
        ("expression", 18, 55),
        ("ambiguous", 20, 9),
    ];
    assert_eq!(places, expected);
    let unknown = found
        .iter()
        .find(|finding| finding.code == "unknown_key")
        .unwrap();
    assert_eq!(
        (unknown.line, unknown.help.as_deref()),
        (10, Some("did you mean `type`?"))
    );
}

#[test]
fn a_missing_version_is_made_of_the_digest() {
    let source = ORDER.replace("version: 1.0\n", "");
    let definition = check(&source, Strictness::Normal).definition.unwrap();
    assert_eq!(
        definition.version.as_str(),
        format!("0.0.0+{}", &definition.digest.to_string()[..8])
    );
}

#[test]
fn an_ambiguous_pair_is_a_warning_where_one_is_lenient() {
    let source = format!(
        "{ORDER}      - {{from: Paid, to: Done, event: X}}\n      - {{from: Paid, to: Paid, event: X}}\n"
    );
    assert_eq!(codes(&source), ["ambiguous"]);
    assert!(check(&source, Strictness::Normal).definition.is_none());
    assert!(check(&source, Strictness::Lenient).definition.is_some());
}

#[test]
fn an_explicit_source_beats_any_and_conditions_come_first() {
    let source = format!(
        "{ORDER}      - {{from: Paid, to: Created, event: CLOSE}}\n      - {{from: Paid, to: Paid, event: CLOSE, guard: g}}\n"
    );
    let definition = check(&source, Strictness::Normal).definition.unwrap();
    let order = &definition.machines[0];
    let candidates = order.candidates(
        order.find_state("Paid").unwrap(),
        order.find_event("CLOSE").unwrap(),
    );
    let targets: Vec<_> = candidates
        .iter()
        .map(|idx| order.state(order.transition(*idx).to).name.as_str())
        .collect();
    assert_eq!(targets, ["Paid", "Created", "Done"]);
}

#[test]
fn a_singleton_that_cannot_be_created_empty_is_an_error() {
    let head = "entryMachine: Order\nentryMachineMode: singleton\n";
    let schema = "    contextSchema: {id: {type: text, required: true}}\n";
    let source = format!("{head}{ORDER}{schema}");
    assert_eq!(codes(&source), ["singleton_needs_context"]);
    assert_eq!(
        codes(&format!("autoCreateEntryPoint: false\n{source}")),
        [] as [&str; 0]
    );
    assert_eq!(
        codes(&source.replace("entryMachineMode: singleton\n", "")),
        ["entry_not_created"]
    );
}

#[test]
fn an_alias_bomb_is_refused_at_once() {
    let mut source = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        let list = vec![format!("*{before}"); 9].join(", ");
        source.push_str(&format!("{name}: &{name} [{list}]\n"));
    }
    assert_eq!(codes(&source), ["invalid_yaml"]);
}

#[test]
fn absurd_nesting_is_refused() {
    assert_eq!(
        codes(&format!("a: {}", "[".repeat(100_000))),
        ["invalid_yaml"]
    );
}

#[test]
fn what_no_store_keeps_is_refused_with_its_place() {
    for value in [r#""a\0b""#, ".inf", "-.inf", ".nan"] {
        let found = findings(&format!("name: Shop\nmetadata:\n  note: {value}\n"));
        assert_eq!(
            (found[0].code, found[0].line),
            ("invalid_yaml", 3),
            "{value}"
        );
    }
}

#[test]
fn what_is_no_yaml_is_one_finding_with_its_line() {
    let found = findings("name: Shop\nstateMachines: [\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].line >= 2, "{found:?}");
}

proptest! {
    #[test]
    fn no_text_makes_the_checker_panic(text in "\\PC{0,300}") {
        check(&text, Strictness::Normal);
    }

    #[test]
    fn no_damage_to_a_sound_definition_makes_it_panic(at in 0..ORDER.len(), with in "[\\PC\n]{0,6}", cut in 0_usize..20) {
        let end = (at + cut).min(ORDER.len());
        let damaged = format!("{}{with}{}", &ORDER[..at], &ORDER[end..]);
        let checked = check(&damaged, Strictness::Normal);
        let sound = !checked.findings.iter().any(|finding| finding.severity == Severity::Error);
        prop_assert_eq!(checked.definition.is_some(), sound);
    }
}

fn with(machine: &str) -> String {
    format!(
        "name: Shop\nversion: 1.0.0\nstateMachines:\n  - name: Order\n    initialState: Open\n{machine}"
    )
}

#[test]
fn a_key_that_is_written_twice_is_found_in_every_mapping() {
    for (written, path) in [
        ("    metadata: {a: {b: 1, b: 2}}", "metadata.a.b"),
        (
            "    contextSchema: {a: {type: text}, 'a': {type: number}}",
            "contextSchema.a",
        ),
        (
            "    contextSchema: {1: {type: text}, '1': {type: number}}",
            "contextSchema.1",
        ),
        (
            "    contextSchema: {a: {type: object, default: {x: 1, x: 1}}}",
            "contextSchema.a.default.x",
        ),
        ("    layout: [{x: 1, x: 2}]", "layout[0].x"),
    ] {
        let source = with(&format!(
            "    states: [Open]\n    transitions: []\n{written}\n"
        ));
        let found = findings(&source);
        assert_eq!(found[0].code, "duplicate_key", "{written}");
        assert_eq!(found[0].path, format!("stateMachines[0].{path}"));
    }
}

#[test]
fn names_are_texts_however_they_are_written() {
    let source = "\
name: 7
version: 1.10
metadata: {state: &first 0200, more: &base {event: 0x1F, from: 0200}}
stateMachines:
  - name: 08
    initialState: *first
    contextSchema: {1.50: {type: number, default: 2}}
    states: [*first, 1e3, {name: true, type: final}]
    transitions:
      - {<<: *base, to: 1e3}
      - {from: [1e3], to: true, event: 10, guard: {method: ok}}
";
    let checked = check(source, Strictness::Normal);
    assert_eq!(*checked.findings, []);
    let definition = checked.definition.unwrap();
    assert_eq!(
        (definition.name.as_str(), definition.version.as_str()),
        ("7", "1.10")
    );
    let (_, machine) = definition.find("08").unwrap();
    let names: Vec<_> = machine
        .states
        .iter()
        .map(|state| state.name.as_str())
        .collect();
    assert_eq!(names, ["0200", "1e3", "true"]);
    let events: Vec<_> = machine.events.iter().map(|event| event.as_str()).collect();
    assert_eq!(events, ["0x1F", "10"]);
    let written = &definition.written()["stateMachines"][0];
    assert_eq!(written["initialState"], "0200");
    assert_eq!(written["states"][1], "1e3");
    assert_eq!(written["states"][2]["name"], "true");
    assert_eq!(written["transitions"][0]["event"], "0x1F");
    assert_eq!(written["transitions"][0]["from"], "0200");
    assert_eq!(written["transitions"][1]["from"][0], "1e3");
    assert_eq!(written["contextSchema"]["1.50"]["default"], 2);
}

#[test]
fn what_fires_by_itself_and_has_rules_on_a_payload_is_reported() {
    let rules = |property: &str| {
        format!("matchingRules: [{{eventProperty: {property}, instanceProperty: b}}]")
    };
    let of = |transition: String| {
        codes(&with(&format!(
            "    states: [Open]\n    transitions: [{transition}]\n"
        )))
    };
    let auto = format!(
        "{{from: Open, to: Open, event: E, type: auto, {}}}",
        rules("a")
    );
    assert_eq!(of(auto), ["never_passes"]);
    let timeout = |property: &str| {
        format!(
            "{{from: Open, to: Open, event: E, type: timeout, timeoutMs: 5, {}}}",
            rules(property)
        )
    };
    assert_eq!(of(timeout("a")), ["never_passes"]);
    assert_eq!(of(timeout("reason")), [] as [&str; 0]);
}

#[test]
fn a_transition_behind_an_unconditional_one_is_shadowed() {
    let source = with(
        "    states: [Open, Done]\n    transitions:\n      - {from: Open, to: Done, event: E}\n      - {from: Open, to: Open, event: E, guard: g, priority: 5}\n",
    );
    assert_eq!(codes(&source), ["shadowed"]);
}

#[test]
fn a_pattern_that_browsers_accept_loads() {
    let of = |pattern: &str| {
        let source = with(&format!(
            "    states: [Open]\n    transitions: []\n    contextSchema: {{a: {{type: text, pattern: '{pattern}'}}}}\n"
        ));
        codes(&source)
    };
    for pattern in [r"^\d{2}\/\d{2}$", "^(?<year>\\d+)$", "[^]", "(?i)yes"] {
        assert_eq!(of(pattern), [] as [&str; 0], "{pattern}");
    }
    for pattern in [r"^(?=.*\d).{8,}$", r"(a)\1", "(?<!a)b", "a{99999}"] {
        assert_eq!(of(pattern), ["pattern_not_enforced"], "{pattern}");
    }
    for pattern in ["(", "[z-a]", "a{3,2}"] {
        assert_eq!(of(pattern), ["invalid_pattern"], "{pattern}");
    }
}
