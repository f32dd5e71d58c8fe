//! `xcomponent history`: what happened to an instance.

use clap::Args;
use serde_json::Value;

use super::{
    Result, Verdict,
    instances::more,
    printer::Printer,
    remote::{Query, Remote, items, segment, text},
    table,
};

/// Shows what happened to an instance, with what its methods wrote.
#[derive(Debug, Args)]
pub(super) struct History {
    /// Which instance.
    instance: String,
    /// How many records, the last ones: 1 to 1 000.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Goes on, further back, where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl History {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let path = format!("instances/{}/history", segment(&self.instance));
        let query = Query::default()
            .with("limit", Some(self.limit))
            .with("cursor", self.cursor);
        let page = self.remote.get(&path, &query, printer)?;
        if printer.is_json() {
            printer.json(&page);
            return Ok(Verdict::Done);
        }
        // The host gives the last record first; a story is read from its beginning.
        let records: Vec<&Value> = items(&page).iter().rev().collect();
        let rows: Vec<_> = records.iter().map(|record| row(record)).collect();
        for (record, line) in records.iter().zip(table::lines(&rows)) {
            printer.line(line);
            for line in remarks(record) {
                printer.line(format_args!("      {line}"));
            }
        }
        more(&page, printer);
        Ok(Verdict::Done)
    }
}

fn row(record: &Value) -> [String; 5] {
    let (from, to) = (text(record, "from"), text(record, "to"));
    let is_ended = record["kind"] == "terminated";
    let has_moved = record["disposition"] == "transitioned" && !is_ended;
    let states = match (from.is_empty(), has_moved) {
        (true, _) => to,
        (false, true) => format!("{from} → {to}"),
        (false, false) => format!("in {to}"),
    };
    let disposition = match from.is_empty() {
        true => "created".to_owned(),
        false if is_ended => text(record, "kind"),
        false => text(record, "disposition"),
    };
    [
        text(record, "seq"),
        text(record, "at"),
        text(&record["event"], "name"),
        disposition,
        states,
    ]
}

/// Why it ended as it did, and what methods wrote.
fn remarks(record: &Value) -> Vec<String> {
    let mut remarks = Vec::new();
    let why = text(&record["event"]["payload"], "reason");
    if record["kind"] == "terminated" && !why.is_empty() {
        remarks.push(why);
    }
    for name in ["fault", "refusal"] {
        if record[name].is_object() {
            let (code, message) = (text(&record[name], "code"), text(&record[name], "message"));
            remarks.push(format!("{code}: {message}"));
        }
    }
    if record["refusal"].is_null() && record["reason"].is_string() {
        let why = text(&record["mismatch"], "message");
        remarks.push(match why.is_empty() {
            true => text(record, "reason").replace('_', " "),
            false => why,
        });
    }
    for line in record["logs"].as_array().into_iter().flatten() {
        remarks.push(format!(
            "{}: {}",
            text(line, "level"),
            text(line, "message")
        ));
    }
    remarks
}
