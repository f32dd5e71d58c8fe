//! What the removal of history does to events meanwhile.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use rusqlite::{Connection, OpenFlags};
use xcomponent_core::{id::InstanceId, time::Duration};
use xcomponent_host::store::retention::Retention;

use crate::{
    ROUNDS, components, durable, host,
    http::{Served, event},
    load::{Load, Loaded},
    note,
    report::{Rounds, number, percentile},
};

/// Instances that take turns.
const INSTANCES: usize = 1_000;
/// Records that there are to be removed: more than is removed in a round.
const HISTORY: u32 = 1_000_000;
/// Connections of the callers.
const CONNECTIONS: usize = 16;
/// Length of a round.
const SECONDS: f64 = 5.0;
/// What every event is.
const ADD: &str = r#"{"event":"ADD","payload":{"quantity":1.5}}"#;

/// `retention_ratio`: the 99th percentile of events on SQLite while a history of a million records
/// is removed as fast as it is, against the same without, at half of what the host can do.
pub(crate) fn ratio() -> anyhow::Result<Vec<Rounds>> {
    let full = durable::folder()?;
    let orders = fill(full.path())?;
    let everything = Retention::default();
    let nothing = Retention {
        age: None,
        records: Some(0),
    };
    let (maximum, _) = round(full.path(), &orders, None, everything)?;
    let rate = Some(maximum.rate() / 2.0);
    let (mut ratios, mut without) = (Rounds::new(), Rounds::new());
    let (mut beside, mut speeds) = (Rounds::new(), Rounds::new());
    for _ in 0..ROUNDS {
        let (quiet, _) = round(full.path(), &orders, rate, everything)?;
        let (disturbed, removed) = round(full.path(), &orders, rate, nothing)?;
        without.push(quiet.p99_ms);
        beside.push(disturbed.p99_ms);
        speeds.push(removed / SECONDS);
        ratios.push(disturbed.p99_ms / quiet.p99_ms);
    }
    note(&format!(
        "   at {} events/s, half of the maximum: p99 {} ms, {} ms beside {} removals/s",
        number(maximum.rate() / 2.0),
        number(percentile(&mut without, 0.5)),
        number(percentile(&mut beside, 0.5)),
        number(percentile(&mut speeds, 0.5)),
    ));
    Ok(vec![ratios])
}

/// Makes a database with a long history.
fn fill(folder: &Path) -> anyhow::Result<Vec<InstanceId>> {
    durable::runtime()?.block_on(async {
        let host = durable::start(folder).await?;
        let bench = components::upload(host.registry(), components::guest("bench")?).await?;
        let name = &bench.definition.name;
        let ids = components::create(host.handle(), name, "Order", INSTANCES).await?;
        host::send_all(&host, &ids, "ADD", r#"{"quantity":1.5}"#, HISTORY as usize).await?;
        host.shutdown(durable::END).await;
        Ok(ids)
    })
}

/// Sends events to a host on a copy of a database; how many records it removed.
#[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52")]
fn round(
    full: &Path,
    orders: &[InstanceId],
    rate: Option<f64>,
    retention: Retention,
) -> anyhow::Result<(Loaded, f64)> {
    let folder = durable::folder()?;
    let database = folder.path().join("host.db");
    fs::copy(full.join("host.db"), &database).context("copying a database")?;
    // Or the disk is busy with the copy when the events come.
    fs::File::open(&database)?.sync_all()?;
    let served = Served::start(|config| {
        durable::keep_in(config, folder.path());
        config.sandbox.cache_dir = Some(full.join("cache"));
        config.limits.dedup_retention = Duration(1_000);
        config.retention = retention;
    })?;
    let load = Load {
        address: served.address,
        connections: CONNECTIONS,
        seconds: SECONDS,
        rate,
        status: 200,
        requests: orders.iter().map(|id| event(id, ADD)).collect(),
    };
    let loaded = load.start()?.wait()?;
    let reader = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let question = "SELECT complete_after, (SELECT count(*) FROM events WHERE position <= ?1)
        FROM retention";
    let (removed, left): (i64, i64) =
        reader.query_row(question, [HISTORY], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if !retention.is_everything() {
        ensure!(removed > 0, "nothing was removed");
        ensure!(left > 0, "everything was removed before the round ended");
    }
    Ok((loaded, removed as f64))
}
