//! `xcomponent validate`: everything there is to say about definitions.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use xcomponent_core::definition::{Checked, Strictness, check};

use super::{Result, Verdict, findings, loading, printer::Printer};
use crate::source;

/// Checks definitions and shows all findings at their place.
///
/// Takes `.yaml` files, project folders and packed `.wasm` components. Exits with 1 if there are
/// errors.
#[derive(Debug, Args)]
pub(super) struct Validate {
    /// Warnings count as errors.
    #[arg(long, conflicts_with = "lenient")]
    strict: bool,
    /// An ambiguous pair of transitions is a warning: the first wins.
    #[arg(long)]
    lenient: bool,
    /// What to check.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Validate {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let mut verdict = Verdict::Done;
        for file in &self.files {
            if !self.check(file, printer)? {
                verdict = Verdict::Findings;
            }
        }
        Ok(verdict)
    }

    /// Checks one file and shows what was found; true if it passes.
    fn check(&self, file: &Path, printer: &Printer) -> Result<bool> {
        let (path, text) = match source::definition(file) {
            Ok(found) => found,
            Err(error @ source::Error::NotPacked { .. }) => {
                show_unreadable(file, error, printer);
                return Ok(false);
            }
            Err(error) => return Err(loading::of_source(error)),
        };
        let strictness = match self.lenient {
            true => Strictness::Lenient,
            false => Strictness::Normal,
        };
        let checked = check(&text, strictness);
        let findings = &checked.findings;
        let passes = !findings.has_errors() && (!self.strict || findings.is_empty());
        match printer.is_json() {
            true => show_json(file, &path, passes, &checked, printer),
            false => show_text(&path, &text, &checked, printer),
        }
        Ok(passes)
    }
}

fn show_text(path: &Path, text: &str, checked: &Checked, printer: &Printer) {
    let renderer = printer.renderer();
    for finding in &checked.findings {
        printer.drawing(&findings::draw(finding, text, path, &renderer));
        printer.line("");
    }
    if let Some(unlisted) = findings::unlisted(&checked.findings) {
        printer.line(unlisted);
    }
    let (file, found) = (path.display(), &checked.findings);
    match &checked.definition {
        Some(definition) if found.is_empty() => {
            let (name, version) = (&definition.name, &definition.version);
            printer.line(format_args!("{file}: {name} {version} is valid"));
        }
        Some(definition) => {
            let (name, version) = (&definition.name, &definition.version);
            printer.line(format_args!(
                "{file}: {name} {version} is valid, with {found}"
            ));
        }
        None => printer.line(format_args!("{file}: {found}")),
    }
}

fn show_json(file: &Path, path: &Path, passes: bool, checked: &Checked, printer: &Printer) {
    let definition = checked.definition.as_ref();
    let findings = checked.findings.iter();
    let unlisted = checked.findings.unlisted();
    printer.json(&json!({
        "file": file,
        "passes": passes,
        "component": definition.map(|definition| definition.name.as_str()),
        "version": definition.map(|definition| definition.version.as_str()),
        "findings": findings.map(|finding| findings::to_json(finding, path)).collect::<Vec<_>>(),
        "findings_unlisted": unlisted,
    }));
}

/// A file that is no packed component has no place to point at.
fn show_unreadable(file: &Path, error: source::Error, printer: &Printer) {
    let message = format!("{:#}", anyhow::Error::from(error));
    if printer.is_json() {
        let finding =
            json!({"file": file, "severity": "error", "code": "not_packed", "message": message});
        printer.json(&json!({"file": file, "passes": false, "findings": [finding]}));
    } else {
        printer.line(format_args!("error: {message}"));
    }
}
