//! What somebody sends as a component: bytes that nobody has looked at.

use bytes::Bytes;

/// A component as it was sent.
#[derive(Clone, Debug)]
pub enum Sent {
    /// Meant as a packed component.
    Packed(Bytes),
    /// Meant as a definition without code: what it calls does nothing.
    Definition(Bytes),
}

impl Sent {
    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Packed(bytes) | Self::Definition(bytes) => bytes,
        }
    }

    /// Whether it is meant as a definition.
    pub fn is_definition(&self) -> bool {
        matches!(self, Self::Definition(_))
    }
}
