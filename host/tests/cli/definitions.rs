//! `validate`, `inspect`, `diagram`, `completions`, and what is misuse.

use serde_json::json;

use crate::harness::{Output, command, guest, xcomponent};

#[test]
fn all_findings_are_shown_at_their_place() {
    let shown = xcomponent(["validate", "ten-mistakes.yaml"]);
    assert_eq!(shown.code, 1);
    shown.expect("ten-mistakes.txt");
}

#[test]
fn places_are_right_where_letters_have_more_than_one_byte() {
    let shown = xcomponent(["validate", "ambiguous.yaml"]);
    assert_eq!(shown.code, 1);
    shown.expect("ambiguous.txt");
}

#[test]
fn a_document_that_ends_too_early_is_pointed_at() {
    let shown = xcomponent(["validate", "cut.yaml"]);
    assert_eq!(shown.code, 1);
    shown.expect("cut.txt");
}

#[test]
fn an_ambiguity_is_a_warning_where_that_is_asked_for() {
    let lenient = xcomponent(["validate", "--lenient", "ambiguous.yaml"]).done();
    assert!(lenient.stdout.contains("warning[ambiguous]"), "{lenient:?}");
}

#[test]
fn a_strict_validation_takes_warnings_for_errors() {
    let shown = xcomponent(["validate", "--json", "one-warning.yaml"]).done();
    assert_eq!(shown.json()["passes"], true);
    let strict = xcomponent(["validate", "--json", "--strict", "one-warning.yaml"]);
    assert_eq!(strict.code, 1);
    let shown = strict.json();
    assert_eq!(shown["passes"], false);
    assert_eq!(
        shown["findings"][0],
        json!({
            "file": "one-warning.yaml", "severity": "warning", "code": "unknown_key",
            "line": 4, "column": 5, "length": 11, "path": "stateMachines[0].descriptoin",
            "message": "unknown key `descriptoin`", "help": "did you mean `description`?",
        })
    );
}

#[test]
fn several_files_are_checked_and_one_bad_one_decides() {
    let shown = xcomponent(["validate", "--json", "shop.yaml", "cut.yaml", "shop-2.yaml"]);
    assert_eq!(shown.code, 1);
    let passes: Vec<bool> = shown
        .stdout
        .lines()
        .map(|line| line.contains("\"passes\":true"))
        .collect();
    assert_eq!(passes, [true, false, true]);
}

#[test]
fn a_packed_component_and_a_project_are_validated_too() {
    let project = crate::harness::root().join("components/order");
    let shown = xcomponent(["validate".into(), guest("order"), project]).done();
    assert_eq!(
        shown
            .stdout
            .matches("OrderComponent 1.0.0 is valid")
            .count(),
        2
    );
}

#[test]
fn what_makes_no_sense_is_misuse() {
    for args in [
        &["validate"][..],
        &["validate", "nowhere.yaml"],
        &["validate", "--strict", "--lenient", "shop.yaml"],
        &["validate", "."],
        &["diagram", "shop.yaml", "--machine", "Ordr"],
        &["diagram", "shop.yaml", "--state", "Nowhere"],
        &["send", "order-1", "PAY", "{"],
        &["send", "order-1", "PAY", "[]"],
        &["serve", "shop.yaml", "--breaker", "maybe"],
        &["fly"],
        &[],
    ] {
        let shown = xcomponent(args);
        assert_eq!(shown.code, 2, "{args:?}: {shown:?}");
        assert!(!shown.stderr.is_empty(), "{args:?}");
        assert!(shown.stdout.is_empty(), "{args:?}: {shown:?}");
    }
}

#[test]
fn programs_read_failures_as_json() {
    let shown = xcomponent(["--json", "diagram", "shop.yaml", "--machine", "Ordr"]);
    assert_eq!(shown.code, 2);
    let error = json!({"code": "misuse", "detail": "`Shop` has no machine `Ordr`, but `Order`"});
    assert_eq!(shown.json(), json!({"error": error}));
}

#[test]
fn a_component_is_inspected_without_running_it() {
    let shown = xcomponent(["inspect".into(), guest("order")]).done();
    for line in [
        "  component   OrderComponent 1.0.0",
        "  entry       Order: any number of instances",
        "  guard   isWorthIt",
        "  action  bookParcel",
        "  xcomponent:component/logging@0.1.0",
    ] {
        assert!(
            shown.stdout.lines().any(|shown| shown == line),
            "{line}: {shown:?}"
        );
    }
    let shown = xcomponent(["inspect".into(), "--json".into(), guest("order")]).done();
    let shown = shown.json();
    assert_eq!(shown["metadata"]["name"], "OrderComponent");
    assert_eq!(shown["machines"][0]["initial"], "Created");
    let guard = json!({"kind": "guard", "name": "isWorthIt", "answered": true, "named": true});
    assert!(shown["methods"].as_array().unwrap().contains(&guard));
}

#[test]
fn methods_that_no_code_answers_are_told() {
    let shown = xcomponent(["inspect", "shop.yaml"]).done();
    let line = "  guard   isRich   not answered by the code";
    assert!(shown.stdout.lines().any(|shown| shown == line), "{shown:?}");
}

#[test]
fn machines_are_drawn() {
    xcomponent(["diagram", "shop.yaml", "--state", "Paid"])
        .done()
        .expect("shop.mermaid.txt");
    xcomponent(["diagram", "shop.yaml", "--format", "dot"])
        .done()
        .expect("shop.dot.txt");
}

#[test]
fn every_command_has_help_and_completions() {
    let help = xcomponent(["--help"]).done();
    help.expect("help.txt");
    let Output { stdout, .. } = xcomponent(["completions", "bash"]).done();
    for command in ["serve", "validate", "dead-letters", "simulate"] {
        assert!(help.stdout.contains(command), "{command}");
        assert!(stdout.contains(command), "{command}");
        xcomponent([command, "--help"]).done();
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = command()
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
