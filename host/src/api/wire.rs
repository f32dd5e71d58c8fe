//! The shapes of answers. Core types are not the wire format: each has its twin here.

use jiff::fmt::temporal::DateTimePrinter;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use xcomponent_core::{
    definition::MethodKind,
    effect::{Fit, HandledReply, Tally},
    json::Json,
    record::{Reason, Snapshot, TimerKind},
    time::Timestamp,
};

use super::{error::ErrorItem, mismatch::MismatchView, openapi::words};
use crate::tenancy;

/// JSON as it is, written without being read into values.
#[derive(Clone, Debug)]
pub(super) struct Raw(pub(super) Json);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.0.as_str()).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// A time as RFC 3339 with milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Time(pub(super) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time(self.0))
    }
}

/// A time as RFC 3339 with milliseconds.
pub(super) fn time(at: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    let latest = jiff::Timestamp::MAX;
    PRINTER.timestamp_to_string(&jiff::Timestamp::from_millisecond(ms).unwrap_or(latest))
}

/// An instance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Instance {
    /// Its id.
    id: String,
    /// Its component.
    component: String,
    /// The version it runs on.
    version: String,
    /// Its machine.
    machine: String,
    /// Its state.
    state: String,
    /// `active`, `completed`, `error` or `terminated`.
    #[schema(value_type = words::InstanceStatus)]
    status: &'static str,
    /// Its context; empty where the machine has a public member.
    #[schema(value_type = HashMap<String, serde_json::Value>)]
    context: Raw,
    /// Its public member, where the machine has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<HashMap<String, serde_json::Value>>)]
    public_member: Option<Raw>,
    /// Always empty; kept for compatible answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<HashMap<String, serde_json::Value>>)]
    internal_member: Option<Raw>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    /// Whether it was created when its component was loaded.
    entry_point: bool,
    /// Records in its history.
    seq: u64,
    /// When it was created.
    #[schema(value_type = String)]
    created_at: Time,
    /// When it last changed.
    #[schema(value_type = String)]
    updated_at: Time,
    /// What it waits for.
    timers: Vec<PendingTimer>,
    /// Why it stays on an older version.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
    /// Events kept for a later state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deferred: Vec<String>,
}

/// A deadline of an instance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PendingTimer {
    /// The event that it brings.
    event: String,
    /// When.
    #[schema(value_type = String)]
    due_at: Time,
}

impl Instance {
    /// The wire form of a snapshot.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let is_public = snapshot.machine().public_member_type.is_some();
        let shown = Raw(snapshot.context.clone());
        let (context, public_member) = match is_public {
            true => (Raw(Json::empty()), Some(shown)),
            false => (shown, None),
        };
        let extra = snapshot.extra.as_deref();
        let deferred = extra.map_or(&[][..], |extra| &extra.deferred);
        Self {
            id: snapshot.id.to_string(),
            component: snapshot.component().to_string(),
            version: snapshot.deployment.definition.version.to_string(),
            machine: snapshot.machine().name.to_string(),
            state: snapshot.state().name.to_string(),
            status: snapshot.status.as_str(),
            context,
            internal_member: public_member.as_ref().map(|_| Raw(Json::empty())),
            public_member,
            parent_id: snapshot.parent.as_ref().map(|parent| parent.id.to_string()),
            entry_point: snapshot.entry_point,
            seq: snapshot.seq,
            created_at: Time(snapshot.created),
            updated_at: Time(snapshot.updated),
            timers: pending(snapshot)
                .map(|(event, due)| PendingTimer {
                    event: event.to_owned(),
                    due_at: Time(due),
                })
                .collect(),
            held: extra.and_then(|extra| extra.held.as_ref().map(ToString::to_string)),
            deferred: deferred
                .iter()
                .map(|mail| mail.event.name.to_string())
                .collect(),
        }
    }
}

/// The events that deadlines and delayed sends bring, and when.
pub(super) fn pending(snapshot: &Snapshot) -> impl Iterator<Item = (&str, Timestamp)> {
    let timers = snapshot.timers.iter().map(|timer| {
        let (TimerKind::Timeout { transition, .. } | TimerKind::Auto { transition, .. }) =
            timer.kind;
        let machine = snapshot.machine();
        let event = machine.transition(transition).event;
        (machine.event(event).as_str(), timer.due)
    });
    let sends = snapshot.sends().iter();
    timers.chain(sends.map(|delayed| (delayed.outgoing.event.name.as_str(), delayed.due)))
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Handled {
    /// `transitioned`, `ignored`, `deferred`, `retrying`, `rejected` or `dead-lettered`.
    #[schema(value_type = words::Disposition)]
    pub(super) disposition: &'static str,
    /// Why, where it was ignored or rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    /// What the first transition that was tried failed at, where it was ignored for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatch: Option<Box<MismatchView>>,
    /// The event's id.
    pub(super) event_id: String,
    /// The state before; absent for a creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    /// The state after.
    pub(super) to: String,
    /// The record's number in the instance's history.
    pub(super) seq: u64,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) retry_at: Option<Time>,
    /// The instance as it is now.
    pub(super) instance: Instance,
}

impl Handled {
    /// The wire form of an answer.
    pub(super) fn of(reply: &HandledReply) -> Self {
        Self {
            disposition: reply.disposition.as_str(),
            reason: reply.reason.as_deref().map(reason),
            mismatch: MismatchView::of(reply.reason.as_deref()),
            event_id: reply.event.id.to_string(),
            from: reply.from_name().map(ToString::to_string),
            to: reply.to_name().to_string(),
            seq: reply.after.seq,
            retry_at: reply.retry_at().map(Time),
            instance: Instance::of(&reply.after),
        }
    }
}

/// The stable text form of a reason.
pub(super) fn reason(reason: &Reason) -> &'static str {
    match reason {
        Reason::NoTransition => "no_transition",
        Reason::NothingMatched(_) => "nothing_matched",
        Reason::NoLongerMatches => "no_longer_matches",
        Reason::NoAutoPassed => "no_auto_passed",
        Reason::Finished => "finished",
        Reason::UnexpectedState(_) => "unexpected_state",
        Reason::Refused(_) => "refused",
        Reason::Schema(_) => "schema",
        Reason::Exists => "exists",
    }
}

/// How a broadcast ended; the last five add up to `matched`.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct BroadcastTally {
    /// Instances chosen.
    pub(super) matched: u64,
    /// Of these: took a transition.
    pub(super) transitioned: u64,
    /// Of these: ignored it.
    pub(super) ignored: u64,
    /// Of these: deferred it, or will try again.
    pub(super) deferred: u64,
    /// Of these: refused it.
    pub(super) rejected: u64,
    /// Of these: parked it.
    pub(super) dead_lettered: u64,
}

impl From<Tally> for BroadcastTally {
    fn from(tally: Tally) -> Self {
        let Tally {
            matched,
            transitioned,
            ignored,
            deferred,
            rejected,
            dead_lettered,
        } = tally;
        Self {
            matched,
            transitioned,
            ignored,
            deferred,
            rejected,
            dead_lettered,
        }
    }
}

/// What there is to say about a version, and how live instances would fit it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Report {
    /// What checking the definition found: errors first, at most 100.
    findings: Vec<ErrorItem>,
    /// How many findings there are besides, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    findings_unlisted: Option<usize>,
    /// Methods that the definition names and the code does not answer: `guard name`.
    missing_methods: Vec<String>,
    /// By machine and state, how many instances are affected.
    live: Vec<LiveFit>,
}

/// How live instances of one state would fit a version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LiveFit {
    /// The version they are on.
    version: String,
    /// Their machine.
    machine: String,
    /// Their state.
    state: String,
    /// How many there are.
    instances: u64,
    /// How many of them would not fit.
    would_not_fit: u64,
    /// How many of them are not in memory and have a context that the version's schema may refuse;
    /// each is looked at when it comes back.
    unexamined: u64,
    /// Why the first of those would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Report {
    /// The wire form of a report.
    pub(super) fn of(report: &tenancy::Report) -> Self {
        let method = |(kind, name): &(MethodKind, _)| format!("{} {name}", kind_name(*kind));
        Self {
            findings: report.findings.iter().map(ErrorItem::from).collect(),
            findings_unlisted: Some(report.findings.unlisted()).filter(|unlisted| *unlisted > 0),
            missing_methods: report.missing.iter().map(method).collect(),
            live: report.live.iter().map(LiveFit::of).collect(),
        }
    }
}

impl LiveFit {
    fn of(fit: &Fit) -> Self {
        Self {
            version: fit.version.to_string(),
            machine: fit.machine.to_string(),
            state: fit.state.to_string(),
            instances: fit.instances,
            would_not_fit: fit.misfits,
            unexamined: fit.unexamined,
            reason: fit.reason.as_ref().map(ToString::to_string),
        }
    }
}

/// `guard` or `action`.
pub(super) fn kind_name(kind: MethodKind) -> &'static str {
    match kind {
        MethodKind::Guard => "guard",
        MethodKind::Action => "action",
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List<T> {
    /// What is on it.
    pub(super) items: Vec<T>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}
