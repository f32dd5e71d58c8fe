//! What a simulation tells while it runs, as data and as a line of text.

use std::{collections::HashMap, fmt};

use serde::Serialize;
use xcomponent_core::{
    id::InstanceId,
    record::{Body, DeadLetter, Disposition, Handled, Parked, Reason, Record},
    time::Timestamp,
};

use crate::plain::Plain;

/// Log lines that are shown to a person; the data has all.
const LOGS_SHOWN: usize = 5;

/// Something to tell.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// The script says what comes.
    Say(String),
    /// An instance looked at an event, or an event was parked.
    Happened(Happened),
    /// The caller was answered something that no record tells.
    Answered(Answered),
    /// The script expected something else.
    Failed(Failure),
}

/// The answer to a broadcast, or a refusal of which nothing is kept.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    /// When, in milliseconds since the start.
    pub at_ms: u64,
    /// What was asked for: an event, or the id of a creation.
    pub asked: String,
    /// The answer.
    pub answer: String,
}

/// An instance looked at an event, or an event was parked.
#[derive(Clone, Debug, Serialize)]
pub struct Happened {
    /// When, in milliseconds since the start.
    pub at_ms: u64,
    /// The instance, as the script names it; none = the event reached none.
    pub instance: Option<String>,
    /// Its component.
    pub component: String,
    /// Its machine.
    pub machine: Option<String>,
    /// The event; none = the creation.
    pub event: Option<String>,
    /// What became of it.
    pub disposition: &'static str,
    /// The state before; none for a creation.
    pub from: Option<String>,
    /// The state after.
    pub to: Option<String>,
    /// Why it was not taken, for programs.
    pub code: Option<String>,
    /// The same for people.
    pub message: Option<String>,
    /// What methods wrote.
    pub logs: Vec<String>,
}

/// An expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The line of the step.
    pub line: usize,
    /// What was expected.
    pub expected: String,
    /// What is the case.
    pub got: String,
}

/// How instances are called: callers' ids as they are, others by machine and number.
#[derive(Debug, Default)]
pub struct Names {
    by_id: HashMap<InstanceId, String>,
    by_name: HashMap<String, InstanceId>,
    numbers: HashMap<String, u64>,
}

impl Names {
    /// From now on the instance is called that.
    pub fn give(&mut self, id: &InstanceId, name: &str) {
        self.by_id.insert(id.clone(), name.to_owned());
        self.by_name.insert(name.to_owned(), id.clone());
    }

    /// The instance that is called that: a given name, else an id.
    pub fn find(&self, name: &str) -> Option<InstanceId> {
        let known = self.by_name.get(name).cloned();
        known.or_else(|| InstanceId::parse(name).ok())
    }

    /// What an instance is called; named here if it is new.
    fn of(&mut self, id: &InstanceId, machine: &str) -> String {
        if let Some(name) = self.by_id.get(id) {
            return name.clone();
        }
        let number = self.numbers.entry(machine.to_owned()).or_default();
        *number += 1;
        let name = format!("{machine}~{number}");
        self.give(id, &name);
        name
    }
}

impl Happened {
    /// What a record says, if it is worth a line.
    pub fn of(record: &Record, start: Timestamp, names: &mut Names) -> Option<Self> {
        let at_ms = record.at.since(start).0;
        match &record.body {
            Body::Handled(handled) => Some(Self::of_handled(handled, at_ms, names)),
            Body::Parked(letter) => Some(Self::of_parked(letter, at_ms, names)),
            Body::Selected(_)
            | Body::Departed(_)
            | Body::Moved(_)
            | Body::Discarded { .. }
            | Body::Received(_) => None,
        }
    }

    fn of_handled(handled: &Handled, at_ms: u64, names: &mut Names) -> Self {
        let machine = handled.after.machine();
        let (code, message) = why(handled).unzip();
        let is_creation = handled.from.is_none();
        Self {
            at_ms,
            instance: Some(names.of(&handled.after.id, machine.name.as_str())),
            component: handled.after.component().to_string(),
            machine: Some(machine.name.to_string()),
            event: (!is_creation).then(|| handled.event.name.to_string()),
            disposition: handled.disposition.as_str(),
            from: handled
                .from
                .map(|state| machine.state(state).name.to_string()),
            to: Some(machine.state(handled.to).name.to_string()),
            code,
            message,
            logs: handled
                .logs
                .iter()
                .map(|line| line.message.to_string())
                .collect(),
        }
    }

    fn of_parked(letter: &DeadLetter, at_ms: u64, names: &mut Names) -> Self {
        let machine = letter.machine.as_ref().map(ToString::to_string);
        let name = |id| names.of(id, machine.as_deref().unwrap_or("instance"));
        Self {
            at_ms,
            instance: letter.instance.as_ref().map(name),
            component: letter.component.to_string(),
            machine,
            event: Some(letter.event.name.to_string()),
            disposition: Disposition::DeadLettered.as_str(),
            from: None,
            to: None,
            code: Some(letter.why.code().to_owned()),
            message: Some(parked(&letter.why)),
            logs: Vec::new(),
        }
    }
}

/// Why an event was not taken: a code for programs and a text for people.
fn why(handled: &Handled) -> Option<(String, String)> {
    if let Some(fault) = &handled.fault {
        return Some((fault.code.as_str().to_owned(), fault.message.to_string()));
    }
    handled.reason.as_deref().map(reason)
}

/// The same codes as the HTTP API answers.
pub(super) fn reason(reason: &Reason) -> (String, String) {
    let (code, message): (&str, String) = match reason {
        Reason::NoTransition => ("no_transition", "no transition for it here".to_owned()),
        Reason::NothingMatched(None) => ("nothing_matched", "no rules or guard passed".to_owned()),
        Reason::NothingMatched(Some(mismatch)) => ("nothing_matched", mismatch.to_string()),
        Reason::NoLongerMatches => ("no_longer_matches", "no longer selected".to_owned()),
        Reason::NoAutoPassed => ("no_auto_passed", "no guard passed".to_owned()),
        Reason::Finished => ("instance_finished", "it has finished".to_owned()),
        Reason::UnexpectedState(state) => ("unexpected_state", format!("it is not in {state}")),
        Reason::Refused(refusal) => (&refusal.code, refusal.message.to_string()),
        Reason::Schema(violations) => ("schema", listed(violations)),
        Reason::Exists => ("instance_exists", "it exists".to_owned()),
    };
    (code.to_owned(), message)
}

/// What a parked event met.
fn parked(why: &Parked) -> String {
    match why {
        Parked::Fault(fault) => fault.message.to_string(),
        Parked::UnknownTarget(text)
        | Parked::CascadeBudget(text)
        | Parked::SchemaViolation(text)
        | Parked::Refused(text)
        | Parked::Undeliverable(text) => text.to_string(),
        Parked::InstanceFinished => "the instance has finished".to_owned(),
        Parked::Overload => "too much was waiting".to_owned(),
        Parked::ComponentSuspended => "the component was suspended for too long".to_owned(),
        Parked::SingletonExists => "the singleton exists".to_owned(),
        Parked::Unstorable => "the store refuses what it led to".to_owned(),
        Parked::RecordUnreadable => "what is kept of the instance cannot be read".to_owned(),
    }
}

/// Items of a list for people.
pub(super) fn listed(items: &[impl fmt::Display]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join("; ")
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say(text) => write!(f, "\n# {text}"),
            Self::Happened(happened) => happened.fmt(f),
            Self::Answered(answered) => answered.fmt(f),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a guest sends or names may have lines of its own.
        let plain =
            |text: &Option<String>, none| Plain(text.as_deref().unwrap_or(none)).to_string();
        let (instance, event) = (plain(&self.instance, "-"), plain(&self.event, "+"));
        write!(f, "{:>12}  {instance:<16} {event:<22} ", Clock(self.at_ms))?;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if self.disposition == "transitioned" => {
                write!(f, "{} → {}", Plain(from), Plain(to))?;
            }
            (_, Some(to)) => Plain(to).fmt(f)?,
            (_, None) => f.write_str(&self.component)?,
        }
        if self.disposition != "transitioned" {
            write!(f, ": {}", self.disposition)?;
        }
        if let (Some(code), Some(message)) = (&self.code, &self.message) {
            write!(f, ", {} ({})", Plain(code), Plain(message))?;
        }
        for line in self.logs.iter().take(LOGS_SHOWN) {
            write!(f, "\n{:>12}  {}", "│", Plain(line))?;
        }
        match self.logs.len().saturating_sub(LOGS_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n{:>12}  … and {more} more", "│"),
        }
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at_ms,
            asked,
            answer,
        } = self;
        let answer = Plain(answer);
        write!(f, "{:>12}  {:<16} {asked:<22} {answer}", Clock(*at_ms), "←")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            expected,
            got,
        } = self;
        let (expected, got) = (Plain(expected), Plain(got));
        write!(f, "line {line}: expected {expected}, got {got}")
    }
}

/// `03:04:05.678`, or `2d 03:04:05` with what is left over where something is.
struct Clock(u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (hours, minutes) = (rest / 3_600_000, rest / 60_000 % 60);
        let (seconds, ms) = (rest / 1_000 % 60, rest % 1_000);
        let time = format!("{hours:02}:{minutes:02}:{seconds:02}");
        match (days, ms) {
            (0, ms) => f.pad(&format!("{time}.{ms:03}")),
            (days, 0) => f.pad(&format!("{days}d {time}")),
            (days, ms) => f.pad(&format!("{days}d {time}.{ms:03}")),
        }
    }
}
