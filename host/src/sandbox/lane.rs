//! The slow lane: how calls that gave their thread back go on.
//!
//! Whoever drives the future decides on which threads; this file bounds how many run at one time,
//! for a component version and for a tenant, and how long each may hold a thread.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use futures_util::future::{BoxFuture, poll_fn};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use xcomponent_core::{
    call::{Fault, FaultCode},
    id::{Digest, TenantId},
};

use super::{config::Config, fault};

/// The lanes of all tenants.
pub(super) struct Lanes {
    per_component_max: usize,
    per_tenant_max: usize,
    waits_max: usize,
    wall_max: Duration,
    lanes: Mutex<HashMap<Key, Arc<Lane>>>,
}

/// A component version of a tenant, or the tenant as a whole.
type Key = (TenantId, Option<Digest>);

struct Lane {
    running: Arc<Semaphore>,
    waits: Arc<Semaphore>,
}

impl Lanes {
    /// Empty lanes.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            per_component_max: config.slow_lane_per_component_max,
            per_tenant_max: config.slow_lane_per_tenant_max,
            waits_max: config.slow_lane_waits_max,
            wall_max: config.wall_per_call_max,
            lanes: Mutex::default(),
        }
    }

    /// Goes on with a future that gave its thread back, when its component and its tenant have a
    /// place, until it is finished or its time is over.
    ///
    /// # Errors
    ///
    /// If too many wait already, or if it held its thread for too long. Then the future is gone.
    pub(super) async fn drive<T>(
        &self,
        tenant: &TenantId,
        artifact: Digest,
        future: BoxFuture<'static, T>,
    ) -> Result<T, Fault> {
        let component_key = (tenant.clone(), Some(artifact));
        let tenant_key = (tenant.clone(), None);
        let keys = [&component_key, &tenant_key];
        let _left_last = Leaving { lanes: self, keys };
        // The narrower lane first: a component that waits for itself takes no place from others.
        let _component = self.enter(&component_key, self.per_component_max).await?;
        let _tenant = self.enter(&tenant_key, self.per_tenant_max).await?;
        within(self.wall_max, future).await
    }

    async fn enter(&self, key: &Key, running_max: usize) -> Result<OwnedSemaphorePermit, Fault> {
        let lane = self.lane(key, running_max);
        let Ok(wait) = lane.waits.clone().try_acquire_owned() else {
            let message = format!("{} slow calls wait already", self.waits_max);
            return Err(fault::plain(FaultCode::Unavailable, message));
        };
        let permit = lane
            .running
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        drop(wait);
        Ok(permit)
    }

    fn lane(&self, key: &Key, running_max: usize) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(key.clone()).or_insert_with(|| {
            let running = Arc::new(Semaphore::new(running_max));
            Arc::new(Lane {
                running,
                waits: Arc::new(Semaphore::new(self.waits_max)),
            })
        });
        Arc::clone(lane)
    }

    /// Drops a lane that nobody uses: a host may see any number of versions.
    fn forget(&self, key: &Key) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = |lane: &Arc<Lane>| {
            let is_empty = |places: &Arc<Semaphore>| Arc::strong_count(places) == 1;
            Arc::strong_count(lane) == 1 && is_empty(&lane.running) && is_empty(&lane.waits)
        };
        if lanes.get(key).is_some_and(is_idle) {
            lanes.remove(key);
        }
    }
}

/// Cleans up behind a call, also one that is given up in the middle.
struct Leaving<'l> {
    lanes: &'l Lanes,
    keys: [&'l Key; 2],
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        for key in self.keys {
            self.lanes.forget(key);
        }
    }
}

/// Polls a future to its end, as long as the polls together take no longer than `busy_max` of
/// their thread's processor time: what others do to a busy machine is not the guest's fault.
pub(super) async fn within<T>(
    busy_max: Duration,
    mut future: BoxFuture<'static, T>,
) -> Result<T, Fault> {
    let mut busy = Duration::ZERO;
    poll_fn(move |cx| {
        let started = processor_time();
        if let Poll::Ready(value) = Pin::new(&mut future).poll(cx) {
            return Poll::Ready(Ok(value));
        }
        busy += processor_time().saturating_sub(started);
        if busy > busy_max {
            let message = format!(
                "the call held its thread for {} ms, at most {} are allowed",
                busy.as_millis(),
                busy_max.as_millis()
            );
            return Poll::Ready(Err(fault::plain(FaultCode::WallTime, message)));
        }
        // Guests give their thread back when they have worked for a while, never to wait for
        // something: whoever is pending is polled again, so that no wait escapes the limit.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

fn processor_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).expect("a thread's time is not negative")
}
