//! One shard: a thread that owns an engine, tells it what comes in and performs what it wants.
//!
//! A turn feeds the engine a few inputs, performs a bounded number of effects, and then lets out
//! what these led to, in this order: records to the log, deliveries to other shards, answers to
//! the gate. The shard never waits for another.

use std::{
    sync::{Arc, atomic::Ordering, mpsc::RecvError},
    time::{Duration, Instant},
};

use tokio::runtime;
use xcomponent_core::{
    call::{Call, Deployment, Lease},
    effect::Effect,
    engine::Engine,
    input::Input,
    record::AppendSeq,
    time::Timestamp,
};

use super::{
    asking::Questions,
    feed::Feed,
    gate::Gated,
    gauges::ShardGauges,
    guests::Guests,
    held::Held,
    inbox::{Message, Order, Patience},
    inheritance::{Chunk, Will},
    intake::Intake,
    leases::{Ended, Leases},
    outbox::Outbox,
    shared::{Phase, Post, Shared},
    suspensions::Untold,
    tickets::Tickets,
};
use crate::store::Position;

/// Inputs fed to the engine in one turn: so many, and more while it has work of its own, since then
/// they only take their places in its fair queue.
const INPUTS_PER_TURN: usize = 64;
const INPUTS_PER_BUSY_TURN: usize = 1_024;

/// Effects performed in one turn.
const EFFECTS_PER_TURN: usize = 1_024;

/// Bytes of records after which a turn ends, and how long it may take: then new requests are looked
/// at.
const BYTES_PER_TURN: usize = 4 << 20;
const TURN_MAX: Duration = Duration::from_millis(4);

/// Effects between two looks at how long a turn has taken.
const EFFECTS_PER_LOOK: usize = 32;

/// How long an idle shard leaves its engine without the news that its last records are durable.
const DURABLE_NEWS_AFTER: Duration = Duration::from_millis(5);

/// A shard and everything only its thread touches.
pub(super) struct Shard<G: Guests> {
    pub(super) number: usize,
    pub(super) shared: Arc<Shared>,
    guests: G,
    pub(super) engine: Engine,
    leases: Leases<G>,
    pub(super) lane: runtime::Handle,
    tickets: Tickets,
    feed: Feed,
    outbox: Outbox,
    intake: Intake,
    /// Messages that were ever put into the inbox up to the last look.
    taken: u64,
    pub(super) questions: Questions,
    /// Whether the engine wanted nothing more at the end of the last turn.
    idle: bool,
    /// Whether it has work that waits until less is on its way to the store.
    waits_for_commits: bool,
    /// How many bytes may be on that way, as the engine knows it.
    pace: usize,
    held: Held,
    /// The last durable record that the engine knows of.
    told: AppendSeq,
    suspensions: Untold,
}

impl<G: Guests> Shard<G> {
    /// A shard around an engine.
    pub(super) fn new(
        number: usize,
        shared: Arc<Shared>,
        engine: Engine,
        guests: G,
        lane: runtime::Handle,
    ) -> Self {
        let held = Held::nothing(&shared.memory);
        let outbox = Outbox::new(number, shared.posts.len(), *shared.durable.borrow());
        Self {
            number,
            leases: Leases::new(guests.clone(), lane.clone(), Arc::clone(&shared), number),
            shared,
            guests,
            engine,
            lane,
            tickets: Tickets::default(),
            feed: Feed::default(),
            outbox,
            intake: Intake::nothing(),
            taken: 0,
            questions: Questions::default(),
            idle: false,
            waits_for_commits: false,
            pace: 0,
            held,
            told: AppendSeq(0),
            suspensions: Untold::default(),
        }
    }

    /// Runs until the inbox is closed.
    pub(super) fn run(mut self) {
        let guard = Guard::new(Arc::clone(&self.shared), "shard");
        loop {
            if self.shared.barrier.is_raised() {
                self.halt();
            }
            if self.feed.is_empty() {
                let patience = self.patience();
                let inbox = &self.shared.posts[self.number].inbox;
                let taken = inbox.take(self.feed.buffer(), patience);
                if taken.closed {
                    break;
                }
                self.taken = taken.pushed;
            }
            self.turn();
        }
        guard.ended();
    }

    fn turn(&mut self) {
        self.post().pulse.works();
        let now = self.shared.clock.now();
        let durable = self.post().gate.durable();
        if durable > self.told {
            self.told = durable;
            self.engine.handle(Input::Durable { through: durable }, now);
        }
        let pace = self.shared.pace();
        if pace != self.pace {
            self.pace = pace;
            self.engine.handle(Input::Pace { bytes: pace }, now);
        }
        if self.engine.poll_timeout().is_some_and(|due| due <= now) {
            self.be_busy();
            if self.fires_timers() {
                self.engine.handle_timeout(now);
            }
        }
        let mut inputs = 0;
        while inputs < INPUTS_PER_TURN || (inputs < INPUTS_PER_BUSY_TURN && self.engine.has_work())
        {
            let Some(message) = self.feed.next() else {
                break;
            };
            self.receive(message, now);
            inputs += 1;
        }
        self.shared.pace.at_work(self.engine.components_at_work());
        let is_done = self.perform_all(now);
        self.waits_for_commits = is_done && self.engine.waits_for_commits();
        self.post()
            .waits_for_commits
            .store(self.waits_for_commits, Ordering::Release);
        self.idle = is_done && !self.waits_for_commits;
        self.recall();
        self.publish();
        self.suspensions.tell(self.number, &mut self.engine);
        let is_even = is_done
            && self.feed.is_empty()
            && self.intake.has_begun()
            && !self.engine.holds_selections();
        let intake = is_even.then_some(&mut self.intake);
        // What comes now may wait for the committer, who waits for a disk or another machine.
        self.shared.posts[self.number].pulse.rests();
        self.outbox.let_out(&self.shared, intake);
        self.report_quiet();
    }

    /// Tells the engine what a message says.
    fn receive(&mut self, message: Message, now: Timestamp) {
        match message {
            Message::Request {
                tenant,
                request,
                waiter,
            } => {
                let ticket = self.tickets.issue(waiter);
                self.engine.handle(
                    Input::Request {
                        ticket,
                        tenant,
                        request,
                    },
                    now,
                );
            }
            Message::Inherit(will) => self.inherit(will, now),
            Message::Delivery {
                from,
                tenant,
                outgoing,
                after,
            } => {
                self.intake.received(from, after);
                self.engine.handle(
                    Input::Delivery {
                        tenant,
                        outgoing,
                        after,
                    },
                    now,
                );
            }
            Message::Order { order, done } => {
                self.engine.handle(order.into_input(), now);
                // Whoever gave the order may have gone away.
                let _ = done.send(());
            }
            Message::Read(answers) => {
                self.questions.answered();
                for answer in answers {
                    self.engine.handle(answer, now);
                }
            }
            Message::Unread(unread) => self.engine.handle(unread, now),
            Message::Returned => {
                for (lease, ended) in self.leases.returned() {
                    self.tell_outcome(lease, ended, now);
                }
            }
            Message::Lines { .. } => unreachable!("the feed gives lines one by one"),
        }
    }

    /// Takes over what the host before this one left behind. Nothing is done before all of it is
    /// there.
    fn inherit(&mut self, will: Will, now: Timestamp) {
        let own = self.shared.placement.owned_by(self.number).collect();
        self.engine.handle(Input::Own(own), now);
        self.engine.handle(Input::Streams(will.streams), now);
        loop {
            self.post().pulse.rests();
            let chunk = will.instances.recv();
            self.post().pulse.works();
            match chunk {
                Ok(Chunk::Some(instances)) => self.engine.handle(Input::Load(instances), now),
                Ok(Chunk::End) => break,
                // The store failed in the middle: with half of the instances nobody can go on.
                Err(RecvError) => return self.shared.break_down(),
            }
        }
        for debt in will.debts {
            self.engine.handle(Input::Redeliver(debt), now);
        }
        if will.last > Position(0) {
            self.engine.handle(Input::Resume, now);
        }
        self.intake.begin(self.shared.posts.len(), will.last.0);
    }

    /// Performs effects; true if the engine wants nothing more.
    fn perform_all(&mut self, now: Timestamp) -> bool {
        let began = Instant::now();
        let mut left = EFFECTS_PER_TURN;
        while let Some(effect) = self.engine.poll_effect() {
            let delivers = matches!(effect, Effect::Deliver { .. });
            self.perform(effect, now);
            left = left.saturating_sub(1);
            let is_long = || left.is_multiple_of(EFFECTS_PER_LOOK) && began.elapsed() > TURN_MAX;
            if self.outbox.bytes() > BYTES_PER_TURN || is_long() {
                left = 0;
            }
            // What one record sends leaves at once: who has some of it counts as having all.
            if left == 0 && !delivers {
                return false;
            }
        }
        true
    }

    fn perform(&mut self, effect: Effect, now: Timestamp) {
        match effect {
            Effect::Invoke { lease, call } => self.invoke(lease, *call, now),
            Effect::Release { lease, healthy } => self.leases.release(lease, healthy),
            Effect::Append { seq, record } => self.outbox.record(seq, record),
            Effect::Deliver {
                tenant,
                to,
                outgoing,
                after: _,
            } => self.outbox.deliver(tenant, to, *outgoing),
            Effect::Reply {
                ticket,
                after,
                reply,
            } => {
                let waiter = self.tickets.redeem(ticket);
                self.outbox.answer(Gated {
                    after,
                    waiter,
                    reply,
                });
            }
            Effect::Reload { instances } => self.reload(instances, now),
            Effect::Recall {
                tenant,
                instance,
                event,
            } => self.recall_soon((tenant, instance, event), now),
            Effect::RecallBroadcast { tenant, event } => self.recall_broadcast((tenant, event)),
            Effect::Unused { deployment } => {
                if self.shared.note_unused(&deployment) {
                    self.guests.unused(&deployment);
                }
            }
        }
    }

    fn invoke(&mut self, lease: Lease, call: Call, now: Timestamp) {
        if let Some(ended) = self.leases.invoke(lease, call) {
            self.tell_outcome(lease, ended, now);
        }
    }

    fn tell_outcome(&mut self, lease: Lease, Ended { outcome, took_us }: Ended, now: Timestamp) {
        if let Some(took_us) = took_us {
            self.engine.count_call(lease, took_us);
        }
        self.engine.handle(Input::Outcome { lease, outcome }, now);
    }

    /// Stands still until the committer has voided what could not be committed, and tells the
    /// engine.
    fn halt(&mut self) {
        self.shared.barrier.halt();
        let after = self.post().gate.durable();
        let position = self.shared.durable.borrow().0;
        self.feed.drop_void(position);
        self.outbox.drop_void(position);
        self.told = self.outbox.last();
        self.post().gate.skip(self.told);
        self.intake.repeat();
        let unstorable = self.post().unstorable.swap(false, Ordering::AcqRel);
        let truncated = Input::Truncated {
            after,
            position,
            unstorable,
        };
        self.engine.handle(truncated, self.shared.clock.now());
        self.idle = false;
    }

    fn patience(&self) -> Patience {
        if !self.idle && !self.waits_for_commits {
            return Patience::None;
        }
        let due = if self.fires_timers() {
            self.engine.poll_timeout()
        } else {
            None
        };
        let sleep = due.and_then(|due| self.shared.clock.until(due));
        let news = (self.told < self.outbox.last()).then_some(DURABLE_NEWS_AFTER);
        match (sleep, news) {
            (None, None) => Patience::Endless,
            (Some(sleep), None) => Patience::For(sleep),
            (None, Some(news)) => Patience::For(news),
            (Some(sleep), Some(news)) => Patience::For(sleep.min(news)),
        }
    }

    /// Timers are kept with their instances: none fires while the host ends.
    fn fires_timers(&self) -> bool {
        self.shared.phase() == Phase::Running
    }

    /// Publishes the shard's numbers.
    fn publish(&mut self) {
        let feed = self.shared.posts[self.number].inbox.bytes();
        self.held.update(&self.engine, feed);
        self.post().counters.machines.publish(&self.engine);
        self.post().counters.publish(ShardGauges {
            live: self.engine.live(),
            passive: self.engine.passive(),
            remembered_bytes: self.engine.remembered_bytes(),
            debt: self.engine.debt() + self.feed.len(),
            inbox: 0,
            inbox_bytes: 0,
            waiting_bytes: self.engine.waiting_bytes(),
            instance_bytes: self.engine.instance_bytes(),
            components: self.engine.components_at_work(),
            away: self.leases.away(),
            events: self.engine.counters(),
            next_due: self.engine.poll_timeout(),
            parcels: self.engine.parcels(),
            dropped_over_budget: self.engine.dropped_over_budget(),
        });
    }

    /// Says that something is worked on although nothing came in: before it is looked whether the
    /// host ends, so that who ends it waits for that.
    fn be_busy(&self) {
        let before = self.taken.wrapping_sub(1);
        self.post().handled.store(before, Ordering::SeqCst);
    }

    /// Says so if nothing that came in so far is still being worked on.
    fn report_quiet(&self) {
        if self.idle
            && self.feed.is_empty()
            && self.leases.away() == 0
            && self.questions.are_answered()
        {
            self.post().handled.store(self.taken, Ordering::SeqCst);
            self.shared.tell_quiet();
        }
    }

    fn post(&self) -> &Post {
        &self.shared.posts[self.number]
    }
}

impl Order {
    fn into_input(self) -> Input {
        match self {
            // Each shard has its own copy: every event counts references to it, and threads would
            // wait for each other's count.
            Self::Deploy(deployment) => Input::Deploy(Arc::new(Deployment::clone(&deployment))),
            Self::Elsewhere(elsewhere) => Input::Elsewhere(elsewhere),
            Self::Activate {
                tenant,
                component,
                version,
                on_live,
            } => Input::Activate {
                tenant,
                component,
                version,
                on_live,
            },
            Self::Retire {
                tenant,
                component,
                version,
            } => Input::Retire {
                tenant,
                component,
                version,
            },
        }
    }
}

/// Ends the whole driver if its thread ends by a panic: a half-done turn must not be built upon.
pub(super) struct Guard {
    shared: Arc<Shared>,
    thread: &'static str,
    ended: bool,
}

impl Guard {
    pub(super) fn new(shared: Arc<Shared>, thread: &'static str) -> Self {
        Self {
            shared,
            thread,
            ended: false,
        }
    }

    /// The thread ends in order.
    pub(super) fn ended(mut self) {
        self.ended = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.ended {
            tracing::error!(
                thread = self.thread,
                "a thread of the driver panicked; nothing is accepted any more"
            );
            self.shared.break_down();
        }
    }
}
