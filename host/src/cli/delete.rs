//! `xcomponent delete`: the deletion of an instance.

use clap::Args;
use serde_json::json;

use super::{
    Result, Verdict,
    printer::Printer,
    remote::{Query, Remote, segment},
};

/// Deletes an instance that has ended; terminate it first if it has not.
///
/// From then on no list, history or trace shows it. Its dead letters stay until they are replayed or
/// discarded. The host removes its records as soon as nothing is owed and no repeated id is answered
/// from them any more (`--dedup-retention`); until then its id cannot be used again.
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Which instance.
    instance: String,
    #[command(flatten)]
    remote: Remote,
}

impl Delete {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let path = format!("instances/{}", segment(&self.instance));
        self.remote.delete(&path, &Query::default(), printer)?;
        match printer.is_json() {
            true => printer.json(&json!({"deleted": self.instance})),
            false => printer.line(format_args!("{} is deleted", self.instance)),
        }
        Ok(Verdict::Done)
    }
}
