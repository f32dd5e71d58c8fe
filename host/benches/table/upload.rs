//! From the bytes of a component to its first answer.

use std::time::Instant;

use anyhow::ensure;
use tokio::runtime;
use xcomponent_core::{
    effect::Reply,
    id::{EventName, MachineName, TenantId},
    input::Request,
    json::Json,
    record::Disposition,
};

use crate::{ROUNDS, components, engine::send, report::Rounds};

/// `upload_ms`: every round on a host that has never seen the component, so that it is compiled.
pub(crate) fn to_first_answer() -> anyhow::Result<Vec<Rounds>> {
    let runtime = runtime::Runtime::new()?;
    let mut rounds = Rounds::new();
    for _ in 0..ROUNDS {
        runtime.block_on(async {
            let host = components::host(|_| ()).await?;
            let component = components::guest("order")?;
            let began = Instant::now();
            let deployment = components::upload(host.registry(), component).await?;
            let (handle, tenant) = (host.handle(), TenantId::default_tenant());
            let id = handle.new_instance_id(None);
            let name = &deployment.definition.name;
            let mut creation = components::creation(name, &MachineName::new("Order"), id.clone(), 1);
            if let Request::Create(create) = &mut creation {
                create.context = Json::from_trusted(r#"{"orderId":"ORD-1","amount":12.5}"#);
            }
            let created = handle.request(&tenant, creation).await;
            ensure!(matches!(created, Reply::Created { .. }), "not created: {created:?}");
            // Its guard is asked: the sandbox is started too.
            let submit = send(&id, &EventName::new("SUBMIT"), &Json::empty());
            let answer = handle.request(&tenant, Request::Send(submit)).await;
            ensure!(
                matches!(&answer, Reply::Handled(handled) if handled.disposition == Disposition::Transitioned),
                "no transition: {answer:?}"
            );
            rounds.push(began.elapsed().as_secs_f64() * 1e3);
            anyhow::Ok(())
        })?;
    }
    Ok(vec![rounds])
}
