//! Findings of a definition, shown at the place where they stand.

use std::{ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use anyhow::anyhow;
use serde_json::{Value, json};
use xcomponent_core::definition::{Finding, Severity};

use super::{Failure, printer::Printer, remote::Problem};

/// A finding with an excerpt of its source.
pub(super) fn draw(finding: &Finding, source: &str, path: &Path, renderer: &Renderer) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let path = path.display().to_string();
    let place = AnnotationKind::Primary.span(span(finding, source));
    let snippet = Snippet::source(source).path(path).annotation(place);
    let title = level.primary_title(&finding.message).id(finding.code);
    let mut report = vec![title.element(snippet)];
    if let Some(help) = &finding.help {
        report.push(Group::with_title(Level::HELP.secondary_title(help)));
    }
    renderer.render(&report)
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
pub(super) fn refuse(
    findings: &[Finding],
    source: &str,
    path: &Path,
    printer: &Printer,
) -> Failure {
    let found = count(findings).unwrap_or_default();
    let detail = format!("{} has {found}", path.display());
    if printer.is_json() {
        let errors = findings.iter().map(|finding| to_json(finding, path));
        let value = json!({
            "code": "invalid_definition",
            "detail": detail,
            "errors": errors.collect::<Vec<_>>(),
        });
        return Failure::Refused(Box::new(Problem::of(value)));
    }
    for finding in findings {
        printer.note_drawing(&draw(finding, source, path, &printer.note_renderer()));
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

/// `2 errors and 1 warning`; nothing where there are none.
pub(super) fn count(findings: &[Finding]) -> Option<String> {
    let of = |severity: Severity| {
        let n = findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count();
        (n > 0).then(|| format!("{n} {severity}{}", if n == 1 { "" } else { "s" }))
    };
    let counts: Vec<String> = [of(Severity::Error), of(Severity::Warning)]
        .into_iter()
        .flatten()
        .collect();
    (!counts.is_empty()).then(|| counts.join(" and "))
}

/// Where a finding stands, in bytes: lines and columns are in characters, and may lie behind the
/// end of a document that ends too early.
fn span(finding: &Finding, source: &str) -> Range<usize> {
    let mut start = 0;
    for line in source.split_inclusive('\n').take(finding.line as usize - 1) {
        start += line.len();
    }
    let line = source[start..].split('\n').next().unwrap_or_default();
    let offset = |characters: u32| {
        let at = line.char_indices().nth(characters as usize);
        at.map_or(line.len(), |(at, _)| at)
    };
    let begin = start + offset(finding.column - 1);
    let end = start + offset((finding.column - 1).saturating_add(finding.length));
    begin..end.max(begin)
}
