//! `xcomponent dead-letters`: events that could not be handled.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Result, Verdict,
    instances::more,
    printer::Printer,
    remote::{Query, Remote, items, segment, text},
    send::describe,
    table,
};

/// Lists, shows, replays and discards events that could not be handled.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(List),
    Show(One),
    Replay(Replay),
    Discard(One),
}

/// Lists them, the last parked first.
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// How many to show, 1 to 1 000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: Option<u16>,
    /// Goes on where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
struct Filter {
    /// For this component.
    #[arg(long)]
    component: Option<String>,
    /// For this machine.
    #[arg(long)]
    machine: Option<String>,
    /// For this instance.
    #[arg(long)]
    instance: Option<String>,
    /// Parked for this reason, as in `trap`.
    #[arg(long)]
    code: Option<String>,
}

/// One of them.
#[derive(Debug, Args)]
struct One {
    /// The event's id.
    id: String,
    /// The instance it was for, where one broadcast left several.
    #[arg(long)]
    instance: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Tries one of them, or many, again on the active version.
#[derive(Debug, Args)]
struct Replay {
    /// The event's id.
    #[arg(required_unless_present_any = ["all", "component", "machine", "code"])]
    id: Option<String>,
    /// All, or all that the filters let through.
    #[arg(long, conflicts_with = "id")]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    remote: Remote,
}

impl DeadLetters {
    pub(super) fn run(self, printer: &Printer) -> Result {
        match self.action {
            None => self.list.run(printer),
            Some(Action::List(list)) => list.run(printer),
            Some(Action::Show(one)) => one.show(printer),
            Some(Action::Replay(replay)) => replay.run(printer),
            Some(Action::Discard(one)) => one.discard(printer),
        }
    }
}

impl Filter {
    fn query(self) -> Query {
        Query::default()
            .with("component", self.component)
            .with("machine", self.machine)
            .with("instance", self.instance)
            .with("code", self.code)
    }
}

impl List {
    fn run(self, printer: &Printer) -> Result {
        let query = self.filter.query();
        let query = query.with("limit", self.limit).with("cursor", self.cursor);
        let page = self.remote.get("dead-letters", &query, printer)?;
        if printer.is_json() {
            printer.json(&page);
            return Ok(Verdict::Done);
        }
        let rows: Vec<_> = items(&page).iter().map(row).collect();
        let heading = ["ID", "AT", "MACHINE", "INSTANCE", "EVENT", "REASON"];
        table::print(heading, &rows, printer);
        more(&page, printer);
        Ok(Verdict::Done)
    }
}

impl One {
    fn show(self, printer: &Printer) -> Result {
        let path = format!("dead-letters/{}", segment(&self.id));
        let query = Query::default().with("instance", self.instance);
        let letter = self.remote.get(&path, &query, printer)?;
        match printer.is_json() {
            true => printer.json(&letter),
            false => show(&letter, printer),
        }
        Ok(Verdict::Done)
    }

    fn discard(self, printer: &Printer) -> Result {
        let path = format!("dead-letters/{}", segment(&self.id));
        let query = Query::default().with("instance", self.instance);
        self.remote.delete(&path, &query, printer)?;
        match printer.is_json() {
            true => printer.json(&json!({"discarded": self.id})),
            false => printer.line(format_args!("{} is discarded", self.id)),
        }
        Ok(Verdict::Done)
    }
}

impl Replay {
    fn run(self, printer: &Printer) -> Result {
        let path = match &self.id {
            Some(id) => format!("dead-letters/{}/replay", segment(id)),
            None => "dead-letters/replay".to_owned(),
        };
        let query = self.filter.query();
        let answer = self.remote.post(&path, &query, &json!({}), printer)?;
        if printer.is_json() {
            printer.json(&answer);
        } else if self.id.is_none() {
            printer.line(counts(&answer));
            if answer["more"] == true {
                printer.note("there are more: replay again");
            }
        } else {
            printer.line(describe(&answer));
        }
        Ok(Verdict::Done)
    }
}

/// `3 replayed: 2 transitioned, 1 rejected`.
fn counts(answer: &Value) -> String {
    let names = [
        "transitioned",
        "ignored",
        "deferred",
        "rejected",
        "dead_lettered",
        "sent",
        "failed",
    ];
    let some = names
        .into_iter()
        .filter(|name| answer[*name].as_u64() > Some(0));
    let parts: Vec<String> = some
        .map(|name| format!("{} {}", text(answer, name), name.replace('_', "-")))
        .collect();
    let total = text(answer, "replayed");
    match parts.is_empty() {
        true => format!("{total} replayed"),
        false => format!("{total} replayed: {}", parts.join(", ")),
    }
}

fn row(letter: &Value) -> [String; 6] {
    [
        text(letter, "id"),
        text(letter, "at"),
        format!("{}/{}", text(letter, "component"), text(letter, "machine")),
        text(letter, "instance_id"),
        text(&letter["event"], "name"),
        text(&letter["reason"], "code"),
    ]
}

fn show(letter: &Value, printer: &Printer) {
    let (event, reason) = (&letter["event"], &letter["reason"]);
    let rows = [
        ("id", text(letter, "id")),
        ("component", text(letter, "component")),
        ("version", text(letter, "version")),
        ("machine", text(letter, "machine")),
        ("instance", text(letter, "instance_id")),
        ("event", text(event, "name")),
        ("payload", text(event, "payload")),
        ("caused by", text(letter, "caused_by")),
        ("attempts", text(letter, "attempts")),
        ("at", text(letter, "at")),
        ("reason", text(reason, "code")),
    ];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    let rows: Vec<_> = rows.map(|(name, value)| [name.to_owned(), value]).collect();
    for line in table::lines(&rows) {
        printer.line(line);
    }
    for part in ["message", "backtrace"] {
        for line in text(reason, part).lines() {
            printer.line(format_args!("  {line}"));
        }
    }
}
