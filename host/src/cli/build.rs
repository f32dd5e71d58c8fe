//! `xcomponent build`: one packed component from a project.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;
use xcomponent_core::definition::MethodKind;
use xcomponent_pack as pack;

use super::{Failure, Result, Verdict, loading, printer::Printer, upload::kind_name};
use crate::source::{Component, Kind};

/// Compiles a project and packs it, with its definition, into one component.
///
/// A `.yaml` file alone is packed with a guest that answers no methods.
#[derive(Debug, Args)]
pub(super) struct Build {
    /// The project's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the component goes; `target/NAME.wasm` in the project where absent.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Packs it although the definition names methods that the code does not answer.
    #[arg(long)]
    allow_missing_methods: bool,
}

impl Build {
    pub(super) fn run(self, printer: &Printer) -> Result {
        // A definition with errors is told before minutes are spent on code.
        let definition = loading::definition(&self.folder, printer)?;
        let component = loading::load_one(&self.folder, printer)?;
        let packed = pack::read(&component.bytes).context("reading back what was packed")?;
        let missing: Vec<String> = definition
            .methods()
            .into_iter()
            .filter(|(kind, name)| {
                let answers = |method: &pack::Method| {
                    same_kind(method.kind, *kind) && method.name == name.as_str()
                };
                !packed.methods.iter().any(answers)
            })
            .map(|(kind, name)| format!("{} `{name}`", kind_name(kind)))
            .collect();
        if !missing.is_empty() && !self.allow_missing_methods {
            return Err(Failure::Failed(anyhow!(
                "no code answers {}; write it, or add `--allow-missing-methods`",
                missing.join(", ")
            )));
        }
        for method in &missing {
            printer.note(format_args!("warning: no code answers the {method}"));
        }
        let output = self.output.map_or_else(|| default_output(&component), Ok)?;
        write(&output, &component.bytes)?;
        let (name, version) = (&definition.name, &definition.version);
        if printer.is_json() {
            printer.json(&json!({
                "component": name.as_str(),
                "version": version.as_str(),
                "file": output,
                "bytes": component.bytes.len(),
                "missing_methods": missing,
            }));
        } else {
            let (bytes, file) = (component.bytes.len(), output.display());
            printer.line(format_args!("{name} {version}: {file} ({bytes} bytes)"));
        }
        Ok(Verdict::Done)
    }
}

/// `target/NAME.wasm` in the project, or beside the definition.
fn default_output(component: &Component) -> Result<PathBuf> {
    let path = &component.path;
    if component.kind != Kind::Project {
        return Ok(path.with_extension("wasm"));
    }
    let folder = fs::canonicalize(path).with_context(|| format!("reading {}", path.display()))?;
    let name = folder.file_name().unwrap_or_default();
    Ok(path.join("target").join(name).with_extension("wasm"))
}

fn write(output: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::write(output, bytes).with_context(|| format!("writing {}", output.display()))?;
    Ok(())
}

/// Whether the packer and the core mean the same.
pub(super) fn same_kind(packed: pack::MethodKind, named: MethodKind) -> bool {
    match packed {
        pack::MethodKind::Guard => named == MethodKind::Guard,
        pack::MethodKind::Action => named == MethodKind::Action,
    }
}
