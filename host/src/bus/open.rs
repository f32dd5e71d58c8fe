//! Which broker an address means.

use std::sync::Arc;

use super::{
    amqp::Amqp, broker::Broker, kafka::Kafka, nats::Nats, redis_pubsub::RedisPubSub,
    redis_streams::RedisStreams,
};
use crate::{address::Address, authorities::Authorities};

/// An address of no broker that is known here. Shows no password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another kind of broker.
    #[error(
        "`{0}` is no kind of broker that is known here: expected redis://, rediss://, \
         redis+streams://, rediss+streams://, nats://, tls://, amqp://, amqps://, kafka:// or kafka+tls://"
    )]
    Scheme(String),
    /// What follows is no address.
    #[error("the broker's address cannot be used: {0}")]
    Address(String),
}

impl OpenError {
    fn address(error: impl std::fmt::Display) -> Self {
        Self::Address(error.to_string())
    }
}

/// The broker at an address. Nothing is connected yet.
///
/// # Errors
///
/// If the address is none.
pub fn open(address: &Address, authorities: &Authorities) -> Result<Arc<dyn Broker>, OpenError> {
    let scheme = address.scheme();
    let address = address.exposed();
    Ok(match scheme {
        "redis+streams" | "rediss+streams" => {
            let plain = address.replacen("+streams", "", 1);
            Arc::new(RedisStreams::new(&plain, authorities).map_err(OpenError::address)?)
        }
        "redis" | "rediss" => {
            Arc::new(RedisPubSub::new(address, authorities).map_err(OpenError::address)?)
        }
        "nats" | "tls" => Arc::new(Nats::new(address, authorities).map_err(OpenError::address)?),
        "amqp" | "amqps" => Arc::new(Amqp::new(address, authorities).map_err(OpenError::address)?),
        "kafka" | "kafka+tls" => {
            Arc::new(Kafka::new(address, authorities).map_err(OpenError::address)?)
        }
        other => return Err(OpenError::Scheme(other.to_owned())),
    })
}
