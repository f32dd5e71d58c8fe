//! Reading a packed component back. Nothing is executed, and nothing is believed: the bytes may
//! come from anyone.

use wasmparser::{ComponentExternalKind, Parser, Payload, Validator, WasmFeatures};

use crate::{
    DEFINITION_SECTION, METHODS_SECTION, Metadata, Method, MethodKind, contract,
    nesting::{self, NESTING_MAX},
    sections::sections,
};

/// Largest component that is looked at, in bytes.
pub const ARTIFACT_BYTES_MAX: usize = 64 << 20;

/// Most imports, exports or methods that are read.
const ITEMS_MAX: usize = 10_000;

/// Everything that was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The YAML, byte for byte.
    pub definition: String,
    /// The methods that the code claims to answer.
    pub methods: Vec<Method>,
    /// The interfaces that it imports, all of them allowed.
    pub imports: Vec<String>,
    /// How many functions its modules have together: what compiling them costs grows with it.
    pub functions: usize,
    /// Whether it moves contexts of older versions.
    pub has_migration: bool,
    /// What else is known of it.
    pub metadata: Metadata,
}

/// Why bytes are not accepted as a packed component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Too many bytes.
    #[error("a component has at most {ARTIFACT_BYTES_MAX} bytes, this one has {0}")]
    TooLarge(usize),
    /// Not WebAssembly.
    #[error("expected a WebAssembly component, these bytes are no WebAssembly at all")]
    NotWasm,
    /// A core module.
    #[error("expected a WebAssembly component, this is a core module; pack it first")]
    CoreModule,
    /// It ends too early, or does not follow the specification.
    #[error("the component is damaged at byte {offset}: {problem}")]
    Malformed {
        /// Where, in bytes from the start.
        offset: usize,
        /// What is wrong there.
        problem: String,
    },
    /// What is in it nests too deep.
    #[error(
        "components, modules and types may nest {NESTING_MAX} levels deep, these nest deeper \
         (at byte {0})"
    )]
    TooDeep(usize),
    /// There is no definition in it.
    #[error("the component carries no definition (custom section `{DEFINITION_SECTION}`)")]
    NoDefinition,
    /// There is more than one definition in it.
    #[error("the component carries {0} definitions, expected one")]
    ManyDefinitions(usize),
    /// The definition is not UTF-8.
    #[error("the definition is not UTF-8 text")]
    DefinitionNotText,
    /// The list of methods is not what it should be.
    #[error("line {0} of the list of methods is not `guard <name>` or `action <name>`")]
    MalformedMethods(usize),
    /// It imports something that the host does not give.
    #[error(
        "the import `{0}` is not allowed: expected `xcomponent:component/…@0.1` or `wasi:…@0.2`"
    )]
    ImportNotAllowed(String),
    /// It does not answer methods.
    #[error("the component does not export `{methods}x`", methods = contract::METHODS)]
    MethodsNotExported,
}

impl ReadError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too_large",
            Self::NotWasm => "not_wasm",
            Self::CoreModule => "core_module",
            Self::Malformed { .. } => "malformed_wasm",
            Self::TooDeep(_) => "too_deep",
            Self::NoDefinition => "no_definition",
            Self::ManyDefinitions(_) => "many_definitions",
            Self::DefinitionNotText => "definition_not_text",
            Self::MalformedMethods(_) => "malformed_methods",
            Self::ImportNotAllowed(_) => "import_not_allowed",
            Self::MethodsNotExported => "methods_not_exported",
        }
    }
}

/// Reads what was packed into a component. How deep anything in it nests is checked before anything
/// recurses into it.
///
/// # Errors
///
/// If it is no valid component, carries no definition, or imports what is not allowed.
pub fn read(bytes: &[u8]) -> Result<Packed, ReadError> {
    if bytes.len() > ARTIFACT_BYTES_MAX {
        return Err(ReadError::TooLarge(bytes.len()));
    }
    if Parser::is_core_wasm(bytes) {
        return Err(ReadError::CoreModule);
    }
    if !Parser::is_component(bytes) {
        return Err(ReadError::NotWasm);
    }
    let Surface {
        imports,
        exports,
        functions,
    } = surface(bytes)?;
    if let Some(refused) = imports.iter().find(|name| !contract::may_import(name)) {
        return Err(ReadError::ImportNotAllowed(refused.clone()));
    }
    let definition = definition(bytes)?;
    if !exports
        .iter()
        .any(|name| name.starts_with(contract::METHODS))
    {
        return Err(ReadError::MethodsNotExported);
    }
    validate(bytes)?;
    Ok(Packed {
        definition,
        methods: methods(bytes)?,
        has_migration: exports
            .iter()
            .any(|name| name.starts_with(contract::MIGRATION)),
        metadata: metadata(bytes),
        imports,
        functions,
    })
}

/// What a pass over all sections finds.
#[derive(Default)]
struct Surface {
    /// Names that the outermost component imports.
    imports: Vec<String>,
    /// Names of the instances that it exports.
    exports: Vec<String>,
    /// Functions of all modules together.
    functions: usize,
}

fn surface(bytes: &[u8]) -> Result<Surface, ReadError> {
    let mut depth = 0_usize;
    let mut surface = Surface::default();
    let Surface {
        imports,
        exports,
        functions,
    } = &mut surface;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::ModuleSection {
                unchecked_range: nested,
                ..
            }
            | Payload::ComponentSection {
                unchecked_range: nested,
                ..
            } => {
                depth += 1;
                if depth > NESTING_MAX {
                    return Err(ReadError::TooDeep(nested.start));
                }
            }
            Payload::ComponentTypeSection(section) => {
                let range = section.range();
                nesting::check_types(&bytes[range.clone()], range.start).map_err(of_nesting)?;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::FunctionSection(section) => {
                *functions = functions.saturating_add(section.count() as usize);
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(malformed)?;
                    if export.kind == ComponentExternalKind::Instance {
                        exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
        if imports.len().max(exports.len()) > ITEMS_MAX {
            return Err(ReadError::Malformed {
                offset: 0,
                problem: format!("more than {ITEMS_MAX} imports or exports"),
            });
        }
    }
    Ok(surface)
}

fn validate(bytes: &[u8]) -> Result<(), ReadError> {
    let mut validator = Validator::new_with_features(WasmFeatures::default());
    validator.validate_all(bytes).map(|_| ()).map_err(malformed)
}

fn custom<'a>(bytes: &'a [u8], name: &str) -> Result<Vec<&'a [u8]>, ReadError> {
    let damaged = |offset| ReadError::Malformed {
        offset,
        problem: "a section ends too early".to_owned(),
    };
    let sections = sections(bytes).map_err(damaged)?;
    Ok(sections
        .iter()
        .filter(|section| section.name == Some(name))
        .map(|section| section.data)
        .collect())
}

fn definition(bytes: &[u8]) -> Result<String, ReadError> {
    match custom(bytes, DEFINITION_SECTION)?[..] {
        [] => Err(ReadError::NoDefinition),
        [yaml] => std::str::from_utf8(yaml)
            .map(str::to_owned)
            .map_err(|_| ReadError::DefinitionNotText),
        ref many => Err(ReadError::ManyDefinitions(many.len())),
    }
}

fn methods(bytes: &[u8]) -> Result<Vec<Method>, ReadError> {
    let text = custom(bytes, METHODS_SECTION)?.concat();
    let text = std::str::from_utf8(&text).map_err(|_| ReadError::MalformedMethods(1))?;
    let method = |(line, text): (usize, &str)| {
        let (kind, name) = text
            .split_once(' ')
            .ok_or(ReadError::MalformedMethods(line + 1))?;
        let kind = match kind {
            "guard" => MethodKind::Guard,
            "action" => MethodKind::Action,
            _ => return Err(ReadError::MalformedMethods(line + 1)),
        };
        Ok(Method {
            kind,
            name: name.to_owned(),
        })
    };
    text.lines()
        .take(ITEMS_MAX)
        .enumerate()
        .map(method)
        .collect()
}

/// Metadata is for people: what cannot be read is left out.
fn metadata(bytes: &[u8]) -> Metadata {
    let Ok(payload) = wasm_metadata::Payload::from_binary(bytes) else {
        return Metadata::default();
    };
    let found = payload.metadata();
    Metadata {
        name: found.name.clone(),
        version: found.version.as_ref().map(ToString::to_string),
        description: found.description.as_ref().map(ToString::to_string),
        source: found.source.as_ref().map(ToString::to_string),
        revision: found.revision.as_ref().map(ToString::to_string),
    }
}

fn of_nesting(fault: nesting::Fault) -> ReadError {
    match fault {
        nesting::Fault::TooDeep(offset) => ReadError::TooDeep(offset),
        nesting::Fault::Malformed(error) => malformed(error),
    }
}

fn malformed(error: wasmparser::BinaryReaderError) -> ReadError {
    ReadError::Malformed {
        offset: error.offset(),
        problem: error.message().to_owned(),
    }
}
