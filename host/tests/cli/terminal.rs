//! What guests and callers write cannot act on a terminal, and the log in JSON is JSON.

use serde_json::{Value, json};

use crate::harness::{Output, Serving, scratch, xcomponent};

/// A title for the window, a bell, a forged row, and text that runs backwards.
const HOSTILE: &str = "PAY\u{1b}]0;pwned\u{7}\n9  forged\r\u{9b}2J\u{202e}";

fn shows_nothing_hostile(output: &Output) {
    let all = format!("{}{}", output.stdout, output.stderr);
    for dangerous in ['\u{1b}', '\u{7}', '\r', '\u{9b}', '\u{202e}'] {
        assert!(!all.contains(dangerous), "{output:?}");
    }
    let forged = |line: &str| line.trim_start().starts_with("9  forged");
    assert!(!all.lines().any(forged), "{output:?}");
}

#[test]
fn what_callers_name_is_shown_as_its_code() {
    let serving = Serving::start(["shop.yaml"]);
    let order = json!({"id": "o", "context": {"orderId": HOSTILE}});
    serving.create("Shop", "Order", &order);
    let payload = json!({"text": HOSTILE}).to_string();
    for args in [
        vec!["send", "o", HOSTILE, &payload],
        vec!["send", "o", "PAY", "--id", HOSTILE],
        vec!["send", HOSTILE, "PAY"],
        vec!["history", "o"],
        vec!["history", HOSTILE],
        vec!["instances"],
        vec!["instances", "o"],
        vec!["dead-letters"],
        vec!["dead-letters", "show", HOSTILE],
        vec!["broadcast", HOSTILE],
        vec!["health"],
    ] {
        shows_nothing_hostile(&serving.ask(&args));
        let json: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        shows_nothing_hostile(&serving.ask(&json));
    }
    let (_, log) = serving.end();
    assert!(
        !log.contains('\u{1b}') && !log.contains('\u{202e}'),
        "{log}"
    );
}

#[test]
fn errors_about_hostile_arguments_are_shown_as_their_codes() {
    for args in [
        vec!["inspect", HOSTILE],
        vec!["validate", HOSTILE],
        vec!["diagram", HOSTILE],
        vec!["simulate", "--script", HOSTILE],
        vec!["health", "--url", HOSTILE],
    ] {
        let refused = xcomponent(&args);
        assert_ne!(refused.code, 0, "{args:?}");
        let all = format!("{}{}", refused.stdout, refused.stderr);
        for dangerous in ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}'] {
            assert!(!all.contains(dangerous), "{args:?}: {refused:?}");
        }
    }
}

/// Every line of a log as JSON, and what they say.
fn messages(log: &str) -> Vec<String> {
    let lines = log.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        event["fields"]["message"].as_str().unwrap().to_owned()
    });
    lines.collect()
}

#[test]
fn a_log_in_json_is_json_and_tells_a_hosts_life() {
    let data = scratch("json-log");
    let serving = Serving::start_in(&data, ["--log", "json", "shop.yaml"]);
    let (status, log) = serving.end();
    assert!(status.success());
    let messages = messages(&log);
    for expected in [
        "starting",
        "listening",
        "a version was deployed",
        "a version was activated",
        "shutting down: finishing requests in flight",
        "shut down",
    ] {
        assert!(
            messages.iter().any(|one| one == expected),
            "{expected}: {log}"
        );
    }
}

#[test]
fn an_error_at_the_end_is_a_line_of_the_log() {
    let refused = xcomponent([
        "serve",
        "--log",
        "json",
        "--port",
        "0",
        "--store",
        "sqlite:/dev/null/host.db",
    ]);
    assert_eq!(refused.code, 1);
    let messages = messages(&refused.stderr);
    let last = messages.last().unwrap();
    assert!(last.contains("/dev/null"), "{refused:?}");
}
