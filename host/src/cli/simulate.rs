//! `xcomponent simulate`: a scenario on a clock that its script moves.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;

use super::{
    Failure, Result, Verdict, findings, loading, log, printer::Printer, serve::multi_thread,
};
use crate::{
    app::{
        Config,
        simulation::{self, Script, Told},
    },
    source::{Component, Kind},
    tenancy::Leniency,
};

/// Runs a script: events, time, and what is expected of them.
///
/// The components run in real sandboxes, on a clock that the script alone moves, so that it tells
/// the same on every run. Exits with 1 if an expectation does not hold.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Components: `.wasm`, `.yaml` or project folders; those that the script names where absent.
    #[arg(value_name = "COMPONENT")]
    components: Vec<PathBuf>,
    /// The script, in YAML.
    #[arg(long, value_name = "FILE")]
    script: PathBuf,
}

impl Simulate {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let script = read_script(&self.script, printer)?;
        let paths = match self.components.is_empty() {
            false => self.components,
            true => beside(&self.script, &script.components),
        };
        if paths.is_empty() {
            let message = "neither the script nor the command line names a component";
            return Err(Failure::Misuse(anyhow!(message)));
        }
        let components = loading::load(&paths, printer)?;
        loading::check(&components, printer)?;
        let config = config(&components);
        let bytes = components
            .into_iter()
            .map(|component| component.bytes)
            .collect();
        let mut tell = |told: &Told| match printer.is_json() {
            true => printer.json(told),
            false => printer.lines(told),
        };
        log::start(log::Format::Text, "warn", printer);
        let runtime = multi_thread().context("starting the threads of the host")?;
        let report = runtime.block_on(simulation::run(&script, bytes, config, &mut tell));
        let report = report.context("the simulation cannot go on")?;
        match printer.is_json() {
            true => printer.json(&json!({
                "steps": report.steps,
                "checked": report.checked,
                "failures": report.failures,
            })),
            false => {
                printer.line("");
                printer.line(&report);
            }
        }
        Ok(match report.failures.is_empty() {
            true => Verdict::Done,
            false => Verdict::Findings,
        })
    }
}

/// A host for components in this process. Methods of a definition without code do nothing.
pub(super) fn config(components: &[Component]) -> Config {
    let is_definition = |component: &Component| component.kind == Kind::Definition;
    Config {
        leniency: Leniency {
            allow_missing: components.iter().any(is_definition),
            ..Leniency::default()
        },
        ..Config::default()
    }
}

fn read_script(path: &Path, printer: &Printer) -> Result<Script> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("reading {}", path.display()));
    let text = text.map_err(Failure::Misuse)?;
    Script::parse(&text).map_err(|error| {
        let (line, message, file) = (error.line, &error.message, path.display());
        if printer.is_json() {
            return Failure::Misuse(anyhow!("{file}:{line}: {message}"));
        }
        let renderer = printer.note_renderer();
        printer.note_drawing(&findings::draw_line(line, message, &text, path, &renderer));
        Failure::Misuse(anyhow!("{file} is not a script that can be run"))
    })
}

/// Paths that a script names, as they are from here.
fn beside(script: &Path, paths: &[PathBuf]) -> Vec<PathBuf> {
    let folder = script.parent().unwrap_or_else(|| Path::new(""));
    paths.iter().map(|path| folder.join(path)).collect()
}
