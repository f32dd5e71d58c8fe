//! Looking at a component before a byte of it is compiled or run.

use xcomponent_core::{definition::MethodKind, id::MethodName};
use xcomponent_pack as pack;

use super::{
    config::CompileConfig,
    install::{InstallError, Methods},
};

/// Reads a component without running it and gives the methods it says it answers, sorted. Which
/// imports are allowed is the packer's knowledge.
///
/// # Errors
///
/// If it is no component of this project, imports what guests may not have, or is too large.
pub(super) fn inspect(component: &[u8], config: &CompileConfig) -> Result<Methods, InstallError> {
    let found = component.len();
    let max = config.component_bytes_max;
    if found > max {
        return Err(InstallError::TooLarge {
            what: "bytes",
            found,
            max,
        });
    }
    let packed = pack::read(component)?;
    let found = packed.functions;
    let max = config.functions_max;
    if found > max {
        return Err(InstallError::TooLarge {
            what: "functions",
            found,
            max,
        });
    }
    let kind = |kind| match kind {
        pack::MethodKind::Guard => MethodKind::Guard,
        pack::MethodKind::Action => MethodKind::Action,
    };
    let methods = packed.methods.into_iter();
    let mut methods: Methods = methods
        .map(|method| (kind(method.kind), MethodName::new(method.name)))
        .collect();
    methods.sort();
    Ok(methods)
}
