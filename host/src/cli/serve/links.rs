//! Other hosts, as far as the command line names them.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow};
use clap::Args;
use xcomponent_core::id::ComponentName;

use crate::{
    address::Address,
    app::{LinksConfig, RegistryConfig},
    authorities::Authorities,
    bus::peer::Trust,
    cli::{Failure, Result, span},
};

/// Shortest and longest lease, in milliseconds.
const LEASE_MS: std::ops::RangeInclusive<u64> = 500..=600_000;

/// Where the components are that are not here.
#[derive(Debug, Args)]
#[command(next_help_heading = "Other hosts")]
pub(super) struct Links {
    /// A component that is on another host, and that host's address, as in
    /// `PaymentComponent=http://payment:3002`.
    #[arg(long, value_name = "COMPONENT=URL")]
    peer: Vec<Address>,
    /// A broker through which components on other hosts are reached that are not named with
    /// `--peer`: `redis+streams://HOST`, `nats://HOST`, `amqp://USER:PASSWORD@HOST`,
    /// `kafka://HOST`.
    #[arg(
        long,
        value_name = "URL",
        env = "XCOMPONENT_BROKER",
        hide_env_values = true
    )]
    broker: Option<Address>,
    /// A registry in which hosts find each other and agree on who has which component:
    /// `redis://HOST`, `nats://HOST` or `postgres://USER:PASSWORD@HOST/DATABASE`. On a common
    /// PostgreSQL store a second host waits until the first is gone.
    #[arg(
        long,
        value_name = "URL",
        env = "XCOMPONENT_REGISTRY",
        hide_env_values = true
    )]
    registry: Option<Address>,
    /// Where the other hosts of the registry reach this one; where it listens, if that is one place.
    #[arg(long, value_name = "URL", requires = "registry")]
    advertise: Option<Address>,
    /// How long a host may be silent before another may take its place.
    #[arg(
        long,
        value_name = "SPAN",
        value_parser = lease,
        default_value = "5s"
    )]
    lease: Duration,
    /// Takes commands from anybody who can reach the broker, in the messages of xcomponent-ai: events
    /// for an instance and for all that they concern.
    #[arg(long, requires = "broker")]
    external_api: bool,
    /// Publishes on the broker what happens to instances: creations, changes of state, ends, errors.
    #[arg(long, requires = "broker")]
    publish_events: bool,
    /// File with the key that hosts show each other: requests of other hosts without it are refused.
    #[arg(long, value_name = "FILE", env = "XCOMPONENT_PEER_KEY_FILE")]
    peer_key_file: Option<PathBuf>,
}

/// Reads `COMPONENT=URL`. What is wrong is not shown: there may be a password in it.
fn peer(text: &Address) -> Result<(ComponentName, Address)> {
    let parts = text.exposed().split_once('=');
    let parts = parts.filter(|(name, _)| !name.is_empty() && !name.contains("://"));
    let (component, address) = parts.ok_or_else(|| {
        Failure::Misuse(anyhow!(
            "invalid value for `--peer`: expected COMPONENT=URL, as in \
             `PaymentComponent=http://payment:3002`"
        ))
    })?;
    Ok((ComponentName::new(component), Address::from(address)))
}

/// Reads a lease.
fn lease(text: &str) -> Result<Duration, String> {
    let span = span::parse(text)?;
    match LEASE_MS.contains(&span.0) {
        true => Ok(Duration::from_millis(span.0)),
        false => Err("expected between 500ms and 10m".to_owned()),
    }
}

impl Links {
    /// What the host is told; `here` is where others reach it if nothing else is said.
    pub(super) fn config(
        &self,
        authorities: Authorities,
        here: impl FnOnce() -> Result<String>,
    ) -> Result<LinksConfig> {
        let key = match &self.peer_key_file {
            Some(path) => {
                let read = fs::read_to_string(path);
                let read = read.with_context(|| format!("reading the key in {}", path.display()));
                let key = read.map_err(Failure::Misuse)?.trim().to_owned();
                if key.is_empty() {
                    let empty = anyhow!("the key in {} is empty", path.display());
                    return Err(Failure::Misuse(empty));
                }
                Some(key.into())
            }
            None => None,
        };
        let registry = match &self.registry {
            Some(address) => Some(RegistryConfig {
                address: address.clone(),
                advertised: match &self.advertise {
                    Some(advertised) if advertised.credentials().is_some() => {
                        return Err(Failure::Misuse(anyhow!(
                            "`--advertise` is shown to every host of the registry: give an \
                             address without credentials"
                        )));
                    }
                    Some(advertised) => advertised.exposed().to_owned(),
                    None => here()?,
                },
                lease: self.lease,
            }),
            None => None,
        };
        let peers: Result<Vec<_>> = self.peer.iter().map(peer).collect();
        Ok(LinksConfig {
            peers: peers?,
            broker: self.broker.clone(),
            external_api: self.external_api,
            publish_events: self.publish_events,
            trust: Trust { key, authorities },
            registry,
        })
    }
}
