//! What an instance costs that waits for its next event.

use std::{fs, time::Duration};

use anyhow::{Context, ensure};
use tokio::runtime;
use xcomponent_core::{
    id::{EventName, InstanceId, TenantId},
    input::Request,
    json::Json,
};
use xcomponent_host::app::{Config, Host};

use crate::{ROUNDS, components, engine::send, load::pause, report::Rounds};

/// Instances alive at the same time.
const INSTANCES: usize = 1_000_000;

/// `idle_bytes`: resident memory of the whole process, engines and store with the history of each
/// instance, before and after a million creations.
#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
pub(crate) fn bytes() -> anyhow::Result<Vec<Rounds>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut rounds = Rounds::new();
    for _ in 0..ROUNDS {
        runtime.block_on(async {
            let history_bytes_max = Config::default().history_bytes_max;
            let host = components::host(|config| config.history_bytes_max = history_bytes_max);
            let host = host.await?;
            let bench = components::guest("bench")?;
            let deployment = components::upload(host.registry(), bench).await?;
            rest(&host, &[]).await?;
            let before = resident_bytes()?;
            let component = &deployment.definition.name;
            let ids = components::create(host.handle(), component, "Order", INSTANCES).await?;
            let some = ids[..5_000].to_vec();
            drop(ids);
            rest(&host, &some).await?;
            let after = resident_bytes()?;
            rounds.push((after - before) as f64 / INSTANCES as f64);
            host.shutdown(Duration::from_secs(10)).await;
            anyhow::Ok(())
        })?;
    }
    Ok(vec![rounds])
}

/// Waits until the allocator has given back what growing tables and forgotten history left behind:
/// it does so a second later, when a shard asks for something of that kind again.
async fn rest(host: &Host, ids: &[InstanceId]) -> anyhow::Result<()> {
    let (event, payload) = (EventName::new("NOOP"), Json::empty());
    for _ in 0..2 {
        pause(Duration::from_millis(1_200));
        let unknown = |_| {
            let instance = host.handle().new_instance_id(None);
            Request::Read { instance }
        };
        let sent = ids
            .iter()
            .map(|id| Request::Send(send(id, &event, &payload)));
        let requests: Vec<_> = (0..1_000).map(unknown).chain(sent).collect();
        let tenant = TenantId::default_tenant();
        let asked = requests.len();
        let replies = host.handle().request_batch(&tenant, requests).await;
        ensure!(replies.len() == asked, "every request is answered");
    }
    Ok(())
}

/// Resident memory of this process.
pub(crate) fn resident_bytes() -> anyhow::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.and_then(|text| text.trim().strip_suffix(" kB"));
    let kibibytes: usize = kibibytes
        .context("a process has resident memory")?
        .parse()?;
    Ok(kibibytes << 10)
}
