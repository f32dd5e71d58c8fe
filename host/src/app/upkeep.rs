//! What a host does every second beside its work: it compares its time with the machine's, and notes
//! how far its store was written.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::mark::Mark;
use crate::driver::{Handle, clock::Clock};

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// The task that does it. Dropped, it ends.
pub(super) struct Upkeep(JoinHandle<()>);

impl Upkeep {
    /// Begins.
    pub(super) fn begin(handle: Handle, clock: Arc<dyn Clock>, mark: Option<Mark>) -> Self {
        Self(tokio::spawn(keep_up(handle, clock, mark)))
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep_up(handle: Handle, clock: Arc<dyn Clock>, mut mark: Option<Mark>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for notice in clock.look() {
            tracing::warn!("{notice}");
        }
        if let Some(mut known) = mark.take() {
            let position = handle.durable_position();
            let noted = tokio::task::spawn_blocking(move || {
                known.note(position);
                known
            });
            // A panic was reported where it happened.
            mark = noted.await.ok();
        }
    }
}
