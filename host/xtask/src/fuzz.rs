//! `cargo xtask fuzz`: libFuzzer on everything that reads what others wrote.
//!
//! The targets are compiled with the coverage instrumentation that libFuzzer follows, by the
//! ordinary compiler; nothing has to be installed. `host/fuzz/corpus` has inputs to begin with.
//! Those that were found interesting are put into `target/fuzz/corpus`, those that broke something
//! into `target/fuzz/artifacts`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    command::{build, cargo, root, say, step, target},
    guests::packed,
};

/// What rustc hands to LLVM so that libFuzzer sees which code an input reaches.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table";

/// What the instrumented code is compiled for: naming it keeps build scripts free of the flags.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Longest input, in bytes.
const INPUT_BYTES_MAX: u32 = 256 << 10;

/// Memory of one target, in MiB; more is a finding.
const MEMORY_MIB_MAX: u32 = 2_048;

/// Every target, the cheapest to build first, and whether it needs the whole host.
const TARGETS: [(&str, bool); 7] = [
    ("definition", false),
    ("component", false),
    ("shipment", true),
    ("message", true),
    ("rows", true),
    ("api", true),
    ("upload", true),
];

/// Feeds random and mutated input to everything that reads what others wrote.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// Targets to run; all if none is named: `definition`, `component`, `shipment`, `message`, `rows`,
    /// `api`, `upload`.
    targets: Vec<String>,
    /// How long each runs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

impl Fuzz {
    pub(crate) fn run(self) -> Result<()> {
        let known = TARGETS.map(|(name, _)| name);
        if let Some(unknown) = self
            .targets
            .iter()
            .find(|name| !known.contains(&name.as_str()))
        {
            bail!(
                "there is no target `{unknown}`: expected one of {}",
                known.join(", ")
            );
        }
        for (name, whole_host) in TARGETS {
            if self.targets.is_empty() || self.targets.iter().any(|wanted| wanted == name) {
                fuzz(name, whole_host, self.seconds)?;
            }
        }
        Ok(())
    }
}

fn fuzz(name: &str, whole_host: bool, seconds: u32) -> Result<()> {
    let folder = target().join("fuzz");
    let mut compile = cargo(&["build", "--release", "--target", TRIPLE, "--bin", name]);
    compile
        .arg("--manifest-path")
        .arg(root().join("host/fuzz/Cargo.toml"))
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", COVERAGE);
    if whole_host {
        compile.args(["--features", "host"]);
        step("host", &mut build("xcomponent"))?;
    }
    step(&format!("building {name}"), &mut compile)?;
    let (corpus, artifacts) = (
        folder.join("corpus").join(name),
        folder.join("artifacts").join(name),
    );
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    seed(name, &corpus)?;
    let mut run = Command::new(folder.join(TRIPLE).join("release").join(name));
    run.arg(&corpus)
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .args([
            "-timeout=20",
            "-report_slow_units=1",
            "-print_final_stats=1",
        ])
        .arg(root().join("host/fuzz/corpus").join(name))
        .env("XCOMPONENT_PROGRAM", target().join("debug/xcomponent"))
        .current_dir(root());
    step(&format!("fuzzing {name} for {seconds} s"), &mut run)
}

/// Real inputs to begin with.
fn seed(name: &str, corpus: &Path) -> Result<()> {
    let found = match name {
        "definition" => definitions()?,
        "component" | "upload" => list(&packed(), "wasm")?,
        _ => return Ok(()),
    };
    if found.is_empty() {
        say("── nothing to begin with: `cargo xtask guests` makes components");
    }
    for (number, path) in found.iter().enumerate() {
        let copy = corpus.join(format!("seed-{number}"));
        fs::copy(path, &copy).with_context(|| format!("copying {}", path.display()))?;
    }
    Ok(())
}

fn definitions() -> Result<Vec<PathBuf>> {
    let mut found = list(&root().join("host/core/tests/fixtures"), "yaml")?;
    for folder in ["components", "examples"] {
        let entries = fs::read_dir(root().join(folder));
        let folders = entries.with_context(|| format!("listing {folder}"))?;
        for entry in folders.filter_map(Result::ok) {
            if entry.path().is_dir() {
                found.extend(list(&entry.path(), "yaml")?);
            }
        }
    }
    Ok(found)
}

fn list(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|own| own == ending))
        .collect();
    found.sort();
    Ok(found)
}
