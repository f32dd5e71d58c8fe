//! The one place that connects to a server.

use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{config::Target, tls};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The certificates that the server's is judged by are not there.
    #[error(transparent)]
    Authorities(#[from] tls::AuthoritiesError),
    /// Somebody else answers, or somebody who cannot prove who they are.
    #[error(transparent)]
    Certificate(#[from] tls::Refused),
    /// The server cannot be reached, or does not let this host in.
    #[error(transparent)]
    Server(tokio_postgres::Error),
    /// The machine has nothing to connect with.
    #[error("making a thread's worth of input and output")]
    Runtime(#[source] std::io::Error),
}

impl From<tokio_postgres::Error> for ConnectError {
    fn from(error: tokio_postgres::Error) -> Self {
        match tls::Refused::find(&error) {
            Some(refused) => Self::Certificate(refused),
            None => Self::Server(error),
        }
    }
}

/// Connects to a server as the target says, encrypted or not. The connection lives on the runtime
/// that this is called on; what it ends with is what the client's next question is answered with.
///
/// # Errors
///
/// If there is no connection, or none that is as safe as the target says.
pub async fn connect(target: &Target) -> Result<Client, ConnectError> {
    let tls = MakeRustlsConnect::new(target.tls.client()?);
    let (client, connection) = target.postgres.connect(tls).await?;
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}
