//! Who gets which sandbox.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use xcomponent_core::{
    call::{Answer, Deployment, FaultCode},
    id::TenantId,
};
use xcomponent_host::{
    memory::Memory,
    sandbox::{Checkout, Config, Progress, Sandboxes},
};

use crate::{
    guests::{Text, text_guest},
    sandboxes::{
        action, ask, checkout, config, deploy, deployment, finish, run, sandboxes, shared,
    },
};

/// Answers `{"n":<how many calls it remembers, from 1 to 9>}`.
fn counting_guest() -> Vec<u8> {
    text_guest(&Text {
        imports: "",
        answer: "(i32.store8 (i32.const 133) (i32.add (i32.load8_u (i32.const 133)) (i32.const 1))) (i32.const 128) (i32.const 7)",
        rest: r#"(data (i32.const 128) "{\"n\":0}")"#,
    })
}

fn count(sandboxes: &Sandboxes, deployment: &Arc<Deployment>) -> u64 {
    let outcome = ask(sandboxes, action(deployment, "act"));
    let Ok(Answer::Action {
        context: Some(context),
        ..
    }) = outcome.result
    else {
        panic!("{outcome:?}")
    };
    context.value()["n"].as_u64().unwrap()
}

fn small_pool(change: impl FnOnce(&mut Config)) -> Sandboxes {
    let mut config = config();
    config.sandboxes_max = 2;
    change(&mut config);
    sandboxes(config)
}

#[test]
fn a_sandbox_serves_many_calls_of_its_tenant_and_none_of_another() {
    let sandboxes = small_pool(|config| config.sandboxes_max = 8);
    let ours = deploy(&sandboxes, &counting_guest());
    let theirs = deployment("acme", ours.artifact, "reused");
    assert_eq!([count(&sandboxes, &ours), count(&sandboxes, &ours)], [1, 2]);
    assert_eq!(
        [count(&sandboxes, &theirs), count(&sandboxes, &ours)],
        [1, 3]
    );
    assert_ne!(theirs.tenant, TenantId::default_tenant());
}

#[test]
fn under_fresh_isolation_no_call_sees_what_an_earlier_one_left() {
    let artifact = deploy(shared(), &counting_guest()).artifact;
    let fresh = deployment("default", artifact, "fresh");
    assert_eq!([count(shared(), &fresh), count(shared(), &fresh)], [1, 1]);
}

#[test]
fn a_sandbox_whose_transition_did_not_commit_is_not_used_again() {
    let sandboxes = small_pool(|_| ());
    let deployment = deploy(&sandboxes, &counting_guest());
    let sandbox = checkout(&sandboxes, &deployment).unwrap();
    let (sandbox, _) = finish(sandbox.call(action(&deployment, "act")));
    sandboxes.release(sandbox, false);
    assert_eq!(count(&sandboxes, &deployment), 1);
}

#[test]
fn a_sandbox_is_thrown_away_after_its_share_of_calls() {
    let sandboxes = small_pool(|config| config.calls_per_sandbox_max = 2);
    let deployment = deploy(&sandboxes, &counting_guest());
    let counts: Vec<_> = (0..5).map(|_| count(&sandboxes, &deployment)).collect();
    assert_eq!(counts, [1, 2, 1, 2, 1]);
}

#[test]
fn the_least_recently_used_sandbox_gives_its_slot() {
    let sandboxes = small_pool(|_| ());
    let first = deploy(&sandboxes, &counting_guest());
    let [second, third] =
        ["two", "three"].map(|tenant| deployment(tenant, first.artifact, "reused"));
    assert_eq!(
        [
            count(&sandboxes, &first),
            count(&sandboxes, &second),
            count(&sandboxes, &first)
        ],
        [1, 1, 2]
    );
    assert_eq!(count(&sandboxes, &third), 1);
    assert_eq!(
        [count(&sandboxes, &first), count(&sandboxes, &second)],
        [3, 1]
    );
    assert_eq!(sandboxes.n_used(), 2);
}

#[test]
fn who_finds_all_slots_in_use_gets_the_next_one_that_is_free() {
    let sandboxes = small_pool(|_| ());
    let deployment = deploy(&sandboxes, &counting_guest());
    let held = [
        checkout(&sandboxes, &deployment).unwrap(),
        checkout(&sandboxes, &deployment).unwrap(),
    ];
    let Checkout::Later(later) = sandboxes.checkout(&deployment) else {
        panic!("there is no slot left")
    };
    let [one, other] = held;
    let waiter = std::thread::spawn(move || run(later));
    sandboxes.release(one, true);
    let sandbox = waiter.join().unwrap().unwrap();
    sandboxes.release(sandbox, true);
    sandboxes.release(other, true);
}

#[test]
fn waiting_for_a_slot_has_a_limit() {
    let sandboxes = small_pool(|config| config.waits_max = 0);
    let deployment = deploy(&sandboxes, &counting_guest());
    let held = [
        checkout(&sandboxes, &deployment).unwrap(),
        checkout(&sandboxes, &deployment).unwrap(),
    ];
    assert_eq!(
        checkout(&sandboxes, &deployment).unwrap_err(),
        FaultCode::Unavailable
    );
    drop(held);
    assert_eq!(count(&sandboxes, &deployment), 1);
}

#[test]
fn many_threads_share_few_slots() {
    let sandboxes = small_pool(|_| ());
    let deployment = deploy(&sandboxes, &counting_guest());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let sandbox = checkout(&sandboxes, &deployment).unwrap();
                    sandboxes.release(sandbox, true);
                }
            });
        }
    });
    assert!(sandboxes.n_used() <= 2);
}

/// Takes 10 MiB for each call, and answers `{}`; without memory it traps.
fn hungry_guest() -> Vec<u8> {
    text_guest(&Text {
        imports: "",
        answer: "(if (i32.lt_s (memory.grow (i32.const 160)) (i32.const 0)) (then (unreachable))) (i32.const 128) (i32.const 2)",
        rest: r#"(data (i32.const 128) "{}")"#,
    })
}

/// 36 MiB for all sandboxes together, 18 for each.
fn little_memory() -> Sandboxes {
    let mut config = config();
    config.memory = Memory::new(256 << 20);
    sandboxes(config)
}

#[test]
fn a_call_that_finds_no_memory_waits_until_another_gives_some_back() {
    let sandboxes = little_memory();
    let deployment = deploy(&sandboxes, &hungry_guest());
    let first = checkout(&sandboxes, &deployment).unwrap();
    let (first, outcome) = finish(first.call(action(&deployment, "act")));
    assert!(outcome.result.is_ok(), "{outcome:?}");
    let second = checkout(&sandboxes, &deployment).unwrap();
    let Progress::Running(mut running) = second.call(action(&deployment, "act")) else {
        panic!("half of the memory is in use, and a component gets no more")
    };
    assert!((&mut running).now_or_never().is_none());
    sandboxes.release(first, true);
    let (second, outcome) = run(running);
    assert!(outcome.result.is_ok(), "{outcome:?}");
    sandboxes.release(second, true);
}

#[test]
fn one_component_leaves_memory_for_another() {
    let sandboxes = little_memory();
    let ours = deploy(&sandboxes, &hungry_guest());
    let (held, outcome) = finish(
        checkout(&sandboxes, &ours)
            .unwrap()
            .call(action(&ours, "act")),
    );
    assert!(outcome.result.is_ok(), "{outcome:?}");
    let theirs = deployment("acme", ours.artifact, "reused");
    assert!(ask(&sandboxes, action(&theirs, "act")).result.is_ok());
    sandboxes.release(held, true);
}

#[test]
fn idle_sandboxes_give_their_memory_back_and_large_ones_are_not_kept() {
    let sandboxes = small_pool(|config| config.idle_bytes_max = 15 << 20);
    let deployment = deploy(&sandboxes, &hungry_guest());
    assert!(ask(&sandboxes, action(&deployment, "act")).result.is_ok());
    assert_eq!(sandboxes.n_used(), 1);
    sandboxes.release_idle(Duration::ZERO);
    assert_eq!(sandboxes.n_used(), 0);
    for kept in [1, 0] {
        assert!(ask(&sandboxes, action(&deployment, "act")).result.is_ok());
        assert_eq!(sandboxes.n_used(), kept);
    }
}
