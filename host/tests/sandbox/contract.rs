//! What a guest may ask of its host, and what it gets.

use xcomponent_core::{
    call::{Answer, Call, FaultCode, LogLevel, LogLine, Outcome, Send},
    id::{EventId, EventName, InstanceId},
    json::Json,
    time::Duration,
};

use crate::{
    guests::{Text, text_guest},
    sandboxes::{action, ask, deploy, fault, shared},
};

const IMPORTS: &str = r#"
  (import "xcomponent:component/sender@0.1.0" "send-to-self"
    (func $send_to_self (param i32 i32 i32 i32 i32 i64 i32)))
  (import "xcomponent:component/sender@0.1.0" "send"
    (func $send (param i32 i32 i32 i32 i32 i32 i32 i64 i32)))
  (import "xcomponent:component/sender@0.1.0" "create-instance"
    (func $create (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "xcomponent:component/current@0.1.0" "version" (func $version (param i32)))
  (import "xcomponent:component/logging@0.1.0" "log" (func $log (param i32 i32 i32)))"#;

/// Texts at hand: `ORDER`, `{"a":1}` and `order 2`, and the way to log what the host answered.
const REST: &str = r#"
  (data (i32.const 128) "ORDER")
  (data (i32.const 144) "{\"a\":1}")
  (data (i32.const 160) "order 2")
  (func $log_answer
    (call $log (i32.const 2) (i32.load (i32.const 256)) (i32.load (i32.const 260))))"#;

const EVENT: &str = "(i32.const 128) (i32.const 5)";
const PAYLOAD: &str = "(i32.const 144) (i32.const 7)";
const BAD_ID: &str = "(i32.const 160) (i32.const 7)";
const NO_DELAY: &str = "(i32.const 0) (i64.const 0)";

/// Runs a guest that does something and answers `{"a":1}`; what the host says to it is at 256.
fn run(body: &str, change: impl FnOnce(&mut Call)) -> Outcome {
    let component = text_guest(&Text {
        imports: IMPORTS,
        answer: &format!("{body} {PAYLOAD}"),
        rest: REST,
    });
    let deployment = deploy(shared(), &component);
    let mut call = action(&deployment, "act");
    change(&mut call);
    ask(shared(), call)
}

fn sends(outcome: &Outcome) -> &[Send] {
    match &outcome.result {
        Ok(Answer::Action { sends, .. }) => sends,
        other => panic!("expected an answer, got {other:?}"),
    }
}

fn logged(outcome: &Outcome) -> Vec<&str> {
    outcome.logs.iter().map(|line| &*line.message).collect()
}

fn payload() -> Json {
    Json::parse(r#"{"a":1}"#).unwrap()
}

#[test]
fn sends_are_numbered_after_those_of_earlier_methods() {
    let send = format!(
        "(call $send_to_self {EVENT} {PAYLOAD} (i32.const 1) (i64.const 500) (i32.const 256)) (call $log_answer)"
    );
    let outcome = run(&send.repeat(2), |call| call.sends = 4);
    let expected = Send::ToSelf {
        event: EventName::new("ORDER"),
        payload: payload(),
        delay: Some(Duration(500)),
    };
    assert_eq!(sends(&outcome), [expected.clone(), expected]);
    assert_eq!(logged(&outcome), ["pay-1.5", "pay-1.6"]);
}

#[test]
fn a_created_instance_has_the_id_that_the_engine_will_give_it() {
    let create = format!(
        "(call $create (i32.const 0) (i32.const 0) (i32.const 0) {EVENT} {PAYLOAD} (i32.const 256)) (call $log_answer)"
    );
    let outcome = run(&create, |_| ());
    assert!(
        matches!(sends(&outcome), [Send::Create { .. }]),
        "{outcome:?}"
    );
    let parent = InstanceId::parse("order-1").unwrap();
    let cause = EventId::parse("pay-1").unwrap();
    let id = InstanceId::derive(&cause, 1, Some(parent.route()));
    assert_eq!(logged(&outcome), [id.to_string()]);
}

#[test]
fn a_malformed_send_is_a_fault_that_says_what_is_wrong() {
    let cases = [
        (
            format!("(call $send_to_self {EVENT} {EVENT} {NO_DELAY} (i32.const 256))"),
            "payload: ",
        ),
        (
            format!(
                "(call $send_to_self {EVENT} {PAYLOAD} (i32.const 1) (i64.const -1) (i32.const 256))"
            ),
            "a delay of 18446744073709551615 ms",
        ),
        (
            format!(
                "(call $send_to_self (i32.const 0) (i32.const 0) {PAYLOAD} {NO_DELAY} (i32.const 256))"
            ),
            "the name of an event has 1 to 128 bytes",
        ),
        (
            format!("(call $send {BAD_ID} {EVENT} {PAYLOAD} {NO_DELAY} (i32.const 256))"),
            "instance id \"order 2\": ",
        ),
    ];
    for (body, expected) in cases {
        let outcome = run(&body, |_| ());
        let (code, message) = fault(&outcome);
        assert_eq!(code, FaultCode::BadSend, "{message}");
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_guest_can_ask_which_version_it_is_and_write_a_line() {
    let outcome = run("(call $version (i32.const 256)) (call $log_answer)", |_| ());
    let line = LogLine {
        level: LogLevel::Info,
        message: "1.2.3".into(),
    };
    assert_eq!(outcome.logs, [line]);
}

#[test]
fn a_call_that_hands_over_megabytes_is_stopped_before_they_are_copied() {
    let grown = "(drop (memory.grow (i32.const 100)))";
    let send = format!(
        "{grown} (call $send_to_self {EVENT} (i32.const 1024) (i32.const 5000000) {NO_DELAY} (i32.const 256))"
    );
    let outcome = run(&send, |_| ());
    assert_eq!(fault(&outcome).0, FaultCode::BadSend);
}
