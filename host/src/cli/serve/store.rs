//! Where a host keeps things, as far as the command line says it.

use std::path::Path;

use anyhow::{Context, anyhow};
use clap::Args;

use super::retain;
use crate::{
    address::Address,
    app::StoreConfig,
    cli::{Failure, Result},
    store::{postgres::Target, retention::Retention},
};

/// Where components, instances and their history are kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub(super) struct Store {
    /// Where components, instances and their history are kept: `sqlite:PATH`,
    /// `postgres://USER:PASSWORD@HOST/DATABASE?schema=NAME`, or `memory`, which is gone when the
    /// host ends; `host.db` in the data folder where absent.
    #[arg(
        long,
        value_name = "STORE",
        env = "XCOMPONENT_STORE",
        hide_env_values = true
    )]
    store: Option<Address>,
    /// A PostgreSQL server that follows the other, for the lists, histories and traces that people
    /// ask for: they may be a little behind then.
    #[arg(
        long,
        value_name = "URL",
        env = "XCOMPONENT_STORE_REPLICA",
        hide_env_values = true
    )]
    store_replica: Option<Address>,
    /// Takes the store as it is, although it is empty, older, or another than the one that the data
    /// folder was used with. Without this, such a store is refused.
    #[arg(long)]
    pub(super) new: bool,
    /// Records of an instance after which its row in the database is written.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) snapshot_interval: u64,
    /// How much history is kept: an age as in `90d`, a number of records, or both as in
    /// `90d,10000000`; beyond the number, finished instances go first. Where absent, all of it.
    #[arg(long, value_name = "AGE,RECORDS", value_parser = retain::parse)]
    pub(super) retain: Option<Retention>,
}

impl Store {
    /// What the host is told; `data` is its folder.
    pub(super) fn config(&self, data: &Path) -> Result<StoreConfig> {
        let config = match &self.store {
            None => StoreConfig::Sqlite(data.join("host.db")),
            Some(place) => match place.exposed().split_once(':') {
                None if place.exposed() == "memory" => StoreConfig::Memory,
                Some(("sqlite", path)) if !path.is_empty() => StoreConfig::Sqlite(path.into()),
                Some((_, rest)) if rest.starts_with("//") => StoreConfig::Postgres {
                    primary: target(place, "--store")?,
                    replica: match &self.store_replica {
                        Some(url) => Some(target(url, "--store-replica")?),
                        None => None,
                    },
                },
                // What was given is not shown: there may be a password in it.
                _ => {
                    return Err(Failure::Misuse(anyhow!(
                        "invalid value for `--store`: expected `memory`, `sqlite:PATH` or \
                         `postgres://…`"
                    )));
                }
            },
        };
        if self.store_replica.is_some() && !matches!(config, StoreConfig::Postgres { .. }) {
            return Err(Failure::Misuse(anyhow!(
                "`--store-replica` goes with `--store postgres://…`"
            )));
        }
        Ok(config)
    }
}

fn target(url: &Address, option: &str) -> Result<Target> {
    let target = url.exposed().parse();
    let target = target.with_context(|| format!("`{option}` names no database"));
    target.map_err(Failure::Misuse)
}
