//! Looking at a component before a byte of it is compiled or run.

use xcomponent_core::{definition::MethodKind, id::MethodName};
use xcomponent_pack as pack;

use super::{config::CompileConfig, install::InstallError};

/// The project's own interfaces.
const OWN: &str = "xcomponent:component/";

/// WASI 0.2, as far as the sandbox has it; see [`wasi`](super::wasi).
const WASI: [&str; 6] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Reads a component without running it and gives the methods it says it answers, sorted.
///
/// # Errors
///
/// If it is too large, not a component of this project, or imports something a guest may not have.
pub(super) fn inspect(
    component: &[u8],
    config: &CompileConfig,
) -> Result<Vec<(MethodKind, MethodName)>, InstallError> {
    if component.len() > config.component_bytes_max {
        return Err(InstallError::TooLarge {
            what: "bytes",
            found: component.len(),
            max: config.component_bytes_max,
        });
    }
    let read = pack::read(component)?;
    if let Some(import) = read.imports.iter().find(|import| !is_allowed(import)) {
        return Err(InstallError::ImportNotAllowed {
            import: import.clone(),
        });
    }
    let functions_max = config.functions_max;
    if read.functions > functions_max {
        return Err(InstallError::TooLarge {
            what: "functions",
            found: read.functions,
            max: functions_max,
        });
    }
    let kind = |kind| match kind {
        pack::MethodKind::Guard => MethodKind::Guard,
        pack::MethodKind::Action => MethodKind::Action,
    };
    let mut methods: Vec<_> = read
        .methods
        .into_iter()
        .map(|method| (kind(method.kind), MethodName::new(method.name)))
        .collect();
    methods.sort();
    Ok(methods)
}

fn is_allowed(import: &str) -> bool {
    import.starts_with(OWN)
        || WASI.iter().any(|package| import.starts_with(package)) && import.contains("@0.2.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_may_have_the_contract_and_wasi_and_nothing_else() {
        for allowed in [
            "xcomponent:component/sender@0.1.0",
            "wasi:cli/environment@0.2.3",
            "wasi:random/random@0.2.0",
        ] {
            assert!(is_allowed(allowed), "{allowed}");
        }
        for refused in [
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:cli/environment@0.3.0",
            "acme:secrets/vault",
            "env",
        ] {
            assert!(!is_allowed(refused), "{refused}");
        }
    }
}
