//! Runs engines: a thread for each shard, one that commits, and a few for calls that yield.
//!
//! ```text
//! Handle ──▶ Inbox ──▶ Shard (Engine) ──▶ Outbox ──▶ Log ──▶ Committer ──▶ Store
//!    ▲                   ▲   │              │                    │
//!    │                   │   ├─▶ Guests     └──▶ other Inboxes   │
//!    └──── Waiter ◀──────┼── Gate ◀──────────────────────────────┘
//! ```
//!
//! A record is in the log before anything it causes leaves its shard, and every answer waits at
//! the gate until what it depends on is durable. What is durable is therefore always a prefix in
//! which every effect has its cause. Shards never wait for each other; they wait for the committer
//! only when records are queued that fill their part of the memory.
//!
//! What the API asks for is named here, so that it needs no other module.

mod asking;
mod bisect;
mod changes;
mod checking;
pub mod clock;
mod committer;
mod feed;
mod gate;
pub mod gauges;
pub mod guests;
pub mod handle;
mod held;
mod inbox;
mod inheritance;
mod intake;
mod leases;
mod log;
pub mod machines;
mod outbox;
mod pace;
mod progress;
mod pulse;
mod queries;
mod reached;
mod reading;
mod relay;
mod reports;
mod shard;
mod shared;
mod shortening;
mod stream;
mod suspensions;
mod take_in;
mod tickets;
mod waiter;

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime;
use xcomponent_core::{
    engine::{self, Engine},
    id::PartitionCount,
    limits::{Limits, SPILLED_BYTES_MIN},
    owed::{Owed, Placement},
};

pub use self::{
    changes::{Changed, Watch},
    handle::Handle,
    progress::Progress,
    relay::LaneGauges,
    stream::Subscription,
    waiter::{Pending, PendingBatch},
};
use self::{clock::Clock, guests::Guests, relay::Relays, shard::Shard, shared::Shared};
pub use crate::store::{
    Entry, Error, Position, Result,
    crossing::Channel,
    query::{
        ComponentVersion, Cursor, InstanceCount, InstanceFilter, Kind, Letter, LetterFilter,
        PAGE_BYTES_MAX, Page, PageRequest, RecordFilter, STRETCH_BYTES_MAX, Where, bytes_of,
        is_cut,
    },
    unreadable::UnreadableInstance,
};
use crate::{
    memory::{Memory, Purpose},
    store::{Store, retention::Retention},
};

/// How the driver is set up.
pub struct Config {
    /// Engines, each with a thread of its own; at least one.
    pub shards: usize,
    /// Into how many partitions the instances are divided.
    pub partitions: PartitionCount,
    /// What the engines and their inboxes accept.
    pub limits: Limits,
    /// From which the engines' chance comes.
    pub seed: u64,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Threads for calls that yield; at least one.
    pub slow_threads: usize,
    /// How much history is kept.
    pub retention: Retention,
    /// How many bytes the shards and their queues may hold.
    pub memory: Memory,
}

impl Config {
    /// What one engine may hold: what was asked for, within its part of the memory. Half of what is
    /// for queues is for events that the engines know, half for those before them.
    fn limits(&self, store: &dyn Store) -> Limits {
        let shards = self.shards.max(1);
        let part = |purpose| self.memory.max(purpose) / shards;
        let queue_bytes_max = self.limits.queue_bytes_max.min(part(Purpose::Queues) / 2);
        Limits {
            queue_bytes_max,
            mailbox_bytes_max: self.limits.mailbox_bytes_max.min(queue_bytes_max / 2),
            commit_bytes_max: self.limits.commit_bytes_max.min(part(Purpose::Commits) / 2),
            instance_bytes_max: self.limits.instance_bytes_max.min(part(Purpose::Instances)),
            spills_from: (!store.is_immediate()).then_some(SPILLED_BYTES_MIN),
            ..self.limits.clone()
        }
    }
}

/// Why the driver did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be read.
    #[error("the instances could not be read")]
    Store(#[source] Error),
    /// The machine gave no thread.
    #[error("a thread could not be started")]
    Thread(#[source] io::Error),
}

/// Starts the engines with what the store has.
///
/// # Errors
///
/// If the store cannot be read or the machine gives no threads.
pub fn start<G: Guests>(
    config: Config,
    store: Arc<dyn Store>,
    guests: G,
) -> Result<(Handle, Joiner), StartError> {
    prepare(config, store, guests)?.inherit(&Progress::default())
}

/// Starts the engines without anything in them, so that they can be told what versions there are
/// before events run on these.
///
/// # Errors
///
/// If the store cannot be read or the machine gives no threads.
pub fn prepare<G: Guests>(
    config: Config,
    store: Arc<dyn Store>,
    guests: G,
) -> Result<Prepared, StartError> {
    let last = store.last_position().map_err(StartError::Store)?;
    let last_time = store.last_time().map_err(StartError::Store)?;
    if let Some(notice) = config.clock.go_on_from(last_time) {
        tracing::warn!("{notice}");
    }
    let placement = Placement {
        partitions: config.partitions,
        shards: config.shards.max(1),
    };
    let owed = store.owed().map_err(StartError::Store)?;
    let taken_in = owed.known().placed(placement);
    let relays = Relays::new(store.outlets().map_err(StartError::Store)?);
    let limits = config.limits(&*store);
    let (clock, memory) = (config.clock, config.memory);
    let shared = Shared::new(taken_in, limits, store, clock, last, relays, memory);
    let shared = Arc::new(shared);
    let lane = runtime::Builder::new_multi_thread()
        .worker_threads(config.slow_threads.max(1))
        .thread_name("slow-lane")
        .on_thread_start(step_back)
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let mut joiner = Joiner {
        shared: Arc::clone(&shared),
        threads: Vec::new(),
        lane: Some(lane),
    };
    for number in 0..shared.posts.len() {
        let engine = Engine::new(engine::Config {
            seed: config.seed ^ number as u64,
            partitions: shared.placement.partitions,
            limits: shared.limits.clone(),
        });
        let shard = Shard::new(
            number,
            Arc::clone(&shared),
            engine,
            guests.clone(),
            joiner.lane().clone(),
        );
        joiner.spawn(format!("shard-{number}"), move || shard.run())?;
    }
    let committing = Arc::clone(&shared);
    let retention = config.retention;
    joiner.spawn("committer".to_owned(), move || {
        committer::run(&committing, retention);
    })?;
    let woken = Arc::downgrade(&shared);
    shared.clock.on_jump(Arc::new(move || {
        if let Some(shared) = woken.upgrade() {
            shared.posts.iter().for_each(|post| post.inbox.nudge());
        }
    }));
    let handle = Handle::new(shared, joiner.lane().clone());
    Ok(Prepared {
        handle,
        joiner,
        owed,
        last,
    })
}

/// Engines that have no instances yet.
#[must_use = "dropping it ends the driver"]
pub struct Prepared {
    handle: Handle,
    joiner: Joiner,
    owed: Owed,
    last: Position,
}

impl Prepared {
    /// Tells the engines about versions.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Gives the engines the instances that the store has, and what the host before this one sent
    /// and nobody received. All of it is in the inboxes before anything new can be.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn inherit(self, progress: &Progress) -> Result<(Handle, Joiner), StartError> {
        let Self {
            handle,
            joiner,
            owed,
            last,
        } = self;
        let shared = &handle.shared;
        let (placement, store) = (shared.placement, &*shared.store);
        inheritance::hand_over(placement, &shared.posts, store, &owed, last, progress)
            .map_err(StartError::Store)?;
        Ok((handle, joiner))
    }
}

/// Niceness of the slow lane. A tenth of an ordinary thread's weight: guests that loop have what
/// nobody else wants of the machine, and what all others want is not theirs to delay. Not the
/// last, so that on a machine that is busy for ever a slow call still ends.
const SLOW_LANE_NICENESS: i32 = 10;

/// Lets this thread step back behind the others.
fn step_back() {
    // Zero means the calling thread; where it is refused, the slow lane only disturbs more.
    let _ = rustix::process::setpriority_process(None, SLOW_LANE_NICENESS);
}

/// Ends the driver. Dropped, it cuts off what is in flight.
#[must_use = "dropping it ends the driver"]
pub struct Joiner {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Taken when the driver ends.
    lane: Option<runtime::Runtime>,
}

impl Joiner {
    /// Admits nothing more from outside, lets finish what is in flight, commits, answers, and ends
    /// all threads. Blocks, at most about so long; true if nothing had to be cut off.
    pub fn shutdown(mut self, within: Duration) -> bool {
        self.shared.stop_admitting();
        let quiet = self.shared.wait_quiet(Instant::now() + within);
        self.end();
        self.shared.let_go_of_store();
        quiet
    }

    fn end(&mut self) {
        self.shared.stop_admitting();
        self.shared.end();
        for thread in self.threads.drain(..) {
            // A panic was reported where it happened.
            drop(thread.join());
        }
        self.shared.posts.iter().for_each(|post| post.gate.fail());
        if let Some(lane) = self.lane.take() {
            lane.shutdown_background();
        }
    }

    fn spawn(
        &mut self,
        name: String,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), StartError> {
        let thread = thread::Builder::new()
            .name(name)
            .spawn(run)
            .map_err(StartError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    fn lane(&self) -> &runtime::Handle {
        self.lane
            .as_ref()
            .expect("it is taken only at the end")
            .handle()
    }
}

impl Drop for Joiner {
    fn drop(&mut self) {
        if self.lane.is_some() {
            self.end();
        }
    }
}
