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
    check(source, Strictness::Normal).findings
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
    assert_eq!(checked.findings, []);
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
