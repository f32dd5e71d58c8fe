//! What an instance costs that waits for its next event.

use std::{fs, time::Duration};

use anyhow::{Context, ensure};
use tokio::runtime;
use xcomponent_core::{id::TenantId, input::Request};
use xcomponent_host::app::{Config, Host};

use crate::{ROUNDS, components, load::pause, report::Rounds};

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
            rest(&host).await?;
            let before = resident_bytes()?;
            let component = &deployment.definition.name;
            components::create(host.handle(), component, "Order", INSTANCES).await?;
            rest(&host).await?;
            let after = resident_bytes()?;
            rounds.push((after - before) as f64 / INSTANCES as f64);
            host.shutdown(Duration::from_secs(10)).await;
            anyhow::Ok(())
        })?;
    }
    Ok(vec![rounds])
}

/// Waits until the allocator has given back what growing tables left behind: it does so a second
/// later, when it is asked for something.
async fn rest(host: &Host) -> anyhow::Result<()> {
    for _ in 0..2 {
        pause(Duration::from_millis(1_200));
        let unknown = |_| {
            let instance = host.handle().new_instance_id(None);
            Request::Read { instance }
        };
        let requests = (0..1_000).map(unknown).collect();
        let tenant = TenantId::default_tenant();
        let replies = host.handle().request_batch(&tenant, requests).await;
        ensure!(replies.len() == 1_000, "every request is answered");
    }
    Ok(())
}

fn resident_bytes() -> anyhow::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = resident.and_then(|text| text.trim().strip_suffix(" kB"));
    let kibibytes: usize = kibibytes
        .context("a process has resident memory")?
        .parse()?;
    Ok(kibibytes << 10)
}
