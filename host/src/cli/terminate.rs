//! `xcomponent terminate`: the end of an instance.

use clap::Args;
use serde_json::json;

use super::{
    Result, Verdict,
    printer::Printer,
    remote::{Query, Remote, segment, text},
};

/// Ends an instance in the state that it is in, without asking its component.
///
/// Its timers are cancelled; events that it deferred or was to try again become dead letters.
/// Terminating it again changes nothing.
#[derive(Debug, Args)]
pub(super) struct Terminate {
    /// Which instance.
    instance: String,
    /// Why, for its history.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Terminate {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let path = format!("instances/{}/terminate", segment(&self.instance));
        let body = match self.reason {
            Some(reason) => json!({ "reason": reason }),
            None => json!({}),
        };
        let instance = self.remote.post(&path, &Query::default(), &body, printer)?;
        match printer.is_json() {
            true => printer.json(&instance),
            false => printer.line(format_args!("terminated  in {}", text(&instance, "state"))),
        }
        Ok(Verdict::Done)
    }
}
