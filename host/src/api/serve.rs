//! Connections: HTTP/1.1 and HTTP/2 on one port, until it is time to stop.
//!
//! A connection has a [`places::Place`] as long as it lives. When all places are taken, a newcomer
//! gets the place of a connection that has no request; when there is none, the newcomer is let into
//! a small reserve that answers health checks and refuses everything else. So no number of slow,
//! idle or busy clients keeps a health check from being answered.

mod connection;
mod places;
mod socket;

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

pub use self::places::ConnectionLimits;
pub(super) use self::places::{Numbers, Places};
use super::Entrance;

/// How long requests that have begun may take after the signal to stop. What is still open then
/// belongs to clients that do not read or do not send, and is cut off.
const ENDING_MAX: Duration = Duration::from_secs(10);

/// How long streams may take to say goodbye after that.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Connections beyond the limits that are open at a time. One more ends the oldest of them.
const RESERVE: usize = 32;

/// Wait after a connection could not be accepted because the machine has no room for it.
const NO_ROOM_WAIT: Duration = Duration::from_millis(50);

/// Serves until `stop` is there; then says so for as long as the host wants, accepts nothing more,
/// and lets finish what is in flight. Dropped, it closes every connection.
///
/// # Errors
///
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    entrance: Entrance,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = watch::channel(false);
    let places = Places::new(limits);
    entrance.count_connections(places.numbers());
    let draining = entrance.clone();
    let stop = async move {
        stop.await;
        tokio::time::sleep(draining.drain()).await;
    };
    tokio::pin!(stop);
    let mut connections = JoinSet::new();
    let mut reserve = Reserve::default();
    loop {
        tokio::select! {
            () = &mut stop => break,
            // Reaped, so that the set holds no more than what is open.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                let Some((stream, from)) = usable(accepted).await else { continue };
                match places.enter(from.ip()) {
                    Some(place) => {
                        let (entrance, stopped) = (entrance.clone(), stopped.clone());
                        connections.spawn(connection::serve(stream, place, entrance, stopped));
                    }
                    None => {
                        let refusing = connection::refuse(stream, entrance.clone());
                        reserve.admit(connections.spawn(refusing));
                    }
                }
            }
        }
    }
    drop(listener);
    entrance.stop();
    stopping.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(ENDING_MAX, all).await;
    // WebSockets are no requests any more, so nobody has waited for them.
    let _ = tokio::time::timeout(GOODBYE_MAX, entrance.streams_ended()).await;
    Ok(())
}

/// A connection that was accepted, unless it is gone already or there is no room for it.
async fn usable(accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<(TcpStream, SocketAddr)> {
    match accepted {
        Ok((stream, from)) => {
            // Without it small answers wait for the next packet; a socket that refuses is only
            // slower.
            let _ = stream.set_nodelay(true);
            Some((stream, from))
        }
        Err(error) => {
            let is_gone = matches!(
                error.kind(),
                ErrorKind::ConnectionAborted
                    | ErrorKind::ConnectionRefused
                    | ErrorKind::ConnectionReset
            );
            if !is_gone {
                tracing::error!("a connection was not accepted, trying again: {error}");
                tokio::time::sleep(NO_ROOM_WAIT).await;
            }
            None
        }
    }
}

/// Connections beyond the limits, the oldest first.
#[derive(Default)]
struct Reserve(VecDeque<AbortHandle>);

impl Reserve {
    /// Takes one more; the oldest ends if there are too many.
    fn admit(&mut self, newcomer: AbortHandle) {
        self.0.retain(|connection| !connection.is_finished());
        if self.0.len() == RESERVE
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(newcomer);
    }
}
