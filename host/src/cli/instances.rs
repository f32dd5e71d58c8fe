//! `xcomponent instances`: which there are, and how one of them is.

use clap::Args;
use serde_json::Value;

use super::{
    Result, Verdict,
    printer::Printer,
    remote::{Query, Remote, items, segment, text},
    table,
};

/// Lists instances, the last created first, or shows one.
#[derive(Debug, Args)]
pub(super) struct Instances {
    /// Shows this instance.
    #[arg(conflicts_with_all = ["component", "machine", "state", "status", "version", "conditions", "count", "limit", "cursor"])]
    id: Option<String>,
    /// Of this component.
    #[arg(long)]
    component: Option<String>,
    /// Of this machine.
    #[arg(long)]
    machine: Option<String>,
    /// In this state.
    #[arg(long)]
    state: Option<String>,
    /// `active`, `completed`, `error` or `terminated`; or `unreadable`: those that are suspended
    /// since what the store has of them cannot be read.
    #[arg(long, value_parser = ["active", "completed", "error", "terminated", "unreadable"])]
    status: Option<String>,
    /// On this version.
    #[arg(long)]
    version: Option<String>,
    /// A condition on the context, as in `amount:>:100`; all of several must hold.
    #[arg(long = "where", value_name = "PATH:OP:VALUE")]
    conditions: Vec<String>,
    /// Counts them instead.
    #[arg(long)]
    count: bool,
    /// How many to show, 1 to 1 000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: Option<u16>,
    /// Goes on where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Instances {
    pub(super) fn run(self, printer: &Printer) -> Result {
        if let Some(id) = &self.id {
            let path = format!("instances/{}", segment(id));
            let instance = self.remote.get(&path, &Query::default(), printer)?;
            match printer.is_json() {
                true => printer.json(&instance),
                false => show(&instance, printer),
            }
            return Ok(Verdict::Done);
        }
        let query = Query::default()
            .with("component", self.component)
            .with("machine", self.machine)
            .with("state", self.state)
            .with("status", self.status)
            .with("version", self.version)
            .with("count", self.count.then_some(true))
            .with("limit", self.limit)
            .with("cursor", self.cursor);
        let conditions = self.conditions.into_iter();
        let query = conditions.fold(query, |query, one| query.with("where", Some(one)));
        let page = self.remote.get("instances", &query, printer)?;
        if printer.is_json() {
            printer.json(&page);
            return Ok(Verdict::Done);
        }
        let found = items(&page).iter();
        match text(&page, "kind").as_str() {
            "counts" => {
                let heading = ["INSTANCES", "MACHINE", "VERSION", "STATE", "STATUS"];
                table::print(heading, &found.map(count_row).collect::<Vec<_>>(), printer);
            }
            "unreadable" => {
                let row = |one| ["id", "why"].map(|name| text(one, name));
                table::print(["ID", "WHY"], &found.map(row).collect::<Vec<_>>(), printer);
            }
            _ => {
                let heading = ["ID", "MACHINE", "STATE", "STATUS", "UPDATED"];
                table::print(heading, &found.map(row).collect::<Vec<_>>(), printer);
            }
        }
        more(&page, printer);
        Ok(Verdict::Done)
    }
}

/// Says how to see the rest of a list.
pub(super) fn more(page: &Value, printer: &Printer) {
    if let Some(cursor) = page["next_cursor"].as_str() {
        printer.note(format_args!("there are more: add `--cursor {cursor}`"));
    }
}

fn machine(item: &Value) -> String {
    format!("{}/{}", text(item, "component"), text(item, "machine"))
}

fn row(instance: &Value) -> [String; 5] {
    [
        text(instance, "id"),
        machine(instance),
        text(instance, "state"),
        text(instance, "status"),
        text(instance, "updated_at"),
    ]
}

fn count_row(count: &Value) -> [String; 5] {
    [
        text(count, "instances"),
        machine(count),
        text(count, "version"),
        text(count, "state"),
        text(count, "status"),
    ]
}

fn show(instance: &Value, printer: &Printer) {
    let member = match &instance["public_member"] {
        Value::Null => "context",
        _ => "public_member",
    };
    let names = [
        "id",
        "component",
        "version",
        "machine",
        "state",
        "status",
        member,
        "parent_id",
        "held",
        "seq",
        "created_at",
        "updated_at",
    ];
    let known = names.into_iter().filter(|name| !instance[*name].is_null());
    let mut rows: Vec<_> = known
        .map(|name| [name.replace('_', " "), text(instance, name)])
        .collect();
    for timer in instance["timers"].as_array().into_iter().flatten() {
        let due = format!("{} at {}", text(timer, "event"), text(timer, "due_at"));
        rows.push(["timer".to_owned(), due]);
    }
    for event in instance["deferred"].as_array().into_iter().flatten() {
        let event = event.as_str().unwrap_or_default();
        rows.push(["deferred".to_owned(), event.to_owned()]);
    }
    for line in table::lines(&rows) {
        printer.line(line);
    }
}
