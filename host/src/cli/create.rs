//! `xcomponent create`: a new instance.

use clap::Args;
use serde_json::{Value, json};

use super::{
    Result, Verdict,
    printer::Printer,
    remote::{Query, Remote, json_argument, or_empty, segment, text},
};

/// Creates an instance, and shows its id and state.
///
/// With an id of your own, creating it again gives the first one.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Which component.
    component: String,
    /// Which machine.
    machine: String,
    /// What it begins with: a JSON object, or `@FILE`.
    #[arg(value_parser = json_argument)]
    context: Option<Value>,
    /// An id of your own.
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Create {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let (component, machine) = (segment(&self.component), segment(&self.machine));
        let path = format!("components/{component}/machines/{machine}/instances");
        let mut body = json!({"context": or_empty(self.context)});
        if let Some(id) = self.id {
            body["id"] = json!(id);
        }
        let instance = self.remote.post(&path, &Query::default(), &body, printer)?;
        match printer.is_json() {
            true => printer.json(&instance),
            false => printer.line(format_args!(
                "{}  in {}",
                text(&instance, "id"),
                text(&instance, "state")
            )),
        }
        Ok(Verdict::Done)
    }
}
