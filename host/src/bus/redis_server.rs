//! A Redis, and the connections to it.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
};
use tokio::sync::OnceCell;

use crate::{authorities::Authorities, redis_client::redis_client};

/// How long an answer may take that waits for nothing.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// The server at an address.
pub(super) struct RedisServer {
    name: String,
    client: Client,
    common: OnceCell<ConnectionManager>,
}

impl RedisServer {
    /// The server at an address such as `redis://USER:PASSWORD@HOST:PORT/0` or `rediss://…`; `kind`
    /// says what it is used as.
    ///
    /// # Errors
    ///
    /// If it is no address.
    pub(super) fn new(
        kind: &str,
        address: &str,
        authorities: &Authorities,
    ) -> Result<Self, RedisError> {
        let client = redis_client(address, authorities)?;
        Ok(Self {
            name: format!("{kind} {}", client.get_connection_info().addr()),
            client,
            common: OnceCell::new(),
        })
    }

    /// What it is called: shows no password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What connections are made with.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The connection that everybody shares, which comes back by itself when it is lost. Whoever
    /// asks has patience of their own.
    pub(super) async fn connection(&self) -> Result<ConnectionManager, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(CONNECT_MAX))
            .set_response_timeout(Some(ANSWER_MAX));
        let connect = || ConnectionManager::new_with_config(self.client.clone(), config);
        Ok(self.common.get_or_try_init(connect).await?.clone())
    }

    /// One that only the caller has.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_MAX))
            .set_response_timeout(Some(ANSWER_MAX));
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }
}
