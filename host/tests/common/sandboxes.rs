//! Sandboxes for tests, and calls to put into them.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use xcomponent_core::{
    call::{Call, Deployment, Event, Failure, FaultCode, Outcome},
    definition::{MachineIdx, MethodKind, StateIdx, Strictness, check},
    id::{Digest, EventId, EventName, InstanceId, MethodName, TenantId},
    json::Json,
    time::Timestamp,
};
use xcomponent_host::{
    sandbox::{Checkout, Config, InstallError, Methods, Progress, Sandbox, Sandboxes},
    sent::Sent,
};

use crate::guests::digest;

/// The configuration of tests: the compiler is the program under test.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.compile.program = Some(PathBuf::from(env!("CARGO_BIN_EXE_xcomponent")));
    config
}

/// Sandboxes with that configuration.
pub(crate) fn sandboxes(config: Config) -> Sandboxes {
    Sandboxes::new(config).expect("the machine has room for the pool")
}

/// Sandboxes that several tests share.
pub(crate) fn shared() -> &'static Sandboxes {
    static SHARED: OnceLock<Sandboxes> = OnceLock::new();
    SHARED.get_or_init(|| sandboxes(config()))
}

/// Installs a component whatever its methods are.
pub(crate) fn install(sandboxes: &Sandboxes, component: &[u8]) -> Result<Methods, InstallError> {
    install_wanting(sandboxes, component, &[], true)
}

/// Installs a component that is to answer these methods.
pub(crate) fn install_wanting(
    sandboxes: &Sandboxes,
    component: &[u8],
    wanted: &[(MethodKind, MethodName)],
    allow_missing: bool,
) -> Result<Methods, InstallError> {
    run(async {
        let sent = Sent::Packed(component.to_vec().into());
        let examined = sandboxes.examine(sent, Strictness::Normal).await?;
        examined.install(wanted, allow_missing).await
    })
}

/// Installs a component that must be fine, and deploys it.
pub(crate) fn deploy(sandboxes: &Sandboxes, component: &[u8]) -> Arc<Deployment> {
    install(sandboxes, component).unwrap_or_else(|error| panic!("{error}"));
    deployment("default", digest(component), "reused")
}

/// A version of a component, as a tenant runs it.
pub(crate) fn deployment(tenant: &str, artifact: Digest, isolation: &str) -> Arc<Deployment> {
    let yaml = format!(
        "name: Shop\nversion: 1.2.3\nisolation: {isolation}\nstateMachines:\n  - name: Order\n    initialState: Created\n    \
         states: [{{name: Created}}, {{name: Paid, type: final}}]\n    transitions: [{{from: Created, to: Paid, event: PAY}}]\n"
    );
    let checked = check(&yaml, Strictness::Normal);
    let definition = checked
        .definition
        .unwrap_or_else(|| panic!("{:?}", checked.findings));
    Arc::new(Deployment {
        tenant: TenantId::new(tenant),
        definition,
        artifact,
    })
}

/// A call of an action.
pub(crate) fn action(deployment: &Arc<Deployment>, method: &str) -> Call {
    Call {
        deployment: Arc::clone(deployment),
        kind: MethodKind::Action,
        method: MethodName::new(method),
        instance: InstanceId::parse("order-1").expect("a legal id"),
        machine: MachineIdx(0),
        state: StateIdx(0),
        target: StateIdx(1),
        context: Json::empty(),
        created: Timestamp(1_000),
        seq: 3,
        event: Event {
            id: EventId::parse("pay-1").expect("a legal id"),
            name: EventName::new("PAY"),
            payload: Json::empty(),
            at: Timestamp(1_700_000_000_123),
        },
        attempt: 1,
        cause: None,
        trace_parent: None,
        sends: 0,
    }
}

/// A call of a guard.
pub(crate) fn guard(deployment: &Arc<Deployment>, method: &str) -> Call {
    Call {
        kind: MethodKind::Guard,
        ..action(deployment, method)
    }
}

/// One transition with one method: checkout, call, release.
pub(crate) fn ask(sandboxes: &Sandboxes, call: Call) -> Outcome {
    let sandbox = checkout(sandboxes, &call.deployment).expect("a sandbox is to be had");
    let (sandbox, outcome) = finish(sandbox.call(call));
    sandboxes.release(sandbox, outcome.result.is_ok());
    outcome
}

/// A sandbox, waited for if need be.
pub(crate) fn checkout(
    sandboxes: &Sandboxes,
    deployment: &Arc<Deployment>,
) -> Result<Box<Sandbox>, FaultCode> {
    let checkout = match sandboxes.checkout(deployment) {
        Checkout::Ready(sandbox) => Ok(sandbox),
        Checkout::Later(later) => run(later),
        Checkout::Unavailable(fault) => Err(fault),
    };
    checkout.map_err(|fault| fault.code)
}

/// The end of a call.
pub(crate) fn finish(progress: Progress) -> (Box<Sandbox>, Outcome) {
    match progress {
        Progress::Finished(sandbox, outcome) => (sandbox, outcome),
        Progress::Running(running) => run(running),
    }
}

/// What went wrong, and how it is told.
pub(crate) fn fault(outcome: &Outcome) -> (FaultCode, &str) {
    match &outcome.result {
        Err(Failure::Fault(fault)) => (fault.code, &fault.message),
        other => panic!("expected a fault, got {other:?}"),
    }
}

/// Drives a future to its end on this thread.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime on this thread").block_on(future)
}
