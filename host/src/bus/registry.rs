//! Where hosts look each other up: who serves which component, and where.
//!
//! Hosts write into one [`Catalog`], which somebody else keeps: Redis, NATS or PostgreSQL. It has a
//! record of each host, which that host renews well within its lease, and one of each component,
//! which names the host that has it. A component has one owner at a time: its record is changed only
//! by who has seen the one before ([`Catalog::swap`]), and only if its owner is gone. Gone is a host
//! whose record was not renewed for its lease, by the clock of who looks: no two machines need to
//! agree what time it is.
//!
//! The catalog is asked in the background. Nothing that a host does for a caller waits for it, but an
//! upload of a component that is new there; while it is away, everything goes on as it was known.

mod known;
pub mod member;
mod nats;
mod postgres;
pub mod record;
mod redis;

use std::{fmt, sync::Arc, time::Instant};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

pub use self::member::Member;
use self::{
    known::Known,
    nats::NatsCatalog,
    postgres::PostgresCatalog,
    record::{HostRecord, Listed},
    redis::RedisCatalog,
};
use crate::{address::Address, authorities::Authorities};

/// How many times a lease is renewed while it lasts.
const RENEWALS: u32 = 4;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A host.
    Host,
    /// A component.
    Component,
}

/// The change of one record.
#[derive(Clone, Copy, Debug)]
pub struct Swap<'s> {
    /// What it is about.
    pub kind: Kind,
    /// Its key: letters, digits, `_`, `-`, `=` and `.`.
    pub key: &'s str,
    /// What it must be before; none = it must not be there.
    pub from: Option<&'s str>,
    /// What it is after; none = it is not there.
    pub to: Option<&'s str>,
    /// Whether whoever watches is to be told.
    pub tell: bool,
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// It is made.
    Done,
    /// It is not: this is what the record is.
    Other(Option<String>),
}

/// What a catalog has.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Records of hosts, by key.
    pub hosts: Vec<(String, String)>,
    /// Changes with the records of components.
    pub generation: u64,
    /// Records of components, by key; none if they are as they were in the generation that was asked
    /// for.
    pub components: Option<Vec<(String, String)>>,
}

/// A catalog cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error("the registry cannot be asked: {0}")]
pub struct Unreachable(pub String);

impl Unreachable {
    fn because(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }

    /// An error and what caused it.
    fn because_of(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let texts: Vec<String> = causes.map(ToString::to_string).collect();
        Self(texts.join(": "))
    }
}

/// Keeps records that are changed by whoever has seen the one before.
pub trait Catalog: Send + Sync + 'static {
    /// What it is called in logs: names no secret.
    fn name(&self) -> &str;

    /// Everything, but for components of a generation that is known.
    fn read(&self, known: Option<u64>) -> BoxFuture<'_, Result<View, Unreachable>>;

    /// Changes one record. After an error it may be changed or not.
    fn swap<'s>(&'s self, swap: Swap<'s>) -> BoxFuture<'s, Result<Swapped, Unreachable>>;

    /// Tells, for as long as this is polled, whenever somebody changed something and said so. May
    /// tell too often, and miss some.
    fn watch(self: Arc<Self>, news: Arc<Notify>) -> BoxFuture<'static, ()>;
}

/// An address of no registry that is known here. Shows no password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another kind of registry.
    #[error(
        "`{0}` is no kind of registry that is known here: expected redis://, rediss://, nats://, \
         tls:// or postgres://"
    )]
    Scheme(String),
    /// What follows is no address.
    #[error("the registry's address cannot be used: {0}")]
    Address(String),
}

impl OpenError {
    fn address(error: impl fmt::Display) -> Self {
        Self::Address(error.to_string())
    }
}

/// The catalog at an address. Nothing is connected yet.
///
/// # Errors
///
/// If the address is none.
pub fn open(address: &Address, authorities: &Authorities) -> Result<Arc<dyn Catalog>, OpenError> {
    let scheme = address.scheme();
    let address = address.exposed();
    Ok(match scheme {
        "redis" | "rediss" => {
            Arc::new(RedisCatalog::new(address, authorities).map_err(OpenError::address)?)
        }
        "nats" | "tls" => {
            Arc::new(NatsCatalog::new(address, authorities).map_err(OpenError::address)?)
        }
        "postgres" | "postgresql" => {
            Arc::new(PostgresCatalog::new(address).map_err(OpenError::address)?)
        }
        other => return Err(OpenError::Scheme(other.to_owned())),
    })
}

/// Every component and its host, then every host that has none.
///
/// # Errors
///
/// If the catalog cannot be asked.
pub async fn list(catalog: &dyn Catalog) -> Result<(Vec<Listed>, Vec<HostRecord>), Unreachable> {
    let mut known = Known::default();
    known.observe(catalog.read(None).await?, Instant::now());
    Ok(known.list())
}
