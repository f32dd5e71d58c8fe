//! Components that a command names, loaded with their progress shown.

use std::path::{Path, PathBuf};

use xcomponent_core::definition::{Checked, Definition, Strictness, check};

use super::{Failure, findings, printer::Printer};
use crate::source::{self, Component, Kind};

/// Reads, packs or builds them all.
pub(super) fn load(paths: &[PathBuf], printer: &Printer) -> Result<Vec<Component>, Failure> {
    let has_project = paths
        .iter()
        .any(|path| Kind::of(path).is_ok_and(|kind| kind == Kind::Project));
    // Cargo shows its own progress.
    let _progress = (!has_project).then(|| printer.progress("reading components"));
    source::load(paths).map_err(of_source)
}

/// The same for one.
pub(super) fn load_one(path: &Path, printer: &Printer) -> Result<Component, Failure> {
    let mut loaded = load(&[path.to_owned()], printer)?;
    Ok(loaded.pop().expect("one path is one component"))
}

/// The definition that a path names; nothing is built for it.
pub(super) fn definition(path: &Path, printer: &Printer) -> Result<Definition, Failure> {
    let (path, text) = source::definition(path).map_err(of_source)?;
    let Checked {
        definition,
        findings,
    } = check(&text, Strictness::Lenient);
    definition.ok_or_else(|| findings::refuse(&findings, &text, &path, printer))
}

/// Why a component cannot be had.
pub(super) fn of_source(error: source::Error) -> Failure {
    match error.is_misuse() {
        true => Failure::Misuse(error.into()),
        false => Failure::Failed(error.into()),
    }
}
