//! The one place that connects to a server.

use tokio_postgres::{Client, Error, NoTls};

use super::config::Target;

/// Connects to a server as the target says. The connection lives on the runtime that this is called
/// on; what it ends with is what the client's next question is answered with.
///
/// # Errors
///
/// If there is no connection.
pub async fn connect(target: &Target) -> Result<Client, Error> {
    let (client, connection) = target.postgres.connect(NoTls).await?;
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}
