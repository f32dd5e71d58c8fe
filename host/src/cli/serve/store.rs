//! Where a host keeps things, as far as the command line says it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, anyhow};
use clap::Args;

use super::retain;
use crate::{
    app::StoreConfig,
    cli::{Failure, Result},
    store::retention::Retention,
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
    store: Option<Place>,
    /// A PostgreSQL server that follows the other, for the lists, histories and traces that people
    /// ask for: they may be a little behind then.
    #[arg(
        long,
        value_name = "URL",
        env = "XCOMPONENT_STORE_REPLICA",
        hide_env_values = true
    )]
    store_replica: Option<Url>,
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
            Some(Place::Memory) => StoreConfig::Memory,
            Some(Place::Sqlite(path)) => StoreConfig::Sqlite(path.clone()),
            Some(Place::Url(url)) => StoreConfig::Postgres {
                primary: url.target("--store")?,
                replica: match &self.store_replica {
                    Some(url) => Some(url.target("--store-replica")?),
                    None => None,
                },
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

/// A kind of store, and where it is.
#[derive(Clone, Debug)]
enum Place {
    Memory,
    Sqlite(PathBuf),
    Url(Url),
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            // Judged later: who judges here is shown with what was judged, and that may be secret.
            Some((_, rest)) if rest.starts_with("//") => Ok(Self::Url(Url(text.to_owned()))),
            _ => Err("expected `memory`, `sqlite:PATH` or `postgres://…`"),
        }
    }
}

/// A URL that may have a password in it, and is never shown.
#[derive(Clone)]
pub(super) struct Url(String);

impl Url {
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    fn target(&self, option: &str) -> Result<crate::store::postgres::Target> {
        let target = self.0.parse();
        let target = target.with_context(|| format!("`{option}` names no database"));
        target.map_err(Failure::Misuse)
    }
}

impl FromStr for Url {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL")
    }
}
