//! What an instance waits for: deadlines, deferred events, delayed sends, a retry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xcomponent_core::{
    definition::TransitionIdx,
    id::EventId,
    json::Json,
    record::{Delayed, Extra, Mail, Retry, Timer, TimerKind, Waiting, WaitingKind},
    time::Timestamp,
};

use super::{PortableCause, PortableEvent, PortableOutgoing, Read, of_text, to_text};

/// A deadline of a state. Before schema 6, delayed sends were among them.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct StoredTimer {
    due: u64,
    id: String,
    kind: StoredKind,
    cause: PortableCause,
}

/// What happens then.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredKind {
    Timeout { transition: u16, entry: u64 },
    Auto { transition: u16, entry: u64 },
    Send(Box<PortableOutgoing>),
}

impl StoredTimer {
    pub(in crate::store) fn of(timer: &Timer) -> Self {
        let kind = match &timer.kind {
            TimerKind::Timeout { transition, entry } => StoredKind::Timeout {
                transition: transition.0,
                entry: *entry,
            },
            TimerKind::Auto { transition, entry } => StoredKind::Auto {
                transition: transition.0,
                entry: *entry,
            },
        };
        Self {
            due: timer.due.0,
            id: timer.id.to_string(),
            kind,
            cause: PortableCause::of(&timer.cause),
        }
    }

    pub(in crate::store) fn read(self) -> Read<StoredDeadline> {
        let kind = match self.kind {
            StoredKind::Timeout { transition, entry } => TimerKind::Timeout {
                transition: TransitionIdx(transition),
                entry,
            },
            StoredKind::Auto { transition, entry } => TimerKind::Auto {
                transition: TransitionIdx(transition),
                entry,
            },
            StoredKind::Send(outgoing) => {
                let due = Timestamp(self.due);
                return Ok(StoredDeadline::Send(delayed(due, *outgoing)?));
            }
        };
        Ok(StoredDeadline::Timer(Timer {
            due: Timestamp(self.due),
            kind,
            id: EventId::from_stored(&self.id),
            cause: self.cause.read(),
            fired: false,
        }))
    }
}

/// What stands among an instance's deadlines.
pub(in crate::store) enum StoredDeadline {
    Timer(Timer),
    /// Before schema 6.
    Send(Delayed),
}

fn delayed(due: Timestamp, outgoing: PortableOutgoing) -> Read<Delayed> {
    Ok(Delayed {
        due,
        outgoing: Arc::new(outgoing.read()?),
        fired: false,
    })
}

/// What few instances have. Before schema 6, what was deferred and what is tried again stood here.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct StoredExtra {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deferred: Vec<StoredMail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<StoredRetry>,
    /// Bytes of what waits in rows of its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    waiting: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Arc<str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredMail {
    event: PortableEvent,
    cause: PortableCause,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRetry {
    mail: StoredMail,
    at: u64,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    replays: Option<String>,
}

impl StoredExtra {
    pub(in crate::store) fn of(extra: &Extra) -> Self {
        Self {
            deferred: Vec::new(),
            retry: None,
            waiting: extra.waiting,
            held: extra.held.clone(),
        }
    }

    pub(in crate::store) fn read(self) -> Read<Extra> {
        let deferred = self.deferred.into_iter();
        let deferred = deferred.map(|mail| Ok(Arc::new(mail.read()?)));
        let retry = self.retry.map(StoredRetry::read).transpose()?;
        Ok(Extra {
            deferred: deferred.collect::<Read<_>>()?,
            sends: Vec::new(),
            retry: retry.map(Arc::new),
            waiting: self.waiting,
            held: self.held,
        })
    }
}

/// Something that waits, without the payload of its event, which has a column.
pub(in crate::store) fn waiting_text(waiting: &Waiting) -> String {
    match waiting.clone().carrying(Json::empty()) {
        Waiting::Deferred(mail) => to_text(&StoredMail::of(&mail)),
        Waiting::Retry(retry) => to_text(&StoredRetry::of(&retry)),
        Waiting::Send(delayed) => to_text(&PortableOutgoing::of(&delayed.outgoing)),
    }
}

/// Reads the same.
pub(in crate::store) fn read_waiting_text(
    kind: WaitingKind,
    due: Option<u64>,
    text: &str,
) -> Read<Waiting> {
    Ok(match kind {
        WaitingKind::Deferred => Waiting::Deferred(Arc::new(of_text::<StoredMail>(text)?.read()?)),
        WaitingKind::Retry => Waiting::Retry(Arc::new(of_text::<StoredRetry>(text)?.read()?)),
        WaitingKind::Send => {
            let due = Timestamp(due.unwrap_or_default());
            Waiting::Send(delayed(due, of_text(text)?)?)
        }
    })
}

impl StoredRetry {
    fn of(retry: &Retry) -> Self {
        Self {
            mail: StoredMail::of(&retry.mail),
            at: retry.at.0,
            attempts: retry.attempts,
            replays: retry.replays.as_ref().map(ToString::to_string),
        }
    }

    fn read(self) -> Read<Retry> {
        Ok(Retry {
            mail: self.mail.read()?,
            at: Timestamp(self.at),
            attempts: self.attempts,
            replays: self.replays.as_deref().map(EventId::from_stored),
        })
    }
}

impl StoredMail {
    fn of(mail: &Mail) -> Self {
        Self {
            event: PortableEvent::of(&mail.event),
            cause: PortableCause::of(&mail.cause),
            sent_at: mail.sent_at.map(|at| at.0),
        }
    }

    fn read(self) -> Read<Mail> {
        Ok(Mail {
            event: self.event.read()?,
            cause: self.cause.read(),
            sent_at: self.sent_at.map(Timestamp),
        })
    }
}
