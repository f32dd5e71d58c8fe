//! `xcomponent trace`: what an event led to, across machines and components.

use clap::Args;
use serde_json::Value;

use super::{
    Result, Verdict,
    printer::Printer,
    remote::{Query, Remote, items, segment, text},
};

/// Shows the cascades that an instance was part of, or that an event began, as trees.
#[derive(Debug, Args)]
pub(super) struct Trace {
    /// Which instance.
    #[arg(required_unless_present = "event")]
    instance: Option<String>,
    /// Only the cascade that this event belongs to; without an instance, all that it led to.
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Trace {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let (path, query) = match (&self.instance, self.event) {
            (None, event) => {
                let event = event.unwrap_or_default();
                (
                    format!("events/{}/trace", segment(&event)),
                    Query::default(),
                )
            }
            (Some(id), event) => (
                format!("instances/{}/trace", segment(id)),
                Query::default().with("event", event),
            ),
        };
        let trace = self.remote.get(&path, &query, printer)?;
        if printer.is_json() {
            printer.json(&trace);
            return Ok(Verdict::Done);
        }
        for node in items(&trace) {
            show(node, printer);
        }
        if items(&trace).is_empty() {
            printer.note("there is none");
        }
        if trace["truncated"] == true {
            printer.note("there is more than one answer holds");
        }
        Ok(Verdict::Done)
    }
}

/// A tree, each level two spaces further in. A host answers with at most 60 levels.
fn show(root: &Value, printer: &Printer) {
    let mut open = vec![(0, root)];
    while let Some((level, node)) = open.pop() {
        printer.line(format_args!(
            "{:indent$}{}",
            "",
            line(node),
            indent = 2 * level
        ));
        let caused = node["caused"].as_array().into_iter().flatten();
        open.extend(caused.rev().map(|node| (level + 1, node)));
    }
}

/// `PAY  Shop/Order o-1  Created → Paid`.
fn line(node: &Value) -> String {
    let (from, to) = (text(node, "from"), text(node, "to"));
    let disposition = text(node, "disposition");
    let became = match (&*disposition, from.is_empty()) {
        ("transitioned", false) if node["event"] == "$terminated" => format!("terminated in {to}"),
        ("transitioned", false) => format!("{from} → {to}"),
        ("transitioned", true) => format!("created in {to}"),
        _ => disposition,
    };
    let machine = match text(node, "machine") {
        machine if machine.is_empty() => text(node, "component"),
        machine => format!("{}/{machine}", text(node, "component")),
    };
    let mut parts = vec![text(node, "event"), machine];
    parts.push(text(node, "instance_id"));
    parts.push(became);
    parts.push(text(node, "reason").replace('_', " "));
    if node["fault"].is_object() {
        parts.push(text(&node["fault"], "message"));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("  ")
}
