//! Components that a command names, loaded with their progress shown.

use std::path::PathBuf;

use super::{Failure, printer::Printer};
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

/// Why a component cannot be had.
pub(super) fn of_source(error: source::Error) -> Failure {
    match error.is_misuse() {
        true => Failure::Misuse(error.into()),
        false => Failure::Failed(error.into()),
    }
}
