//! Answers that wait until what they depend on is durable.
//!
//! The shard puts them in, the committer lets them out: a commit wakes no shard.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use xcomponent_core::{
    effect::{Refused, Reply},
    record::AppendSeq,
};

use super::waiter::Waiter;

/// An answer and the last record of its shard that it depends on.
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) after: AppendSeq,
    pub(super) waiter: Waiter,
    pub(super) reply: Reply,
}

/// The answers of one shard that wait.
#[derive(Debug, Default)]
pub(super) struct Gate {
    waiting: Mutex<VecDeque<Gated>>,
    durable: AtomicU64,
}

impl Gate {
    /// The shard's last record that is durable, or void with all that depended on it answered.
    pub(super) fn durable(&self) -> AppendSeq {
        AppendSeq(self.durable.load(Ordering::Acquire))
    }

    /// Lets answers out as soon as they may.
    pub(super) fn hold(&self, answers: &mut Vec<Gated>) {
        if answers.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        // Read under the lock: a commit that is noted later finds what is put in here.
        let durable = self.durable();
        let must_wait = |answer: &mut Gated| answer.after > durable;
        waiting.extend(answers.extract_if(.., must_wait));
        drop(waiting);
        answers.drain(..).for_each(Gated::leave);
    }

    /// Notes that the shard's records up to this are durable.
    pub(super) fn open(&self, through: AppendSeq) {
        if through <= self.durable() {
            return;
        }
        self.durable.store(through.0, Ordering::Release);
        let mut waiting = self.lock();
        let ready = waiting
            .iter()
            .take_while(|answer| answer.after <= through)
            .count();
        let ready: Vec<Gated> = waiting.drain(..ready).collect();
        drop(waiting);
        ready.into_iter().for_each(Gated::leave);
    }

    /// Notes that nothing after the durable records will ever be durable.
    pub(super) fn fail(&self) {
        let durable = self.durable();
        let waiting = std::mem::take(&mut *self.lock());
        for answer in waiting {
            if answer.after <= durable {
                answer.leave();
            } else {
                answer.waiter.answer(Reply::Refused(Refused::NotCommitted));
            }
        }
    }

    /// Goes on after [`Self::fail`]: nothing waits for the records up to `last` any more.
    pub(super) fn skip(&self, last: AppendSeq) {
        self.durable.store(last.0, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Gated>> {
        self.waiting
            .lock()
            .expect("nothing that holds the lock panics")
    }
}

impl Gated {
    fn leave(self) {
        self.waiter.answer(self.reply);
    }
}
