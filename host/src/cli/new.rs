//! `xcomponent new`: a component project that builds and whose tests pass.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;

use super::{Failure, Result, Verdict, printer::Printer};

/// The files of a project, by their names.
const FILES: [(&str, &str); 6] = [
    (".gitignore", include_str!("new/gitignore")),
    ("Cargo.toml", include_str!("new/Cargo.toml.txt")),
    ("README.md", include_str!("new/README.md")),
    ("component.yaml", include_str!("new/component.yaml")),
    ("script.yaml", include_str!("new/script.yaml")),
    ("src/lib.rs", include_str!("new/lib.rs.txt")),
];

/// Where the SDK stands beside the host's own sources.
const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk");

/// Makes a project for a component in Rust.
#[derive(Debug, Args)]
pub(super) struct New {
    /// The project's folder, named as the crate is to be: letters, digits and dashes.
    folder: PathBuf,
    /// Where the crate `xcomponent-guest` is; the host's own source tree, else the registry, where
    /// absent.
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

impl New {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let package = package(&self.folder)?;
        if self.folder.exists() {
            let folder = self.folder.display();
            return Err(Failure::Misuse(anyhow!("{folder} is there already")));
        }
        let component = component(&package);
        let sdk = self.sdk()?;
        for (name, template) in FILES {
            let text = template
                .replace("{{package}}", &package)
                .replace("{{component}}", &component)
                .replace("{{sdk}}", &sdk);
            write(&self.folder.join(name), &text)?;
        }
        if printer.is_json() {
            printer.json(&json!({
                "folder": self.folder,
                "package": package,
                "component": component,
                "files": FILES.map(|(name, _)| name),
            }));
        } else {
            let folder = self.folder.display();
            printer.line(format_args!(
                "{component} is in {folder}; its README.md says how to go on"
            ));
        }
        Ok(Verdict::Done)
    }

    /// How the project's `Cargo.toml` names the SDK.
    fn sdk(&self) -> Result<String> {
        let folder = match &self.sdk {
            Some(folder) => folder.as_path(),
            None if Path::new(SDK).join("Cargo.toml").exists() => Path::new(SDK),
            None => return Ok(format!("\"{}\"", env!("CARGO_PKG_VERSION"))),
        };
        let found = fs::canonicalize(folder)
            .ok()
            .filter(|folder| folder.join("Cargo.toml").exists());
        let missing = || Failure::Misuse(anyhow!("there is no crate at {}", folder.display()));
        Ok(format!(
            "{{ path = {} }}",
            json!(found.ok_or_else(missing)?)
        ))
    }
}

/// The crate's name, as the folder is called.
fn package(folder: &Path) -> Result<String> {
    let name = folder.file_name().and_then(|name| name.to_str());
    let is_legal = |name: &&str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let name = name.filter(is_legal).ok_or_else(|| {
        Failure::Misuse(anyhow!(
            "`{}` cannot name a crate: expected a letter, then letters, digits and dashes",
            folder.display()
        ))
    })?;
    Ok(name.to_ascii_lowercase())
}

/// `travel-costs` → `TravelCostsComponent`.
fn component(package: &str) -> String {
    let words = package.split(['-', '_']).filter(|word| !word.is_empty());
    let capital = |word: &str| format!("{}{}", word[..1].to_ascii_uppercase(), &word[1..]);
    let name: String = words.map(capital).collect();
    match name.ends_with("Component") {
        true => name,
        false => format!("{name}Component"),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file stands in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(())
}
