//! The cache, as far as the command line names one.

use std::time::Duration;

use clap::Args;
use xcomponent_core::time;

use super::super::span;
use crate::{
    address::Address,
    authorities::Authorities,
    cache::Config,
    cli::{Failure, Result},
};

/// Where the newest states of instances are copied to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cache")]
pub(super) struct Cache {
    /// A Redis to which the newest state of each instance is copied after the commit, for readers
    /// that would otherwise ask the host: `redis://USER:PASSWORD@HOST:PORT/0` or `rediss://…`.
    #[arg(
        long,
        value_name = "URL",
        env = "XCOMPONENT_CACHE",
        hide_env_values = true
    )]
    cache: Option<Address>,
    /// How long such a copy lives after it was written, as in `10m`.
    #[arg(long, value_name = "SPAN", value_parser = span::parse, default_value = "10m")]
    cache_ttl: time::Duration,
}

impl Cache {
    /// What the host is told.
    pub(super) fn config(&self, authorities: &Authorities) -> Result<Option<Config>> {
        let Some(address) = &self.cache else {
            return Ok(None);
        };
        let config = Config {
            address: address.clone(),
            ttl: Duration::from_millis(self.cache_ttl.0.max(1)),
            authorities: authorities.clone(),
        };
        let checked = config.check();
        checked.map_err(|error| Failure::Misuse(error.into()))?;
        Ok(Some(config))
    }
}
