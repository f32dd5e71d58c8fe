//! WASI is there, denies everything, and repeats itself.

use xcomponent_core::{
    call::{Answer, Call, FaultCode},
    id::InstanceId,
    time::Timestamp,
};

use crate::{
    guests::{Text, text_guest},
    sandboxes::{action, ask, deploy, fault, shared},
};

/// A guest whose answer is `{"n":"<16 hexadecimal digits>"}` of a number that `value` leaves.
fn number_guest(imports: &str, value: &str) -> Vec<u8> {
    text_guest(&Text {
        imports,
        answer: &format!("(call $write {value}) (i32.const 128) (i32.const 24)"),
        rest: r#"(data (i32.const 128) "{\"n\":\"0000000000000000\"}")
          (func $write (param $n i64)
            (local $at i32) (local $digit i32)
            (local.set $at (i32.const 149))
            (loop $next
              (local.set $digit (i32.and (i32.wrap_i64 (local.get $n)) (i32.const 15)))
              (i32.store8 (local.get $at)
                (i32.add (local.get $digit) (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $digit) (i32.const 10)))))
              (local.set $n (i64.shr_u (local.get $n) (i64.const 4)))
              (local.set $at (i32.sub (local.get $at) (i32.const 1)))
              (br_if $next (i32.gt_u (local.get $at) (i32.const 133)))))"#,
    })
}

fn number(call: Call) -> u64 {
    let outcome = ask(shared(), call);
    let Ok(Answer::Action {
        context: Some(context),
        ..
    }) = outcome.result
    else {
        panic!("{outcome:?}")
    };
    u64::from_str_radix(context.value()["n"].as_str().unwrap(), 16).unwrap()
}

const RANDOM: &str =
    r#"(import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))"#;
const WALL: &str = r#"(import "wasi:clocks/wall-clock@0.2.0" "now" (func $now (param i32)))"#;
const MONOTONIC: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $sleep (param i64) (result i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop (param i32)))
  (func $pause (param $nanos i64)
    (local $pollable i32)
    (local.set $pollable (call $sleep (local.get $nanos)))
    (call $block (local.get $pollable))
    (call $drop (local.get $pollable)))"#;

#[test]
fn random_numbers_depend_on_the_instance_and_its_sequence_number_alone() {
    let deployment = deploy(
        shared(),
        &number_guest(RANDOM, "(i64.xor (call $random) (call $random))"),
    );
    let call = |instance: &str, seq| Call {
        instance: InstanceId::parse(instance).unwrap(),
        seq,
        ..action(&deployment, "act")
    };
    let first = number(call("order-1", 3));
    assert_eq!(first, number(call("order-1", 3)));
    assert_ne!(first, number(call("order-1", 4)));
    assert_ne!(first, number(call("order-2", 3)));
}

#[test]
fn the_wall_clock_shows_when_the_host_accepted_the_event() {
    let deployment = deploy(
        shared(),
        &number_guest(
            WALL,
            "(block (result i64) (call $now (i32.const 256)) (i64.load (i32.const 256)))",
        ),
    );
    assert_eq!(number(action(&deployment, "act")), 1_700_000_000);
    let mut later = action(&deployment, "act");
    later.event.at = Timestamp(1_700_000_009_000);
    assert_eq!(number(later), 1_700_000_009);
}

#[test]
fn a_guest_that_sleeps_for_a_day_wakes_at_once_with_its_clock_moved() {
    let day = 24 * 3_600 * 1_000_000_000_u64;
    let before = "(i32.const 256)";
    let slept =
        format!("(i64.store {before} (call $now)) (call $pause (i64.const {day})) (call $now)");
    let value = format!("(i64.sub (block (result i64) {slept}) (i64.load {before}))");
    let deployment = deploy(shared(), &number_guest(MONOTONIC, &value));
    assert_eq!(number(action(&deployment, "act")), day);
}

#[test]
fn a_guest_that_sleeps_for_ever_again_and_again_is_stopped() {
    let value = "(block (result i64) (loop (call $pause (i64.const -1)) (br 0)) unreachable)";
    let deployment = deploy(shared(), &number_guest(MONOTONIC, value));
    let outcome = ask(shared(), action(&deployment, "act"));
    let (code, message) = fault(&outcome);
    assert_eq!(code, FaultCode::WallTime, "{message}");
}
