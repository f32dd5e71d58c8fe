//! Fair shares: whose the work on this shard is, and who is refused when there is too much of it.
//!
//! Above a soft limit the shard refuses the component that has more of what there is too much of
//! than an equal share for everybody who is at work. A component below its share is admitted, and
//! what it sends is looked at when its turn comes.

use crate::{
    effect::{Effect, Refused, Reply},
    engine::{
        Engine,
        instances::Slot,
        schedule::{LaneIdx, Load},
    },
    id::{ComponentName, InstanceId, TenantId},
    input::Ticket,
    instance::{Letter, Origin, mailbox::Mailbox},
    record::AppendSeq,
};

impl Engine {
    /// The lane of an instance's component.
    pub(crate) fn lane_of(&mut self, slot: Slot) -> LaneIdx {
        let Self {
            instances,
            schedule,
            ..
        } = self;
        let instance = instances.expect(slot);
        let name = || (instance.snapshot.tenant(), instance.snapshot.component());
        let figures = || instances.shared_figures(slot);
        schedule.lane_of_pool(instance.pool, name, figures)
    }

    /// Bytes of records that are not durable with which a component may still start work.
    pub(crate) fn undurable_share(&self) -> usize {
        if self.schedule.undurable_bytes() <= self.pace {
            return usize::MAX;
        }
        self.pace / self.schedule.active().max(1)
    }

    /// Whether work waits for records to become durable: there is no effect although there is work.
    pub fn waits_for_commits(&self) -> bool {
        self.effects.is_empty()
            && self.schedule.len() > 0
            && self.schedule.undurable_bytes() > self.pace
    }

    /// Whether work waits for its turn.
    pub fn has_work(&self) -> bool {
        self.schedule.len() > 0
    }

    /// Components that have work here, or records that are not durable.
    pub fn components_at_work(&self) -> usize {
        self.schedule.active()
    }

    /// Bytes of events that wait for instances.
    pub fn waiting_bytes(&self) -> usize {
        self.schedule.waiting_bytes()
    }

    /// Bytes of instances in memory.
    pub fn instance_bytes(&self) -> usize {
        self.instances.bytes()
    }

    /// Bytes of records that are not durable.
    pub fn undurable_bytes(&self) -> usize {
        self.schedule.undurable_bytes()
    }

    /// Whether there is too much of anything on this shard.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.over().any(|over| over)
    }

    /// By measure, in the order of [`Load`]: whether there is too much.
    fn over(&self) -> impl Iterator<Item = bool> {
        let items = self.debt() + self.outbox.len();
        [
            items >= self.limits.debt_soft_max,
            self.schedule.undurable_bytes() > self.limits.commit_bytes_max,
            self.schedule.waiting_bytes() > self.limits.queue_bytes_max / 2,
        ]
        .into_iter()
    }

    /// Whether a component has more than an equal share of what there is too much of.
    pub(crate) fn has_more_than_its_share(
        &self,
        tenant: &TenantId,
        component: &ComponentName,
    ) -> bool {
        let lane = self.schedule.known_lane(tenant, component);
        let Load {
            items,
            undurable_bytes,
            waiting_bytes,
        } = self.schedule.load(lane);
        let sharers = self.schedule.active() + usize::from(items == 0);
        let measures = [
            (items, self.limits.debt_soft_max),
            (undurable_bytes, self.limits.commit_bytes_max),
            (waiting_bytes, self.limits.queue_bytes_max / 2),
        ];
        let mut measures = measures.into_iter().zip(self.over());
        measures.any(|((own, max), is_over)| is_over && own >= max / sharers.max(1))
    }

    /// The component of an instance that is known here.
    pub(crate) fn component_of(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
    ) -> Option<ComponentName> {
        let slot = self.instances.find_any(tenant, instance)?;
        Some(self.instances.component(slot).clone())
    }

    /// Refuses a request of a component that has more than its share. That depends on no record, so
    /// the answer need not wait for any.
    pub(crate) fn refuse_at_once(&mut self, ticket: Ticket, component: &ComponentName) {
        let why = format!("component `{component}` has too much work waiting");
        self.effects.push_back(Effect::Reply {
            ticket,
            after: AppendSeq(0),
            reply: Reply::Refused(Refused::Busy(why.into())),
        });
    }

    /// Whether an event finds no room at an instance.
    pub(crate) fn has_no_room(&self, slot: Slot, letter: &Letter) -> bool {
        let busy = self.instances.expect(slot).busy.as_ref();
        let (waiting, bytes) =
            busy.map_or((0, 0), |busy| (busy.mailbox.len(), busy.mailbox.bytes()));
        waiting >= self.limits.mailbox_max || self.exceeds(bytes, letter)
    }

    /// Whether an event is too much for a mailbox that holds so many bytes, or for the shard. The
    /// first event of a mailbox may be larger than the mailbox.
    pub(crate) fn exceeds(&self, mailbox_bytes: usize, letter: &Letter) -> bool {
        let bytes = letter.bytes();
        (mailbox_bytes > 0 && mailbox_bytes + bytes > self.limits.mailbox_bytes_max)
            || self.schedule.waiting_bytes() + bytes > self.limits.queue_bytes_max
    }

    /// Whether a caller's event finds no room among what waits for an instance that is not in
    /// memory. What comes from inside always finds some: the store answers soon.
    pub(crate) fn absent_is_full(&self, key: &(TenantId, InstanceId), letter: &Letter) -> bool {
        if !matches!(letter.errand.origin, Origin::Caller { .. }) {
            return false;
        }
        let waiting = self.absent.get(key);
        waiting.is_some_and(|waiting| waiting.len() >= self.limits.mailbox_max)
            || self.exceeds(waiting.map_or(0, Mailbox::bytes), letter)
    }

    /// An event that finds no room among these.
    pub(crate) fn refuse_absent(&mut self, tenant: &TenantId, id: InstanceId, letter: Letter) {
        match letter.errand.origin {
            Origin::Caller { ticket, .. } => {
                let key = letter.repeat_key(tenant, &id);
                self.refuse_all(
                    ticket,
                    key,
                    Refused::Busy("too many events wait at this instance".into()),
                );
            }
            Origin::Tally(_) | Origin::Inside => self.unknown_instance(tenant, id, letter),
        }
    }
}
