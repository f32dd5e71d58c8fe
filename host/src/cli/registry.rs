//! `xcomponent registry`: which hosts have found each other, and who has which component.

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Failure, Result, Verdict, printer::Printer, table, trust::Trust};
use crate::{
    address::Address,
    bus::{
        self,
        registry::{
            self, Catalog,
            record::{HostRecord, Listed},
        },
    },
};

/// How long a registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks a registry that hosts share.
#[derive(Debug, Args)]
pub(super) struct Registry {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    List(List),
}

/// Lists every component, its host and its version, then the hosts that wait.
#[derive(Debug, Args)]
struct List {
    /// The registry: `redis://HOST`, `nats://HOST` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    #[arg(
        long,
        value_name = "URL",
        env = "XCOMPONENT_REGISTRY",
        hide_env_values = true
    )]
    registry: Address,
    #[command(flatten)]
    trust: Trust,
}

impl Registry {
    pub(super) fn run(self, printer: &Printer) -> Result {
        match self.question {
            Question::List(list) => list.run(printer),
        }
    }
}

impl List {
    fn run(self, printer: &Printer) -> Result {
        let catalog = registry::open(&self.registry, &self.trust.authorities()?);
        let catalog = catalog.map_err(|error| Failure::Misuse(error.into()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("making a thread's worth of input and output")?;
        let (components, idle) = runtime.block_on(read(&*catalog))?;
        let now = bus::now().0;
        if printer.is_json() {
            printer.json(&json!({
                "components": components.iter().map(|one| component_json(one, now)).collect::<Vec<_>>(),
                "hosts": idle.iter().map(|host| host_json(host, now)).collect::<Vec<_>>(),
            }));
            return Ok(Verdict::Done);
        }
        let rows = components.iter().map(|one| component_row(one, now));
        let rows: Vec<_> = rows
            .chain(idle.iter().map(|host| host_row(host, now)))
            .collect();
        for line in table::lines(&rows) {
            printer.line(line);
        }
        if rows.is_empty() {
            printer.note("no host has announced itself");
        }
        Ok(Verdict::Done)
    }
}

async fn read(catalog: &dyn Catalog) -> Result<(Vec<Listed>, Vec<HostRecord>)> {
    let asked = tokio::time::timeout(PATIENCE, registry::list(catalog)).await;
    let asked = asked.with_context(|| format!("no answer within {} s", PATIENCE.as_secs()))?;
    Ok(asked.context("asking the registry")?)
}

fn component_row(one: &Listed, now: u64) -> [String; 6] {
    let record = &one.record;
    let [address, standing, load, seen] = match &one.host {
        Some(host) => described(host, now),
        None => ["-", "left", "", ""].map(str::to_owned),
    };
    let version = record.version.clone();
    [
        record.component.clone(),
        version,
        address,
        standing,
        load,
        seen,
    ]
}

fn host_row(host: &HostRecord, now: u64) -> [String; 6] {
    let [address, standing, load, seen] = described(host, now);
    [
        "-".to_owned(),
        "-".to_owned(),
        address,
        standing,
        load,
        seen,
    ]
}

/// Where it is, how it stands, what it has to do, and when it was last seen.
fn described(host: &HostRecord, now: u64) -> [String; 4] {
    let ago = now.saturating_sub(host.seen_at);
    let load = match host.standby {
        true => String::new(),
        false => format!(
            "{} instances, {} queued",
            host.load.instances, host.load.queued
        ),
    };
    let seen = format!("{}.{} s ago", ago / 1_000, ago % 1_000 / 100);
    [
        host.address.clone(),
        standing(host, now).to_owned(),
        load,
        seen,
    ]
}

/// How a host stands, as far as its own clock and this one's agree.
fn standing(host: &HostRecord, now: u64) -> &'static str {
    let is_late = now.saturating_sub(host.seen_at) > host.lease_ms;
    match (host.standby, is_late) {
        (_, true) => "silent",
        (true, false) => "standby",
        (false, false) => "owner",
    }
}

fn component_json(one: &Listed, now: u64) -> Value {
    json!({
        "tenant": one.record.tenant,
        "component": one.record.component,
        "version": one.record.version,
        "host": one.host.as_ref().map(|host| host_json(host, now)),
    })
}

fn host_json(host: &HostRecord, now: u64) -> Value {
    json!({
        "id": host.id,
        "address": host.address,
        "standing": standing(host, now),
        "seen_ms_ago": now.saturating_sub(host.seen_at),
        "lease_ms": host.lease_ms,
        "instances": host.load.instances,
        "queued": host.load.queued,
        "release": host.release,
    })
}
