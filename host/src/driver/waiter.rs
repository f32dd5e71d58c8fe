//! Who waits for an answer: one caller, one line of a batch, or a part of a merged answer.
//!
//! A waiter that is dropped without an answer tells its caller `NotCommitted`, so that nobody
//! waits for ever.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;
use xcomponent_core::effect::{Breaker, Refused, Reply};

/// Somebody who waits for exactly one answer.
#[derive(Debug)]
pub(super) struct Waiter(Option<Kind>);

#[derive(Debug)]
enum Kind {
    One(oneshot::Sender<Reply>),
    Line(Arc<Batch>, usize),
    Part(Arc<Merge>),
}

impl Waiter {
    /// One caller and what it waits on.
    pub(super) fn one() -> (Self, Pending) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(Kind::One(sender))), Pending(receiver))
    }

    /// The caller behind one line of a batch.
    pub(super) fn line(batch: &Arc<Batch>, line: usize) -> Self {
        Self(Some(Kind::Line(Arc::clone(batch), line)))
    }

    /// Splits a waiter into several whose answers are merged into the one it gets.
    pub(super) fn split(self, parts: usize) -> impl Iterator<Item = Self> {
        let state = Merging {
            left: parts,
            so_far: None,
            whole: Some(self),
        };
        let merge = Arc::new(Merge(Mutex::new(state)));
        (0..parts).map(move |_| Self(Some(Kind::Part(Arc::clone(&merge)))))
    }

    /// Gives the answer.
    pub(super) fn answer(mut self, reply: Reply) {
        if let Some(kind) = self.0.take() {
            kind.answer(reply);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(kind) = self.0.take() {
            kind.answer(Reply::Refused(Refused::NotCommitted));
        }
    }
}

impl Kind {
    fn answer(self, reply: Reply) {
        match self {
            // A caller that went away does not want its answer.
            Self::One(sender) => drop(sender.send(reply)),
            Self::Line(batch, line) => batch.answer(line, reply),
            Self::Part(merge) => merge.answer(reply),
        }
    }
}

/// An answer that is on its way.
#[derive(Debug)]
#[must_use = "dropping it means not to wait for the answer"]
pub struct Pending(oneshot::Receiver<Reply>);

impl Pending {
    /// Blocks this thread until the answer is there. Not for asynchronous tasks.
    pub fn wait(self) -> Reply {
        self.0
            .blocking_recv()
            .unwrap_or(Reply::Refused(Refused::NotCommitted))
    }
}

impl Future for Pending {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        let reply = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(reply.unwrap_or(Reply::Refused(Refused::NotCommitted)))
    }
}

/// Answers to many requests, with one wake-up when all are there.
#[derive(Debug)]
pub(super) struct Batch {
    lines: Box<[OnceLock<Reply>]>,
    left: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl Batch {
    /// A batch of so many lines, and what its caller waits on.
    pub(super) fn new(lines: usize) -> (Arc<Self>, PendingBatch) {
        let (done, all) = oneshot::channel();
        let done = (lines > 0).then_some(done);
        let batch = Arc::new(Self {
            lines: std::iter::repeat_with(OnceLock::new).take(lines).collect(),
            left: AtomicUsize::new(lines),
            done: Mutex::new(done),
        });
        let pending = PendingBatch {
            batch: Some(Arc::clone(&batch)),
            all,
        };
        (batch, pending)
    }

    fn answer(self: Arc<Self>, line: usize, reply: Reply) {
        let first = self.lines[line].set(reply).is_ok();
        debug_assert!(first, "each line has one waiter, which answers once");
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let done_by_all = done.take();
        drop(done);
        // Before its caller is told, so that the batch is the caller's alone and need not be copied.
        drop(self);
        if let Some(done) = done_by_all {
            // A caller that went away does not want its answers.
            let _ = done.send(());
        }
    }
}

/// Answers to a batch that are on their way.
#[derive(Debug)]
#[must_use = "dropping it means not to wait for the answers"]
pub struct PendingBatch {
    /// Taken when the answers are.
    batch: Option<Arc<Batch>>,
    all: oneshot::Receiver<()>,
}

impl PendingBatch {
    /// Blocks this thread until all answers are there. Not for asynchronous tasks.
    pub fn wait(self) -> Vec<Reply> {
        // An error means that the batch was empty.
        drop(self.all.blocking_recv());
        take(self.batch)
    }
}

impl Future for PendingBatch {
    type Output = Vec<Reply>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Vec<Reply>> {
        // An error means that the batch was empty.
        drop(ready!(Pin::new(&mut self.all).poll(context)));
        Poll::Ready(take(self.batch.take()))
    }
}

/// The answers of a batch, in the order of its lines.
fn take(batch: Option<Arc<Batch>>) -> Vec<Reply> {
    let batch = batch.expect("a future is not polled again after its end");
    let answer = |line: OnceLock<Reply>| {
        line.into_inner()
            .unwrap_or(Reply::Refused(Refused::NotCommitted))
    };
    match Arc::try_unwrap(batch) {
        Ok(batch) => batch.lines.into_iter().map(answer).collect(),
        Err(batch) => batch.lines.iter().cloned().map(answer).collect(),
    }
}

/// An answer that several shards give together.
#[derive(Debug)]
struct Merge(Mutex<Merging>);

#[derive(Debug)]
struct Merging {
    left: usize,
    so_far: Option<Reply>,
    whole: Option<Waiter>,
}

impl Merge {
    fn answer(&self, reply: Reply) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let merged = match state.so_far.take() {
            Some(so_far) => merge(so_far, reply),
            None => reply,
        };
        state.left -= 1;
        if state.left > 0 {
            state.so_far = Some(merged);
            return;
        }
        let whole = state.whole.take();
        drop(state);
        if let Some(whole) = whole {
            whole.answer(merged);
        }
    }
}

/// Joins the answers of two shards. A refusal wins: what the others did is found again under the
/// same id, so that a second attempt repeats nothing.
fn merge(left: Reply, right: Reply) -> Reply {
    match (left, right) {
        (
            Reply::Tally {
                tally: mut sum,
                replayed,
            },
            Reply::Tally {
                tally,
                replayed: also,
            },
        ) => {
            sum.add(tally);
            Reply::Tally {
                tally: sum,
                replayed: replayed && also,
            }
        }
        (Reply::Preview(mut all), Reply::Preview(more)) => {
            for fit in more {
                let known = all.iter_mut().find(|known| {
                    (&known.version, &known.machine, &known.state)
                        == (&fit.version, &fit.machine, &fit.state)
                });
                match known {
                    Some(known) => {
                        known.instances += fit.instances;
                        known.misfits += fit.misfits;
                        known.unexamined += fit.unexamined;
                        known.reason = known.reason.take().or(fit.reason);
                    }
                    None => all.push(fit),
                }
            }
            Reply::Preview(all)
        }
        (Reply::Migrated(mut all), Reply::Migrated(more)) => {
            all.extend(more);
            Reply::Migrated(all)
        }
        (Reply::Census(mut all), Reply::Census(more)) => {
            all.extend(more);
            all.sort();
            all.dedup_by(|later, first| {
                let same = (
                    &later.component,
                    &later.version,
                    &later.machine,
                    &later.state,
                ) == (
                    &first.component,
                    &first.version,
                    &first.machine,
                    &first.state,
                );
                first.instances += if same { later.instances } else { 0 };
                same
            });
            Reply::Census(all)
        }
        (Reply::Breakers(all), Reply::Breakers(more)) => Reply::Breakers(merge_breakers(all, more)),
        (Reply::Refused(Refused::NotCommitted), _) | (_, Reply::Refused(Refused::NotCommitted)) => {
            Reply::Refused(Refused::NotCommitted)
        }
        (_, refused @ Reply::Refused(_)) => refused,
        (left, _) => left,
    }
}

fn merge_breakers(mut all: Vec<Breaker>, more: Vec<Breaker>) -> Vec<Breaker> {
    for breaker in more {
        match all
            .iter_mut()
            .find(|known| known.version == breaker.version)
        {
            Some(known) => known.add(&breaker),
            None => all.push(breaker),
        }
    }
    all
}
