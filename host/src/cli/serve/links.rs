//! Other hosts, as far as the command line names them.

use std::{fs, path::PathBuf, str::FromStr};

use anyhow::{Context, anyhow};
use clap::Args;
use xcomponent_core::id::ComponentName;

use crate::{
    app::LinksConfig,
    cli::{Failure, Result},
};

/// Where the components are that are not here.
#[derive(Debug, Args)]
#[command(next_help_heading = "Other hosts")]
pub(super) struct Links {
    /// A component that is on another host, and that host's address, as in
    /// `PaymentComponent=http://payment:3002`.
    #[arg(long, value_name = "COMPONENT=URL")]
    peer: Vec<PeerAt>,
    /// A broker through which components on other hosts are reached that are not named with
    /// `--peer`: `redis+streams://HOST`, `nats://HOST`, `amqp://USER:PASSWORD@HOST`,
    /// `kafka://HOST`.
    #[arg(
        long,
        value_name = "URL",
        env = "XCOMPONENT_BROKER",
        hide_env_values = true
    )]
    broker: Option<String>,
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

/// `COMPONENT=URL`.
#[derive(Clone, Debug)]
struct PeerAt {
    component: ComponentName,
    address: String,
}

impl FromStr for PeerAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let (component, address) =
            parts.ok_or("expected COMPONENT=URL, as in `PaymentComponent=http://payment:3002`")?;
        Ok(Self {
            component: ComponentName::new(component),
            address: address.to_owned(),
        })
    }
}

impl Links {
    /// What the host is told.
    pub(super) fn config(&self) -> Result<LinksConfig> {
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
        let peers = self.peer.iter();
        Ok(LinksConfig {
            peers: peers
                .map(|peer| (peer.component.clone(), peer.address.clone()))
                .collect(),
            broker: self.broker.clone(),
            external_api: self.external_api,
            publish_events: self.publish_events,
            key,
        })
    }
}
