//! Connections: HTTP/1.1 and HTTP/2 on one port, until it is time to stop.

use std::{
    future::{Future, IntoFuture as _},
    io,
    time::Duration,
};

use axum::{ServiceExt, extract::Request, serve::ListenerExt as _};
use tokio::{net::TcpListener, sync::watch};

use super::Entrance;

/// How long requests that have begun may take after the signal to stop. What is still open then
/// belongs to clients that do not read or do not send, and is cut off.
const ENDING_MAX: Duration = Duration::from_secs(10);

/// How long streams may take to say goodbye after that.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Serves until `stop` is there; then says so for as long as the host wants, accepts nothing more,
/// and lets finish what is in flight.
///
/// # Errors
///
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    entrance: Entrance,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // Without it small answers wait for the next packet; a socket that refuses is only slower.
        let _ = stream.set_nodelay(true);
    });
    let (stopping, stopped) = watch::channel(false);
    let service = ServiceExt::<Request>::into_make_service(entrance.clone());
    let ending = entrance.clone();
    let stop = async move {
        stop.await;
        tokio::time::sleep(entrance.drain()).await;
        entrance.stop();
        stopping.send_replace(true);
    };
    let served = axum::serve(listener, service).with_graceful_shutdown(stop);
    let served = tokio::select! {
        served = served.into_future() => served,
        () = overdue(stopped) => Ok(()),
    };
    // WebSockets are no requests any more, so nobody has waited for them.
    let _ = tokio::time::timeout(GOODBYE_MAX, ending.streams_ended()).await;
    served
}

async fn overdue(mut stopped: watch::Receiver<bool>) {
    // The sender lives as long as what waits to stop.
    let _ = stopped.wait_for(|stopped| *stopped).await;
    tokio::time::sleep(ENDING_MAX).await;
}
