//! `xcomponent diagram`: a picture of a machine, as text.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use serde_json::json;
use xcomponent_core::definition::{Definition, Machine, dot, mermaid};

use super::{Failure, Result, Verdict, loading, printer::Printer};

/// Draws a machine as Mermaid or DOT.
#[derive(Debug, Args)]
pub(super) struct Diagram {
    /// A `.yaml` file, a project folder or a packed `.wasm` component.
    file: PathBuf,
    /// Which machine; the entry machine, or the first, where absent.
    #[arg(long, value_name = "MACHINE")]
    machine: Option<String>,
    /// A state to point out.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `stateDiagram-v2`, shown by GitHub and many editors.
    Mermaid,
    /// Graphviz: `dot -Tsvg`.
    Dot,
}

impl Diagram {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let definition = loading::definition(&self.file, printer)?;
        let machine = self.machine(&definition)?;
        let highlight = self.state.as_deref().map(|name| {
            let state = machine.find_state(name);
            state
                .ok_or_else(|| Failure::Misuse(anyhow!("`{}` has no state `{name}`", machine.name)))
        });
        let highlight = highlight.transpose()?;
        let text = match self.format {
            Format::Mermaid => mermaid(machine, highlight),
            Format::Dot => dot(machine, highlight),
        };
        if printer.is_json() {
            printer.json(&json!({
                "component": definition.name.as_str(),
                "machine": machine.name.as_str(),
                "diagram": text,
            }));
        } else {
            printer.lines(text.trim_end());
        }
        Ok(Verdict::Done)
    }

    fn machine<'d>(&self, definition: &'d Definition) -> Result<&'d Machine> {
        let Some(name) = &self.machine else {
            return Ok(match definition.entry {
                Some(entry) => definition.machine(entry.machine),
                None => &definition.machines[0],
            });
        };
        let found = definition.find(name).map(|(_, machine)| machine);
        found.ok_or_else(|| {
            let machines = definition.machines.iter();
            let known: Vec<String> = machines
                .map(|machine| format!("`{}`", machine.name))
                .collect();
            Failure::Misuse(anyhow!(
                "`{}` has no machine `{name}`, but {}",
                definition.name,
                known.join(", ")
            ))
        })
    }
}
