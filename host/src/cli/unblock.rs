//! `xcomponent unblock`: what the breaker suspended goes on now.

use clap::Args;
use serde_json::json;

use super::{
    Result, Verdict,
    printer::Printer,
    remote::{Query, Remote, items, segment, text},
    table,
};

/// Ends the suspension of a component, or of one instance, that faulted too often.
///
/// What goes on faulting is suspended again.
#[derive(Debug, Args)]
pub(super) struct Unblock {
    /// Which component.
    #[arg(required_unless_present = "instance", conflicts_with = "instance")]
    component: Option<String>,
    /// This instance instead of a component.
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Unblock {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let path = match (&self.instance, &self.component) {
            (Some(id), _) => format!("instances/{}/unblock", segment(id)),
            (None, component) => {
                let name = component.as_deref().unwrap_or_default();
                format!("components/{}/unblock", segment(name))
            }
        };
        let answer = self
            .remote
            .post(&path, &Query::default(), &json!({}), printer)?;
        if printer.is_json() {
            printer.json(&answer);
        } else if let Some(id) = self.instance {
            printer.line(format_args!("{id}  in {}", text(&answer, "state")));
        } else {
            let row = |item| [text(item, "version"), text(item, "breaker")];
            let rows: Vec<_> = items(&answer).iter().map(row).collect();
            table::print(["VERSION", "BREAKER"], &rows, printer);
        }
        Ok(Verdict::Done)
    }
}
