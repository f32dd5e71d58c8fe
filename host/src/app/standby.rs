//! A host that waits until another lets go of their common store.

use std::{sync::Arc, time::Duration};

use super::{StartError, links, membership::RegistryConfig, on_own_thread};
use crate::{
    authorities::Authorities,
    bus::registry::{self, Member, member::Announcement},
    driver::Progress,
    store::postgres::{self, OpenError, Postgres},
};

/// Wait between two looks whether the store is free.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Opens a store as soon as no other host has it; meanwhile the registry knows of this one.
pub(super) async fn open_when_free(
    store: postgres::Config,
    registry: &RegistryConfig,
    authorities: &Authorities,
    progress: &Progress,
) -> Result<Postgres, StartError> {
    let store = postgres::Config {
        patience: Duration::ZERO,
        ..store
    };
    let open = || {
        let store = store.clone();
        on_own_thread(move || Postgres::open(&store))
    };
    let opened = open().await;
    let Err(OpenError::InUse { database, .. }) = opened else {
        return Ok(opened?);
    };
    tracing::info!("`{database}` is in use by another host: this one waits until it is free");
    progress.stand_by(true);
    let catalog = registry::open(&registry.address, authorities).map_err(links::Error::from)?;
    let announcement = Announcement {
        id: format!("standby-{:016x}", fastrand::u64(..)),
        address: registry.advertised.clone(),
        standby: true,
        lease: registry.lease,
    };
    let mut announced = None;
    let announcing = async {
        let member = Member::join(catalog, announcement).await;
        let member = announced.insert(Arc::new(member));
        member.stand_by().await;
    };
    let waiting = async {
        loop {
            tokio::time::sleep(AGAIN_AFTER).await;
            match open().await {
                // It comes back, or the other host finds out first.
                Err(OpenError::InUse { .. } | OpenError::Connect { .. }) => {}
                opened => return opened,
            }
        }
    };
    let opened = tokio::select! {
        opened = waiting => opened,
        () = announcing => unreachable!("a standby announces itself for as long as it is polled"),
    };
    if let Some(member) = announced {
        member.leave().await;
    }
    progress.stand_by(false);
    tracing::info!("the store is free: this host takes over");
    Ok(opened?)
}
