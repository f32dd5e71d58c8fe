//! Definitions that were written to be expensive are read to an end, and what is said about them
//! is bounded. A reader that were quadratic anywhere would not finish these.

#[path = "../../tests/common/hostile_definitions.rs"]
mod hostile_definitions;

use xcomponent_core::{
    definition::{Severity, Strictness, check, dot, mermaid, svg},
    limits::{CHOICES_MAX, FINDING_BYTES_MAX, FINDINGS_MAX},
};

use hostile_definitions::{all, any_state_times_events, machines, merge_keys, patterns};

#[test]
fn hostile_definitions_are_read_to_an_end_and_findings_are_bounded() {
    for (name, source) in all() {
        let findings = check(&source, Strictness::Normal).findings;
        assert!(findings.len() <= FINDINGS_MAX, "{name}");
        for finding in &findings {
            let longest = FINDING_BYTES_MAX + '…'.len_utf8();
            assert!(finding.message.len() <= longest, "{name}: {finding}");
            assert!(finding.path.len() <= longest, "{name}: {finding}");
        }
    }
}

#[test]
fn hostile_definitions_are_drawn_to_an_end_and_pictures_are_bounded() {
    for (name, source) in all() {
        let checked = check(&source, Strictness::Lenient);
        for machine in checked
            .definition
            .iter()
            .flat_map(|one| &one.machines)
            .take(3)
        {
            for picture in [
                mermaid(machine, None),
                dot(machine, None),
                svg(machine, None),
            ] {
                assert!(picture.len() < 8 << 20, "{name}: {}", picture.len());
            }
        }
    }
}

#[test]
fn transitions_from_any_state_are_not_multiplied_by_states() {
    let source = any_state_times_events(3_000, 3_000);
    let definition = check(&source, Strictness::Normal).definition.unwrap();
    let machine = &definition.machines[0];
    let event = machine.find_event("E2999").unwrap();
    let state = machine.find_state("S2999").unwrap();
    assert_eq!(machine.candidates(state, event).len(), 1);
    assert!(mermaid(machine, None).contains("further transitions are not shown"));
}

#[test]
fn equal_patterns_are_one_and_what_does_not_fit_is_not_enforced() {
    let equal = patterns(9_999, |_| r"^\w{5}$".to_owned());
    assert!(check(&equal, Strictness::Normal).findings.is_empty());
    let different = patterns(9_999, |n| format!("^[^{n}]{{500}}$"));
    let checked = check(&different, Strictness::Normal);
    assert!(checked.definition.is_some());
    let more = checked.findings.count(Severity::Warning);
    assert_eq!(checked.findings[0].code, "pattern_not_enforced");
    assert_eq!(checked.findings.unlisted(), more - FINDINGS_MAX);
}

#[test]
fn one_event_may_try_only_so_many_transitions() {
    let code = |n| {
        let found = check(&hostile_definitions::guarded_choices(n), Strictness::Normal).findings;
        found.first().map(|finding| finding.code)
    };
    assert_eq!(code(CHOICES_MAX), None);
    assert_eq!(code(CHOICES_MAX + 1), Some("too_many_choices"));
}

#[test]
fn an_ambiguity_is_one_finding_for_all_that_have_it() {
    let source = hostile_definitions::ambiguous_transitions(200);
    let findings = check(&source, Strictness::Normal).findings;
    let ambiguous = findings.iter().filter(|one| one.code == "ambiguous");
    let messages: Vec<&str> = ambiguous.map(|one| one.message.as_str()).collect();
    assert_eq!(
        messages,
        ["200 transitions without guard or rules leave `S0` on `E`"]
    );
}

#[test]
fn errors_come_before_warnings_and_no_warning_hides_one() {
    let mut source = hostile_definitions::many_keys(1_000);
    source.push_str("name: Shop\nstateMachines: 7\n");
    let findings = check(&source, Strictness::Normal).findings;
    assert_eq!(findings[0].severity, Severity::Error);
    assert_eq!(findings.count(Severity::Warning), 1_000);
    assert_eq!(findings.len(), FINDINGS_MAX);
    assert!(
        findings.to_string().ends_with("1000 warnings"),
        "{findings}"
    );
}

#[test]
fn what_is_large_and_sound_is_accepted() {
    for source in [machines(10_000), merge_keys(5_000)] {
        let checked = check(&source, Strictness::Normal);
        assert!(
            checked.definition.is_some(),
            "{:?}",
            checked.findings.first()
        );
    }
}
