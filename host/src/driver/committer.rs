//! The one thread that writes: takes what the shards enqueued, commits it as one batch, lets the
//! answers that depend on it leave.
//!
//! What comes in while a batch is written makes the next one, so a lone record is written at once
//! and a flood in large batches, but none larger than is written in good time ([`super::pace`]). A
//! batch that cannot be committed voids everything after the last
//! durable record: all shards halt, waiting answers become `NotCommitted`, deliveries that it
//! caused are dropped, and the engines are told. If it is one record that the store cannot take,
//! what comes before it is committed, and its engine is told that it was this one.

use std::{
    sync::{Arc, Condvar, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use xcomponent_core::owed::TakenIn;

use super::{
    bisect::commit_in_pieces,
    checking::Checking,
    log::Batch,
    reports::Reports,
    shared::{Phase, Shared},
    shortening::Shortening,
};
use crate::store::{Entry, Error, Position, retention::Retention};

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
    let mut checking = Checking::new();
    let mut reports = Reports::default();
    let mut patience = next_step(&mut checking, &mut shortening, shared, &mut broken_since);
    while shared
        .log
        .take(&mut batch, shared.pace.batch_bytes(), Some(patience))
    {
        reports.tell();
        let began = Instant::now();
        let Some(last) = batch.entries.last().map(|entry| entry.position) else {
            if broken_since.is_none() {
                let rested = rest(shared);
                let next = next_step(&mut checking, &mut shortening, shared, &mut broken_since);
                patience = rested.map_or(next, |more| more.min(next));
            } else if shared.store.probe().is_ok() {
                // Nobody may be sending because the host is not ready: it found out itself.
                broken_since = None;
                patience = Duration::ZERO;
                shared.store_works();
            } else {
                patience = PROBE_AFTER[1];
                shared.store_stays_away();
            }
            continue;
        };
        shared.commits(true);
        let committed = commit_or_cut(shared, &mut batch);
        shared.commits(false);
        match committed {
            Ok(()) => {
                let took = began.elapsed();
                shared.commits.committed(batch.entries.len(), took);
                shared.pace.wrote(batch.bytes, took);
                publish(shared, &batch, last);
                reports.committed(&batch.entries, began.elapsed());
                if broken_since.take().is_some() {
                    shared.store_works();
                }
                let next = next_step(&mut checking, &mut shortening, shared, &mut broken_since);
                patience = next.min(TIDY_AFTER);
            }
            Err(cut) => patience = cut.settle(shared, &mut broken_since, began),
        }
    }
    while tidy(shared).is_some() {}
    guard.ended();
}

/// Takes the steps that are due between two batches, and says how long to wait for the next. A store
/// that cannot be read is broken from here on.
fn next_step(
    checking: &mut Checking,
    shortening: &mut Shortening,
    shared: &Shared,
    broken_since: &mut Option<Instant>,
) -> Duration {
    match checking.step(shared) {
        Ok(next) => shortening.step(shared).min(next),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the store failed a check; requests are refused until it works again"
            );
            *broken_since = Some(Instant::now());
            shared.store_fails(&error);
            shared.store_stays_away();
            PROBE_AFTER[1]
        }
    }
}

/// What is done while nobody wants anything; after how long there is more of it.
fn rest(shared: &Shared) -> Option<Duration> {
    let make_room = || more(shared.store.make_room());
    tidy(shared).or_else(make_room)
}

/// Lets the store do what can wait, and says after how long there is more of it.
fn tidy(shared: &Shared) -> Option<Duration> {
    more(shared.store.tidy())
}

/// At once, if a store has more of something to do.
fn more(done: Result<bool, Error>) -> Option<Duration> {
    match done {
        Ok(more) => more.then_some(Duration::ZERO),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the store did not do what can wait"
            );
            None
        }
    }
}

/// Why the end of a batch is not durable.
struct Cut {
    error: Error,
    /// How many records these are.
    records: usize,
    bytes: usize,
    /// The shard of the first of them.
    shard: Option<usize>,
}

impl Cut {
    /// Voids what is not durable, and says how long to wait for more. A store that fails is broken
    /// since the batch with which that began.
    fn settle(
        self,
        shared: &Shared,
        broken_since: &mut Option<Instant>,
        began: Instant,
    ) -> Duration {
        let error = &self.error as &dyn std::error::Error;
        shared.commits.failed();
        let mut patience = PROBE_AFTER[0];
        if let (Error::Unstorable(_), Some(shard)) = (&self.error, self.shard) {
            tracing::error!(
                error,
                "the store refuses a record for what is in it; its event is parked"
            );
            if broken_since.take().is_some() {
                shared.store_works();
            }
            shared.posts[shard]
                .unstorable
                .store(true, Ordering::Release);
        } else {
            let since = *broken_since.get_or_insert(began);
            // Once is enough to know, however many batches follow.
            if since == began {
                tracing::error!(error, "a batch of records was not committed");
            }
            shared.store_fails(&self.error);
            // Batch after batch would leave it no time to be asked.
            if since != began && since.elapsed() >= PROBE_AFTER[0] {
                patience = PROBE_AFTER[1];
                shared.store_stays_away();
            }
        }
        void(shared, self.records, self.bytes);
        patience
    }
}

/// Commits a batch, or what of it comes before the one record that the store cannot take: that is
/// then all of the batch.
fn commit_or_cut(shared: &Shared, batch: &mut Batch) -> Result<(), Cut> {
    let (all, all_bytes) = (batch.entries.len(), batch.bytes);
    let error = match commit(shared, &batch.entries, &batch.taken_in) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let before = shared.log.durable();
    let (durable, error) = if matches!(error, Error::Unstorable(_)) {
        match commit_in_pieces(&batch.entries, |piece| commit(shared, piece, &before)) {
            (_, Ok(())) => return Ok(()),
            (durable, Err(error)) => (durable, error),
        }
    } else {
        (0, error)
    };
    let gates = shared.posts.iter().map(|post| post.gate.durable());
    let shard = batch.cut(durable, gates, before);
    batch.bytes = all_bytes / all.max(1) * durable;
    if let Some(last) = batch.entries.last().map(|entry| entry.position) {
        publish(shared, batch, last);
    }
    Err(Cut {
        error,
        records: all - durable,
        bytes: all_bytes - batch.bytes,
        shard,
    })
}

/// Commits records; an unknown outcome is settled by the last position.
fn commit(shared: &Shared, entries: &[Entry], taken_in: &TakenIn) -> Result<(), Error> {
    let error = match shared.store.commit(entries, taken_in) {
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
    shared.relays.committed(&batch.entries);
    shared.changes.committed(&batch.entries);
    if let Some(tracer) = shared.tracer.get() {
        tracer.committed(batch.entries.iter().map(|entry| &entry.record));
    }
    shared.durable.send_replace(last);
    for (post, through) in shared.posts.iter().zip(&batch.through) {
        post.gate.open(*through);
        if post.waits_for_commits.swap(false, Ordering::AcqRel) {
            post.inbox.nudge();
        }
    }
    shared.tell_quiet();
}

/// Voids everything after the last durable record; `records` were taken out of the log.
fn void(shared: &Shared, records: usize, bytes: usize) {
    shared.barrier.raise();
    shared.log.halt();
    shared.log.left(records, bytes);
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
