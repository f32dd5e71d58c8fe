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
    shortening::Shortening,
};
use crate::store::{Error, Position, retention::Retention};

/// Wait before the store is asked again for its last position: doubled from the first to the
/// last.
const SETTLE_BACKOFF: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];

/// How long nothing comes before the store does what can wait.
const TIDY_AFTER: Duration = Duration::from_millis(20);

/// How long a store that failed is left alone before it is asked whether it works again: at first,
/// and when it said no.
const PROBE_AFTER: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// Runs until the log is closed and empty.
pub(super) fn run(shared: &Arc<Shared>, retention: Retention) {
    let guard = super::shard::Guard::new(Arc::clone(shared), "committer");
    let mut batch = Batch::empty(shared.placement);
    let mut broken_since = None;
    let mut shortening = Shortening::new(retention);
    let mut patience = shortening.step(shared);
    while shared.log.take(&mut batch, patience) {
        let began = Instant::now();
        let Some(last) = batch.entries.last().map(|entry| entry.position) else {
            if broken_since.is_none() {
                patience = sooner(tidy(shared), shortening.step(shared));
            } else if shared.store.probe().is_ok() {
                // Nobody may be sending because the host is not ready: it found out itself.
                broken_since = None;
                patience = Some(Duration::ZERO);
                shared.store_works();
            } else {
                patience = Some(PROBE_AFTER[1]);
                shared.store_stays_away();
            }
            continue;
        };
        match commit(shared, &batch) {
            Ok(()) => {
                shared
                    .commits
                    .committed(batch.entries.len(), began.elapsed());
                publish(shared, &batch, last);
                patience = sooner(Some(TIDY_AFTER), shortening.step(shared));
                if broken_since.take().is_some() {
                    shared.store_works();
                }
            }
            Err(error) => {
                let since = *broken_since.get_or_insert(began);
                // Once is enough to know, however many batches follow.
                if since == began {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a batch of records was not committed"
                    );
                }
                shared.commits.failed();
                patience = Some(PROBE_AFTER[0]);
                shared.store_fails(&error);
                // Batch after batch would leave it no time to be asked.
                if since != began && since.elapsed() >= PROBE_AFTER[0] {
                    patience = Some(PROBE_AFTER[1]);
                    shared.store_stays_away();
                }
                void(shared, &batch);
            }
        }
    }
    while tidy(shared).is_some() {}
    guard.ended();
}

/// The shorter of two waits, none = for ever.
fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// Lets the store do what can wait, and says after how long there is more of it.
fn tidy(shared: &Shared) -> Option<Duration> {
    match shared.store.tidy() {
        Ok(more) => more.then_some(Duration::ZERO),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the store did not tidy up"
            );
            None
        }
    }
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
