//! What tenants own on a host: their components, in versions.
//!
//! [`Registry`] is the one way in for code: it has examined what is uploaded, compares it with the
//! instances that live, and only then tells the shards. Everything it does is asked on behalf of one
//! tenant.

mod entry;
mod registry;
mod restore;
mod switch;
mod upload;

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use xcomponent_core::{
    definition::{Findings, MethodKind, OnLive, Strictness},
    effect::{Fit, Migrated, Refused},
    id::{ComponentName, Digest, MethodName, TenantId, Version},
};

pub use self::{
    registry::{Loaded, Registry},
    restore::Waiting,
    upload::{Activation, Upload, Uploaded},
};
use crate::{driver, sent::Sent};

/// Guards and actions, sorted.
pub type Methods = Vec<(MethodKind, MethodName)>;

/// Looks at components and makes them ready to be called. What it does with the bytes cannot hurt this
/// process.
pub trait Installer: Send + Sync + 'static {
    /// Looks at what was sent.
    fn examine(
        &self,
        sent: Sent,
        strictness: Strictness,
    ) -> BoxFuture<'_, Result<Examined, Rejected>>;

    /// Nobody runs this artifact, after all.
    fn forget(&self, artifact: Digest);
}

/// A component that was looked at.
pub struct Examined {
    /// SHA-256 of the packed component.
    pub artifact: Digest,
    /// The packed component.
    pub component: Bytes,
    /// What there is to say about its definition.
    pub findings: Findings,
    /// The text of the definition, if it has no errors.
    pub definition: Option<String>,
    /// Makes it ready. Dropped, it is not.
    pub install: Box<dyn Install>,
}

/// A component that can be made ready to be called.
pub trait Install: Send {
    /// Compiles and links it, and compares the methods it answers with those that are `wanted`.
    fn install<'i>(
        self: Box<Self>,
        wanted: &'i [(MethodKind, MethodName)],
        allow_missing: bool,
    ) -> BoxFuture<'i, Result<Methods, Rejected>>;
}

/// Decides which components may be on this host, where several hosts share them.
pub trait Ownership: Send + Sync + 'static {
    /// Makes a component this host's.
    ///
    /// # Errors
    ///
    /// If it is another's, or nobody can say.
    fn claim<'c>(
        &'c self,
        tenant: &'c TenantId,
        component: &'c ComponentName,
        version: &'c Version,
    ) -> BoxFuture<'c, Result<(), NotOwned>>;

    /// What was claimed does not come here after all.
    fn release(&self, tenant: &TenantId, component: &ComponentName);
}

/// Why a component is not this host's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOwned {
    /// Another host has it.
    #[error(
        "`{component}` is owned by the host at {address}: delete it there first, or use that one"
    )]
    Elsewhere {
        /// Which component.
        component: ComponentName,
        /// Where that host is.
        address: String,
    },
    /// It cannot be said whether another host has it.
    #[error("{0}")]
    Unknown(String),
}

/// Why a component cannot be made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Stable, for programs.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: String,
    /// Whose fault it is: the component's, or the host's own.
    pub by_host: bool,
    /// Whether too many components are looked at just now.
    pub is_busy: bool,
}

/// What happens to live instances when another version becomes the active one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// Each moves as part of its next transition, if it fits.
    #[default]
    NextEvent,
    /// Each stays on its version until it finishes.
    Pin,
    /// Nothing is switched when one of them would not fit.
    Refuse,
}

impl Switch {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "next-event" => Some(Self::NextEvent),
            "pin" => Some(Self::Pin),
            "refuse" => Some(Self::Refuse),
            _ => None,
        }
    }

    /// What the shards are told.
    fn on_live(self) -> OnLive {
        match self {
            Self::NextEvent | Self::Refuse => OnLive::NextEvent,
            Self::Pin => OnLive::Pin,
        }
    }
}

/// What there is to say about a version, and how live instances would fit it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What checking the definition found; no errors among them once it is accepted.
    pub findings: Findings,
    /// Methods that the definition names and the code does not answer.
    pub missing: Methods,
    /// By machine and state: how many instances live, and how many of them would not fit.
    pub live: Vec<Fit>,
}

impl Report {
    /// How many live instances would not fit.
    pub fn misfits(&self) -> u64 {
        self.live.iter().map(|fit| fit.misfits).sum()
    }
}

/// Why the registry does not do what it is asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The definition has errors.
    #[error("the definition has {findings}")]
    Invalid {
        /// Warnings included.
        findings: Findings,
    },
    /// It was accepted by an earlier version of the host, and is not any more.
    #[error(
        "version `{version}` of `{component}` is not accepted by this version of the host: {reason}; \
         its instances wait"
    )]
    NotAccepted {
        /// Of which component.
        component: ComponentName,
        /// The version that was active.
        version: Version,
        /// Why.
        reason: String,
    },
    /// It could not be done here.
    #[error("the upload could not be handled")]
    Host(#[source] std::io::Error),
    /// The definition names another component than the caller.
    #[error("the definition names the component `{found}`, expected `{expected}`")]
    OtherName {
        /// What the caller named.
        expected: ComponentName,
        /// What the definition names.
        found: ComponentName,
    },
    /// The label names another artifact.
    #[error(
        "version `{version}` of `{component}` exists with another artifact; \
         raise `version` in the definition"
    )]
    VersionExists {
        /// Of which component.
        component: ComponentName,
        /// Which version.
        version: Version,
    },
    /// There is no room for another definition.
    #[error(
        "the definitions of all versions would be {bytes} bytes, at most {most} fit the memory of \
         this host; delete versions that nothing runs on"
    )]
    TooManyVersions {
        /// Bytes of all definitions.
        bytes: usize,
        /// How many there may be.
        most: usize,
    },
    /// It cannot be made ready.
    #[error("{}", .0.message)]
    Rejected(Rejected),
    /// Live instances would not fit, and the caller asked to refuse then.
    #[error("{} live instances would not fit version `{version}`", report.misfits())]
    WouldNotFit {
        /// Which version.
        version: Version,
        /// Which instances.
        report: Box<Report>,
    },
    /// It is not this host's.
    #[error(transparent)]
    NotOwned(#[from] NotOwned),
    /// There is no such component.
    #[error("there is no component `{0}`")]
    UnknownComponent(ComponentName),
    /// There is no such version.
    #[error("`{component}` has no version `{version}`")]
    UnknownVersion {
        /// Of which component.
        component: ComponentName,
        /// Which version.
        version: Version,
    },
    /// No version was active before the present one.
    #[error("`{0}` has no earlier version to go back to")]
    NothingBefore(ComponentName),
    /// Something lives on what is to be deleted.
    #[error("{instances} instances live on it; add `force=true` to delete it all the same")]
    InUse {
        /// How many.
        instances: u64,
    },
    /// The version is active, and others remain.
    #[error("version `{0}` is the active one; activate another before deleting it")]
    Active(Version),
    /// The shards did not answer.
    #[error("the shards refused: {0:?}")]
    Refused(Refused),
    /// The store could not be asked.
    #[error("the store could not be asked")]
    Store(#[source] driver::Error),
}

/// The result of asking the registry.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<driver::Error> for Error {
    fn from(error: driver::Error) -> Self {
        match error {
            driver::Error::VersionExists { component, version } => {
                Self::VersionExists { component, version }
            }
            driver::Error::UnknownVersion { component, version } => {
                Self::UnknownVersion { component, version }
            }
            other @ (driver::Error::Unavailable(_)
            | driver::Error::Unknown(_)
            | driver::Error::Unstorable(_)
            | driver::Error::TakenOver
            | driver::Error::Lost(_)
            | driver::Error::Damaged(_)
            | driver::Error::Unreadable(_)
            | driver::Error::Gone { .. }) => Self::Store(other),
        }
    }
}

/// What became of a move of live instances.
pub type Moved = Vec<Migrated>;

/// How strictly uploads are judged, and what they may lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// How strictly definitions are judged.
    pub strictness: Strictness,
    /// Whether methods may be missing: they then do nothing.
    pub allow_missing: bool,
}

/// Names a component version in messages.
struct Label<'l>(&'l TenantId, &'l ComponentName, &'l Version);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.0, self.1, self.2)
    }
}

/// A shared installer.
pub type SharedInstaller = Arc<dyn Installer>;
