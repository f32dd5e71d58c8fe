//! Connections: HTTP/1.1 and HTTP/2 on one port, until it is time to stop.

use std::{future::Future, io};

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

use super::{State, router};

/// Serves until `stop` is there; then accepts nothing more and lets finish what is in flight.
///
/// # Errors
///
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    state: State,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // Without it small answers wait for the next packet; a socket that refuses is only slower.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router(state))
        .with_graceful_shutdown(stop)
        .await
}
