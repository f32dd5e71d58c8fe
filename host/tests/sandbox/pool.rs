//! Who gets which sandbox.

use std::sync::Arc;

use xcomponent_core::{
    call::{Answer, Deployment, FaultCode},
    id::TenantId,
};
use xcomponent_host::sandbox::{Checkout, Config, Sandboxes};

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
