//! Connects a host with others.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinSet};
use xcomponent_core::id::{ComponentName, TenantId};

use super::{
    membership::{Here, RegistryConfig},
    publish::publish,
};
use crate::{
    address::Address,
    bus::{
        Directory, Transport,
        broker::{Broker, Door, Runtime},
        open::{OpenError, open},
        peer::{InvalidAddress, Peer, Trust},
        registry::{
            self, Member,
            member::{Announcement, Lost},
        },
    },
    driver::Handle,
    tenancy::Registry,
};

/// Which hosts a host knows, and how it speaks to them.
#[derive(Clone, Default)]
pub struct LinksConfig {
    /// Components on other hosts: their names, and the hosts' addresses.
    pub peers: Vec<(ComponentName, Address)>,
    /// The address of a broker, which leads to every component that is nowhere else.
    pub broker: Option<Address>,
    /// Whether anybody who can reach the broker may send and broadcast events.
    pub external_api: bool,
    /// Whether what happens is published on the broker.
    pub publish_events: bool,
    /// How hosts know each other, and brokers and registries.
    pub trust: Trust,
    /// A registry in which hosts find each other.
    pub registry: Option<RegistryConfig>,
}

/// Why a host cannot be connected with others.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another host has no such address.
    #[error(transparent)]
    Peer(#[from] InvalidAddress),
    /// A broker has no such address.
    #[error(transparent)]
    Broker(#[from] OpenError),
    /// A registry has no such address.
    #[error(transparent)]
    Registry(#[from] registry::OpenError),
}

/// What connects a host with others. Dropped, nothing is sent or received any more.
pub(super) struct Links {
    pub(super) directory: Arc<Directory>,
    broker: Option<Arc<dyn Broker>>,
    external_api: bool,
    publish_events: bool,
    tenant: TenantId,
    member: Option<Arc<Member>>,
    trust: Trust,
    /// Why this host must end, once it must.
    lost: watch::Sender<Option<Lost>>,
    tasks: JoinSet<()>,
}

impl Links {
    /// Knows where everything is, and sends nothing yet.
    pub(super) fn new(config: &LinksConfig, tenant: &TenantId) -> Result<Self, Error> {
        let directory = Directory::default();
        let mut hosts: Vec<(&Address, Arc<Peer>)> = Vec::new();
        for (component, address) in &config.peers {
            let known = hosts.iter().find(|(known, _)| *known == address);
            let peer = match known {
                Some((_, peer)) => Arc::clone(peer),
                None => {
                    let peer = Arc::new(Peer::new(address, &config.trust)?);
                    hosts.push((address, Arc::clone(&peer)));
                    peer
                }
            };
            directory.add_peer(tenant.clone(), component.clone(), peer);
        }
        let broker = config.broker.as_ref();
        let broker = broker.map(|address| open(address, &config.trust.authorities));
        let broker = broker.transpose()?;
        if let Some(broker) = &broker {
            directory.set_broker(Arc::clone(broker) as Arc<dyn Transport>);
        }
        Ok(Self {
            broker,
            external_api: config.external_api,
            publish_events: config.publish_events,
            tenant: tenant.clone(),
            directory: Arc::new(directory),
            member: None,
            trust: config.trust.clone(),
            lost: watch::Sender::new(None),
            tasks: JoinSet::new(),
        })
    }

    /// Announces this host, whose log has that name, if there is a registry.
    pub(super) async fn join(
        &mut self,
        config: &LinksConfig,
        log: &str,
    ) -> Result<Option<Arc<Member>>, Error> {
        let Some(registry) = &config.registry else {
            return Ok(None);
        };
        let announcement = Announcement {
            id: log.to_owned(),
            address: registry.advertised.clone(),
            standby: false,
            lease: registry.lease,
        };
        let catalog = registry::open(&registry.address, &config.trust.authorities)?;
        let member = Arc::new(Member::join(catalog, announcement).await);
        self.directory.set_registry(Arc::clone(&member));
        self.member = Some(Arc::clone(&member));
        Ok(Some(member))
    }

    /// Told once somebody else does this host's work.
    pub(super) fn lost(&self) -> watch::Receiver<Option<Lost>> {
        self.lost.subscribe()
    }

    /// Ends all of it. What is not sent by now is sent after the next start.
    pub(super) async fn end(mut self) {
        self.tasks.shutdown().await;
        if let Some(member) = &self.member {
            member.leave().await;
        }
    }

    /// Begins to send and to receive.
    pub(super) fn begin(&mut self, handle: &Handle, registry: &Registry, runtime: Runtime) {
        if let Some(member) = &self.member {
            let here = Here {
                handle: handle.clone(),
                registry: registry.clone(),
            };
            let (directory, trust) = (Arc::clone(&self.directory), self.trust.clone());
            let following = Arc::clone(member).follow(here, directory, trust);
            let lost = self.lost.clone();
            self.tasks.spawn(async move {
                lost.send_replace(Some(following.await));
            });
        }
        if let Some(broker) = &self.broker {
            let door = Door {
                here: handle.components_here(),
                inlet: Arc::new(handle.clone()),
                external_api: self.external_api,
                listening: Arc::clone(self.directory.listening()),
                runtime,
            };
            self.tasks.spawn(Arc::clone(broker).listen(door));
            if self.publish_events {
                let (broker, tenant) = (Arc::clone(broker), self.tenant.clone());
                self.tasks.spawn(publish(handle.clone(), broker, tenant));
            }
        }
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
