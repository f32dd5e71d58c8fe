//! Packs a core module, its WIT and a definition into one WebAssembly component, and reads them
//! back without running anything.
//!
//! A packed component carries, besides its code:
//!
//! * `xcomponent:definition`: the YAML, byte for byte;
//! * `xcomponent:methods`: one line per method that the code answers, `guard name` or
//!   `action name`, so that inspection needs no execution;
//! * the standard metadata (name, version, description, source, revision) that
//!   `wasm-tools metadata show` prints.
//!
//! [`build`] compiles Rust projects into such components; [`blank()`] is the component for
//! definitions without code.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod blank;
pub mod build;
mod contract;
mod nesting;
mod read;
mod sections;
mod write;

use std::fmt;

pub use self::{
    blank::blank,
    read::{ARTIFACT_BYTES_MAX, Packed, ReadError, read},
    write::{PackError, pack},
};

/// Custom section with the YAML.
pub const DEFINITION_SECTION: &str = "xcomponent:definition";

/// Custom section with the list of methods.
pub const METHODS_SECTION: &str = "xcomponent:methods";

/// What a method is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MethodKind {
    /// Decides whether a transition may be taken.
    Guard,
    /// Takes part in a transition.
    Action,
}

impl fmt::Display for MethodKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guard => "guard",
            Self::Action => "action",
        })
    }
}

/// A method that the code answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method {
    /// What it is for.
    pub kind: MethodKind,
    /// As the definition writes it.
    pub name: String,
}

/// What is known of a component besides its code and definition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The component's name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// A sentence for people.
    pub description: Option<String>,
    /// Where its source is, a URL.
    pub source: Option<String>,
    /// Which revision of it.
    pub revision: Option<String>,
}
