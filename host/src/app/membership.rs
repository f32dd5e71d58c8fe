//! This host among those of a registry: what it says of itself, and what it asks before a component
//! comes here.

use std::{collections::HashSet, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::watch;
use xcomponent_core::id::{ComponentName, TenantId, Version};

use crate::{
    address::Address,
    bus::{
        broker::Place,
        registry::{
            Member,
            member::{ClaimError, Local},
            record::Load,
        },
    },
    driver::Handle,
    tenancy::{NotOwned, Ownership, Registry},
};

/// A registry that hosts look each other up in.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// Its address.
    pub address: Address,
    /// Where others reach this host, as in `http://payment:3002`.
    pub advertised: String,
    /// How long this host may be silent before it is gone.
    pub lease: Duration,
}

/// What a host says of itself.
pub(super) struct Here {
    pub(super) handle: Handle,
    pub(super) registry: Registry,
}

impl Local for Here {
    fn here(&self) -> watch::Receiver<HashSet<Place>> {
        self.handle.components_here()
    }

    fn version(&self, (tenant, component): &Place) -> Option<Version> {
        let loaded = self.registry.get(tenant, component)?;
        Some(loaded.active.definition.version.clone())
    }

    fn load(&self) -> Load {
        let gauges = self.handle.gauges();
        let sum = |count: fn(&crate::driver::gauges::ShardGauges) -> usize| {
            gauges.shards.iter().map(count).sum::<usize>() as u64
        };
        Load {
            instances: sum(|shard| shard.live + shard.passive),
            queued: sum(|shard| shard.debt + shard.inbox),
        }
    }
}

impl Ownership for Member {
    fn claim<'c>(
        &'c self,
        tenant: &'c TenantId,
        component: &'c ComponentName,
        version: &'c Version,
    ) -> BoxFuture<'c, Result<(), NotOwned>> {
        async move {
            let place = (tenant.clone(), component.clone());
            let claimed = Self::claim(self, &place, version).await;
            claimed.map_err(|error| match error {
                ClaimError::OwnedElsewhere { component, address } => {
                    NotOwned::Elsewhere { component, address }
                }
                ClaimError::Unreachable(error) => NotOwned::Unknown(error.to_string()),
            })
        }
        .boxed()
    }

    fn release(&self, tenant: &TenantId, component: &ComponentName) {
        Self::release(self, &(tenant.clone(), component.clone()));
    }
}
