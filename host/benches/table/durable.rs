//! A host that keeps its state in SQLite, on the disk that the machine has.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};
use xcomponent_core::{
    id::{EventName, TenantId},
    input::Request,
    json::Json,
};
use xcomponent_host::app::{Config, Host, StoreConfig};

use crate::{
    ROUNDS, components,
    engine::send,
    host, http, note,
    report::{Rounds, number, percentile},
};

/// What a measured host does with each event.
const ADD: (&str, &str) = ("ADD", r#"{"quantity":1.5}"#);
/// Lone events of one round.
const LONE: usize = 200;
/// Events whose room on the disk is measured.
const HISTORY: usize = 200_000;
/// Instances that a host finds when it starts.
const INSTANCES: usize = 1_000_000;
/// How long a host may take to end.
pub(crate) const END: Duration = Duration::from_secs(60);

/// `durable_sqlite`
pub(crate) fn sqlite() -> anyhow::Result<Vec<Rounds>> {
    let folder = folder()?;
    let bench = components::guest("bench")?;
    host::rounds(&bench, ADD.0, ADD.1, 500_000, |config| {
        keep_in(config, folder.path());
    })
}

/// `durable_http_64`
pub(crate) fn sixty_four() -> anyhow::Result<Vec<Rounds>> {
    let folder = folder()?;
    http::connections(64, |config| keep_in(config, folder.path()))
}

/// `durable_lone`: one event after the other, less what the disk takes to have a page for good.
pub(crate) fn lone() -> anyhow::Result<Vec<Rounds>> {
    let folder = folder()?;
    let (mut rounds, mut disk) = (Rounds::new(), Rounds::new());
    runtime()?.block_on(async {
        let host = start(folder.path()).await?;
        let bench = components::upload(host.registry(), components::guest("bench")?).await?;
        let name = &bench.definition.name;
        let ids = components::create(host.handle(), name, "Order", 1).await?;
        let tenant = TenantId::default_tenant();
        let (event, payload) = (EventName::new(ADD.0), Json::from_trusted(ADD.1));
        // One more, to warm up.
        for _ in 0..=ROUNDS {
            let (mut waits, mut syncs) = (Vec::new(), syncs(folder.path())?);
            for _ in 0..LONE {
                let began = Instant::now();
                let request = Request::Send(send(&ids[0], &event, &payload));
                let reply = host.handle().request(&tenant, request).await;
                waits.push(began.elapsed().as_secs_f64() * 1e6);
                ensure!(host::is_transition(&reply), "the event took no transition");
            }
            let sync = percentile(&mut syncs, 0.5);
            rounds.push(percentile(&mut waits, 0.5) - sync);
            disk.push(sync);
        }
        host.shutdown(END).await;
        anyhow::Ok(())
    })?;
    rounds.remove(0);
    note(&format!(
        "   the disk takes {} µs to have a page for good",
        number(percentile(&mut disk, 0.5))
    ));
    Ok(vec![rounds])
}

/// How long the disk takes to have a page for good, in µs, so many times.
fn syncs(folder: &Path) -> anyhow::Result<Vec<f64>> {
    let mut file = File::create(folder.join("page")).context("writing to the disk")?;
    let mut syncs = Vec::new();
    for _ in 0..LONE {
        file.write_all(&[7; 4_096])?;
        let began = Instant::now();
        file.sync_data()?;
        syncs.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(syncs)
}

/// `bytes_per_event`: growth of the database by events with a context of five fields.
#[expect(clippy::cast_precision_loss, reason = "files are far below 2^52 bytes")]
pub(crate) fn bytes_per_event() -> anyhow::Result<Vec<Rounds>> {
    let mut rounds = Rounds::new();
    for _ in 0..ROUNDS {
        let folder = folder()?;
        let size = || -> anyhow::Result<u64> {
            Ok(std::fs::metadata(folder.path().join("host.db"))?.len())
        };
        let before = runtime()?.block_on(async {
            let host = start(folder.path()).await?;
            let bench = components::upload(host.registry(), components::guest("bench")?).await?;
            let name = &bench.definition.name;
            components::create(host.handle(), name, "Order", 1_000).await?;
            host.shutdown(END).await;
            size()
        })?;
        runtime()?.block_on(async {
            let host = start(folder.path()).await?;
            let ids = host::instances(&host).await?;
            host::send_all(&host, &ids, ADD.0, ADD.1, HISTORY).await?;
            host.shutdown(END).await;
            anyhow::Ok(())
        })?;
        rounds.push((size()? - before) as f64 / HISTORY as f64);
    }
    Ok(vec![rounds])
}

/// `recover_1m`: from the start of a host until it has a million instances, in seconds.
pub(crate) fn recovery() -> anyhow::Result<Vec<Rounds>> {
    let folder = folder()?;
    runtime()?.block_on(async {
        let host = start(folder.path()).await?;
        let bench = components::upload(host.registry(), components::guest("bench")?).await?;
        let name = &bench.definition.name;
        components::create(host.handle(), name, "Order", INSTANCES).await?;
        host.shutdown(END).await;
        anyhow::Ok(())
    })?;
    let mut rounds = Rounds::new();
    for _ in 0..ROUNDS {
        runtime()?.block_on(async {
            let began = Instant::now();
            let host = start(folder.path()).await?;
            // A request is answered when what came before it has been taken in.
            let live = host::live(&host).await;
            rounds.push(began.elapsed().as_secs_f64());
            ensure!(live == INSTANCES, "{live} instances came back");
            host.shutdown(END).await;
            anyhow::Ok(())
        })?;
    }
    Ok(vec![rounds])
}

pub(crate) async fn start(folder: &Path) -> anyhow::Result<Host> {
    components::host(|config| keep_in(config, folder)).await
}

pub(crate) fn keep_in(config: &mut Config, folder: &Path) {
    config.store = StoreConfig::Sqlite(folder.join("host.db"));
    config.sandbox.cache_dir = Some(folder.join("cache"));
}

pub(crate) fn folder() -> anyhow::Result<TempDir> {
    tempfile::tempdir().context("making a folder")
}

pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Ok(runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
