//! What waits at instances with its payload: how much of it there may be, and what of it a record
//! says.

use std::sync::Arc;

use crate::{
    call::{Fault, FaultCode, Send},
    engine::{Engine, apply::delay_of, instances::Slot},
    id::{EventId, InstanceId},
    instance::step::Step,
    limits::{DEFERRED_MAX, TIMERS_MAX, WAITING_BYTES_MAX},
    record::{Delayed, Extra, Mail, Outgoing, Snapshot, Target, Timer, Waits, weight},
    time::Timestamp,
};

impl Engine {
    /// The instance as its next record has it, and what changed since the last one of what waits
    /// there.
    pub(crate) fn recorded(&mut self, slot: Slot) -> (Snapshot, Option<Box<Waits>>) {
        let instance = self.instances.expect_mut(slot);
        let snapshot = &mut instance.snapshot;
        let is_same = match (&snapshot.extra, &instance.recorded) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return (snapshot.clone(), None);
        }
        if let Some(extra) = &mut snapshot.extra {
            let waiting = extra.weigh() as u64;
            if waiting != extra.waiting {
                Arc::make_mut(extra).waiting = waiting;
            }
        }
        snapshot.extra.take_if(|extra| extra.is_empty());
        let waits = Waits::between(instance.recorded.as_deref(), snapshot.extra.as_deref());
        instance.recorded.clone_from(&snapshot.extra);
        (snapshot.clone(), waits)
    }

    /// What few instances have; made if this one had none of it.
    pub(crate) fn extra(&mut self, slot: Slot) -> &mut Extra {
        let snapshot = &mut self.instances.expect_mut(slot).snapshot;
        Arc::make_mut(snapshot.extra.get_or_insert_default())
    }

    /// Whether one more event may be deferred.
    pub(crate) fn may_defer(&self, slot: Slot, mail: &Mail) -> bool {
        let Some(extra) = &self.instances.expect(slot).snapshot.extra else {
            return true;
        };
        // One that waits already goes on waiting for something else.
        let new = match extra.holds(&mail.event.id) {
            true => 0,
            false => weight(&mail.event.payload),
        };
        extra.deferred.len() < DEFERRED_MAX && extra.weigh() + new <= WAITING_BYTES_MAX
    }

    /// Why what a transition sends later cannot wait, if so.
    pub(crate) fn too_much_waits(&self, slot: Slot, step: &Step) -> Option<Fault> {
        if step.sends.is_empty() {
            return None;
        }
        let snapshot = &self.instances.expect(slot).snapshot;
        let fault = |message: String| Fault {
            code: FaultCode::TooManySends,
            message: message.into(),
            backtrace: None,
        };
        if snapshot.timers.len() + snapshot.sends().len() + step.sends.len() > TIMERS_MAX {
            return Some(fault(format!(
                "more than {TIMERS_MAX} timers and delayed sends at one instance"
            )));
        }
        let later = step.sends.iter().filter_map(payload_of_later).map(weight);
        let later: usize = later.sum();
        let waiting = snapshot.extra.as_ref().map_or(0, |extra| extra.weigh());
        (later > 0 && waiting + later > WAITING_BYTES_MAX).then(|| {
            let max = WAITING_BYTES_MAX >> 20;
            fault(format!(
                "more than {max} MiB of deferred events and delayed sends would wait at one instance"
            ))
        })
    }
}

/// Something whose time has come.
pub(crate) enum Due {
    Timer(Timer),
    Send(Delayed),
}

impl Snapshot {
    /// Whether a delayed send waits under this id.
    pub(crate) fn has_send(&self, id: &EventId) -> bool {
        let mut sends = self.sends().iter();
        sends.any(|delayed| delayed.outgoing.event.id == *id)
    }

    /// When something is due that has not fired.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let timers = self.timers.iter().filter(|timer| !timer.fired);
        let sends = self.sends().iter().filter(|delayed| !delayed.fired);
        let due = timers.map(|timer| timer.due);
        due.chain(sends.map(|delayed| delayed.due)).min()
    }

    /// What has fired by now and had not before, in order of deadlines; at the same moment those of
    /// the state come first.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<Due> {
        let mut due = Vec::new();
        for timer in &mut self.timers {
            if timer.due <= now && !timer.fired {
                timer.fired = true;
                due.push((timer.due, Due::Timer(timer.clone())));
            }
        }
        let is_due = |delayed: &Delayed| delayed.due <= now && !delayed.fired;
        if let Some(extra) = &mut self.extra
            && extra.sends.iter().any(is_due)
        {
            let sends = Arc::make_mut(extra).sends.iter_mut();
            for delayed in sends.filter(|delayed| is_due(delayed)) {
                delayed.fired = true;
                due.push((delayed.due, Due::Send(delayed.clone())));
            }
        }
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, due)| due).collect()
    }
}

impl Delayed {
    /// Whether it goes to this instance.
    pub(crate) fn is_to(&self, instance: &InstanceId) -> bool {
        matches!(&self.outgoing.to, Target::Instance { id, .. } if id == instance)
    }
}

impl Extra {
    /// Whether something waits under this id.
    pub(crate) fn holds(&self, id: &EventId) -> bool {
        let mut sends = self.sends.iter();
        self.deferred.iter().any(|mail| mail.event.id == *id)
            || sends.any(|delayed| delayed.outgoing.event.id == *id)
            || (self.retry.as_ref()).is_some_and(|retry| retry.mail.event.id == *id)
    }

    /// Lets only those delayed sends stay; none is copied if all do.
    pub(crate) fn retain_sends(this: &mut Option<Arc<Self>>, stays: impl Fn(&Delayed) -> bool) {
        let goes = |delayed: &Delayed| !stays(delayed);
        if let Some(extra) = this
            && extra.sends.iter().any(goes)
        {
            Arc::make_mut(extra).sends.retain(&stays);
        }
    }
}

/// The event of a delayed send to the instance itself.
pub(crate) fn due_mail(outgoing: &Outgoing, now: Timestamp) -> Mail {
    let event = crate::call::Event {
        at: now,
        ..outgoing.event.clone()
    };
    Mail {
        event,
        cause: outgoing.cause.clone(),
        sent_at: None,
    }
}

fn payload_of_later(send: &Send) -> Option<&crate::json::Json> {
    delay_of(send)?;
    match send {
        Send::ToSelf { payload, .. }
        | Send::ToInstance { payload, .. }
        | Send::Broadcast { payload, .. } => Some(payload),
        Send::Create { .. } | Send::Cancel { .. } => None,
    }
}
