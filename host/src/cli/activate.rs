//! `xcomponent activate`: another version that is there already.

use clap::Args;
use serde_json::json;

use super::{
    Result, Verdict,
    deploy::{OnLive, show_report},
    printer::Printer,
    remote::{Query, Remote, segment, text},
};

/// Makes a version that was uploaded before the active one.
#[derive(Debug, Args)]
pub(super) struct Activate {
    /// Which component.
    component: String,
    /// Which version.
    version: String,
    /// What happens to live instances.
    #[arg(long, value_enum, default_value_t = OnLive::NextEvent)]
    on_live: OnLive,
    #[command(flatten)]
    remote: Remote,
}

impl Activate {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let path = format!("components/{}/activate", segment(&self.component));
        let body = json!({"version": self.version, "on_live": self.on_live.as_str()});
        let answer = self.remote.post(&path, &Query::default(), &body, printer)?;
        if printer.is_json() {
            printer.json(&answer);
            return Ok(Verdict::Done);
        }
        let (name, version) = (text(&answer, "component"), text(&answer, "version"));
        printer.line(format_args!("{name} {version} is active"));
        show_report(&answer["report"], printer);
        Ok(Verdict::Done)
    }
}
