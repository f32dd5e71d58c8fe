//! Calls that gave their thread back: how many go on at one time.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures_util::future::BoxFuture;
use xcomponent_core::call::{FaultCode, Outcome};
use xcomponent_host::sandbox::{Progress, Sandbox, Sandboxes};

use crate::{
    guests::{Text, text_guest},
    sandboxes::{action, checkout, config, deploy, deployment, fault, run, sandboxes},
};

type Running = BoxFuture<'static, (Box<Sandbox>, Outcome)>;

/// Never answers.
const SPINNING: Text<'static> = Text {
    imports: "",
    answer: "(loop (br 0)) unreachable",
    rest: "",
};

fn narrow() -> Sandboxes {
    let mut config = config();
    config.slow_lane_per_component_max = 1;
    config.slow_lane_per_tenant_max = 1;
    config.slow_lane_waits_max = 1;
    sandboxes(config)
}

fn spinning(sandboxes: &Sandboxes, tenant: &str) -> Running {
    let artifact = deploy(sandboxes, &text_guest(&SPINNING)).artifact;
    let deployment = deployment(tenant, artifact, "reused");
    let sandbox = checkout(sandboxes, &deployment).unwrap();
    match sandbox.call(action(&deployment, "act")) {
        Progress::Running(running) => running,
        Progress::Finished(_, outcome) => panic!("{outcome:?}"),
    }
}

fn poll(running: &mut Running) -> Option<Outcome> {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(running).poll(&mut cx) {
        Poll::Ready((_, outcome)) => Some(outcome),
        Poll::Pending => None,
    }
}

#[test]
fn one_component_has_its_places_and_no_more_may_wait_for_them() {
    let sandboxes = narrow();
    let [mut first, mut second, mut third] = [(); 3].map(|()| spinning(&sandboxes, "default"));
    assert_eq!([poll(&mut first), poll(&mut second)], [None, None]);
    let refused = poll(&mut third).expect("there is no place to wait");
    assert_eq!(fault(&refused).0, FaultCode::Unavailable);
    for spinning in [first, second] {
        assert_eq!(fault(&run(spinning).1).0, FaultCode::Fuel);
    }
}

#[test]
fn a_call_that_is_given_up_leaves_its_place() {
    let sandboxes = narrow();
    let mut first = spinning(&sandboxes, "default");
    assert_eq!(poll(&mut first), None);
    drop(first);
    assert_eq!(
        fault(&run(spinning(&sandboxes, "default")).1).0,
        FaultCode::Fuel
    );
    assert_eq!(sandboxes.n_used(), 0);
}

#[test]
fn a_tenant_that_loops_takes_no_place_from_another() {
    let sandboxes = narrow();
    let mut ours = spinning(&sandboxes, "default");
    assert_eq!(poll(&mut ours), None);
    let theirs = run(spinning(&sandboxes, "acme"));
    assert_eq!(fault(&theirs.1).0, FaultCode::Fuel);
}
