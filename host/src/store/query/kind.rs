//! What a record says in one word.

use xcomponent_core::record::{Body, Disposition, Record};

/// Kinds of records, as streams name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An instance came into being.
    Created,
    /// An instance took a transition.
    Transitioned,
    /// An instance had no use for an event.
    Ignored,
    /// An instance kept an event for later.
    Deferred,
    /// An event faulted and will be tried again.
    Retrying,
    /// An event was refused.
    Rejected,
    /// An event was parked.
    DeadLettered,
    /// An operator ended an instance.
    Terminated,
    /// An operator deleted an instance that had ended.
    Deleted,
    /// Instances were chosen for an event.
    Selected,
    /// A delayed send left its instance.
    Departed,
    /// An instance was moved to another version by request.
    Moved,
    /// A dead letter was given up.
    Discarded,
    /// What another host sent was taken in.
    Received,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Created,
        Self::Transitioned,
        Self::Ignored,
        Self::Deferred,
        Self::Retrying,
        Self::Rejected,
        Self::DeadLettered,
        Self::Terminated,
        Self::Deleted,
        Self::Selected,
        Self::Departed,
        Self::Moved,
        Self::Discarded,
        Self::Received,
    ];

    /// The kind of a record.
    pub fn of(record: &Record) -> Self {
        match &record.body {
            Body::Handled(handled) => match handled.disposition {
                Disposition::Transitioned if handled.from.is_none() => Self::Created,
                Disposition::Transitioned if handled.is_termination() => Self::Terminated,
                Disposition::Transitioned if handled.is_deletion() => Self::Deleted,
                Disposition::Transitioned => Self::Transitioned,
                Disposition::Ignored => Self::Ignored,
                Disposition::Deferred => Self::Deferred,
                Disposition::Retrying => Self::Retrying,
                Disposition::Rejected => Self::Rejected,
                Disposition::DeadLettered => Self::DeadLettered,
            },
            Body::Selected(_) => Self::Selected,
            Body::Departed(_) => Self::Departed,
            Body::Moved(_) => Self::Moved,
            Body::Parked(_) => Self::DeadLettered,
            Body::Discarded { .. } => Self::Discarded,
            Body::Received(_) => Self::Received,
        }
    }

    /// The stable text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Transitioned => "transitioned",
            Self::Ignored => "ignored",
            Self::Deferred => "deferred",
            Self::Retrying => "retrying",
            Self::Rejected => "rejected",
            Self::DeadLettered => "dead-lettered",
            Self::Terminated => "terminated",
            Self::Deleted => "deleted",
            Self::Selected => "selected",
            Self::Departed => "departed",
            Self::Moved => "moved",
            Self::Discarded => "discarded",
            Self::Received => "received",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}
