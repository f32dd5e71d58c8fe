//! Packing.

use std::fmt::{Debug, Display, Write};

use wasm_encoder::{ComponentSection as _, CustomSection};
use wasm_metadata::{AddMetadata, AddMetadataField, Description, Revision, Source, Version};
use wasmparser::Parser;
use wit_component::ComponentEncoder;

use crate::{DEFINITION_SECTION, METHODS_SECTION, Metadata, Method, sections::sections};

/// Why something cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The module is no WebAssembly at all.
    #[error("expected a WebAssembly module or component")]
    NotWasm,
    /// The module cannot become a component.
    #[error("the module cannot become a component: {0}")]
    Encode(String),
    /// A metadata field is not what it should be.
    #[error("`{field}` is not usable as metadata: {problem}")]
    Metadata {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// Makes one component of a core module (which carries its WIT, as wit-bindgen leaves it there) or
/// a component, a definition, and the methods that the code answers. What was packed into it
/// before is replaced.
///
/// # Errors
///
/// If the module is no WebAssembly, does not fit its WIT, or a metadata field is malformed.
pub fn pack(
    module: &[u8],
    definition: &str,
    metadata: &Metadata,
    methods: &[Method],
) -> Result<Vec<u8>, PackError> {
    let component = if Parser::is_component(module) {
        without_own_sections(module)?
    } else if Parser::is_core_wasm(module) {
        encode(module)?
    } else {
        return Err(PackError::NotWasm);
    };
    let mut packed = describe(&component, metadata)?;
    let mut lines = String::new();
    for Method { kind, name } in methods {
        let _ = writeln!(lines, "{kind} {name}");
    }
    for (name, data) in [(DEFINITION_SECTION, definition), (METHODS_SECTION, &lines)] {
        CustomSection {
            name: name.into(),
            data: data.as_bytes().into(),
        }
        .append_to_component(&mut packed);
    }
    Ok(packed)
}

/// A core module as a component, by the WIT that it carries.
pub(crate) fn encode(module: &[u8]) -> Result<Vec<u8>, PackError> {
    let encoder = ComponentEncoder::default()
        .module(module)
        .map_err(refused)?;
    encoder.validate(true).encode().map_err(refused)
}

fn refused(error: impl Display) -> PackError {
    PackError::Encode(format!("{error:#}"))
}

fn without_own_sections(component: &[u8]) -> Result<Vec<u8>, PackError> {
    let sections = sections(component).map_err(|_| PackError::NotWasm)?;
    let mut kept = component[..8].to_vec();
    for section in sections {
        if !matches!(section.name, Some(DEFINITION_SECTION | METHODS_SECTION)) {
            kept.extend_from_slice(&component[section.range]);
        }
    }
    Ok(kept)
}

fn describe(component: &[u8], metadata: &Metadata) -> Result<Vec<u8>, PackError> {
    let mut add = AddMetadata::default();
    add.name = field(metadata.name.clone());
    add.version = field(metadata.version.clone().map(Version::new));
    add.description = field(metadata.description.clone().map(Description::new));
    add.revision = field(metadata.revision.clone().map(Revision::new));
    let source = metadata.source.as_deref().map(Source::new).transpose();
    add.source = field(source.map_err(|error| PackError::Metadata {
        field: "source",
        problem: error.to_string(),
    })?);
    add.to_wasm(component).map_err(refused)
}

fn field<T: Debug + Clone>(value: Option<T>) -> AddMetadataField<T> {
    value.map_or(AddMetadataField::Keep, AddMetadataField::Set)
}
