//! One instance in memory: what is stored of it, and what it is doing right now.

pub(crate) mod mailbox;
pub(crate) mod payloads;
pub(crate) mod select;
pub(crate) mod step;

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{
    call::{Deployment, Lease},
    definition::Machine,
    id::{ComponentName, EventId, MachineName, StateName},
    input::{Repeatable, Ticket},
    instance::{
        mailbox::Mailbox,
        step::{Next, Step},
    },
    record::{AppendSeq, Extra, Mail, Parent, Selector, Snapshot},
    time::Timestamp,
};

/// An instance in memory. What only a busy one needs is kept apart, so that a million idle ones
/// cost little.
#[derive(Debug)]
pub(crate) struct Instance {
    /// What is stored of it.
    pub(crate) snapshot: Snapshot,
    /// The pool it belongs to: same tenant, component and machine.
    pub(crate) pool: u32,
    /// Its place among the pool's members.
    pub(crate) place: u32,
    /// Hashes under which the pool's index knows it, one per indexed path, zero = absent.
    pub(crate) keys: SmallVec<[u64; 2]>,
    /// What waits at it as its last record left it.
    pub(crate) recorded: Option<Arc<Extra>>,
    /// The last record it appended; it may leave memory when that is durable.
    pub(crate) appended: AppendSeq,
    /// The earliest time at which its deadlines will be looked at.
    pub(crate) alarm: Option<Timestamp>,
    /// Mailbox and event at hand, absent while it is idle.
    pub(crate) busy: Option<Box<Busy>>,
    /// Whether it came from the store: a host before this one may have handled events of it.
    pub(crate) inherited: bool,
    /// Bytes it is counted as.
    pub(crate) bytes: usize,
    /// Timers, delayed sends and retries it is counted with.
    pub(crate) timers: u32,
    /// How often the hand that looks for idle ones passed it by since something happened to it.
    pub(crate) spared: u8,
}

/// What an instance is doing.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    /// Its own `auto` events and undelayed sends to itself: first.
    pub(crate) own: Mailbox,
    /// Everything else, first come, first served.
    pub(crate) mailbox: Mailbox,
    /// Records that payloads at the front of the mailbox are read from, and that are not there yet.
    pub(crate) fetching: usize,
    /// The event that waits for a sandbox.
    pub(crate) running: Option<Running>,
    /// Whether it stands in a ready queue.
    pub(crate) queued: bool,
    /// An event is not looked at before this time: a retry or a suspension.
    pub(crate) blocked_until: Option<Timestamp>,
    /// Faults since the last event without one.
    pub(crate) faults_in_row: u8,
}

impl Busy {
    /// Whether nothing distinguishes it from an idle instance.
    pub(crate) fn is_idle(&self) -> bool {
        self.own.is_empty()
            && self.mailbox.is_empty()
            && self.fetching == 0
            && self.running.is_none()
            && !self.queued
            && self.blocked_until.is_none()
            && self.faults_in_row == 0
    }

    /// Whether the next event may be looked at. The end and the deletion of the instance wait for
    /// no time.
    pub(crate) fn is_free(&self) -> bool {
        let is_urgent = || self.is_told_to_end() || self.is_to_be_deleted();
        let is_blocked = self.blocked_until.is_some() && !is_urgent();
        self.running.is_none() && !is_blocked && self.fetching == 0
    }

    /// Whether the next event is the end of the instance.
    pub(crate) fn is_told_to_end(&self) -> bool {
        let next = self.own.front();
        next.is_some_and(|letter| matches!(letter.errand.trigger, Trigger::Terminate))
    }

    /// Whether the next event is the deletion of the instance.
    fn is_to_be_deleted(&self) -> bool {
        let next = self.own.front();
        next.is_some_and(|letter| matches!(letter.errand.trigger, Trigger::Delete))
    }

    /// Whether the payload of the next event must be read from the log.
    pub(crate) fn is_spilled(&self) -> bool {
        let next = self.own.front().or_else(|| self.mailbox.front());
        next.is_some_and(|letter| matches!(letter.errand.payload, Payload::Spilled(_)))
    }

    /// What it works on, and what waits.
    pub(crate) fn letters(&self) -> impl Iterator<Item = &Letter> {
        let running = self.running.as_ref();
        let running = running.map(|running| &running.attempt.letter);
        let waiting = self.own.iter().chain(self.mailbox.iter());
        running.into_iter().chain(waiting)
    }
}

/// An event that waits for the answer of a sandbox.
#[derive(Debug)]
pub(crate) struct Running {
    /// Which sandbox.
    pub(crate) lease: Lease,
    /// What it works on.
    pub(crate) attempt: Box<Attempt>,
}

/// An event at hand.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The version that the whole transition runs on.
    pub(crate) deployment: Arc<Deployment>,
    /// How far it is.
    pub(crate) step: Step,
    /// The event.
    pub(crate) letter: Letter,
}

impl Attempt {
    /// The machine that it is about.
    pub(crate) fn machine(&self) -> &Machine {
        self.deployment.definition.machine(self.step.machine)
    }

    /// Goes on until a method must be asked or the decision is made.
    pub(crate) fn advance(&mut self) -> Next {
        let machine = self.deployment.definition.machine(self.step.machine);
        self.step.advance(machine, &self.letter.mail.event.payload)
    }
}

/// An event for one instance, with what the engine must know besides.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// The event.
    pub(crate) mail: Mail,
    /// What it is there for.
    pub(crate) errand: Errand,
}

/// What an event is there for at an instance: all of a letter that its record does not say.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    /// What it may trigger.
    pub(crate) trigger: Trigger,
    /// The component that the instance must belong to, if that matters.
    pub(crate) component: Option<ComponentName>,
    /// Who waits for what becomes of it.
    pub(crate) origin: Origin,
    /// The record that caused it.
    pub(crate) after: After,
    /// Attempts made before this one.
    pub(crate) attempts: u32,
    /// Where its payload is.
    pub(crate) payload: Payload,
}

/// Where the payload of a waiting event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// With the event, and perhaps nowhere else.
    Here,
    /// With the event, and in the record of the cause's event at the cause's instance.
    Logged,
    /// In that record only: the event is looked at when so many bytes have been read from there.
    Spilled(u32),
}

/// What an event may trigger.
#[derive(Clone, Debug)]
pub(crate) enum Trigger {
    /// Any transition for it.
    Event,
    /// The same, if the instance still belongs to this selection.
    Selected {
        /// How it was chosen.
        selector: Arc<Selector>,
        /// The instance's `seq` when it was; zero = it may have changed since.
        seq: u64,
        /// How many instances got the same event, and share its payload.
        shared_by: u32,
    },
    /// The same, if the instance is in this state.
    Expecting(StateName),
    /// It was deferred, and the state it waited for is there.
    Deferred,
    /// A delayed send to itself is due.
    Due,
    /// A timer of the instance's state is due; the timer with the event's id says which.
    Timeout,
    /// The same for `auto` transitions.
    Auto,
    /// The creation of the instance; `existing` is the answer if it is there already.
    Create(Box<Birth>),
    /// A dead letter is tried again.
    Replay {
        /// The dead letter's id.
        of: EventId,
    },
    /// The end of the instance, whatever its state: an operator wants it.
    Terminate,
    /// The deletion of the instance, if it has ended: an operator wants it.
    Delete,
    /// Nothing: the store refused what became of it, and it is parked.
    Unstorable {
        /// The dead letter that it was the replay of.
        of: Option<EventId>,
        /// Whether its payload is left out, since that was refused as well.
        stripped: bool,
    },
}

/// What a creation needs besides its context (the mail's payload).
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    /// In which component.
    pub(crate) component: ComponentName,
    /// Of which machine; none = the entry machine.
    pub(crate) machine: Option<MachineName>,
    /// Child of whom.
    pub(crate) parent: Option<Box<Parent>>,
    /// Created at load.
    pub(crate) entry_point: bool,
    /// How a repetition finds the first instance.
    pub(crate) repeatable: Repeatable,
}

/// Who waits for what becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A caller.
    Caller {
        /// Whom to answer.
        ticket: Ticket,
        /// Whether the event's id is the caller's own, to be remembered.
        remember: bool,
    },
    /// A broadcast from outside that counts.
    Tally(u64),
    /// Nobody: it comes from inside.
    Inside,
}

impl Origin {
    /// The caller who waits, if one does.
    pub(crate) fn ticket(self) -> Option<Ticket> {
        match self {
            Self::Caller { ticket, .. } => Some(ticket),
            Self::Tally(_) | Self::Inside => None,
        }
    }
}

/// The record that caused an event, which it must not outlive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// None: it comes from outside.
    Nothing,
    /// A record of this shard.
    Here(AppendSeq),
    /// A record of another shard, by its position in the log.
    There(u64),
}

impl Letter {
    /// An event for an instance, from `origin`, that any transition may take.
    pub(crate) fn new(mail: Mail, origin: Origin, after: After) -> Self {
        let errand = Errand {
            trigger: Trigger::Event,
            component: None,
            origin,
            after,
            attempts: 0,
            payload: Payload::Here,
        };
        Self { mail, errand }
    }

    /// The same event, from inside.
    pub(crate) fn inside(mail: Mail, trigger: Trigger, after: After) -> Self {
        Self::new(mail, Origin::Inside, after).triggering(trigger)
    }

    /// The same event, for something else than any transition.
    pub(crate) fn triggering(mut self, trigger: Trigger) -> Self {
        self.errand.trigger = trigger;
        self
    }

    /// The same event, for instances of this component only.
    pub(crate) fn within(mut self, component: Option<ComponentName>) -> Self {
        self.errand.component = component;
        self
    }

    /// The same event, which the record of its cause sent, if that is so.
    pub(crate) fn logged(mut self, is_logged: bool) -> Self {
        if is_logged {
            self.errand.payload = Payload::Logged;
        }
        self
    }

    /// The same event, after so many attempts.
    pub(crate) fn attempted(mut self, attempts: u32) -> Self {
        self.errand.attempts = attempts;
        self
    }
}

impl After {
    /// Whether it is void once nothing after these two is durable.
    pub(crate) fn is_void(self, after: AppendSeq, position: u64) -> bool {
        match self {
            Self::Nothing => false,
            Self::Here(seq) => seq > after,
            Self::There(at) => at > position,
        }
    }
}
