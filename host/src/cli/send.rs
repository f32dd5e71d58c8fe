//! `xcomponent send`: an event for one instance.

use clap::Args;
use serde_json::{Value, json};

use super::{
    Result, Verdict,
    printer::Printer,
    remote::{Query, Remote, json_argument, or_empty, segment, text},
};

/// Sends an event to an instance, and shows what became of it.
///
/// Exits with 1 if it was refused or dead-lettered.
#[derive(Debug, Args)]
pub(super) struct Send {
    /// Which instance.
    instance: String,
    /// The event's name.
    event: String,
    /// What it carries: a JSON object, or `@FILE`.
    #[arg(value_parser = json_argument)]
    payload: Option<Value>,
    /// An id of your own for the event: then it is applied once.
    #[arg(long)]
    id: Option<String>,
    /// Refused unless the instance is in this state.
    #[arg(long, value_name = "STATE")]
    expected_state: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Send {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let path = format!("instances/{}/events", segment(&self.instance));
        let mut body = json!({"event": self.event, "payload": or_empty(self.payload)});
        for (name, value) in [("id", self.id), ("expected_state", self.expected_state)] {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        let handled = self.remote.post(&path, &Query::default(), &body, printer)?;
        match printer.is_json() {
            true => printer.json(&handled),
            false => printer.line(describe(&handled)),
        }
        Ok(Verdict::Done)
    }
}

/// What became of an event, on one line.
pub(super) fn describe(handled: &Value) -> String {
    let disposition = text(handled, "disposition");
    let (from, to) = (text(handled, "from"), text(handled, "to"));
    let mut line = match &*disposition {
        "transitioned" => format!("{disposition}  {from} → {to}"),
        _ if to.is_empty() => disposition,
        _ => format!("{disposition}  in {to}"),
    };
    for name in ["reason", "retry_at"] {
        let value = text(handled, name);
        if !value.is_empty() {
            line.push_str(&format!("  {}: {value}", name.replace('_', " ")));
        }
    }
    let why = text(&handled["mismatch"], "message");
    if !why.is_empty() {
        line.push_str(&format!("\n  {why}"));
    }
    line
}
