//! `cargo xtask guests`: compiles and packs everything under `components/`.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use xcomponent_core::definition::{Strictness, check};
use xcomponent_pack::{
    Metadata,
    build::{Project, build},
};

use crate::command::{root, say};

/// Compiles and packs the guests into `target/guests/<name>.wasm`.
#[derive(Debug, Args)]
pub(crate) struct Guests {}

impl Guests {
    pub(crate) fn run(self) -> Result<()> {
        say("── guests");
        let components = root().join("components");
        let folders = fs::read_dir(&components).context("listing the components")?;
        let mut projects: Vec<Project> = folders
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|folder| folder.join("component.yaml").exists())
            .filter_map(|folder| {
                Some(Project {
                    package: folder.file_name()?.to_str()?.to_owned(),
                    folder,
                })
            })
            .collect();
        projects.sort_by(|left, right| left.package.cmp(&right.package));
        let built = build(&components, &projects, describe)?;
        let packed = packed();
        fs::create_dir_all(&packed).context("making the folder for packed guests")?;
        for (project, bytes) in built {
            let path = packed.join(format!("{}.wasm", project.package));
            say(&format!("{:>9} bytes  {}", bytes.len(), path.display()));
            fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Where packed guests are.
pub(crate) fn packed() -> PathBuf {
    root().join("target").join("guests")
}

/// Name and version as the definition has them.
fn describe(yaml: &str) -> Metadata {
    let Some(definition) = check(yaml, Strictness::Normal).definition else {
        return Metadata::default();
    };
    Metadata {
        name: Some(definition.name.to_string()),
        version: Some(definition.version.to_string()),
        ..Metadata::default()
    }
}

/// A packed guest.
pub(crate) fn path(name: &str) -> PathBuf {
    packed().join(format!("{name}.wasm"))
}
