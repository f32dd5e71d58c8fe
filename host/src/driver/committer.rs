//! The one thread that writes: takes what the shards enqueued, commits it as one batch, lets the
//! answers that depend on it leave.
//!
//! What comes in while a batch is written makes the next one, so a lone record is written at once
//! and a flood in large batches. A batch that cannot be committed voids everything after the last
//! durable record: all shards halt, waiting answers become `NotCommitted`, deliveries that it
//! caused are dropped, and the engines are told.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use super::{
    log::Batch,
    shared::{Phase, Shared},
};
use crate::store::{Error, Position};

/// Wait before the store is asked again for its last position: doubled from the first to the
/// last.
const SETTLE_BACKOFF: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];

/// Runs until the log is closed and empty.
pub(super) fn run(shared: &Arc<Shared>) {
    let guard = super::shard::Guard::new(Arc::clone(shared), "committer");
    let mut batch = Batch::empty(shared.placement);
    while shared.log.take(&mut batch) {
        let began = Instant::now();
        let Some(last) = batch.entries.last().map(|entry| entry.position) else {
            continue;
        };
        match commit(shared, &batch) {
            Ok(()) => {
                shared
                    .commits
                    .committed(batch.entries.len(), began.elapsed());
                publish(shared, &batch, last);
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a batch of records was not committed"
                );
                shared.commits.failed();
                void(shared, &batch);
            }
        }
    }
    guard.ended();
}

/// Commits a batch; an unknown outcome is settled by the last position.
fn commit(shared: &Shared, batch: &Batch) -> Result<(), Error> {
    let entries = &batch.entries;
    let error = match shared.store.commit(entries, &batch.taken_in) {
        Err(error @ Error::Unknown(_)) => error,
        certain => return certain,
    };
    let wanted = entries.last().map_or(Position(0), |entry| entry.position);
    let mut wait = SETTLE_BACKOFF[0];
    while matches!(shared.phase(), Phase::Running | Phase::Closing) {
        if let Ok(last) = shared.store.last_position() {
            return if last >= wanted { Ok(()) } else { Err(error) };
        }
        pause(wait);
        wait = (wait * 2).min(SETTLE_BACKOFF[1]);
    }
    Err(error)
}

fn publish(shared: &Shared, batch: &Batch, last: Position) {
    // Before the answers leave, so that whoever got one finds the room that it made.
    shared.log.committed(batch);
    shared.durable.send_replace(last);
    for (post, through) in shared.posts.iter().zip(&batch.through) {
        post.gate.open(*through);
    }
    shared.tell_quiet();
}

fn void(shared: &Shared, batch: &Batch) {
    shared.barrier.raise();
    shared.log.halt();
    shared.log.left(batch.entries.len());
    shared.posts.iter().for_each(|post| post.inbox.nudge());
    shared.barrier.wait_for(shared.posts.len());
    let durable = *shared.durable.borrow();
    for post in &shared.posts {
        post.gate.fail();
        post.inbox.drop_void(durable.0);
    }
    shared
        .log
        .resume(shared.posts.iter().map(|post| post.gate.durable()));
    shared.barrier.release();
    shared.tell_quiet();
}

/// Waits on a condition that nobody brings about.
fn pause(span: Duration) {
    let never = Mutex::new(());
    let lock = never.lock().expect("nobody else knows this lock");
    drop(Condvar::new().wait_timeout(lock, span));
}
