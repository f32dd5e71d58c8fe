//! How hosts reach each other: what is sent, one trait for whatever carries it, and what does.
//!
//! What a component sends to one on another host waits in the log of the host that sends. A relay
//! of the driver takes it from there, shipment by shipment, and gives it to a [`Transport`]. At the
//! other end a shipment goes through an [`Inlet`], which takes in what is new of its stream. A
//! transport may deliver a shipment more than once; those that may lose some say so.

pub mod amqp;
pub mod breaker;
pub mod broker;
pub mod directory;
pub mod event;
pub mod kafka;
pub mod listening;
pub mod nats;
pub mod open;
pub mod peer;
pub mod redis_pubsub;
pub mod redis_streams;
pub mod registry;
pub mod shipment;

mod intake;
mod redis_server;

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::BoxFuture;
use xcomponent_core::time::Timestamp;

use self::peer::Peer;
pub use self::{directory::Directory, listening::Listening, shipment::Shipment};

/// The time by this machine's clock, as what hosts tell each other has it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    Timestamp(u64::try_from(ms).unwrap_or(u64::MAX))
}

/// Takes shipments to where their component is.
pub trait Transport: Send + Sync + 'static {
    /// What it is called in metrics and logs: names no secret.
    fn name(&self) -> &str;

    /// Takes one there. When this is done, the other end, or what stores it on the way, has it for
    /// good; says up to which parcel of the stream that is so.
    fn send<'a>(&'a self, shipment: &'a Shipment) -> BoxFuture<'a, Result<u64, SendError>>;

    /// How long it may still forget what it has acknowledged, when it is started anew.
    fn settles_after(&self) -> Duration {
        Duration::ZERO
    }

    /// How often it was away so far, and so may have been started anew.
    fn absences(&self) -> u64 {
        0
    }

    /// The host it leads to, if it leads to one that can be asked.
    fn peer(&self) -> Option<&Peer> {
        None
    }

    /// How it stands.
    fn status(&self) -> Status {
        Status::Working
    }
}

/// How a transport stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It takes shipments.
    Working,
    /// It is being tried whether it does again.
    Trying,
    /// It does not.
    Away,
}

impl Status {
    /// The stable text form: of a breaker.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "closed",
            Self::Trying => "half_open",
            Self::Away => "open",
        }
    }
}

/// Why a shipment did not get there.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It may later.
    #[error("{0}")]
    Unavailable(String),
    /// It has more bytes than are taken at once.
    #[error("it has {bytes} bytes, and at most {most} are taken")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many are taken.
        most: usize,
    },
    /// The other end misses parcels of the stream before these, and nobody has them any more.
    #[error("the other host has lost what it had taken in after parcel {through}")]
    Gap {
        /// The last one that it has.
        through: u64,
    },
}

impl SendError {
    /// An error of something that may work again later.
    pub fn unavailable(error: impl fmt::Display) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Where shipments of other hosts go.
pub trait Inlet: Send + Sync + 'static {
    /// Takes in what is new of a shipment. When this is done, all of it is durable here; says up to
    /// which parcel of the stream that is so.
    fn take_in(&self, shipment: Shipment) -> BoxFuture<'static, Result<u64, TakeInError>>;
}

/// Why a shipment was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum TakeInError {
    /// It may be later: there is too much to do, or nothing can be made durable.
    #[error("{0}")]
    Busy(String),
    /// As many streams are remembered as may be, and this is another one.
    #[error(
        "this host knows as many streams of other hosts as it remembers, and takes in no new one"
    )]
    TooManyStreams,
    /// Its component is not here.
    #[error("there is no component `{0}` here")]
    NotHere(String),
    /// Parcels of the stream before these are missing.
    #[error("parcels after number {through} are missing")]
    Gap {
        /// The last one that is taken in.
        through: u64,
    },
}
