//! The one queue between the shards and the committer. A record's position is its place here.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use xcomponent_core::{
    owed::{Placement, TakenIn},
    record::{AppendSeq, Record},
};

use super::intake::Intake;
use crate::store::{Entry, Position};

/// Records that may wait for the committer. A shard that would add to more waits itself; long
/// before, events from outside are refused.
const QUEUED_MAX: usize = 2_000_000;

/// Records on their way to the store.
#[derive(Debug)]
pub(super) struct Log {
    queue: Mutex<Queue>,
    work: Condvar,
    space: Condvar,
    /// Records that are not durable, for whoever only wants to know how many.
    queued: AtomicUsize,
}

#[derive(Debug)]
struct Queue {
    entries: Vec<Entry>,
    runs: Vec<Run>,
    /// By shard: the last record that was put in.
    through: Vec<AppendSeq>,
    next: u64,
    /// The committer sleeps and must be woken.
    asleep: bool,
    /// What is put in is void: records before it were not committed.
    halted: bool,
    /// Nothing more will come.
    closed: bool,
    /// How far the shards are with what is in, and before.
    taken_in: TakenIn,
    /// The same with what is durable.
    durable: TakenIn,
}

/// What the committer takes out at once.
#[derive(Debug)]
pub(super) struct Batch {
    /// In order of their positions.
    pub(super) entries: Vec<Entry>,
    /// Whose they are, in the same order.
    runs: Vec<Run>,
    /// By shard: the last record in this batch or an earlier one.
    pub(super) through: Vec<AppendSeq>,
    /// How far the shards are with this.
    pub(super) taken_in: TakenIn,
}

/// Records that a shard put in at once.
#[derive(Clone, Copy, Debug)]
struct Run {
    shard: usize,
    records: usize,
    /// The number of the last of them.
    last: AppendSeq,
}

impl Batch {
    /// What there is before anything was taken out.
    pub(super) fn empty(placement: Placement) -> Self {
        Self {
            entries: Vec::new(),
            runs: Vec::new(),
            through: Vec::new(),
            taken_in: TakenIn::all(placement, 0),
        }
    }

    /// Leaves the first so many records of it, and says whose the next one was. By shard,
    /// `durable` are the last records before it; what its shards say holds for all of it only, so
    /// `taken_in` is what they said before.
    pub(super) fn cut(
        &mut self,
        records: usize,
        durable: impl Iterator<Item = AppendSeq>,
        taken_in: TakenIn,
    ) -> Option<usize> {
        self.entries.truncate(records);
        self.taken_in = taken_in;
        self.through.clear();
        self.through.extend(durable);
        let mut left = records;
        for run in &self.runs {
            let stays = left.min(run.records);
            left -= stays;
            let void = u64::try_from(run.records - stays).expect("a length fits 64 bits");
            if stays > 0 {
                self.through[run.shard] = AppendSeq(run.last.0 - void);
            }
            if void > 0 {
                return Some(run.shard);
            }
        }
        None
    }
}

impl Log {
    /// An empty queue; the log ended at `last`, and the shards were as far as `taken_in` says.
    pub(super) fn new(last: Position, taken_in: TakenIn) -> Self {
        let queue = Queue {
            entries: Vec::new(),
            runs: Vec::new(),
            through: vec![AppendSeq(0); taken_in.placement.shards],
            next: last.0 + 1,
            asleep: false,
            halted: false,
            closed: false,
            taken_in: taken_in.clone(),
            durable: taken_in,
        };
        Self {
            queue: Mutex::new(queue),
            work: Condvar::new(),
            space: Condvar::new(),
            queued: AtomicUsize::new(0),
        }
    }

    /// Puts a shard's records in and says which position the first got; `last` is the number of
    /// the last of them, `intake` how far the shard is with them. The committer may have to be
    /// woken: see [`Self::wake`].
    pub(super) fn append(
        &self,
        shard: usize,
        records: &mut Vec<Record>,
        last: AppendSeq,
        intake: Option<&mut Intake>,
    ) -> Position {
        let mut queue = self.lock();
        if queue.entries.len() > QUEUED_MAX {
            queue = self
                .space
                .wait_while(queue, |queue| {
                    queue.entries.len() > QUEUED_MAX && !queue.halted && !queue.closed
                })
                .expect("nothing that holds the lock panics");
        }
        let first = queue.next;
        queue.next += u64::try_from(records.len()).expect("a length fits 64 bits");
        if queue.halted || queue.closed {
            records.clear();
            return Position(first);
        }
        if let Some(intake) = intake {
            queue.taken_in.rows[shard] = intake.publish(shard, queue.next - 1);
        }
        queue.through[shard] = last;
        queue.runs.push(Run {
            shard,
            records: records.len(),
            last,
        });
        self.queued.fetch_add(records.len(), Ordering::Relaxed);
        let entry = |(position, record)| Entry {
            position: Position(position),
            record,
        };
        queue
            .entries
            .extend((first..).zip(records.drain(..)).map(entry));
        Position(first)
    }

    /// Notes how far a shard is that had nothing to record.
    pub(super) fn take_in(&self, shard: usize, intake: &mut Intake) {
        let mut queue = self.lock();
        if !queue.halted {
            queue.taken_in.rows[shard] = intake.publish(shard, 0);
        }
    }

    /// Wakes the committer if it sleeps and there are records for it. Apart from
    /// [`Self::append`], so that a shard first lets out what others wait for.
    pub(super) fn wake(&self) {
        let mut queue = self.lock();
        let sleeps = !queue.entries.is_empty() && std::mem::take(&mut queue.asleep);
        drop(queue);
        if sleeps {
            self.work.notify_one();
        }
    }

    /// Takes everything out, waiting for the first record, but no longer than `patience` if there
    /// is one; false if nothing more will come.
    pub(super) fn take(&self, batch: &mut Batch, patience: Option<Duration>) -> bool {
        let mut queue = self.lock();
        if queue.entries.is_empty() && !queue.closed {
            queue.asleep = true;
            let nothing = |queue: &mut Queue| queue.entries.is_empty() && !queue.closed;
            queue = match patience {
                None => self.work.wait_while(queue, nothing),
                Some(patience) => self
                    .work
                    .wait_timeout_while(queue, patience, nothing)
                    .map(|(queue, _)| queue)
                    .map_err(|error| PoisonError::new(error.into_inner().0)),
            }
            .expect("nothing that holds the lock panics");
            queue.asleep = false;
        }
        batch.entries.clear();
        batch.runs.clear();
        std::mem::swap(&mut queue.entries, &mut batch.entries);
        std::mem::swap(&mut queue.runs, &mut batch.runs);
        batch.through.clone_from(&queue.through);
        batch.taken_in.clone_from(&queue.taken_in);
        let closed = queue.closed;
        drop(queue);
        self.space.notify_all();
        !closed || !batch.entries.is_empty()
    }

    /// How far the shards are with what is durable.
    pub(super) fn durable(&self) -> TakenIn {
        self.lock().durable.clone()
    }

    /// Notes that a batch is durable.
    pub(super) fn committed(&self, batch: &Batch) {
        self.left(batch.entries.len());
        self.lock().durable.clone_from(&batch.taken_in);
    }

    /// Notes that so many records have left.
    pub(super) fn left(&self, records: usize) {
        self.queued.fetch_sub(records, Ordering::Relaxed);
    }

    /// Drops what is in and whatever is put in until [`Self::resume`].
    pub(super) fn halt(&self) {
        let mut queue = self.lock();
        queue.halted = true;
        let void = std::mem::take(&mut queue.entries);
        queue.runs.clear();
        drop(queue);
        self.left(void.len());
        self.space.notify_all();
    }

    /// Accepts records again; by shard, these are the last that are durable.
    pub(super) fn resume(&self, durable: impl Iterator<Item = AppendSeq>) {
        let mut queue = self.lock();
        queue.through.clear();
        queue.through.extend(durable);
        queue.taken_in = queue.durable.clone();
        queue.halted = false;
    }

    /// Lets the committer end when everything is out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
        self.space.notify_all();
    }

    /// Records that are not durable.
    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue
            .lock()
            .expect("nothing that holds the lock panics")
    }
}
