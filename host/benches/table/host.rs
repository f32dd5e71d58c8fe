//! A host in process, two shards, on the memory store: from a batch of requests to its answers,
//! each durable.

use std::{collections::VecDeque, time::Instant};

use anyhow::ensure;
use tokio::runtime;
use xcomponent_core::{
    effect::Reply,
    id::{EventName, InstanceId, TenantId},
    input::Request,
    json::Json,
    record::Disposition,
};
use xcomponent_host::{
    app::{Config, Host},
    driver::{InstanceFilter, PageRequest},
};

use crate::{
    ROUNDS, components,
    engine::send,
    report::{Rounds, cores, rate},
};

/// Instances that take turns.
const INSTANCES: usize = 10_000;
/// Requests of one batch.
const BATCH: usize = 2_048;
/// Batches that are on their way at a time, so that shards wait neither for the caller nor for what
/// is being committed.
const AHEAD: usize = 16;

/// `host_2s`
pub(crate) fn without_methods() -> anyhow::Result<Vec<Rounds>> {
    rounds(
        &components::guest("bench")?,
        "NOOP",
        "{}",
        4_800_000,
        |_| (),
    )
}

/// `host_2s_action`
pub(crate) fn with_an_action() -> anyhow::Result<Vec<Rounds>> {
    rounds(
        &components::guest("bench")?,
        "ADD",
        r#"{"quantity":1.5}"#,
        1_000_000,
        |_| (),
    )
}

/// `fresh_action`: what the host does with all its cores, for one of them.
#[expect(clippy::cast_precision_loss, reason = "there are few cores")]
pub(crate) fn with_fresh_sandboxes() -> anyhow::Result<Vec<Rounds>> {
    let fresh = components::redefined(&components::guest("bench")?, |definition| {
        format!("isolation: fresh\n{definition}")
    })?;
    let rounds = rounds(&fresh, "ADD", r#"{"quantity":1.5}"#, 200_000, |_| ())?;
    let per_core = |round: f64| round / cores().min(2) as f64;
    Ok(rounds
        .into_iter()
        .map(|row| row.into_iter().map(per_core).collect())
        .collect())
}

/// So many events in each round, on a host that may be set up otherwise.
pub(crate) fn rounds(
    component: &[u8],
    event: &str,
    payload: &str,
    events: usize,
    edit: impl FnOnce(&mut Config),
) -> anyhow::Result<Vec<Rounds>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let host = components::host(edit).await?;
        let deployment = components::upload(host.registry(), component.to_vec()).await?;
        let component = &deployment.definition.name;
        let ids = components::create(host.handle(), component, "Order", INSTANCES).await?;
        let mut rounds = Vec::new();
        // One more, to fill the history.
        for _ in 0..=ROUNDS {
            let began = Instant::now();
            send_all(&host, &ids, event, payload, events).await?;
            rounds.push(rate(events, began.elapsed().as_secs_f64()));
        }
        rounds.remove(0);
        Ok(vec![rounds])
    })
}

/// Sends so many events, a few batches ahead of the answers.
pub(crate) async fn send_all(
    host: &Host,
    ids: &[InstanceId],
    event: &str,
    payload: &str,
    events: usize,
) -> anyhow::Result<()> {
    let tenant = TenantId::default_tenant();
    let mut ids = ids.iter().cycle();
    let mut pending = VecDeque::new();
    let mut sent = 0;
    while sent < events || !pending.is_empty() {
        if sent < events && pending.len() < AHEAD {
            let requests: Vec<Request> = ids
                .by_ref()
                .take(BATCH.min(events - sent))
                .map(|id| {
                    // Each event has its own name and payload, as events from outside have.
                    let (event, payload) = (EventName::new(event), Json::from_trusted(payload));
                    Request::Send(send(id, &event, &payload))
                })
                .collect();
            sent += requests.len();
            pending.push_back(host.handle().submit_batch(&tenant, requests));
        } else if let Some(batch) = pending.pop_front() {
            let taken = batch.await.iter().all(is_transition);
            ensure!(taken, "an event took no transition");
        }
    }
    Ok(())
}

/// Whether an event took a transition.
pub(crate) fn is_transition(reply: &Reply) -> bool {
    matches!(reply, Reply::Handled(handled) if handled.disposition == Disposition::Transitioned)
}

/// The instances of a host that has few.
pub(crate) async fn instances(host: &Host) -> anyhow::Result<Vec<InstanceId>> {
    let tenant = TenantId::default_tenant();
    let page = PageRequest::first(1_000);
    let filter = InstanceFilter::default();
    let found = host.handle().instances(&tenant, filter, page).await?;
    Ok(found.items.into_iter().map(|found| found.id).collect())
}

/// How many instances the engines have when they have looked at everything.
pub(crate) async fn live(host: &Host) -> usize {
    host.handle().quiet(&TenantId::default_tenant()).await;
    let shards = host.handle().gauges().shards;
    shards.iter().map(|shard| shard.live).sum()
}
