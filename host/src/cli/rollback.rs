//! `xcomponent rollback`: back to the version before.

use clap::Args;
use serde_json::json;

use super::{
    Result, Verdict,
    deploy::{OnLive, show_report},
    printer::Printer,
    remote::{Query, Remote, segment, text},
};

/// Makes the version that was active before the present one the active one again.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// Which component.
    component: String,
    /// What happens to live instances.
    #[arg(long, value_enum, default_value_t = OnLive::NextEvent)]
    on_live: OnLive,
    #[command(flatten)]
    remote: Remote,
}

impl Rollback {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let path = format!("components/{}/rollback", segment(&self.component));
        let body = json!({"on_live": self.on_live.as_str()});
        let answer = self.remote.post(&path, &Query::default(), &body, printer)?;
        if printer.is_json() {
            printer.json(&answer);
            return Ok(Verdict::Done);
        }
        let (name, version) = (text(&answer, "component"), text(&answer, "version"));
        printer.line(format_args!("{name} {version} is active again"));
        show_report(&answer["report"], printer);
        Ok(Verdict::Done)
    }
}
