//! One guest, every way to misbehave: a typed fault within the budget, and no harm to anybody.

use std::sync::{Arc, OnceLock};

use xcomponent_core::call::{Deployment, Failure, FaultCode};

use crate::{
    allocator::gives_back,
    guests::guest,
    sandboxes::{action, ask, config, deploy, deployment, fault, guard, sandboxes, shared},
};
use xcomponent_host::sandbox::Sandboxes;

/// Each action, and the fault it must end in.
const ACTIONS: [(&str, FaultCode); 9] = [
    ("panic", FaultCode::Trap),
    ("loopForever", FaultCode::Fuel),
    ("eatMemory", FaultCode::Memory),
    ("recurse", FaultCode::Stack),
    ("answerHuge", FaultCode::Memory),
    ("answerLarge", FaultCode::AnswerTooLarge),
    ("sendForever", FaultCode::TooManySends),
    ("answerMalformed", FaultCode::AnswerMalformed),
    ("floodLog", FaultCode::Fuel),
];

fn misbehaving() -> &'static Arc<Deployment> {
    static DEPLOYED: OnceLock<Arc<Deployment>> = OnceLock::new();
    DEPLOYED.get_or_init(|| deploy(shared(), &guest("misbehaving")))
}

fn behaves(sandboxes: &Sandboxes, deployment: &Arc<Deployment>) {
    let outcome = ask(sandboxes, action(deployment, "ping"));
    assert!(outcome.result.is_ok(), "{outcome:?}");
}

fn misbehave(sandboxes: &Sandboxes, deployment: &Arc<Deployment>) {
    for (method, expected) in ACTIONS {
        let outcome = ask(sandboxes, action(deployment, method));
        let (code, message) = fault(&outcome);
        assert_eq!(code, expected, "{method}: {message}");
        behaves(sandboxes, deployment);
    }
}

#[test]
fn every_misbehaviour_is_a_typed_fault_and_the_next_call_is_answered() {
    misbehave(shared(), misbehaving());
}

#[test]
fn a_panic_is_told_in_its_own_words_with_the_functions_it_came_through() {
    let outcome = ask(shared(), action(misbehaving(), "panic"));
    let (_, message) = fault(&outcome);
    assert!(message.starts_with("panic: "), "{message}");
    let Err(Failure::Fault(fault)) = &outcome.result else {
        panic!("{outcome:?}")
    };
    let backtrace = fault.backtrace.as_deref().unwrap();
    assert!(!backtrace.contains("panicking"), "{backtrace}");
    assert!(backtrace.contains("methods@0.1.0#action"), "{backtrace}");
}

#[test]
fn a_guard_that_sends_is_at_fault() {
    let outcome = ask(shared(), guard(misbehaving(), "sendInGuard"));
    assert_eq!(fault(&outcome).0, FaultCode::SendInGuard);
}

#[test]
fn the_same_call_uses_the_same_fuel_on_every_new_sandbox() {
    let fresh = deployment("default", misbehaving().artifact, "fresh");
    let fuel = || ask(shared(), action(&fresh, "panic")).fuel;
    assert_eq!(fuel(), fuel());
}

#[test]
fn a_flood_of_lines_is_cut_and_counted() {
    let outcome = ask(shared(), action(misbehaving(), "floodLog"));
    assert_eq!(outcome.logs.len(), 101);
    assert!(outcome.logs[100].message.ends_with("more lines were cut"));
}

#[test]
fn eight_callers_at_once_do_no_lasting_harm() {
    if !gives_back("misbehaving::eight_callers_at_once_do_no_lasting_harm") {
        return;
    }
    let sandboxes = sandboxes(config());
    let deployment = deploy(&sandboxes, &guest("misbehaving"));
    let round = || {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| misbehave(&sandboxes, &deployment));
            }
        });
        resident_bytes()
    };
    // What leaks grows with every round; what the allocator has not given back yet does not.
    let [_, second] = [round(), round()];
    let later = [round(), round(), round()];
    assert!(
        later.iter().any(|later| *later <= second + (8 << 20)),
        "resident memory grew from {second} to {later:?} bytes"
    );
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
