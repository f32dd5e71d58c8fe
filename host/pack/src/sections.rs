//! The sections of a binary's outermost level, found without looking into them.

use std::ops::Range;

use wasmparser::BinaryReader;

/// Bytes of the magic number and version.
const HEADER: usize = 8;

/// A section of the outermost level.
pub(crate) struct Section<'a> {
    /// Its name, if it is a custom section.
    pub(crate) name: Option<&'a str>,
    /// What it holds; after the name if it is a custom section.
    pub(crate) data: &'a [u8],
    /// Where all of it stands, with its id and size.
    pub(crate) range: Range<usize>,
}

/// All sections of the outermost level, in order.
///
/// # Errors
///
/// The offset at which they end before they should.
pub(crate) fn sections(bytes: &[u8]) -> Result<Vec<Section<'_>>, usize> {
    let mut sections = Vec::new();
    let mut reader = BinaryReader::new(bytes.get(HEADER..).ok_or(bytes.len())?, HEADER);
    while !reader.eof() {
        let start = reader.original_position();
        let mut next = || {
            let id = reader.read_u8()?;
            let size = reader.read_var_u32()?;
            let data = reader.read_bytes(size as usize)?;
            Ok::<_, wasmparser::BinaryReaderError>((id, data, reader.original_position()))
        };
        let (id, data, end) = next().map_err(|error| error.offset())?;
        let mut inner = BinaryReader::new(data, end - data.len());
        let name = if id == 0 {
            Some(inner.read_string().map_err(|error| error.offset())?)
        } else {
            None
        };
        let data = if id == 0 {
            &data[inner.current_position()..]
        } else {
            data
        };
        sections.push(Section {
            name,
            data,
            range: start..end,
        });
    }
    Ok(sections)
}
