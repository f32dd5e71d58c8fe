//! How events come in: requests from outside, deliveries from inside, deadlines. An instance that
//! is not in memory is asked for; its events wait.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    call::Event,
    effect::{Effect, Refused, Reply},
    engine::{
        Engine,
        apply::timer_mail,
        fingerprint,
        instances::Slot,
        outbox::Source,
        outgoing::CREATED,
        recall::Admitted,
        run::Place,
        waiting::{Due, due_mail},
    },
    id::{EventName, InstanceId, TenantId},
    input::{Create, Found, Repeatable, Request, SendEvent, Ticket},
    instance::{After, Birth, Letter, Origin, Trigger, mailbox::Mailbox},
    record::{
        AppendSeq, Body, Cause, Delayed, Departed, Extra, Mail, Outgoing, Parked, Retry, Snapshot,
        Timer, TimerKind,
    },
    time::Timestamp,
};

impl Engine {
    /// Somebody outside asks.
    pub(crate) fn request(&mut self, ticket: Ticket, tenant: TenantId, request: Request) {
        match request {
            Request::Create(create) => self.create(ticket, &tenant, create),
            Request::Send(send) => self.send(ticket, &tenant, send),
            Request::Broadcast(broadcast) => self.broadcast(ticket, &tenant, broadcast),
            Request::Terminate(terminate) => self.request_termination(ticket, &tenant, terminate),
            Request::Delete(delete) => self.request_deletion(ticket, &tenant, delete),
            Request::Read { instance } => self.read(ticket, &tenant, instance),
            Request::Replay { letter } => self.replay(ticket, &tenant, *letter),
            Request::Discard { letter } => self.discard(ticket, &tenant, *letter),
            Request::Preview { with } => {
                let fits = self.preview(&with);
                self.reply(ticket, Reply::Preview(fits));
            }
            Request::Migrate(migrate) => self.request_migration(ticket, tenant, migrate),
            Request::Receive(receive) => self.receive_parcels(ticket, &tenant, receive),
            Request::Return { deliveries, why } => {
                for outgoing in deliveries {
                    let why = Parked::Undeliverable(Arc::clone(&why));
                    self.park_outgoing(&tenant, outgoing, why, After::Nothing);
                }
                self.reply(ticket, Reply::Returned);
            }
            Request::Census { component } => {
                let counts = self.census(&tenant, component.as_ref());
                self.reply(ticket, Reply::Census(counts));
            }
            Request::Breakers { component } => {
                let breakers = self.breakers_of(&tenant, &component);
                self.reply(ticket, Reply::Breakers(breakers));
            }
            Request::Unblock { component } => {
                self.unblock_component(&tenant, &component);
                let breakers = self.breakers_of(&tenant, &component);
                self.reply(ticket, Reply::Breakers(breakers));
            }
            Request::UnblockInstance { instance } => {
                self.unblock_instance(ticket, &tenant, instance);
            }
        }
    }

    fn create(&mut self, ticket: Ticket, tenant: &TenantId, create: Create) {
        if self.is_overloaded() && self.has_more_than_its_share(tenant, &create.component) {
            return self.refuse_at_once(ticket, &create.component);
        }
        let Create {
            component,
            machine,
            context,
            id,
            repeatable,
            entry_point,
            trace_parent,
        } = create;
        let event = self.mint();
        let mail = Mail {
            cause: Cause::outside(&event, trace_parent),
            event: Event {
                id: event,
                name: EventName::new(CREATED),
                payload: context,
                at: self.now,
            },
            sent_at: None,
        };
        let birth = Birth {
            component,
            machine: Some(machine),
            parent: None,
            entry_point,
            repeatable,
        };
        let origin = Origin::Caller {
            ticket,
            remember: false,
        };
        let trigger = Trigger::Create(Box::new(birth));
        self.deliver(
            tenant,
            id,
            Letter::new(mail, origin, After::Nothing).triggering(trigger),
        );
    }

    fn send(&mut self, ticket: Ticket, tenant: &TenantId, send: SendEvent) {
        if self.is_overloaded()
            && let Some(component) = self.component_of(tenant, &send.instance)
            && self.has_more_than_its_share(tenant, &component)
        {
            return self.refuse_at_once(ticket, &component);
        }
        let SendEvent {
            instance,
            component,
            event,
            payload,
            id,
            expected_state,
            sent_at,
            trace_parent,
        } = send;
        let remember = id.is_some();
        let id = id.unwrap_or_else(|| self.mint());
        let mut is_stored = false;
        if remember {
            let key = (tenant.clone(), Some(instance.clone()), id.clone());
            match self.admit(ticket, &key, fingerprint::of_event(&event, &payload)) {
                Admitted::First => {}
                Admitted::Stored => is_stored = true,
                Admitted::No => return,
            }
        }
        let mail = Mail {
            cause: Cause::outside(&id, trace_parent),
            event: Event {
                id,
                name: event,
                payload,
                at: self.now,
            },
            sent_at,
        };
        let trigger = expected_state.map_or(Trigger::Event, Trigger::Expecting);
        let origin = Origin::Caller { ticket, remember };
        let letter = Letter::new(mail, origin, After::Nothing)
            .triggering(trigger)
            .within(component);
        if is_stored || remember && self.may_have_handled(tenant, &instance) {
            self.recall(tenant, instance, letter, is_stored);
        } else {
            self.deliver(tenant, instance, letter);
        }
    }

    fn read(&mut self, ticket: Ticket, tenant: &TenantId, instance: InstanceId) {
        let reply = match self.born(tenant, &instance) {
            Some(slot) => Reply::Instance(Box::new(self.instances.expect(slot).snapshot.clone())),
            None => Reply::Refused(Refused::UnknownInstance(instance)),
        };
        self.reply(ticket, reply);
    }

    /// Brings an event to its instance, wherever that is.
    pub(crate) fn deliver(&mut self, tenant: &TenantId, id: InstanceId, letter: Letter) {
        if self.unreadable.has(tenant, &id) {
            return self.hold(tenant, id, letter);
        }
        // What waits comes first, also if the instance is back already.
        let others_wait =
            !self.absent.is_empty() && self.absent.contains_key(&(tenant.clone(), id.clone()));
        if !others_wait && let Some(slot) = self.instances.find(tenant, &id) {
            return self.arrive(slot, letter);
        }
        if !others_wait && self.is_new(tenant, &id, &letter) {
            return self.conceive(tenant, id, letter);
        }
        let key = (tenant.clone(), id);
        if self.absent_is_full(&key, &letter) {
            return self.refuse_absent(tenant, key.1, letter);
        }
        let is_asked_for = self.absent.contains_key(&key);
        let waiting = self.absent.entry(key.clone()).or_default();
        waiting.push_back(letter, &self.absent_account);
        if !is_asked_for {
            self.ask_for([key]);
        }
    }

    /// Brings what waited for an instance that was not born to it once more, before what came later.
    pub(crate) fn deliver_again(
        &mut self,
        tenant: &TenantId,
        id: &InstanceId,
        letters: VecDeque<Letter>,
    ) {
        if let Some(waiting) = self.absent.get_mut(&(tenant.clone(), id.clone())) {
            let later = waiting.drain();
            for letter in letters.into_iter().chain(later) {
                waiting.push_back(letter, &self.absent_account);
            }
            return;
        }
        for letter in letters {
            self.deliver(tenant, id.clone(), letter);
        }
    }

    /// Whether a creation needs no look into the store: its id was made for it.
    fn is_new(&self, tenant: &TenantId, id: &InstanceId, letter: &Letter) -> bool {
        let Trigger::Create(birth) = &letter.errand.trigger else {
            return false;
        };
        let component = &birth.component;
        let singleton = || {
            self.components
                .singleton(tenant, component, birth.machine.as_ref())
        };
        birth.repeatable == Repeatable::No && singleton().is_none_or(|singleton| singleton != *id)
    }

    /// An event for an instance in memory. Where nothing is in its way it is looked at right now.
    pub(crate) fn arrive(&mut self, slot: Slot, letter: Letter) {
        let instance = self.instances.expect(slot);
        if letter
            .errand
            .component
            .as_ref()
            .is_some_and(|component| instance.snapshot.component() != component)
        {
            let (tenant, id) = (
                instance.snapshot.tenant().clone(),
                instance.snapshot.id.clone(),
            );
            return self.unknown_instance(&tenant, id, letter);
        }
        if matches!(letter.errand.trigger, Trigger::Terminate) {
            return self.be_told_to_end(slot, letter);
        }
        if matches!(letter.errand.trigger, Trigger::Delete) {
            return self.be_told_to_go(slot, letter);
        }
        if let (Origin::Caller { .. }, Some(until)) =
            (letter.errand.origin, self.suspended_until(slot))
        {
            let Origin::Caller { ticket, .. } = letter.errand.origin else {
                return;
            };
            let key = letter.repeat_key(instance.snapshot.tenant(), &instance.snapshot.id);
            return self.refuse_all(ticket, key, Refused::InstanceSuspended { until });
        }
        if matches!(letter.errand.trigger, Trigger::Unstorable { .. }) {
            // Before the same event, which may have come back with the instance.
            return self.post_auto(slot, letter);
        }
        let from_outside = matches!(letter.errand.origin, Origin::Caller { .. });
        if from_outside && instance.busy.is_none() && self.schedule.len() == 0 {
            self.take(slot, letter);
            if self.instances.get(slot).is_some() {
                self.reschedule(slot);
            }
            return;
        }
        self.post(slot, letter);
    }

    /// Until when an instance is left alone for its faults (not for a retry).
    pub(crate) fn suspended_until(&self, slot: Slot) -> Option<Timestamp> {
        let instance = self.instances.expect(slot);
        let busy = instance.busy.as_ref()?;
        let retrying = instance
            .snapshot
            .extra
            .as_ref()
            .is_some_and(|extra| extra.retry.is_some());
        let suspended = busy.faults_in_row >= self.limits.faults_in_row_max && !retrying;
        busy.blocked_until.filter(|_| suspended)
    }

    /// Asks the store for instances that it has not been asked for.
    pub(crate) fn ask_for(&mut self, keys: impl IntoIterator<Item = (TenantId, InstanceId)>) {
        let asked = &mut self.asked;
        let new = keys.into_iter().filter(|key| asked.insert(key.clone()));
        let instances: Vec<_> = new.collect();
        if !instances.is_empty() {
            self.effects.push_back(Effect::Reload { instances });
        }
    }

    /// The store has answered what it knows of instances that were asked for.
    pub(crate) fn reloaded(&mut self, asked: Vec<(TenantId, InstanceId)>, found: Found) {
        for key in found.unreadable {
            self.suspend_unreadable(key);
        }
        for snapshot in found.instances {
            if self
                .instances
                .find(snapshot.tenant(), &snapshot.id)
                .is_none()
            {
                self.install(snapshot);
            }
        }
        for key in &asked {
            self.asked.remove(key);
            self.returning.remove(key);
            // A passive one that the store does not have is none.
            if let Some(slot) = self.instances.find_any(&key.0, &key.1) {
                self.instances.forget(slot);
            }
            if let Some(letters) = self.absent.remove(key) {
                self.bring_to(key, letters);
            }
            if let Some(slot) = self.instances.find(&key.0, &key.1) {
                self.leave_if_done(slot, self.outbox.durable());
            }
        }
        self.surveyed(&asked);
        self.want_again();
    }

    /// Brings to an instance, which is back or does not exist, what waited for it; up to the first
    /// that waits for another answer.
    fn bring_to(&mut self, key: &(TenantId, InstanceId), mut letters: Mailbox) {
        while let Some(letter) = letters.pop_front() {
            if self.is_recalled(key, &letter) {
                letters.push_front(letter, &self.absent_account);
                self.absent.insert(key.clone(), letters);
                return;
            }
            match self.instances.find(&key.0, &key.1) {
                Some(slot) => self.arrive(slot, letter),
                None if matches!(letter.errand.trigger, Trigger::Create(_)) => {
                    self.conceive(&key.0, key.1.clone(), letter);
                }
                None => self.unknown_instance(&key.0, key.1.clone(), letter),
            }
        }
    }

    /// Takes in an instance that the store has: on its next event, or after a truncation.
    pub(crate) fn install(&mut self, snapshot: Snapshot) {
        let slot = self.take_in(snapshot);
        self.fire_due(slot);
        self.redeliver_deferred(slot);
    }

    /// The same at a start. What is due waits for the next look at the clock, when all instances
    /// are there that it may concern.
    pub(crate) fn load(&mut self, snapshot: Snapshot) {
        let slot = self.take_in(snapshot);
        let instance = self.instances.expect_mut(slot);
        instance.alarm = instance.snapshot.next_deadline();
        if let Some(due) = instance.alarm {
            self.timers.set(due, slot);
        }
        self.redeliver_deferred(slot);
        self.passivate_read(slot);
    }

    fn take_in(&mut self, mut snapshot: Snapshot) -> Slot {
        if let Some(passive) = self.instances.find_any(snapshot.tenant(), &snapshot.id) {
            self.instances.forget(passive);
        }
        if let Some(known) = self.components.same_version(&snapshot.deployment) {
            snapshot.deployment = known;
        }
        let extra = snapshot.extra.as_ref();
        let retry = extra.and_then(|extra| extra.retry.as_ref());
        let retry = retry.map(|retry| (retry.mail.event.id.clone(), retry.at));
        for timer in &mut snapshot.timers {
            timer.fired = retry.as_ref().is_some_and(|(id, _)| *id == timer.id);
        }
        if let Some((id, _)) = &retry
            && let Some(extra) = &mut snapshot.extra
            && extra
                .sends
                .iter()
                .any(|delayed| delayed.outgoing.event.id == *id)
        {
            for delayed in &mut Arc::make_mut(extra).sends {
                delayed.fired = delayed.outgoing.event.id == *id;
            }
        }
        let slot = self.instances.insert(snapshot);
        self.instances.expect_mut(slot).inherited = true;
        if !self.forgets_index {
            self.instances.refresh(slot);
        }
        if let Some((_, at)) = retry {
            self.busy(slot).blocked_until = Some(at);
            self.timers.set(at, slot);
        }
        slot
    }

    /// Lets an instance leave memory that has ended, owes nothing, and is stored as it is.
    pub(crate) fn leave_if_done(&mut self, slot: Slot, durable: AppendSeq) {
        let instance = self.instances.expect(slot);
        let snapshot = &instance.snapshot;
        let is_over = snapshot.seq > 0 && !snapshot.is_live();
        if is_over && instance.appended <= durable && instance.busy.is_none() {
            self.instances.remove(slot);
        }
    }

    /// Looks at an instance whose time may have come: what is due goes into its mailbox in order
    /// of deadlines, and the next deadline is noted.
    pub(crate) fn fire_due(&mut self, slot: Slot) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(slot) else {
            return;
        };
        let snapshot = &mut instance.snapshot;
        if snapshot.timers.is_empty() && snapshot.sends().is_empty() {
            return;
        }
        let due = snapshot.take_due(now);
        if let Some(next) = snapshot.next_deadline()
            && instance.alarm.is_none_or(|alarm| next < alarm)
        {
            instance.alarm = Some(next);
            self.timers.set(next, slot);
        }
        for due in due {
            match due {
                Due::Timer(timer) => self.fire(slot, &timer),
                Due::Send(delayed) if delayed.is_to(self.instances.name(slot).1) => {
                    let mail = due_mail(&delayed.outgoing, now);
                    self.post(slot, Letter::inside(mail, Trigger::Due, After::Nothing));
                }
                Due::Send(delayed) => self.depart(slot, &delayed),
            }
        }
    }

    fn fire(&mut self, slot: Slot, timer: &Timer) {
        let snapshot = &self.instances.expect(slot).snapshot;
        let trigger = match timer.kind {
            TimerKind::Timeout { .. } => Trigger::Timeout,
            TimerKind::Auto { .. } => Trigger::Auto,
        };
        let at_once = matches!(trigger, Trigger::Auto) && timer.due <= snapshot.entered;
        let mail = timer_mail(snapshot, timer, self.now);
        let letter = Letter::inside(mail, trigger, After::Nothing);
        if at_once {
            self.post_auto(slot, letter)
        } else {
            self.post(slot, letter)
        }
    }

    /// A delayed send to somebody else leaves.
    fn depart(&mut self, slot: Slot, delayed: &Delayed) {
        let now = self.now;
        let mut outgoing = Outgoing::clone(&delayed.outgoing);
        let (tenant, own) = self.instances.name(slot);
        let address = (tenant.clone(), own.clone(), outgoing.event.id.clone());
        if self.left_alone.contains(&address) {
            return;
        }
        let extra = &mut self.instances.expect_mut(slot).snapshot.extra;
        let id = &outgoing.event.id;
        Extra::retain_sends(extra, |delayed| delayed.outgoing.event.id != *id);
        outgoing.event.at = now;
        outgoing.n = 0;
        // What waits is one less by what departs.
        let (after, _) = self.recorded(slot);
        let tenant = after.tenant().clone();
        self.aim(&tenant, &mut outgoing);
        let departed = Departed {
            after,
            outgoing: outgoing.clone(),
        };
        let seq = self.append_about(slot, Body::Departed(Arc::new(departed)), Source::Nothing);
        self.dispatch(&tenant, outgoing, After::Here(seq));
    }

    /// The time of an instance has come: a retry or the end of a suspension, then its timers.
    pub(crate) fn wake(&mut self, slot: Slot) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(slot) else {
            return;
        };
        instance.alarm.take_if(|alarm| *alarm <= now);
        if let Some(busy) = &mut instance.busy
            && busy.blocked_until.is_some_and(|until| until <= now)
        {
            busy.blocked_until = None;
            let due = |retry: &&Arc<Retry>| retry.at <= now;
            if let Some(retry) = instance
                .snapshot
                .extra
                .as_ref()
                .and_then(|extra| extra.retry.as_ref())
                .filter(due)
                .cloned()
            {
                let trigger = retried_trigger(&instance.snapshot, &retry);
                let (mail, attempts) = (retry.mail.clone(), retry.attempts);
                let waits = |letter: &Letter| letter.mail.event.id == mail.event.id;
                if !busy.own.iter().any(waits) {
                    let letter = Letter::inside(mail, trigger, After::Nothing);
                    self.enqueue(slot, letter.attempted(attempts), Place::Next);
                }
            }
        }
        self.fire_due(slot);
        if self.instances.get(slot).is_some() {
            self.reschedule(slot);
        }
    }

    /// A born instance in memory that is not deleted.
    pub(crate) fn born(&self, tenant: &TenantId, id: &InstanceId) -> Option<Slot> {
        self.instances.find(tenant, id).filter(|slot| {
            let snapshot = &self.instances.expect(*slot).snapshot;
            snapshot.seq > 0 && !snapshot.is_deleted()
        })
    }

    /// There is no such instance.
    pub(crate) fn unknown_instance(&mut self, tenant: &TenantId, id: InstanceId, letter: Letter) {
        match letter.errand.origin {
            Origin::Caller { ticket, .. } => {
                let key = letter.repeat_key(tenant, &id);
                self.refuse_all(ticket, key, Refused::UnknownInstance(id));
            }
            // It was chosen, and its creation turned out to be void.
            Origin::Inside if matches!(letter.errand.trigger, Trigger::Selected { .. }) => {
                self.give_up(tenant, letter.mail.event.id, Some(id));
            }
            Origin::Tally(_) => {
                self.give_up(tenant, letter.mail.event.id, Some(id));
                self.tally_gone(letter.errand.origin);
            }
            Origin::Inside => {
                let why = Parked::UnknownTarget(format!("there is no instance `{id}`").into());
                self.park_letter(tenant, id, letter, why);
            }
        }
    }
}

/// What a retried event may trigger: the same as at first.
pub(crate) fn retried_trigger(snapshot: &Snapshot, retry: &Retry) -> Trigger {
    let id = &retry.mail.event.id;
    if let Some(of) = retry.replays.clone() {
        return Trigger::Replay { of };
    }
    if let Some(timer) = snapshot.timers.iter().find(|timer| timer.id == *id) {
        return match timer.kind {
            TimerKind::Timeout { .. } => Trigger::Timeout,
            TimerKind::Auto { .. } => Trigger::Auto,
        };
    }
    if snapshot.has_send(id) {
        return Trigger::Due;
    }
    let deferred = snapshot
        .extra
        .as_ref()
        .is_some_and(|extra| extra.deferred.iter().any(|mail| mail.event.id == *id));
    if deferred {
        Trigger::Deferred
    } else {
        Trigger::Event
    }
}
