//! Components as a person names them: a `.wasm` file, a `.yaml` definition, or a project's folder.
//!
//! Whatever it was, a packed component comes out: a definition is packed with the blank guest, a
//! project is compiled. Nothing is checked here beyond what packing needs; that is for whoever
//! uploads or validates it.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use xcomponent_core::definition::{Definition, Strictness, check};
use xcomponent_pack::{
    self as pack, Metadata, PackError, ReadError,
    build::{self, BuildError, DEFINITION_FILE, Project},
};

/// A component, ready to be uploaded.
#[derive(Clone, Debug)]
pub struct Component {
    /// As it was named.
    pub path: PathBuf,
    /// What it was.
    pub kind: Kind,
    /// Where its definition stands, for messages about it: the YAML file, or the `.wasm`.
    pub definition_path: PathBuf,
    /// The definition, byte for byte.
    pub definition: String,
    /// The packed component.
    pub bytes: Arc<[u8]>,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A packed component.
    Packed,
    /// A definition without code: its methods do nothing.
    Definition,
    /// A folder with a `component.yaml` and a `Cargo.toml`.
    Project,
}

/// Why a component cannot be had from where it was named.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is none of the three kinds.
    #[error(
        "{} is no component: expected a `.wasm` or `.yaml` file, or a folder with a \
         `{DEFINITION_FILE}`",
        .0.display()
    )]
    UnknownKind(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A `.wasm` file is no packed component.
    #[error("{} is no packed component", path.display())]
    NotPacked {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// A definition cannot be packed.
    #[error("{} cannot be packed", path.display())]
    Pack {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: PackError,
    },
    /// A project has no usable `Cargo.toml`.
    #[error("{} is no Rust project: {problem}", path.display())]
    NoProject {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A project does not compile.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl Error {
    /// Whether the path itself is at fault, not what was found there.
    pub fn is_misuse(&self) -> bool {
        match self {
            Self::UnknownKind(_) | Self::Read { .. } | Self::NoProject { .. } => true,
            Self::NotPacked { .. } | Self::Pack { .. } | Self::Build(_) => false,
        }
    }
}

impl Kind {
    /// What a path names.
    ///
    /// # Errors
    ///
    /// If it is none of the kinds.
    pub fn of(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            return match path.join(DEFINITION_FILE).is_file() {
                true => Ok(Self::Project),
                false => Err(Error::UnknownKind(path.to_owned())),
            };
        }
        match path.extension().and_then(OsStr::to_str) {
            Some("wasm") => Ok(Self::Packed),
            Some("yaml" | "yml") => Ok(Self::Definition),
            _ => Err(Error::UnknownKind(path.to_owned())),
        }
    }
}

/// Reads, packs or builds components, in the order in which they are named. Projects of one
/// workspace are compiled by one cargo call; cargo shows its progress and its messages itself.
///
/// # Errors
///
/// If one of them cannot be had.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Component>, Error> {
    let mut components: Vec<Option<Component>> = Vec::new();
    let mut projects: Vec<(usize, PathBuf, Project)> = Vec::new();
    for (position, path) in paths.iter().enumerate() {
        components.push(match Kind::of(path)? {
            Kind::Packed => Some(read_packed(path)?),
            Kind::Definition => Some(pack_definition(path)?),
            Kind::Project => {
                let (root, project) = find_project(path)?;
                projects.push((position, root, project));
                None
            }
        });
    }
    while let Some((_, root, _)) = projects.first() {
        let root = root.clone();
        let (here, elsewhere) = projects
            .into_iter()
            .partition(|(_, other, _)| *other == root);
        projects = elsewhere;
        let (positions, here): (Vec<_>, Vec<_>) = Vec::into_iter(here)
            .map(|(position, _, project)| (position, project))
            .unzip();
        let built = build::build(&root, &here, describe)?;
        for (position, (project, bytes)) in positions.into_iter().zip(built) {
            components[position] = Some(of_project(&paths[position], &project, bytes)?);
        }
    }
    Ok(components.into_iter().flatten().collect())
}

/// The definition that a path names, and where it stands. Nothing is built.
///
/// # Errors
///
/// If it cannot be had.
pub fn definition(path: &Path) -> Result<(PathBuf, String), Error> {
    match Kind::of(path)? {
        Kind::Packed => {
            let component = read_packed(path)?;
            Ok((component.definition_path, component.definition))
        }
        Kind::Definition => Ok((path.to_owned(), read_text(path)?)),
        Kind::Project => {
            let path = path.join(DEFINITION_FILE);
            let text = read_text(&path)?;
            Ok((path, text))
        }
    }
}

/// What is known of a component by its definition, for the metadata of its file.
pub fn describe(definition: &str) -> Metadata {
    let checked = check(definition, Strictness::Lenient).definition;
    checked.as_ref().map(metadata).unwrap_or_default()
}

/// The same by a definition that was checked.
pub fn metadata(definition: &Definition) -> Metadata {
    Metadata {
        name: Some(definition.name.to_string()),
        version: Some(definition.version.to_string()),
        ..Metadata::default()
    }
}

fn read_packed(path: &Path) -> Result<Component, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let packed = pack::read(&bytes).map_err(|source| Error::NotPacked {
        path: path.to_owned(),
        source,
    })?;
    Ok(Component {
        path: path.to_owned(),
        kind: Kind::Packed,
        definition_path: path.to_owned(),
        definition: packed.definition,
        bytes: bytes.into(),
    })
}

fn pack_definition(path: &Path) -> Result<Component, Error> {
    let definition = read_text(path)?;
    let packed = pack::pack(&pack::blank(), &definition, &describe(&definition), &[]);
    let bytes = packed.map_err(|source| Error::Pack {
        path: path.to_owned(),
        source,
    })?;
    Ok(Component {
        path: path.to_owned(),
        kind: Kind::Definition,
        definition_path: path.to_owned(),
        definition,
        bytes: bytes.into(),
    })
}

fn of_project(path: &Path, project: &Project, bytes: Vec<u8>) -> Result<Component, Error> {
    let definition_path = project.definition();
    Ok(Component {
        path: path.to_owned(),
        kind: Kind::Project,
        definition: read_text(&definition_path)?,
        definition_path,
        bytes: bytes.into(),
    })
}

fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

/// A project and the folder of the workspace that it belongs to.
fn find_project(folder: &Path) -> Result<(PathBuf, Project), Error> {
    let problem = |problem: String| Error::NoProject {
        path: folder.to_owned(),
        problem,
    };
    let manifest = read_text(&folder.join("Cargo.toml"))?;
    let manifest: toml_edit::DocumentMut = manifest
        .parse()
        .map_err(|error: toml_edit::TomlError| problem(error.to_string()))?;
    let package = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(toml_edit::Item::as_str)
        .ok_or_else(|| problem("its `Cargo.toml` names no package".to_owned()))?;
    let located = Command::new("cargo")
        .args(["locate-project", "--workspace", "--message-format", "plain"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| problem(format!("cargo cannot be started: {error}")))?;
    if !located.status.success() {
        let said = String::from_utf8_lossy(&located.stderr);
        return Err(problem(said.trim().to_owned()));
    }
    let root = PathBuf::from(String::from_utf8_lossy(&located.stdout).trim());
    let root = root.parent().unwrap_or(folder).to_owned();
    let folder = fs::canonicalize(folder).map_err(|source| Error::Read {
        path: folder.to_owned(),
        source,
    })?;
    let package = package.to_owned();
    Ok((root, Project { package, folder }))
}
