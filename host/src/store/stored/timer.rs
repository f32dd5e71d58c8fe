//! What an instance waits for: deadlines, deferred events, a retry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xcomponent_core::{
    definition::TransitionIdx,
    id::EventId,
    record::{Extra, Mail, Retry, Timer, TimerKind},
    time::Timestamp,
};

use super::{PortableCause, PortableEvent, PortableOutgoing, Read};

/// A deadline.
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
            TimerKind::Send(outgoing) => StoredKind::Send(Box::new(PortableOutgoing::of(outgoing))),
        };
        Self {
            due: timer.due.0,
            id: timer.id.to_string(),
            kind,
            cause: PortableCause::of(&timer.cause),
        }
    }

    pub(in crate::store) fn read(self) -> Read<Timer> {
        let kind = match self.kind {
            StoredKind::Timeout { transition, entry } => TimerKind::Timeout {
                transition: TransitionIdx(transition),
                entry,
            },
            StoredKind::Auto { transition, entry } => TimerKind::Auto {
                transition: TransitionIdx(transition),
                entry,
            },
            StoredKind::Send(outgoing) => TimerKind::Send(Box::new(outgoing.read()?)),
        };
        Ok(Timer {
            due: Timestamp(self.due),
            kind,
            id: EventId::from_stored(&self.id),
            cause: self.cause.read(),
            fired: false,
        })
    }
}

/// What few instances have.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct StoredExtra {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deferred: Vec<StoredMail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<StoredRetry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Arc<str>>,
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
        let retry = |retry: &Retry| StoredRetry {
            mail: StoredMail::of(&retry.mail),
            at: retry.at.0,
            attempts: retry.attempts,
            replays: retry.replays.as_ref().map(ToString::to_string),
        };
        Self {
            deferred: extra.deferred.iter().map(StoredMail::of).collect(),
            retry: extra.retry.as_ref().map(retry),
            held: extra.held.clone(),
        }
    }

    pub(in crate::store) fn read(self) -> Read<Extra> {
        let retry = |stored: StoredRetry| -> Read<Retry> {
            Ok(Retry {
                mail: stored.mail.read()?,
                at: Timestamp(stored.at),
                attempts: stored.attempts,
                replays: stored.replays.as_deref().map(EventId::from_stored),
            })
        };
        let deferred = self.deferred.into_iter().map(StoredMail::read);
        Ok(Extra {
            deferred: deferred.collect::<Read<_>>()?,
            retry: self.retry.map(retry).transpose()?,
            held: self.held,
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
