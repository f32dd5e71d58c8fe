//! `cargo xtask clients`: what others make of the description of the API.
//!
//! Clients in TypeScript and Python are generated from what a host says at `/openapi.json`, compiled
//! and run: each creates an instance, sends it an event and reads it. Then Schemathesis asks every
//! operation what the description allows and what it forbids, and compares the answers with it.
//!
//! The generators come from npm and PyPI in fixed versions, into a folder of the user's cache. Where
//! `node` or `python3` is missing, its part is left out, and a line says so.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use clap::Args;
use tempfile::TempDir;
use xcomponent_servers::cached;

use crate::{
    command::{answers, build, root, say, step},
    host::Host,
};

/// Seconds that Schemathesis may take.
const SCHEMATHESIS_MAX: &str = "150";

/// Generates, compiles and runs clients, and compares answers with the description.
#[derive(Debug, Args)]
pub(crate) struct Clients {}

impl Clients {
    pub(crate) fn run(self) -> Result<()> {
        let node = is_there("node") && is_there("npm");
        let python = answers(Command::new("python3").args(["-m", "pip", "--version"]));
        if !node {
            say("── node or npm is not installed: no TypeScript client is generated");
        }
        if !python {
            say(
                "── python3 or its pip is not installed: no Python client is generated, and answers are not compared with the description",
            );
        }
        if !node && !python {
            return Ok(());
        }
        step("host", &mut build("xcomponent"))?;
        let place = Place::new()?;
        let host = Host::start(0, &[place.path().join("door.yaml")])?;
        if node {
            place.typescript(host.url())?;
        }
        if python {
            let packages = python_packages()?;
            place.python(host.url(), &packages)?;
            place.schemathesis(host.url(), &packages)?;
        }
        Ok(())
    }
}

fn is_there(program: &str) -> bool {
    answers(Command::new(program).arg("--version"))
}

/// What is committed for this chore.
fn committed() -> PathBuf {
    root().join("host/xtask/clients")
}

/// A copy of what is committed, in which clients are generated.
struct Place(TempDir);

impl Place {
    fn new() -> Result<Self> {
        let place = TempDir::new().context("making a folder")?;
        let from = committed();
        for file in fs::read_dir(&from).with_context(|| format!("reading {}", from.display()))? {
            let file = file?;
            let to = place.path().join(file.file_name());
            fs::copy(file.path(), &to).with_context(|| format!("writing {}", to.display()))?;
        }
        Ok(Self(place))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).args(arguments);
        command
    }

    fn typescript(&self, url: &str) -> Result<()> {
        let modules = node_packages()?.join("node_modules");
        symlink(&modules, self.path().join("node_modules")).context("linking the packages")?;
        let document = format!("{url}/openapi.json");
        let generator = "node_modules/openapi-typescript/bin/cli.js";
        let generate = [generator, &document, "--output", "schema.ts"];
        step(
            "TypeScript client: generating",
            &mut self.command("node", &generate),
        )?;
        step(
            "TypeScript client: compiling",
            &mut self.command(
                "node",
                &["node_modules/typescript/bin/tsc", "--project", "."],
            ),
        )?;
        step(
            "TypeScript client: running",
            &mut self.command("node", &["client.js", url]),
        )
    }

    fn python(&self, url: &str, packages: &Path) -> Result<()> {
        let document = format!("{url}/openapi.json");
        let generate = [
            "openapi_python_client",
            "generate",
            "--url",
            &document,
            "--meta",
            "none",
            "--output-path",
            "generated",
            "--config",
            "python.yaml",
        ];
        step(
            "Python client: generating",
            &mut self.module(packages, &generate),
        )?;
        step(
            "Python client: checking types",
            &mut self.module(packages, &["mypy", "client.py"]),
        )?;
        let mut client = self.command("python3", &["client.py", url]);
        step("Python client: running", client.env("PYTHONPATH", packages))
    }

    /// The same cases each time. What is left out, and why, stands in `schemathesis.toml` and `cases.py`.
    fn schemathesis(&self, url: &str, packages: &Path) -> Result<()> {
        let document = format!("{url}/openapi.json");
        let compare = [
            "schemathesis.cli",
            "run",
            &document,
            "--phases",
            "examples,coverage",
            "--checks",
            "all",
            "--seed",
            "1",
            "--continue-on-failure",
            "--warnings",
            "off",
            "--request-timeout",
            "10",
            "--max-time",
            SCHEMATHESIS_MAX,
        ];
        step(
            "answers, compared with the description",
            &mut self.module(packages, &compare),
        )
    }

    fn module(&self, packages: &Path, arguments: &[&str]) -> Command {
        let mut command = self.command("python3", &["-m"]);
        command.args(arguments).env("PYTHONPATH", packages);
        command
    }
}

/// The packages from npm.
fn node_packages() -> Result<PathBuf> {
    installed("clients-node", "package-lock.json", |folder| {
        let manifest = "package.json";
        fs::copy(committed().join(manifest), folder.join(manifest))?;
        let mut install = Command::new("npm");
        install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        install.current_dir(folder);
        Ok(install)
    })
}

/// The packages from PyPI.
fn python_packages() -> Result<PathBuf> {
    installed("clients-python", "requirements.txt", |folder| {
        let mut install = Command::new("python3");
        install.args(["-m", "pip", "install", "--no-deps", "--quiet"]);
        install.args(["--disable-pip-version-check", "--root-user-action=ignore"]);
        install.args([
            "--only-binary",
            ":all:",
            "--requirement",
            "requirements.txt",
        ]);
        install.arg("--target").arg(folder).current_dir(folder);
        Ok(install)
    })
}

/// Installs into a folder of the cache what a committed list names, unless that is done already.
fn installed(
    name: &str,
    list: &str,
    install: impl FnOnce(&Path) -> Result<Command>,
) -> Result<PathBuf> {
    let folder = cached(name);
    let wanted = fs::read(committed().join(list)).with_context(|| format!("reading {list}"))?;
    // Written when everything is there.
    let done = folder.join("installed");
    if fs::read(&done).is_ok_and(|done| done == wanted) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    fs::write(folder.join(list), &wanted)?;
    step(&format!("installing {name}"), &mut install(&folder)?)?;
    fs::write(&done, &wanted).with_context(|| format!("writing {}", done.display()))?;
    Ok(folder)
}
