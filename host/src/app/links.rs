//! Connects a host with others.

use std::sync::Arc;

use tokio::task::JoinSet;
use xcomponent_core::id::{ComponentName, TenantId};

use crate::{
    bus::{
        Directory,
        peer::{InvalidAddress, Peer},
    },
    driver::Handle,
};

/// Which hosts a host knows, and how it speaks to them.
#[derive(Clone, Default)]
pub struct LinksConfig {
    /// Components on other hosts: their names, and the hosts' addresses.
    pub peers: Vec<(ComponentName, String)>,
    /// What hosts show each other to be let in.
    pub key: Option<Arc<str>>,
}

/// What connects a host with others. Dropped, nothing is sent or received any more.
pub(super) struct Links {
    pub(super) directory: Arc<Directory>,
    tasks: JoinSet<()>,
}

impl Links {
    /// Knows where everything is, and sends nothing yet.
    pub(super) fn new(config: &LinksConfig, tenant: &TenantId) -> Result<Self, InvalidAddress> {
        let directory = Directory::default();
        let mut hosts: Vec<(&str, Arc<Peer>)> = Vec::new();
        for (component, address) in &config.peers {
            let known = hosts.iter().find(|(known, _)| known == address);
            let peer = match known {
                Some((_, peer)) => Arc::clone(peer),
                None => {
                    let peer = Arc::new(Peer::new(address, config.key.as_deref())?);
                    hosts.push((address, Arc::clone(&peer)));
                    peer
                }
            };
            directory.add_peer(tenant.clone(), component.clone(), peer);
        }
        Ok(Self {
            directory: Arc::new(directory),
            tasks: JoinSet::new(),
        })
    }

    /// Begins to send.
    pub(super) fn begin(&mut self, handle: &Handle) {
        let (handle, directory) = (handle.clone(), Arc::clone(&self.directory));
        self.tasks.spawn(async move {
            if let Err(error) = handle.relay(directory).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "nothing is sent to other hosts: the store does not say what"
                );
            }
        });
    }
}
