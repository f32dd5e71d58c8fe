//! Instances that nothing happens to leave memory; the store has them. Their next event or deadline
//! brings them back, as an event for any instance that is not in memory does.
//!
//! Where instances hold more bytes than they may, those leave at once that were not used since the
//! hand was with them last: about the least recently used first.
//!
//! A hand goes around over all that are in memory. What it costs is bounded by the instances there
//! are, not by the events they get.

use crate::{
    engine::{Engine, instances::Slot, timers::Timers},
    id::{InstanceId, TenantId},
    record::{Snapshot, Status},
    time::{Duration, Timestamp},
};

/// Instances that the hand looks at before other work gets its turn.
const LOOKED_AT_MAX: usize = 256;

/// Rounds of the hand in the time after which an instance may leave.
const ROUNDS: u8 = 4;

/// Rests of the hand while instances hold too many bytes, and how many it looks at between two.
const PRESSED_REST: Duration = Duration(5);
const LOOKED_AT_PRESSED: usize = 4_096;

/// Instances that the store is asked for at the same time because of their deadlines, and while
/// those in memory hold too many bytes. Each may be as large as one with all that waits at it.
const SUMMONED_MAX: usize = 64;
const SUMMONED_PRESSED: usize = 8;

/// Of these: in one question.
const SUMMONED_AT_ONCE: usize = 8;

/// Bytes of what waits at instances that a start keeps in memory: beyond that they leave, however
/// busy they were.
const READ_WAITING_BYTES_MAX: u64 = 64 << 20;

/// What is known of instances that come and go.
#[derive(Debug, Default)]
pub(crate) struct Passivation {
    /// Where the hand is.
    hand: usize,
    /// When it goes around again; zero = it has not begun.
    next_round: Timestamp,
    /// When it goes on while instances hold too many bytes.
    next_pressed: Timestamp,
    /// Deadlines of passive instances.
    pub(crate) timers: Timers,
    /// Bytes of what waits at instances that were read at the start and are in memory.
    read_waiting: u64,
}

impl Engine {
    /// When there is something to do here.
    pub(crate) fn next_passivation(&self) -> Option<Timestamp> {
        let is_round = self.limits.passivate_after.is_some() && self.live() > 0;
        let round = is_round.then(|| self.next_look());
        let deadline = self.passivation.timers.next().filter(|_| self.may_summon());
        round.into_iter().chain(deadline).min()
    }

    /// Lets a few instances leave memory whose time has come.
    pub(crate) fn passivate_idle(&mut self) {
        let Some(after) = self.limits.passivate_after else {
            return;
        };
        if self.passivation.next_round == Timestamp(0) {
            self.passivation.next_round = self.now.after(period(after));
        }
        let is_pressed = self.is_pressed();
        if self.now < self.next_look() {
            return;
        }
        let from = self.passivation.hand;
        let count = if is_pressed {
            LOOKED_AT_PRESSED
        } else {
            LOOKED_AT_MAX
        };
        let mut idle: Vec<Slot> = self.instances.slots_from(from, count).collect();
        self.passivation.hand = from + count;
        if self.passivation.hand >= self.instances.capacity() {
            self.passivation.hand = 0;
            self.passivation.next_round = self.now.after(period(after));
        }
        if is_pressed {
            // Those to which nothing happened since the hand was here last.
            self.passivation.next_pressed = self.now.after(PRESSED_REST);
            idle.retain(|slot| self.pass(*slot) > 1 && self.may_leave(*slot));
            let mut excess = self.instances.bytes() - self.limits.instance_bytes_max;
            idle.retain(|slot| {
                let leaves = excess > 0;
                excess = excess.saturating_sub(self.instances.expect(*slot).bytes);
                leaves
            });
        } else {
            idle.retain(|slot| self.pass(*slot) > ROUNDS && self.can_spare(*slot, after));
        }
        if idle.is_empty() {
            return;
        }
        let leaving: Vec<(TenantId, InstanceId)> =
            idle.iter().map(|slot| self.key(*slot)).collect();
        self.select_without(&leaving);
        for slot in idle {
            if let Some(passive) = self.passivate(slot) {
                self.survey_also(passive);
            }
        }
    }

    /// Lets an instance leave at once that was idle already when it was read at the start, or for
    /// whose waiting events there is no room.
    pub(crate) fn passivate_read(&mut self, slot: Slot) {
        let Some(after) = self.limits.passivate_after else {
            return;
        };
        let snapshot = &self.instances.expect(slot).snapshot;
        let (updated, waiting) = (snapshot.updated, snapshot.waiting_bytes());
        let is_idle = updated.after(after) <= self.now && self.can_spare(slot, after);
        let sum = self.passivation.read_waiting + waiting;
        let is_too_much = waiting > 0 && sum > READ_WAITING_BYTES_MAX && self.may_leave(slot);
        if is_idle || is_too_much {
            self.passivate(slot);
        } else {
            self.passivation.read_waiting = sum;
        }
    }

    /// Whether the store has an instance as it is, and nothing is going on with it.
    pub(crate) fn may_leave(&self, slot: Slot) -> bool {
        let instance = self.instances.expect(slot);
        let Snapshot {
            status,
            seq,
            entry_point,
            extra,
            ..
        } = &instance.snapshot;
        let retries = extra.as_ref().is_some_and(|extra| extra.retry.is_some());
        *status == Status::Active
            && *seq > 0
            && !entry_point
            && !retries
            && instance.busy.is_none()
            && instance.appended <= self.outbox.durable()
    }

    /// Whether instances in memory hold more bytes than they may.
    fn is_pressed(&self) -> bool {
        self.instances.bytes() > self.limits.instance_bytes_max
    }

    /// When the hand goes on.
    fn next_look(&self) -> Timestamp {
        let Passivation {
            next_round,
            next_pressed,
            ..
        } = self.passivation;
        if self.is_pressed() {
            next_pressed.min(next_round)
        } else {
            next_round
        }
    }

    /// The hand passes an instance; how often it did so since something happened.
    fn pass(&mut self, slot: Slot) -> u8 {
        let spared = &mut self.instances.expect_mut(slot).spared;
        *spared = spared.saturating_add(1);
        *spared
    }

    /// Whether an instance may leave and no deadline of it is near.
    fn can_spare(&self, slot: Slot, after: Duration) -> bool {
        let due = self.instances.expect(slot).snapshot.deadlines().min();
        due.is_none_or(|due| due > self.now.after(after)) && self.may_leave(slot)
    }

    /// Lets an instance leave memory that may.
    pub(crate) fn passivate(&mut self, slot: Slot) -> Option<Slot> {
        let due = self.instances.expect(slot).snapshot.deadlines().min();
        let passive = self.instances.passivate(slot)?;
        if let Some(due) = due {
            self.passivation.timers.set(due, passive);
        }
        Some(passive)
    }

    /// Asks for passive instances whose deadlines have come.
    pub(crate) fn summon_due(&mut self) {
        let mut due = Vec::new();
        while self.asked.len() + due.len() < self.summoned_max()
            && let Some(slot) = self.passivation.timers.pop_due(self.now)
        {
            due.push(slot);
        }
        while !due.is_empty() {
            let later = due.split_off(due.len().min(SUMMONED_AT_ONCE));
            self.summon(std::mem::replace(&mut due, later));
        }
    }

    fn may_summon(&self) -> bool {
        self.asked.len() < self.summoned_max()
    }

    fn summoned_max(&self) -> usize {
        if self.is_pressed() {
            SUMMONED_PRESSED
        } else {
            SUMMONED_MAX
        }
    }

    /// Asks the store for passive instances, and says who they are.
    pub(crate) fn summon(&mut self, slots: Vec<Slot>) -> Vec<InstanceId> {
        let still = |slot: &Slot| self.instances.kind(*slot).is_some();
        let slots = slots.into_iter().filter(still);
        let keys: Vec<_> = slots.map(|slot| self.key(slot)).collect();
        self.ask_for(keys.iter().cloned());
        keys.into_iter().map(|(_, id)| id).collect()
    }

    fn key(&self, slot: Slot) -> (TenantId, InstanceId) {
        let (tenant, id) = self.instances.name(slot);
        (tenant.clone(), id.clone())
    }
}

fn period(after: Duration) -> Duration {
    Duration((after.0 / u64::from(ROUNDS)).max(1))
}
