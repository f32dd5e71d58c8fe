//! What a shard still has to look at: a queue with a lock, taken out whole.
//!
//! Requests from outside are admitted while the shard is not too far behind; deliveries and
//! answers always.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
    vec,
};

use tokio::sync::oneshot;
use xcomponent_core::{
    call::Deployment,
    definition::OnLive,
    id::{ComponentName, TenantId, Version},
    input::{Elsewhere, Input, Request},
    record::Outgoing,
};

use super::{
    inheritance::Will,
    waiter::{Batch, Waiter},
};

/// Something a shard is told.
pub(super) enum Message {
    /// Somebody outside asks.
    Request {
        tenant: TenantId,
        request: Request,
        waiter: Waiter,
    },
    /// The lines of a batch that are for this shard.
    Lines {
        tenant: TenantId,
        lines: vec::IntoIter<(usize, Request)>,
        batch: Arc<Batch>,
    },
    /// What the host before this one left behind.
    Inherit(Will),
    /// Another shard sends something; `after` is the position of the record that caused it.
    Delivery {
        from: usize,
        tenant: TenantId,
        outgoing: Outgoing,
        after: u64,
    },
    /// All shards are told the same.
    Order {
        order: Order,
        done: oneshot::Sender<()>,
    },
    /// The store answers what it was asked at once.
    Read(Vec<Input>),
    /// The store does not answer: callers wait no longer.
    Unread(Input),
    /// Sandboxes came back from the slow lane.
    Returned,
}

/// What all shards are told about versions.
#[derive(Clone)]
pub(super) enum Order {
    Deploy(Arc<Deployment>),
    Elsewhere(Arc<Elsewhere>),
    Activate {
        tenant: TenantId,
        component: ComponentName,
        version: Version,
        on_live: OnLive,
    },
    Retire {
        tenant: TenantId,
        component: ComponentName,
        version: Option<Version>,
    },
}

/// The queue of one shard.
#[derive(Default)]
pub(super) struct Inbox {
    mail: Mutex<Mail>,
    arrived: Condvar,
}

#[derive(Default)]
struct Mail {
    messages: VecDeque<Message>,
    /// Requests and deliveries among them.
    waiting: usize,
    /// Bytes of these.
    bytes: usize,
    /// Messages ever put in.
    pushed: u64,
    /// The shard sleeps and must be woken.
    asleep: bool,
    /// Something besides messages wants the shard's attention.
    nudged: bool,
    /// Nothing more is taken in; the shard ends.
    closed: bool,
}

/// What there is room for.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// Requests and deliveries that may wait.
    pub(super) requests: usize,
    /// Bytes of requests that may wait; the first may be larger.
    pub(super) bytes: usize,
}

/// What a shard took out.
pub(super) struct Taken {
    /// Messages ever put in, these included.
    pub(super) pushed: u64,
    /// The shard is to end.
    pub(super) closed: bool,
}

/// How long to wait for the first message.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    /// Not at all.
    None,
    /// At most so long.
    For(Duration),
    /// Until something comes.
    Endless,
}

impl Inbox {
    /// Puts a request in if there is room below `room`; gives it back otherwise.
    pub(super) fn admit(&self, message: Message, room: Room) -> Option<Message> {
        let bytes = message.bytes();
        let mut mail = self.lock();
        if mail.closed || !mail.takes(bytes, room) {
            return Some(message);
        }
        mail.waiting += 1;
        mail.bytes += bytes;
        self.push(mail, [message]);
        None
    }

    /// Puts the lines of a batch in, as many as there is room for below `room`; gives the rest
    /// back.
    pub(super) fn admit_lines(
        &self,
        tenant: &TenantId,
        mut lines: Vec<(usize, Request)>,
        batch: &Arc<Batch>,
        room: Room,
    ) -> Vec<(usize, Request)> {
        let mut mail = self.lock();
        let mut fits = 0;
        if !mail.closed {
            for (_, request) in &lines {
                let bytes = request.bytes();
                if !mail.takes(bytes, room) {
                    break;
                }
                mail.waiting += 1;
                mail.bytes += bytes;
                fits += 1;
            }
        }
        let rest = lines.split_off(fits);
        if !lines.is_empty() {
            let (tenant, batch) = (tenant.clone(), Arc::clone(batch));
            self.push(
                mail,
                [Message::Lines {
                    tenant,
                    lines: lines.into_iter(),
                    batch,
                }],
            );
        }
        rest
    }

    /// Puts deliveries of another shard in.
    pub(super) fn deliver(&self, deliveries: &mut Vec<Message>) {
        let mut mail = self.lock();
        mail.waiting += deliveries.len();
        mail.bytes += deliveries.iter().map(Message::bytes).sum::<usize>();
        self.push(mail, deliveries.drain(..));
    }

    /// Puts in what must not be refused.
    pub(super) fn put(&self, message: Message) {
        let mail = self.lock();
        self.push(mail, [message]);
    }

    /// Makes a sleeping shard look around.
    pub(super) fn nudge(&self) {
        let mut mail = self.lock();
        mail.nudged = true;
        self.wake(mail);
    }

    /// Takes nothing in any more, drops what is there and lets the shard end.
    pub(super) fn close(&self) {
        let mut mail = self.lock();
        mail.closed = true;
        let dropped = std::mem::take(&mut mail.messages);
        self.wake(mail);
        drop(dropped);
    }

    /// Takes everything out, waiting for the first message if there is none.
    pub(super) fn take(&self, into: &mut VecDeque<Message>, patience: Patience) -> Taken {
        let mut mail = self.lock();
        if mail.is_quiet() {
            mail.asleep = true;
            mail = match patience {
                Patience::None => mail,
                Patience::For(limit) => {
                    let (mail, _) = self
                        .arrived
                        .wait_timeout_while(mail, limit, |mail| mail.is_quiet())
                        .expect("nothing that holds the lock panics");
                    mail
                }
                Patience::Endless => self
                    .arrived
                    .wait_while(mail, |mail| mail.is_quiet())
                    .expect("nothing that holds the lock panics"),
            };
            mail.asleep = false;
        }
        mail.nudged = false;
        mail.waiting = 0;
        mail.bytes = 0;
        std::mem::swap(&mut mail.messages, into);
        Taken {
            pushed: mail.pushed,
            closed: mail.closed,
        }
    }

    /// Drops deliveries whose cause will never be durable.
    pub(super) fn drop_void(&self, position: u64) {
        let mut mail = self.lock();
        let before = mail.messages.len();
        mail.messages.retain(|message| !message.is_void(position));
        mail.waiting -= before - mail.messages.len();
        mail.bytes = mail.messages.iter().map(Message::bytes).sum();
    }

    /// Requests and deliveries that wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Bytes of these.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Messages ever put in.
    pub(super) fn pushed(&self) -> u64 {
        self.lock().pushed
    }

    fn push(&self, mut mail: MutexGuard<'_, Mail>, messages: impl IntoIterator<Item = Message>) {
        if mail.closed {
            return;
        }
        let before = mail.messages.len();
        mail.messages.extend(messages);
        mail.pushed += u64::try_from(mail.messages.len() - before).expect("a length fits 64 bits");
        self.wake(mail);
    }

    fn wake(&self, mut mail: MutexGuard<'_, Mail>) {
        let asleep = std::mem::take(&mut mail.asleep);
        drop(mail);
        if asleep {
            self.arrived.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail
            .lock()
            .expect("nothing that holds the lock panics")
    }
}

impl Mail {
    fn takes(&self, bytes: usize, room: Room) -> bool {
        let fits = self.bytes == 0 || self.bytes + bytes <= room.bytes;
        self.waiting < room.requests && fits
    }

    fn is_quiet(&self) -> bool {
        self.messages.is_empty() && !self.nudged && !self.closed
    }
}

impl Message {
    /// Bytes of what it carries.
    fn bytes(&self) -> usize {
        match self {
            Self::Request { request, .. } => request.bytes(),
            Self::Lines { lines, .. } => {
                let lines = lines.as_slice().iter();
                lines.map(|(_, request)| request.bytes()).sum()
            }
            Self::Delivery { outgoing, .. } => outgoing.event.payload.len(),
            Self::Inherit(_)
            | Self::Order { .. }
            | Self::Read(_)
            | Self::Unread(_)
            | Self::Returned => 0,
        }
    }

    /// Whether it is a delivery whose cause will never be durable.
    pub(super) fn is_void(&self, position: u64) -> bool {
        matches!(self, Self::Delivery { after, .. } if *after > position)
    }
}
