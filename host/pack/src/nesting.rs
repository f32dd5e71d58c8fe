//! How deep a component nests, found without recursion.
//!
//! The validator and the metadata reader below recurse into what is nested, and so does dropping
//! what they build. Their stack is therefore the sender's to use up, unless nesting is bounded
//! before they see a byte.

use wasmparser::{
    BinaryReader, BinaryReaderError, ComponentAlias, ComponentExternName, ComponentImport,
    ComponentType, ComponentTypeRef, CoreType,
};

/// Deepest nesting of components and modules, and of component types. Compositions of compositions
/// nest four or five levels deep; a validator needs about 10 KB of stack for each level.
pub(crate) const NESTING_MAX: usize = 50;

/// Why a section of types is not read.
pub(crate) enum Fault {
    /// The types in it nest deeper than [`NESTING_MAX`], from this byte on.
    TooDeep(usize),
    /// It does not follow the specification.
    Malformed(BinaryReaderError),
}

impl From<BinaryReaderError> for Fault {
    fn from(error: BinaryReaderError) -> Self {
        Self::Malformed(error)
    }
}

/// Reads the types of a section of component types, which begins `offset` bytes into the component.
///
/// # Errors
///
/// If they nest too deep, or are malformed.
pub(crate) fn check_types(section: &[u8], offset: usize) -> Result<(), Fault> {
    let mut reader = BinaryReader::new(section, offset);
    // How many types or declarations are left to read at each level that is open.
    let mut open = vec![reader.read_var_u32()?];
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        let is_type = open.len() == 1 || declares_type(&mut reader)?;
        if is_type && let Some(declarations) = type_of_many(&mut reader)? {
            if open.len() > NESTING_MAX {
                return Err(Fault::TooDeep(reader.original_position()));
            }
            open.push(declarations);
        }
    }
    Ok(())
}

/// Reads a declaration; of one that declares a type only the byte that says so.
fn declares_type(reader: &mut BinaryReader<'_>) -> Result<bool, BinaryReaderError> {
    match reader.read_u8()? {
        0x00 => {
            reader.read::<CoreType<'_>>()?;
        }
        0x01 => return Ok(true),
        0x02 => {
            reader.read::<ComponentAlias<'_>>()?;
        }
        0x03 => {
            reader.read::<ComponentImport<'_>>()?;
        }
        // An export, or nothing that there is: then what follows does not read as one.
        _ => {
            reader.read::<ComponentExternName<'_>>()?;
            reader.read::<ComponentTypeRef>()?;
        }
    }
    Ok(false)
}

/// Reads a type; of one that consists of declarations only how many they are.
fn type_of_many(reader: &mut BinaryReader<'_>) -> Result<Option<u32>, BinaryReaderError> {
    let mut ahead = reader.clone();
    if matches!(ahead.read_u8()?, 0x41 | 0x42) {
        *reader = ahead;
        return reader.read_var_u32().map(Some);
    }
    reader.read::<ComponentType<'_>>()?;
    Ok(None)
}
