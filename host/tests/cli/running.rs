//! `run` and `simulate`.

use serde_json::{Value, json};

use crate::harness::{guest, xcomponent};

/// Lines without the time that they begin with.
fn without_times(told: &str) -> Vec<String> {
    let words = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        words.join(" ")
    };
    told.lines().map(words).collect()
}

#[test]
fn one_instance_is_run_and_what_happens_is_shown() {
    let context = r#"{"orderId": "O-1", "amount": 10}"#;
    let run = xcomponent([
        "run".as_ref(),
        guest("order").as_os_str(),
        guest("payment").as_os_str(),
        "--create".as_ref(),
        "Order".as_ref(),
        "--context".as_ref(),
        context.as_ref(),
        "--event".as_ref(),
        "SUBMIT".as_ref(),
        "--for".as_ref(),
        "2s".as_ref(),
    ]);
    let told = without_times(&run.done().stdout);
    assert_eq!(
        told[..4],
        [
            "it + Created",
            "it SUBMIT Created → Submitted",
            "Payment~1 + Pending",
            "visa for O-1: VALIDATED in 500 ms",
        ]
    );
    assert!(
        told.contains(&"it PAYMENT_COMPLETED Submitted → Paid".to_owned()),
        "{told:?}"
    );
}

#[test]
fn an_event_that_is_refused_shows_in_the_exit_code() {
    let create = ["run", "shop.yaml", "--create", "Shop/Order", "--context"];
    let ignored = create
        .into_iter()
        .chain([r#"{"orderId": "O-1"}"#, "--event", "SHIP"]);
    let ignored = xcomponent(ignored).done();
    assert!(
        ignored.stdout.contains("Created: ignored, no_transition"),
        "{ignored:?}"
    );
    let finished = create.into_iter().chain([r#"{"orderId": "O-1"}"#]);
    let events = ["PAY", "SHIP={}", "PAY"].into_iter();
    let finished = xcomponent(finished.chain(events.flat_map(|event| ["--event", event])));
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(
        finished.stdout.contains("rejected, instance_finished"),
        "{finished:?}"
    );
    let refused = xcomponent(create.into_iter().chain(["{}"]));
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains("error: the instance is not created: "),
        "{refused:?}"
    );
    let unknown = xcomponent(["run", "shop.yaml", "--create", "Ordr"]);
    assert_eq!(unknown.code, 2);
    let message = "error: no component has a machine `Ordr`\n";
    assert!(unknown.stderr.ends_with(message), "{unknown:?}");
}

#[test]
fn a_script_moves_the_clock() {
    let simulated = xcomponent(["simulate", "--script", "timer.yaml"]).done();
    simulated.expect("timer.txt");
    let again = xcomponent(["simulate", "alarm.yaml", "--script", "timer.yaml"]).done();
    assert_eq!(again.stdout, simulated.stdout);
}

#[test]
fn an_expectation_that_does_not_hold_is_a_finding() {
    let simulated = xcomponent(["simulate", "--script", "wrong.yaml"]);
    assert_eq!(simulated.code, 1);
    simulated.expect("wrong.txt");
    let simulated = xcomponent(["simulate", "--script", "wrong.yaml", "--json"]);
    assert_eq!(simulated.code, 1);
    let told = simulated.stdout.lines().map(serde_json::from_str);
    let told: Vec<Value> = told.collect::<Result<_, _>>().unwrap();
    assert_eq!(told[0]["happened"]["to"], "Set");
    let end = told.last().unwrap();
    assert_eq!(end["failures"].as_array().unwrap().len(), 2, "{end}");
    assert_eq!(end["failures"][0]["line"], json!(4));
}

#[test]
fn a_script_that_makes_no_sense_is_misuse() {
    let refused = xcomponent(["simulate", "--script", "senseless.yaml"]);
    assert_eq!(refused.code, 2);
    refused.expect("senseless.txt");
    let refused = xcomponent(["simulate", "--script", "nowhere.yaml"]);
    assert_eq!(refused.code, 2);
    let refused = xcomponent(["simulate", "ambiguous.yaml", "--script", "timer.yaml"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("error[ambiguous]"), "{refused:?}");
}
