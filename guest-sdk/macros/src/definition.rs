//! The definition as the macro needs it: is it valid, and which methods does it name?

use std::{env, fs, path::Path};

use xcomponent_core::definition::{MethodKind, Severity, Strictness, check};

/// A definition's file.
pub(crate) struct Source {
    /// Its absolute path, so that a change rebuilds the crate.
    pub(crate) path: String,
    /// Its text.
    pub(crate) yaml: String,
}

/// Reads a file relative to the crate's folder.
pub(crate) fn load(file: &str) -> Result<Source, String> {
    let folder = env::var("CARGO_MANIFEST_DIR")
        .map_err(|_| "cargo does not say where the crate is".to_owned())?;
    let path = Path::new(&folder).join(file);
    let yaml = fs::read_to_string(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(Source {
        path: path.display().to_string(),
        yaml,
    })
}

/// The methods that a definition names, or one message per error in it.
pub(crate) fn methods(file: &str, yaml: &str) -> Result<Vec<(MethodKind, String)>, Vec<String>> {
    let checked = check(yaml, Strictness::Normal);
    let Some(definition) = checked.definition else {
        let errors = checked
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error);
        return Err(errors.map(|finding| format!("{file}:{finding}")).collect());
    };
    Ok(definition
        .methods()
        .into_iter()
        .map(|(kind, name)| (kind, name.to_string()))
        .collect())
}
