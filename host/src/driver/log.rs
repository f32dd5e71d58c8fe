//! The one queue between the shards and the committer. A record's position is its place here.
//!
//! It is bounded in bytes, and the committer takes no more out of it at once than it can write in
//! good time. What a shard says of how far it is goes with the records that it was said with, so a
//! batch may end after any of the runs that the shards put in.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
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

/// Records on their way to the store.
#[derive(Debug)]
pub(super) struct Log {
    queue: Mutex<Queue>,
    work: Condvar,
    space: Condvar,
    /// Records that are not durable, for whoever only wants to know how many, and their bytes.
    queued: AtomicUsize,
    queued_bytes: AtomicUsize,
    /// Bytes that may wait. A shard that would add to more waits itself; long before, work that
    /// starts by itself waits, and events from outside are refused.
    bytes_max: usize,
}

#[derive(Debug)]
struct Queue {
    entries: VecDeque<Entry>,
    runs: VecDeque<Run>,
    /// Bytes of the entries.
    bytes: usize,
    /// By shard: the last record that was taken out.
    through: Vec<AppendSeq>,
    next: u64,
    /// The committer sleeps and must be woken.
    asleep: bool,
    /// What is put in is void: records before it were not committed.
    halted: bool,
    /// Nothing more will come.
    closed: bool,
    /// How far the shards are with what was taken out.
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
    /// Bytes of the entries.
    pub(super) bytes: usize,

    /// By shard: the last record in this batch or an earlier one.
    pub(super) through: Vec<AppendSeq>,
    /// How far the shards are with this.
    pub(super) taken_in: TakenIn,
}

/// Records that a shard put in at once.
#[derive(Clone, Debug)]
struct Run {
    shard: usize,
    records: usize,
    bytes: usize,
    /// The number of the last of them.
    last: AppendSeq,
    /// How far the shard is with them, if it says so.
    taken_in: Option<Arc<[u64]>>,
}

impl Batch {
    /// What there is before anything was taken out.
    pub(super) fn empty(placement: Placement) -> Self {
        Self {
            entries: Vec::new(),
            runs: Vec::new(),
            bytes: 0,
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

impl Queue {
    /// Moves the first runs into a batch: about so many bytes, at least one.
    fn cut(&mut self, batch: &mut Batch, bytes_max: usize) {
        let mut records = 0;
        batch.bytes = 0;
        while let Some(run) = self.runs.front() {
            let is_too_much = batch.bytes + run.bytes > bytes_max;
            if is_too_much && records > 0 && run.records > 0 {
                break;
            }
            let Some(run) = self.runs.pop_front() else {
                break;
            };
            records += run.records;
            batch.bytes += run.bytes;
            if run.records > 0 {
                self.through[run.shard] = run.last;
            }
            if let Some(taken_in) = &run.taken_in {
                self.taken_in.rows[run.shard] = Arc::clone(taken_in);
            }
            batch.runs.push(run);
        }
        self.bytes -= batch.bytes;
        batch.entries.extend(self.entries.drain(..records));
    }
}

impl Log {
    /// An empty queue; the log ended at `last`, and the shards were as far as `taken_in` says.
    pub(super) fn new(last: Position, taken_in: TakenIn, bytes_max: usize) -> Self {
        let queue = Queue {
            entries: VecDeque::new(),
            runs: VecDeque::new(),
            bytes: 0,
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
            queued_bytes: AtomicUsize::new(0),
            bytes_max,
        }
    }

    /// Puts a shard's records, which are so many bytes, in and says which position the first got; `last` is the number of
    /// the last of them, `intake` how far the shard is with them. The committer may have to be
    /// woken: see [`Self::wake`].
    pub(super) fn append(
        &self,
        shard: usize,
        records: &mut Vec<Record>,
        bytes: usize,
        last: AppendSeq,
        intake: Option<&mut Intake>,
    ) -> Position {
        let mut queue = self.lock();
        if queue.bytes > self.bytes_max {
            queue = self
                .space
                .wait_while(queue, |queue| {
                    queue.bytes > self.bytes_max && !queue.halted && !queue.closed
                })
                .expect("nothing that holds the lock panics");
        }
        let first = queue.next;
        queue.next += u64::try_from(records.len()).expect("a length fits 64 bits");
        if queue.halted || queue.closed {
            records.clear();
            return Position(first);
        }
        let taken_in = intake.map(|intake| intake.publish(shard, queue.next - 1));
        queue.runs.push_back(Run {
            shard,
            records: records.len(),
            bytes,
            last,
            taken_in,
        });
        queue.bytes += bytes;
        self.queued.fetch_add(records.len(), Ordering::Relaxed);
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
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
        if queue.halted {
            return;
        }
        let taken_in = intake.publish(shard, 0);
        // What the shard has taken in must be durable before anybody relies on it.
        match queue.runs.back_mut() {
            None => queue.taken_in.rows[shard] = taken_in,
            Some(run) if run.shard == shard => run.taken_in = Some(taken_in),
            Some(_) => queue.runs.push_back(Run {
                shard,
                records: 0,
                bytes: 0,
                last: AppendSeq(0),
                taken_in: Some(taken_in),
            }),
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

    /// Takes out what is to be written at once, about so many bytes and no less than one run,
    /// waiting for the first record, but no longer than `patience` if there is one; false if
    /// nothing more will come.
    pub(super) fn take(
        &self,
        batch: &mut Batch,
        bytes_max: usize,
        patience: Option<Duration>,
    ) -> bool {
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
        queue.cut(batch, bytes_max);
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
        self.left(batch.entries.len(), batch.bytes);
        self.lock().durable.clone_from(&batch.taken_in);
    }

    /// Notes that so many records have left.
    pub(super) fn left(&self, records: usize, bytes: usize) {
        self.queued.fetch_sub(records, Ordering::Relaxed);
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Drops what is in and whatever is put in until [`Self::resume`].
    pub(super) fn halt(&self) {
        let mut queue = self.lock();
        queue.halted = true;
        let void = std::mem::take(&mut queue.entries);
        let bytes = std::mem::take(&mut queue.bytes);
        queue.runs.clear();
        drop(queue);
        self.left(void.len(), bytes);
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

    /// Their bytes.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    /// Whether more bytes wait than three quarters of what may: then no caller adds to them.
    pub(super) fn is_filling(&self) -> bool {
        self.queued_bytes() > self.bytes_max / 4 * 3
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue
            .lock()
            .expect("nothing that holds the lock panics")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xcomponent_core::{
        id::{EventId, PartitionCount, TenantId},
        record::{Body, Discarded},
        time::Timestamp,
    };

    use super::*;

    fn records(count: usize) -> Vec<Record> {
        let discarded = Arc::new(Discarded {
            id: EventId::from_stored("one"),
            instance: None,
            resent: None,
        });
        let record = Record {
            tenant: TenantId::default_tenant(),
            at: Timestamp(0),
            body: Body::Discarded(discarded),
        };
        vec![record; count]
    }

    fn placement() -> Placement {
        Placement {
            partitions: PartitionCount::DEFAULT,
            shards: 2,
        }
    }

    fn empty_log() -> Log {
        let taken_in = TakenIn::all(placement(), 0);
        Log::new(Position(0), taken_in, usize::MAX)
    }

    #[test]
    fn a_batch_ends_with_the_run_that_fills_it() {
        let log = empty_log();
        for run in 1..=4 {
            log.append(0, &mut records(10), 100, AppendSeq(10 * run), None);
        }
        let mut batch = Batch::empty(placement());
        let mut sizes = Vec::new();
        while log.queued() > 0 {
            assert!(log.take(&mut batch, 250, None));
            sizes.push((batch.entries.len(), batch.through[0].0));
            log.committed(&batch);
        }
        assert_eq!(sizes, [(20, 20), (20, 40)]);
        assert_eq!(log.queued_bytes(), 0);
    }

    #[test]
    fn a_run_larger_than_a_batch_is_a_batch() {
        let log = empty_log();
        log.append(0, &mut records(10), 1_000, AppendSeq(10), None);
        let mut batch = Batch::empty(placement());
        assert!(log.take(&mut batch, 250, None));
        assert_eq!(batch.entries.len(), 10);
    }

    #[test]
    fn a_batch_says_of_shards_only_what_its_own_records_bear_out() {
        let log = empty_log();
        let mut intake = Intake::nothing();
        intake.begin(2, 0);
        log.append(0, &mut records(10), 100, AppendSeq(10), None);
        log.append(0, &mut records(10), 100, AppendSeq(20), None);
        // The other shard has taken in all of it, and had nothing to record.
        intake.received(0, 20);
        log.take_in(1, &mut intake);
        let mut batch = Batch::empty(placement());
        assert!(log.take(&mut batch, 150, None));
        assert_eq!(batch.taken_in.rows[1][0], 0);
        log.committed(&batch);
        assert!(log.take(&mut batch, 150, None));
        assert_eq!(batch.taken_in.rows[1][0], 20);
    }
}
