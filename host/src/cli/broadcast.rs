//! `xcomponent broadcast`: an event for all instances that it concerns.

use clap::Args;
use serde_json::{Value, json};

use super::{
    Result, Verdict,
    printer::Printer,
    remote::{Query, Remote, json_argument, or_empty, segment, text},
};

/// Sends an event to the instances of a machine, and shows how many took it.
///
/// Where transitions for the event have matching rules, those instances get it for which the rules
/// hold; else all.
#[derive(Debug, Args)]
pub(super) struct Broadcast {
    /// Which component.
    component: String,
    /// Which machine.
    machine: String,
    /// The event's name.
    event: String,
    /// What it carries: a JSON object, or `@FILE`.
    #[arg(value_parser = json_argument)]
    payload: Option<Value>,
    /// Only instances in this state.
    #[arg(long)]
    state: Option<String>,
    /// An id of your own for the event: then it is applied once.
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Broadcast {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let (component, machine) = (segment(&self.component), segment(&self.machine));
        let path = format!("components/{component}/machines/{machine}/events");
        let mut body = json!({"event": self.event, "payload": or_empty(self.payload)});
        for (name, value) in [("id", self.id), ("state", self.state)] {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        let tally = self.remote.post(&path, &Query::default(), &body, printer)?;
        if printer.is_json() {
            printer.json(&tally);
            return Ok(Verdict::Done);
        }
        let names = [
            "matched",
            "transitioned",
            "ignored",
            "deferred",
            "rejected",
            "dead_lettered",
        ];
        let counts = names.map(|name| format!("{} {}", text(&tally, name), name.replace('_', "-")));
        printer.line(counts.join(", "));
        Ok(Verdict::Done)
    }
}
