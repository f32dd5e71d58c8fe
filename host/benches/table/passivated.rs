//! What instances cost that only the store has.

use std::time::{Duration, Instant};

use anyhow::ensure;
use xcomponent_core::time;
use xcomponent_host::app::Host;

use crate::{
    components, durable, host, idle,
    load::pause,
    note,
    report::{Rounds, number},
};

/// Instances that there are.
const INSTANCES: usize = 10_000_000;
/// Instances of these that are at work.
const ACTIVE: usize = 100_000;
/// Instances that are created before the next look at the memory.
const SLICE: usize = 500_000;
/// How long nothing happens to an instance before it leaves memory.
const IDLE: time::Duration = time::Duration(20_000);
/// How long it may take until all have left that are idle.
const PATIENCE: Duration = Duration::from_secs(300);

/// `passivated_10m`: resident memory of a host on SQLite with ten million instances, of which a
/// hundred thousand are at work, in GiB. One round, since it takes minutes.
#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
pub(crate) fn memory() -> anyhow::Result<Vec<Rounds>> {
    let folder = durable::folder()?;
    durable::runtime()?.block_on(async {
        let host = components::host(|config| {
            durable::keep_in(config, folder.path());
            config.limits.passivate_after = Some(IDLE);
        });
        let host = host.await?;
        let bench = components::upload(host.registry(), components::guest("bench")?).await?;
        let name = &bench.definition.name;
        let (began, mut active, mut peak) = (Instant::now(), Vec::new(), 0);
        for _ in 0..INSTANCES / SLICE {
            active = components::create(host.handle(), name, "Order", SLICE).await?;
            active.truncate(ACTIVE);
            peak = peak.max(idle::resident_bytes()?);
        }
        let created = began.elapsed().as_secs_f64();
        let began = Instant::now();
        while passive(&host) < INSTANCES - ACTIVE {
            ensure!(began.elapsed() < PATIENCE, "idle instances stay in memory");
            host::send_all(&host, &active, "NOOP", "{}", active.len()).await?;
            pause(Duration::from_millis(100));
        }
        let resident = idle::resident_bytes()?;
        let live = host::live(&host).await;
        ensure!(live >= ACTIVE, "{live} instances are in memory");
        note(&format!(
            "   created in {} s, with {} GiB at most; {} bytes for each instance",
            number(created),
            number(gib(peak)),
            number(resident as f64 / INSTANCES as f64),
        ));
        host.shutdown(durable::END).await;
        Ok(vec![vec![gib(resident)]])
    })
}

fn passive(host: &Host) -> usize {
    let shards = host.handle().gauges().shards;
    shards.iter().map(|shard| shard.passive).sum()
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn gib(bytes: usize) -> f64 {
    bytes as f64 / (1 << 30) as f64
}
