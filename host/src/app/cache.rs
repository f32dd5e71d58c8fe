//! Copies to the cache what changes, beside everything else.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};
use xcomponent_core::{id::TenantId, record::Snapshot};

use crate::{
    api,
    cache::{Cache, Config, InvalidAddress, Numbers, Value},
    driver::{Changed, Handle, Watch},
};

/// Wait after an attempt that failed: doubled from the first to the last.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// How long the last changes of a host that ends may take.
const LAST_MAX: Duration = Duration::from_secs(2);

/// What copies. Dropped, it stops where it is.
pub(super) struct Copying {
    numbers: Arc<Numbers>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Copying {
    /// Begins: what changes from now on is copied.
    pub(super) fn begin(
        handle: &Handle,
        config: &Config,
        tenant: TenantId,
    ) -> Result<Self, InvalidAddress> {
        let numbers = Arc::new(Numbers::default());
        let cache = Cache::new(config, &tenant, Arc::clone(&numbers))?;
        let (stop, stopped) = watch::channel(false);
        let copied = copy(handle.watch_changes(), cache, Arc::clone(&numbers), stopped);
        Ok(Self {
            numbers,
            stop,
            task: tokio::spawn(copied),
        })
    }

    /// What it has done so far.
    pub(super) fn numbers(&self) -> Arc<Numbers> {
        Arc::clone(&self.numbers)
    }

    /// Copies what there still is, and ends.
    pub(super) async fn end(mut self) {
        self.stop.send_replace(true);
        // What is not copied by then is removed at the next start, or goes with its time.
        let _ = tokio::time::timeout(LAST_MAX, &mut self.task).await;
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn copy(
    changes: Watch,
    mut cache: Cache,
    numbers: Arc<Numbers>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut wait = AGAIN_AFTER[0];
    // Once without anything: what the host before this one left there goes.
    let mut changed = None;
    loop {
        let values = changed.as_ref().map(values).unwrap_or_default();
        if cache.write(&values).await.is_ok() {
            wait = AGAIN_AFTER[0];
            changed = tokio::select! {
                biased;
                changed = changes.next() => Some(changed),
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
        } else {
            if let Some(changed) = changed {
                changes.give_back(changed);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(AGAIN_AFTER[1]);
            changed = changes.take();
        }
        if let Some(changed) = &changed
            && changed.dropped > 0
        {
            numbers.add_dropped(changed.dropped);
            cache.forget();
        }
    }
}

fn values(changed: &Changed) -> Vec<Value> {
    let value = |snapshot: &Snapshot| Value {
        id: snapshot.id.clone(),
        seq: snapshot.seq,
        json: match snapshot.is_deleted() {
            true => String::new(),
            false => api::instance_json(snapshot),
        },
    };
    changed.snapshots().map(value).collect()
}
