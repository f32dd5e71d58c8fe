//! How this host connects as a client: Redis, encrypted or not.

use redis::{Client, ConnectionAddr, IntoConnectionInfo as _, RedisError, TlsCertificates};

use crate::authorities::Authorities;

/// The server at an address such as `redis://USER:PASSWORD@HOST:PORT/0` or `rediss://…`.
pub(crate) fn redis_client(address: &str, authorities: &Authorities) -> Result<Client, RedisError> {
    let server = address.into_connection_info()?;
    match (server.addr(), authorities.pem()) {
        (ConnectionAddr::TcpTls { .. }, Some(pem)) => {
            let trusted = TlsCertificates {
                client_tls: None,
                root_cert: Some(pem.as_bytes().to_vec()),
            };
            Client::build_with_tls(server, trusted)
        }
        _ => Client::open(server),
    }
}
