//! `xcomponent migrate`: live instances from one version to another, now.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    Result, Verdict,
    printer::Printer,
    remote::{Query, Remote, items, segment, text},
    table,
};

/// Moves live instances from one version to another without waiting for their next event.
///
/// Exits with 1 if some of them stay where they are.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Which component.
    component: String,
    /// Instances on this version.
    from: String,
    /// To this version.
    to: String,
    /// What a state of the old version is called in the new one, as in `Payed=Paid`; repeatable.
    #[arg(long = "state", value_name = "OLD=NEW", value_parser = renaming)]
    states: Vec<(String, String)>,
    /// How many instances at most, up to 100 000; 10 000 where absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: Option<u32>,
    /// Only says what would happen.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: Remote,
}

fn renaming(text: &str) -> Result<(String, String), String> {
    let (old, new) = text
        .split_once('=')
        .ok_or("expected `OLD=NEW`, as in `Payed=Paid`")?;
    Ok((old.to_owned(), new.to_owned()))
}

impl Migrate {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let path = format!("components/{}/migrate", segment(&self.component));
        let states = self.states.into_iter();
        let states: Map<_, _> = states.map(|(old, new)| (old, json!(new))).collect();
        let mut body = json!({
            "from": self.from, "to": self.to, "dry_run": self.dry_run, "states": states,
        });
        if let Some(limit) = self.limit {
            body["limit"] = json!(limit);
        }
        let answer = self.remote.post(&path, &Query::default(), &body, printer)?;
        if printer.is_json() {
            printer.json(&answer);
        } else {
            show(&answer, self.dry_run, printer);
        }
        Ok(match answer["held"].as_u64() {
            None | Some(0) => Verdict::Done,
            Some(_) => Verdict::Findings,
        })
    }
}

fn show(answer: &Value, dry_run: bool, printer: &Printer) {
    let (moved, held) = (text(answer, "moved"), text(answer, "held"));
    match dry_run {
        true => printer.line(format_args!("{moved} would move, {held} would stay")),
        false => printer.line(format_args!("{moved} moved, {held} stayed")),
    }
    let stays = items(answer).iter().filter(|item| !item["held"].is_null());
    let rows: Vec<_> = stays
        .map(|item| [text(item, "instance_id"), text(item, "held")])
        .collect();
    for line in table::lines(&rows) {
        printer.line(format_args!("  {line}"));
    }
}
