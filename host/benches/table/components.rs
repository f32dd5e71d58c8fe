//! The guests that are measured, and hosts that have them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use xcomponent_core::{
    call::Deployment,
    definition::{Strictness, check},
    effect::Reply,
    id::{ComponentName, Digest, InstanceId, MachineName, TenantId},
    input::{Create, Repeatable, Request},
    json::Json,
};
use xcomponent_host::{
    app::{Config, Host},
    driver::Handle,
    sandbox::{self, CompileConfig},
    sent::Sent,
    tenancy::{Activation, Registry, Switch, Upload},
};
use xcomponent_pack::{Metadata, pack, read};

/// History a measured host keeps. It is full after the first round, so that what is measured is a
/// host that has run for a while: each record it keeps takes the place of an older one.
const HISTORY_BYTES_MAX: usize = 256 << 20;

/// A packed guest of `components/`.
pub(crate) fn guest(name: &str) -> anyhow::Result<Vec<u8>> {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests");
    let folder = std::env::var_os("XCOMPONENT_GUESTS").map_or_else(built, PathBuf::from);
    let path = folder.join(format!("{name}.wasm"));
    std::fs::read(&path).with_context(|| {
        format!(
            "reading {}; build it with `cargo xtask guests`",
            path.display()
        )
    })
}

/// The same code with another definition.
pub(crate) fn redefined(
    component: &[u8],
    edit: impl FnOnce(&str) -> String,
) -> anyhow::Result<Vec<u8>> {
    let packed = read(component)?;
    let definition = edit(&packed.definition);
    Ok(pack(
        component,
        &definition,
        &Metadata::default(),
        &packed.methods,
    )?)
}

/// The sandboxes of a measured host: compiled by the real binary, since a bench is no compiler.
pub(crate) fn sandboxes() -> sandbox::Config {
    sandbox::Config {
        compile: CompileConfig {
            program: Some(env!("CARGO_BIN_EXE_xcomponent").into()),
            ..CompileConfig::default()
        },
        ..sandbox::Config::default()
    }
}

/// A host with two shards, on the memory store where nothing else is said.
pub(crate) async fn host(edit: impl FnOnce(&mut Config)) -> anyhow::Result<Host> {
    let mut config = Config {
        shards: 2,
        sandbox: sandboxes(),
        history_bytes_max: HISTORY_BYTES_MAX,
        ..Config::default()
    };
    edit(&mut config);
    Ok(Host::start(config).await?)
}

/// Gives a host a component.
pub(crate) async fn upload(
    registry: &Registry,
    component: Vec<u8>,
) -> anyhow::Result<Arc<Deployment>> {
    let upload = Upload {
        name: None,
        sent: Sent::Packed(component.into()),
        switch: Switch::default(),
        activation: Activation::default(),
        dry_run: false,
        leniency: None,
    };
    let tenant = TenantId::default_tenant();
    Ok(registry.upload(&tenant, upload).await?.deployment)
}

/// A definition without sandboxes behind it.
pub(crate) fn deployment(yaml: &str) -> anyhow::Result<Arc<Deployment>> {
    let checked = check(yaml, Strictness::default());
    let Some(definition) = checked.definition else {
        bail!("the definition has mistakes: {:?}", checked.findings);
    };
    Ok(Arc::new(Deployment {
        tenant: TenantId::default_tenant(),
        definition,
        artifact: Digest([0; 32]),
    }))
}

/// The context of five fields of the `n`th order.
pub(crate) fn order(n: usize) -> Json {
    Json::from_trusted(format!(
        r#"{{"orderId":"ORD-{n:07}","total":1000000.5,"executed":0.0,"customer":"ACME Industries","tier":"gold"}}"#
    ))
}

/// The creation of the `n`th order.
pub(crate) fn creation(
    component: &ComponentName,
    machine: &MachineName,
    id: InstanceId,
    n: usize,
) -> Request {
    Request::Create(Create {
        component: component.clone(),
        machine: machine.clone(),
        context: order(n),
        id,
        repeatable: Repeatable::No,
        entry_point: false,
        trace_parent: None,
    })
}

/// Creates so many instances, each with an order as its context.
pub(crate) async fn create(
    handle: &Handle,
    component: &ComponentName,
    machine: &str,
    count: usize,
) -> anyhow::Result<Vec<InstanceId>> {
    const SLICE: usize = 8_192;
    let machine = MachineName::new(machine);
    let tenant = TenantId::default_tenant();
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let numbers = ids.len()..count.min(ids.len() + SLICE);
        let requests = numbers.map(|n| {
            let id = handle.new_instance_id(None);
            ids.push(id.clone());
            creation(component, &machine, id, n)
        });
        let replies = handle.request_batch(&tenant, requests.collect()).await;
        let refused = replies
            .iter()
            .find(|reply| !matches!(reply, Reply::Created { .. }));
        ensure!(refused.is_none(), "not created: {refused:?}");
    }
    Ok(ids)
}
