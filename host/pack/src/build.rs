//! Compiles Rust projects into packed components.
//!
//! A project is a folder with a `Cargo.toml` and a `component.yaml`. All projects of one call are
//! compiled by one cargo call, so that a standard library that has to be built is built once.
//! Needs no network once the crates are fetched; see [`Toolchain::find`] for what it uses.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{Metadata, Method, MethodKind, PackError, pack};

/// What guests are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// How long an attempt to add the target may take: without a network it would try for minutes.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(20);

/// The definition in a project's folder.
pub const DEFINITION_FILE: &str = "component.yaml";

/// Why projects cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no compiler for guests.
    #[error(
        "no Rust compiler for {TARGET} was found: run `rustup target add {TARGET}`, \
         or on Debian `apt-get install rustc-web cargo-web rust-web-src`"
    )]
    NoToolchain,
    /// A file cannot be read or written.
    #[error("cannot access {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Cargo could not be started.
    #[error("cannot start cargo")]
    Start(#[source] io::Error),
    /// Cargo found mistakes; it has printed them.
    #[error("the code does not compile")]
    Compile,
    /// Cargo compiled, but not what was expected.
    #[error("cargo made no module for `{0}`: is its crate type `cdylib`?")]
    NoModule(String),
    /// What cargo made cannot be packed.
    #[error("`{name}` cannot be packed")]
    Pack {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: PackError,
    },
}

/// A compiler for guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The ordinary one: it has the target.
    Rustup,
    /// Debian's, with the standard library built from its source by this linker.
    Debian {
        /// `wasm-component-ld`, which comes with rustup's toolchain.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// The ordinary compiler if it has the target or rustup can add it, else Debian's `rustc-web`,
    /// installed if this is root on Debian.
    ///
    /// # Errors
    ///
    /// If there is neither; the message says what to install.
    pub fn find() -> Result<Self, BuildError> {
        if has_target() || (add_target() && has_target()) {
            return Ok(Self::Rustup);
        }
        if !Path::new(DEBIAN_SOURCE).exists() {
            install_debian();
        }
        let linker = PathBuf::from(sysroot()?)
            .join("lib/rustlib/x86_64-unknown-linux-gnu/bin/wasm-component-ld");
        if Path::new(DEBIAN_SOURCE).exists() && linker.exists() {
            return Ok(Self::Debian { linker });
        }
        Err(BuildError::NoToolchain)
    }

    /// A cargo call that compiles for guests.
    fn cargo(&self, folder: &Path) -> Command {
        let mut cargo = Command::new("cargo");
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            let foreign = name_text.starts_with("CARGO")
                || ["RUSTFLAGS", "RUSTUP_TOOLCHAIN", "RUSTC", "RUSTC_WRAPPER"]
                    .contains(&&*name_text);
            if foreign && name_text != "CARGO_HOME" {
                cargo.env_remove(name);
            }
        }
        cargo
            .current_dir(folder)
            .args(["build", "--release", "--target", TARGET]);
        if let Self::Debian { linker } = self {
            cargo
                .env("RUSTC", "/usr/bin/rustc")
                .env("RUSTC_BOOTSTRAP", "1");
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
        cargo
    }
}

/// Where Debian keeps the source of its standard library for wasm32.
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// A project to build: a crate that is alone, or one of a workspace.
#[derive(Clone, Debug)]
pub struct Project {
    /// The crate's name.
    pub package: String,
    /// Its folder, with the definition in it.
    pub folder: PathBuf,
}

/// Where a project's definition is.
impl Project {
    /// The path of its `component.yaml`.
    pub fn definition(&self) -> PathBuf {
        self.folder.join(DEFINITION_FILE)
    }
}

/// Compiles projects that share the workspace (or crate) in `root`, and packs each. `describe`
/// says what metadata and methods go into a component, given its definition's text.
///
/// # Errors
///
/// If there is no compiler, the code does not compile (cargo has printed why), or the result
/// cannot be packed.
pub fn build(
    root: &Path,
    projects: &[Project],
    describe: impl Fn(&str) -> (Metadata, Vec<Method>),
) -> Result<Vec<(Project, Vec<u8>)>, BuildError> {
    let toolchain = Toolchain::find()?;
    let target = root.join("target");
    let mut cargo = toolchain.cargo(root);
    cargo.arg("--target-dir").arg(&target);
    for project in projects {
        cargo.args(["--package", &project.package]);
    }
    if !cargo.status().map_err(BuildError::Start)?.success() {
        return Err(BuildError::Compile);
    }
    let modules = target.join(TARGET).join("release");
    let packed = |project: &Project| {
        let module = modules.join(format!("{}.wasm", project.package.replace('-', "_")));
        let module =
            fs::read(&module).map_err(|_| BuildError::NoModule(project.package.clone()))?;
        let path = project.definition();
        let yaml = fs::read_to_string(&path).map_err(|source| BuildError::Io { path, source })?;
        let (metadata, methods) = describe(&yaml);
        let bytes = pack(&module, &yaml, &metadata, &methods);
        let bytes = bytes.map_err(|source| BuildError::Pack {
            name: project.package.clone(),
            source,
        })?;
        Ok((project.clone(), bytes))
    };
    projects.iter().map(packed).collect()
}

/// The methods that a module says it answers: the SDK leaves them in the custom section
/// `xcomponent:methods` of the core module. None where there is no such section.
pub fn declared_methods(module: &[u8]) -> Option<Vec<Method>> {
    let sections = crate::sections::sections(module).ok()?;
    let data: Vec<&[u8]> = sections
        .iter()
        .filter(|section| section.name == Some(crate::METHODS_SECTION))
        .map(|section| section.data)
        .collect();
    if data.is_empty() {
        return None;
    }
    let text = String::from_utf8(data.concat()).ok()?;
    let method = |line: &str| match line.split_once(' ')? {
        ("guard", name) => Some(Method {
            kind: MethodKind::Guard,
            name: name.to_owned(),
        }),
        ("action", name) => Some(Method {
            kind: MethodKind::Action,
            name: name.to_owned(),
        }),
        _ => None,
    };
    text.lines().map(method).collect()
}

fn has_target() -> bool {
    sysroot().is_ok_and(|sysroot| {
        Path::new(&sysroot)
            .join("lib/rustlib")
            .join(TARGET)
            .join("lib")
            .exists()
    })
}

fn sysroot() -> Result<String, BuildError> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .stderr(Stdio::null())
        .output()
        .map_err(BuildError::Start)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Asks rustup for the target, for a bounded time.
fn add_target() -> bool {
    let quiet = || Stdio::null();
    let child = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(quiet())
        .stdout(quiet())
        .stderr(quiet())
        .spawn();
    let Ok(mut child) = child else { return false };
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if begun.elapsed() < RUSTUP_PATIENCE => {
                std::thread::park_timeout(Duration::from_millis(50))
            }
            Ok(None) | Err(_) => {
                // It is of no use any more; whether it could be stopped makes no difference.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

/// Tries to install Debian's compiler; whether it worked shows in its files.
fn install_debian() {
    let root =
        fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root || !Path::new("/usr/bin/apt-get").exists() {
        return;
    }
    let packages = [
        "install",
        "-y",
        "--no-install-recommends",
        "rustc-web",
        "cargo-web",
        "rust-web-src",
    ];
    for arguments in [&["update", "-qq"][..], &packages[..]] {
        let mut apt = Command::new("apt-get");
        let _ = apt
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
    }
}
