//! What the shards, the committer and the callers share.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use xcomponent_core::{
    call::Deployment,
    effect::Destination,
    id::{ComponentName, EventId, InstanceId, TenantId, uuid_v8},
    limits::Limits,
    owed::{Placement, TakenIn},
    time::Timestamp,
};

use super::{
    changes::Changes,
    clock::Clock,
    gate::Gate,
    gauges::{CommitCounters, ShardCounters},
    inbox::{Inbox, Room},
    log::Log,
    machines::Admitted,
    pace::Pace,
    pulse::{Pulse, Watch},
    relay::Relays,
};
use crate::{
    memory::{Memory, Purpose},
    store::{Error, Position, Store},
    telemetry::Tracer,
};

/// Batches that fit into what may wait for the store: one is written while others gather.
const BATCHES: usize = 4;

/// How long questions to the store may take that are asked when a host ends.
const QUESTIONS_MAX: Duration = Duration::from_secs(2);

/// A commit that takes longer hangs: until it ends, the host is not ready.
const COMMIT_HANGS_AFTER: Duration = Duration::from_secs(10);

/// What everybody knows.
pub(super) struct Shared {
    /// By shard: how it is reached.
    pub(super) posts: Box<[Post]>,
    pub(super) placement: Placement,
    pub(super) limits: Limits,
    pub(super) log: Log,
    pub(super) pace: Pace,
    pub(super) memory: Memory,
    pub(super) store: Arc<dyn Store>,
    /// Questions that it is being asked from tasks.
    pub(super) questions: Arc<AtomicUsize>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) commits: CommitCounters,
    /// Machines that have a series of their own in the numbers.
    pub(super) admitted: Admitted,
    /// The last durable position.
    pub(super) durable: watch::Sender<Position>,
    pub(super) barrier: Barrier,
    pub(super) ids: Ids,
    /// What is for other hosts.
    pub(super) relays: Relays,
    /// What changed, for who copies it elsewhere.
    pub(super) changes: Changes,
    /// What is here.
    pub(super) components: Components,
    /// What was seen of the shards' threads.
    pub(super) watch: Watch,
    /// Who takes spans, if somebody does.
    pub(super) tracer: OnceLock<Tracer>,
    phase: AtomicU8,
    /// Why the last commit failed, if it did.
    problem: Mutex<Option<Arc<str>>>,
    /// The store failed, and did so again when it was asked whether it works.
    is_away: AtomicBool,
    /// A read failed, and the store was not checked since.
    is_doubted: AtomicBool,
    /// Since when the committer waits for the store, if it does.
    committing: Mutex<Option<Instant>>,
    quiet: Mutex<()>,
    became_quiet: Condvar,
    unused: Mutex<Vec<(Arc<Deployment>, usize)>>,
}

/// How one shard is reached.
#[derive(Default)]
pub(super) struct Post {
    pub(super) inbox: Inbox,
    pub(super) gate: Gate,
    pub(super) counters: ShardCounters,
    pub(super) pulse: Pulse,
    /// Messages whose consequences are all enqueued at the log or another inbox.
    pub(super) handled: AtomicU64,
    /// While the shards halt: whether its first record that is void is one that the store refuses
    /// for what is in it.
    pub(super) unstorable: AtomicBool,
    /// The shard has work that waits until less is on its way to the store.
    pub(super) waits_for_commits: AtomicBool,
}

/// How far the driver is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Everything is accepted.
    Running,
    /// Nothing from outside is accepted.
    Closing,
    /// All threads end.
    Ended,
    /// A thread of the driver is gone before its time.
    Broken,
}

impl Shared {
    /// Connects shards.
    pub(super) fn new(
        taken_in: TakenIn,
        limits: Limits,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        last: Position,
        relays: Relays,
        memory: Memory,
    ) -> Self {
        let commits = memory.max(Purpose::Commits);
        Self {
            posts: std::iter::repeat_with(Post::default)
                .take(taken_in.placement.shards)
                .collect(),
            placement: taken_in.placement,
            limits,
            log: Log::new(last, taken_in, commits),
            pace: Pace::new(commits / BATCHES),
            memory,
            admitted: Admitted::default(),
            store,
            questions: Arc::default(),
            clock,
            commits: CommitCounters::default(),
            durable: watch::Sender::new(last),
            barrier: Barrier::default(),
            ids: Ids::default(),
            relays,
            changes: Changes::default(),
            components: Components::default(),
            watch: Watch::default(),
            tracer: OnceLock::new(),
            phase: AtomicU8::new(Phase::Running as u8),
            problem: Mutex::default(),
            is_away: AtomicBool::new(false),
            is_doubted: AtomicBool::new(false),
            committing: Mutex::default(),
            quiet: Mutex::default(),
            became_quiet: Condvar::new(),
            unused: Mutex::default(),
        }
    }

    /// The shards that a delivery from `from` goes to.
    pub(super) fn targets(&self, from: usize, to: Destination) -> impl Iterator<Item = usize> {
        let owner = match to {
            Destination::Partition(partition) => Some(self.placement.owner(partition)),
            Destination::Others => None,
        };
        (0..self.posts.len())
            .filter(move |shard| owner.map_or(*shard != from, |owner| owner == *shard))
    }

    /// How much may wait at a shard: what is left of `debt_soft_max`, if one component is at work
    /// there. Of several the engine refuses the one that has more than its share, so that here only
    /// the requests that it has not seen are bounded. It does the same with a request that is
    /// `answered`, and for which there is a little more room.
    pub(super) fn room(&self, shard: usize, answered: bool) -> Room {
        let counters = &self.posts[shard].counters;
        let soft = self.limits.debt_soft_max;
        let shares = counters.components.load(Ordering::Relaxed) > 1;
        let debt = counters.debt.load(Ordering::Relaxed) + self.log.queued();
        let requests = match (self.log.is_filling(), shares) {
            (true, _) => 0,
            (false, true) => soft,
            (false, false) if answered => soft.saturating_sub(debt).max(soft / 8),
            (false, false) => soft.saturating_sub(debt),
        };
        Room {
            requests,
            bytes: self.limits.queue_bytes_max / 2,
        }
    }

    /// Bytes that a shard may have on their way to the store while it starts work by itself.
    pub(super) fn pace(&self) -> usize {
        self.pace.ahead_bytes() / self.posts.len()
    }

    /// How far the driver is in its life.
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Running,
            1 => Phase::Closing,
            2 => Phase::Ended,
            _ => Phase::Broken,
        }
    }

    /// A read failed for this reason: until the store was checked, the host is not ready.
    pub(super) fn read_fails(&self, error: &Error) {
        if error.is_of_store() && self.phase() == Phase::Running {
            self.store_fails(error);
            self.is_doubted.store(true, Ordering::Release);
        }
    }

    /// Whether a read failed since the store was checked.
    pub(super) fn is_doubted(&self) -> bool {
        self.is_doubted.load(Ordering::Acquire)
    }

    /// The store was checked, and commits.
    pub(super) fn store_can_be_read(&self) {
        if self.is_doubted.swap(false, Ordering::AcqRel) {
            self.store_works();
        }
    }

    /// The store does not commit, for this reason.
    pub(super) fn store_fails(&self, error: &Error) {
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
            error.source()
        });
        let texts: Vec<String> = causes.map(ToString::to_string).collect();
        *self.problem() = Some(texts.join(": ").into());
    }

    /// The store still does not commit: whoever comes now would wait for nothing.
    pub(super) fn store_stays_away(&self) {
        self.is_away.store(true, Ordering::Release);
    }

    /// Whether it is known that nothing can be committed at this moment.
    pub(super) fn store_is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// Notes that the committer begins to wait for the store, or has its answer.
    pub(super) fn commits(&self, is_committing: bool) {
        let since = is_committing.then(Instant::now);
        *self
            .committing
            .lock()
            .expect("nothing that holds the lock panics") = since;
    }

    /// For how long the committer has waited for a store that hangs; none if it does not hang.
    pub(super) fn commit_hangs(&self) -> Option<Duration> {
        let since = *self
            .committing
            .lock()
            .expect("nothing that holds the lock panics");
        let waited = since?.elapsed();
        (waited >= COMMIT_HANGS_AFTER).then_some(waited)
    }

    /// The store commits again.
    pub(super) fn store_works(&self) {
        tracing::info!("the store works again");
        self.is_away.store(false, Ordering::Release);
        *self.problem() = None;
    }

    /// Why the store does not commit, if it does not.
    pub(super) fn problem(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        self.problem
            .lock()
            .expect("nothing that holds the lock panics")
    }

    /// Stops admitting requests from outside.
    pub(super) fn stop_admitting(&self) {
        self.phase.fetch_max(Phase::Closing as u8, Ordering::SeqCst);
        self.posts.iter().for_each(|post| post.inbox.nudge());
    }

    /// Ends everything because a thread is gone; whoever waits is answered `NotCommitted`.
    pub(super) fn break_down(&self) {
        self.phase.store(Phase::Broken as u8, Ordering::Release);
        self.end();
    }

    /// Lets all threads end.
    pub(super) fn end(&self) {
        self.phase.fetch_max(Phase::Ended as u8, Ordering::AcqRel);
        // Subscribers look up although nothing is new.
        self.durable.send_modify(|_| ());
        self.posts.iter().for_each(|post| post.inbox.close());
        self.log.close();
        self.barrier.dismiss();
        self.tell_quiet();
    }

    /// Waits a little for questions to the store that nobody waits for any more: whoever opens it next
    /// must find it free.
    pub(super) fn let_go_of_store(&self) {
        let deadline = Instant::now() + QUESTIONS_MAX;
        while self.questions.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            let patience = Duration::from_millis(1);
            let waited = self.became_quiet.wait_timeout(self.quiet_lock(), patience);
            drop(waited.expect("nothing that holds the lock panics"));
        }
    }

    /// Whether nothing is in flight. Exact if nothing is admitted any more.
    pub(super) fn is_quiet(&self) -> bool {
        // Every `handled` is read before every `pushed`, and both only grow, but for a shard whose
        // timers fire, which they do not while the host ends: if the sums are equal, they were
        // equal at the moment in between.
        let handled: u64 = self
            .posts
            .iter()
            .map(|post| post.handled.load(Ordering::SeqCst))
            .sum();
        let pushed: u64 = self.posts.iter().map(|post| post.inbox.pushed()).sum();
        handled == pushed && self.log.queued() == 0
    }

    /// Tells whoever waits for quiet to look again.
    pub(super) fn tell_quiet(&self) {
        if self.phase() != Phase::Running {
            drop(self.quiet_lock());
            self.became_quiet.notify_all();
        }
    }

    /// Waits until nothing is in flight; false if it took too long.
    pub(super) fn wait_quiet(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let busy = |(): &mut ()| !self.is_quiet() && self.phase() == Phase::Closing;
        let waited = self
            .became_quiet
            .wait_timeout_while(self.quiet_lock(), left, busy);
        let (guard, timeout) = waited.expect("nothing that holds the lock panics");
        drop(guard);
        !timeout.timed_out() && self.phase() == Phase::Closing
    }

    /// Notes that a shard runs nothing on a version; true if it is the last to say so.
    pub(super) fn note_unused(&self, deployment: &Arc<Deployment>) -> bool {
        let mut unused = self
            .unused
            .lock()
            .expect("nothing that holds the lock panics");
        let position = unused
            .iter()
            .position(|(known, _)| known.is_same(deployment));
        let position = position.unwrap_or_else(|| {
            unused.push((Arc::clone(deployment), 0));
            unused.len() - 1
        });
        unused[position].1 += 1;
        let by_all = unused[position].1 == self.posts.len();
        if by_all {
            unused.swap_remove(position);
        }
        by_all
    }

    fn quiet_lock(&self) -> MutexGuard<'_, ()> {
        self.quiet
            .lock()
            .expect("nothing that holds the lock panics")
    }
}

/// The components with an active version.
#[derive(Debug)]
pub(super) struct Components(watch::Sender<HashSet<(TenantId, ComponentName)>>);

impl Default for Components {
    fn default() -> Self {
        Self(watch::Sender::new(HashSet::new()))
    }
}

impl Components {
    /// Whether a component is here.
    pub(super) fn has(&self, tenant: &TenantId, component: &ComponentName) -> bool {
        let place = (tenant.clone(), component.clone());
        self.0.borrow().contains(&place)
    }

    /// From now on it is, or is not.
    pub(super) fn set(&self, tenant: &TenantId, component: &ComponentName, is_here: bool) {
        let place = (tenant.clone(), component.clone());
        self.0.send_if_modified(|here| match is_here {
            true => here.insert(place),
            false => here.remove(&place),
        });
    }

    /// All of them, now and whenever that changes.
    pub(super) fn watch(&self) -> watch::Receiver<HashSet<(TenantId, ComponentName)>> {
        self.0.subscribe()
    }
}

/// Where all shards stand still while the committer voids what could not be committed.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    raised: AtomicBool,
    /// The shards end: nobody will halt any more.
    dismissed: AtomicBool,
    halted: Mutex<usize>,
    changed: Condvar,
}

impl Barrier {
    /// Whether shards are to halt.
    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire) && !self.dismissed.load(Ordering::Acquire)
    }

    /// Takes the barrier away for good.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Release);
        self.release();
    }

    /// Makes shards halt; the caller then wakes those that sleep.
    pub(super) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
    }

    /// Waits until so many shards have halted or the barrier is gone.
    pub(super) fn wait_for(&self, shards: usize) {
        let halted = self
            .halted
            .lock()
            .expect("nothing that holds the lock panics");
        let guard = self
            .changed
            .wait_while(halted, |halted| *halted < shards && self.is_raised());
        drop(guard.expect("nothing that holds the lock panics"));
    }

    /// A shard halts here until the barrier is gone.
    pub(super) fn halt(&self) {
        let mut halted = self
            .halted
            .lock()
            .expect("nothing that holds the lock panics");
        *halted += 1;
        self.changed.notify_all();
        let guard = self.changed.wait_while(halted, |_| self.is_raised());
        *guard.expect("nothing that holds the lock panics") -= 1;
        self.changed.notify_all();
    }

    /// Lets the shards go on, and waits until none stands here.
    pub(super) fn release(&self) {
        let halted = self
            .halted
            .lock()
            .expect("nothing that holds the lock panics");
        self.raised.store(false, Ordering::Release);
        self.changed.notify_all();
        let guard = self.changed.wait_while(halted, |halted| *halted > 0);
        drop(guard.expect("nothing that holds the lock panics"));
    }
}

/// Makes ids that nobody can guess and nobody made before: keyed hashes of a counter, with keys
/// from the operating system.
#[derive(Debug, Default)]
pub(super) struct Ids {
    high: RandomState,
    low: RandomState,
    made: AtomicU64,
}

impl Ids {
    /// An instance's id with these routing bits, or random ones.
    pub(super) fn instance(&self, route: Option<u16>) -> InstanceId {
        InstanceId::from_uuid(uuid_v8(self.bits(), route))
    }

    /// An event's id.
    pub(super) fn event(&self, now: Timestamp) -> EventId {
        EventId::made(now, self.bits())
    }

    fn bits(&self) -> u128 {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        u128::from(self.high.hash_one(number)) << 64 | u128::from(self.low.hash_one(number))
    }
}
