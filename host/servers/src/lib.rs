//! Real servers for tests, benchmarks and chores: on free loopback ports, in temporary folders,
//! stopped when dropped, and when who started them is killed.
//!
//! Servers are what the machine has installed; who is missing one is told how to install it. Those
//! that refuse to run as root run as a user without rights.

mod cache;
mod certificate;
mod kafka;
mod nats;
mod package;
mod pgbouncer;
mod postgres;
mod program;
mod rabbitmq;
mod redis;
mod user;

use std::{
    net::{Ipv4Addr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

pub use self::{
    cache::cached,
    certificate::{Authority, Certificate},
    kafka::Kafka,
    nats::Nats,
    pgbouncer::PgBouncer,
    postgres::{Durability, Postgres},
    rabbitmq::RabbitMq,
    redis::Redis,
};

/// Whom servers let in that ask: a name, a password, and the password as it stands in a URL.
const USER: &str = "ada";
const PASSWORD: &str = "p@ss/w0rd";
const PASSWORD_IN_URL: &str = "p%40ss%2Fw0rd";

/// Wait between two looks whether a server is where it should be.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Installs what is missing of all servers; most need this process to be root's.
///
/// # Errors
///
/// If one is missing and cannot be installed.
pub fn install() -> Result<()> {
    postgres::install()?;
    pgbouncer::install()?;
    Redis::install()?;
    Nats::install()?;
    RabbitMq::install()?;
    Kafka::install()
}

/// A port that nobody listens on at this moment.
///
/// # Errors
///
/// If the machine gives none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("asking for a port")?;
    Ok(listener.local_addr().context("asking for a port")?.port())
}

/// Looks again and again until something is there.
fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(
            Instant::now() < deadline,
            "{what} took longer than {patience:?}"
        );
        pause(AGAIN_AFTER);
    }
}

/// Lets time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "who starts a server has nothing else to do meanwhile"
)]
fn pause(time: Duration) {
    thread::sleep(time);
}
