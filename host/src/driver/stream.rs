//! Records as they become durable, read from the store's log.
//!
//! A subscriber has a position and no queue: it reads on from there whenever something new is
//! durable. Whoever is slow reads later, and learns it when the log no longer reaches back.

use tokio::sync::watch;
use xcomponent_core::id::TenantId;

use super::{handle::Handle, shared::Phase};
use crate::store::{Entry, Error, Position, Result, query::RecordFilter};

/// Entries handed over at once at most.
const SLICE: usize = 256;

/// Reads a tenant's records on from a position.
#[must_use = "a subscription does nothing until it is asked for the next records"]
pub struct Subscription {
    handle: Handle,
    tenant: TenantId,
    filter: RecordFilter,
    position: Position,
    durable: watch::Receiver<Position>,
}

impl Handle {
    /// Subscribes to the records after a position, or to those that become durable from now on.
    pub fn subscribe(
        &self,
        tenant: &TenantId,
        filter: RecordFilter,
        after: Option<Position>,
    ) -> Subscription {
        let durable = self.shared.durable.subscribe();
        let position = after.unwrap_or_else(|| *durable.borrow());
        Subscription {
            handle: self.clone(),
            tenant: tenant.clone(),
            filter,
            position,
            durable,
        }
    }
}

impl Subscription {
    /// Everything up to here has been handed over, or did not pass the filter.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether the log reaches back to where it begins.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it does not, [`Error::Unavailable`] if the store cannot be asked.
    pub async fn check(&self) -> Result<()> {
        let (tenant, filter, after) = (self.tenant.clone(), self.filter.clone(), self.position);
        let read = self
            .handle
            .look_up(move |store| store.records(&tenant, &filter, after, 0));
        read.await.map(|_| ())
    }

    /// The next records: at least one, oldest first. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the log no longer reaches back, [`Error::Unavailable`] if the store
    /// cannot be asked or the driver has ended.
    pub async fn next(&mut self) -> Result<Vec<Entry>> {
        loop {
            self.more().await?;
            let entries = self.read().await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
    }

    /// The records of the next stretch of the log, oldest first; none if nothing in it passes.
    /// They occupy no more than [`STRETCH_BYTES_MAX`](crate::store::query::STRETCH_BYTES_MAX) or
    /// are one. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// As for [`Self::next`].
    pub async fn read(&mut self) -> Result<Vec<Entry>> {
        let (tenant, filter, after) = (self.tenant.clone(), self.filter.clone(), self.position);
        let read = self
            .handle
            .look_up(move |store| store.records(&tenant, &filter, after, SLICE));
        let tail = read.await?;
        self.position = tail.through;
        if tail.entries.is_empty() {
            // A store in memory answers at once: others get their turn between two slices.
            tokio::task::yield_now().await;
        }
        Ok(tail.entries)
    }

    /// Waits until something is durable that was not read.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if the driver has ended.
    pub async fn more(&mut self) -> Result<()> {
        while self.position >= *self.durable.borrow_and_update() {
            let ended = matches!(self.handle.shared.phase(), Phase::Ended | Phase::Broken);
            if ended || self.durable.changed().await.is_err() {
                return Err(Error::Unavailable(None));
            }
        }
        Ok(())
    }
}
