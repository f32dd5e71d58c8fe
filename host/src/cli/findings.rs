//! Findings of a definition, shown at the place where they stand.

use std::{ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use anyhow::anyhow;
use serde_json::{Value, json};
use xcomponent_core::definition::{Finding, Findings, Severity};

use super::{Failure, printer::Printer, remote::Problem};

/// Longest line that is shown; of a longer one, only the place is named.
const LINE_MAX: usize = 1_000;

/// A finding with the line where it stands.
pub(super) fn draw(finding: &Finding, source: &str, path: &Path, renderer: &Renderer) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let path = path.display().to_string();
    let (line, place) = excerpt(finding, source);
    let title = level.primary_title(&finding.message).id(finding.code);
    let report = if line.len() > LINE_MAX {
        let origin = Origin::path(path).line(finding.line as usize);
        title.element(origin.char_column(finding.column as usize))
    } else {
        let place = AnnotationKind::Primary.span(place);
        let snippet = Snippet::source(line).line_start(finding.line as usize);
        title.element(snippet.path(path).annotation(place))
    };
    let mut report = vec![report];
    if let Some(help) = &finding.help {
        report.push(Group::with_title(Level::HELP.secondary_title(help)));
    }
    renderer.render(&report)
}

/// How many findings are not listed; nothing where all are.
pub(super) fn unlisted(findings: &Findings) -> Option<String> {
    let n = findings.unlisted();
    (n > 0).then(|| format!("… and {n} more"))
}

/// What is wrong with a line, with an excerpt of it.
pub(super) fn draw_line(
    line: usize,
    message: &str,
    source: &str,
    path: &Path,
    renderer: &Renderer,
) -> String {
    let start = source.split_inclusive('\n').take(line.saturating_sub(1));
    let start: usize = start.map(str::len).sum();
    let text = source[start..].split('\n').next().unwrap_or_default();
    let indent = text.len() - text.trim_start().len();
    let place = AnnotationKind::Primary.span(start + indent..start + text.trim_end().len());
    let snippet = Snippet::source(source)
        .path(path.display().to_string())
        .annotation(place);
    renderer.render(&[Level::ERROR.primary_title(message).element(snippet)])
}

/// The failure that a definition with errors is. People see its findings before.
pub(super) fn refuse(findings: &Findings, source: &str, path: &Path, printer: &Printer) -> Failure {
    let detail = format!("{} has {findings}", path.display());
    if printer.is_json() {
        let errors = findings.iter().map(|finding| to_json(finding, path));
        let value = json!({
            "code": "invalid_definition",
            "detail": detail,
            "errors": errors.collect::<Vec<_>>(),
            "errors_unlisted": findings.unlisted(),
        });
        return Failure::Refused(Box::new(Problem::of(value)));
    }
    for finding in findings {
        printer.note_drawing(&draw(finding, source, path, &printer.note_renderer()));
    }
    if let Some(unlisted) = unlisted(findings) {
        printer.note(unlisted);
    }
    Failure::Failed(anyhow!(detail))
}

/// A finding for programs.
pub(super) fn to_json(finding: &Finding, path: &Path) -> Value {
    json!({
        "file": path,
        "severity": finding.severity.to_string(),
        "code": finding.code,
        "line": finding.line,
        "column": finding.column,
        "length": finding.length,
        "path": finding.path,
        "message": finding.message,
        "help": finding.help,
    })
}

/// The line where a finding stands, and its place in that, in bytes: lines and columns are in
/// characters, and may lie behind the end of a document that ends too early.
fn excerpt<'s>(finding: &Finding, source: &'s str) -> (&'s str, Range<usize>) {
    let line = source.split('\n').nth(finding.line as usize - 1);
    let line = line.unwrap_or_default().trim_end_matches('\r');
    let offset = |characters: u32| {
        let at = line.char_indices().nth(characters as usize);
        at.map_or(line.len(), |(at, _)| at)
    };
    let begin = offset(finding.column - 1);
    let end = offset((finding.column - 1).saturating_add(finding.length));
    (line, begin..end.max(begin))
}
