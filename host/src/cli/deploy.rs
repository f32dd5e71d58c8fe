//! `xcomponent deploy`: a version of a component into a host.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{
    Failure, Result, Verdict, loading,
    printer::Printer,
    remote::{Query, Remote, segment, text},
    table,
};
use crate::source::Kind;

/// Uploads a component and makes it the active version.
///
/// Events go on flowing meanwhile. Takes a packed `.wasm`, a project folder, which is built first,
/// or a `.yaml` definition, whose methods do nothing.
#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// What to upload.
    #[arg(value_name = "COMPONENT")]
    component: PathBuf,
    /// What happens to live instances.
    #[arg(long, value_enum, default_value_t = OnLive::NextEvent)]
    on_live: OnLive,
    /// Only says what would happen.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: Remote,
}

/// What happens to live instances when another version becomes the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OnLive {
    /// Each moves with its next transition, if it fits.
    NextEvent,
    /// Each stays on its version until it finishes.
    Pin,
    /// Nothing is switched if one of them would not fit.
    Refuse,
}

impl OnLive {
    /// As the API writes it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NextEvent => "next-event",
            Self::Pin => "pin",
            Self::Refuse => "refuse",
        }
    }
}

impl Deploy {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let definition = loading::definition(&self.component, printer)?;
        let component = loading::load_one(&self.component, printer)?;
        let path = format!("components/{}", segment(definition.name.as_str()));
        let query = Query::default()
            .with("on-live", Some(self.on_live.as_str()))
            .with("dry-run", self.dry_run.then_some(true));
        let (media_type, body) = match component.kind {
            Kind::Definition => ("application/yaml", component.definition.as_bytes()),
            Kind::Packed | Kind::Project => ("application/wasm", &*component.bytes),
        };
        let uploaded = self.remote.put(&path, &query, media_type, body, printer);
        let uploaded = uploaded.inspect_err(|failure| {
            if let Failure::Refused(problem) = failure
                && !printer.is_json()
            {
                show_fits(&problem.value["report"], printer);
            }
        })?;
        if printer.is_json() {
            printer.json(&uploaded);
            return Ok(Verdict::Done);
        }
        let (name, version) = (text(&uploaded, "component"), text(&uploaded, "version"));
        let state = match (self.dry_run, uploaded["active"] == true) {
            (true, _) => "would be accepted; nothing was changed",
            (false, true) => "is active",
            (false, false) => "is there, and not active",
        };
        printer.line(format_args!("{name} {version} {state}"));
        show_report(&uploaded["report"], printer);
        Ok(Verdict::Done)
    }
}

/// What there is to say about a version.
pub(super) fn show_report(report: &Value, printer: &Printer) {
    for finding in report["findings"].as_array().into_iter().flatten() {
        let (line, column) = (text(finding, "line"), text(finding, "column"));
        let (severity, message) = (text(finding, "severity"), text(finding, "message"));
        printer.line(format_args!("  {severity} at {line}:{column}: {message}"));
    }
    for method in report["missing_methods"].as_array().into_iter().flatten() {
        let method = method.as_str().unwrap_or_default();
        printer.line(format_args!("  warning: no code answers the {method}"));
    }
    show_fits(report, printer);
}

/// How live instances fit a version.
fn show_fits(report: &Value, printer: &Printer) {
    let fits = report["live"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |fit: &Value| {
        let misfits = match fit["would_not_fit"].as_u64() {
            None | Some(0) => match fit["unexamined"].as_u64() {
                None | Some(0) => "all fit".to_owned(),
                Some(unexamined) => format!("{unexamined} will be looked at when they come back"),
            },
            Some(misfits) => format!("{misfits} do not fit: {}", text(fit, "reason")),
        };
        [
            format!("{} on {}", text(fit, "machine"), text(fit, "version")),
            text(fit, "state"),
            format!("{} live", text(fit, "instances")),
            misfits,
        ]
    };
    let rows: Vec<_> = fits.iter().map(row).collect();
    for line in table::lines(&rows) {
        printer.line(format_args!("  {line}"));
    }
}
