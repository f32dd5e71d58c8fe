//! Whom a process trusts, as far as the command line says it.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, Result};
use crate::authorities::Authorities;

/// Who vouches for servers.
#[derive(Debug, Args)]
pub(super) struct Trust {
    /// File with the certificates (PEM) of the authorities that vouch for what is reached encrypted:
    /// other hosts, brokers, registries, caches, collectors. Else those that browsers trust. A
    /// PostgreSQL has `sslrootcert` in its address.
    #[arg(long, value_name = "FILE", env = "XCOMPONENT_CA")]
    ca: Option<PathBuf>,
}

impl Trust {
    /// Who they are.
    pub(super) fn authorities(&self) -> Result<Authorities> {
        let read = self.ca.as_deref().map(Authorities::read).transpose();
        let read = read.map_err(|error| Failure::Misuse(error.into()))?;
        Ok(read.unwrap_or_default())
    }
}
