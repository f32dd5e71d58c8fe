//! One connection: HTTP on a socket, with limits on everything that its client can make it hold.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{net::TcpStream, sync::watch};
use tower::Service as _;

use super::{
    super::{Entrance, error::ApiError, origin},
    places::{Busy, Place},
    socket::Socket,
};

/// Bytes of a request that are read ahead, its headers included.
const READ_AHEAD: usize = 64 << 10;

/// Bytes of headers of one request over HTTP/2.
const HEADERS_BYTES_MAX: u32 = 32 << 10;

/// Requests at a time on one connection over HTTP/2.
const STREAMS_MAX: u32 = 128;

/// Bytes that one request over HTTP/2 may send before somebody reads them.
const STREAM_WINDOW: u32 = 64 << 10;

/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 512 << 10;

/// Bytes of one answer over HTTP/2 that wait for the socket.
const SEND_AHEAD: usize = 64 << 10;

/// Streams that a client may open and reset before anybody looks at them, and that it may make
/// this host reset. A client that does more of that is told to go away.
const RESETS_MAX: usize = 32;

/// After how long of silence a client of HTTP/2 is asked whether it is still there, and how long it
/// may take to answer.
const PING_AFTER: Duration = Duration::from_secs(20);

/// How long headers may take to arrive once they have begun; HTTP/1.1 counts this from the end of
/// the request before. [`Place::over`] ends connections that do not even begin.
const HEADERS_MAX: Duration = Duration::from_secs(75);

/// How long a connection that has to end may take to tell its client.
const CLOSING_MAX: Duration = Duration::from_secs(1);

/// How long a connection without a place may last.
const REFUSING_MAX: Duration = Duration::from_secs(5);

/// Answers the requests of a client until it goes, its place is over, or the host stops.
pub(super) async fn serve(
    stream: TcpStream,
    place: Place,
    entrance: Entrance,
    mut stopped: watch::Receiver<bool>,
) {
    let place = Arc::new(place);
    let http = http();
    let answering = Arc::clone(&place);
    let service = service_fn(move |request: Request<Incoming>| {
        let busy = answering.busy();
        let answer = entrance.clone().call(request.map(Body::new));
        async move {
            let response = answer.await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                // What it switches to goes on for as long as the connection.
                busy.for_good();
            }
            Ok::<_, Infallible>(response.map(|body| Counted { body, _busy: busy }))
        }
    });
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&place)));
    let served = http.serve_connection_with_upgrades(socket, service);
    tokio::pin!(served);
    // The sender lives as long as what waits to stop.
    let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
    tokio::select! {
        // What went wrong with a connection is its client's affair.
        ended = served.as_mut() => return tell(ended),
        () = place.over() => {
            served.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(CLOSING_MAX, served).await;
            return;
        }
        () = stop => served.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = served => tell(ended),
        () = place.over() => {}
    }
}

fn tell(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .max_buf_size(READ_AHEAD);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_AHEAD)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_AFTER);
    http
}

/// Answers one request of a client for which there is no place: a health check as always, anything
/// else with the request to come again.
pub(super) async fn refuse(stream: TcpStream, entrance: Entrance) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut entrance = entrance.clone();
        async move {
            if origin::is_probe(request.uri().path()) {
                return entrance.call(request.map(Body::new)).await;
            }
            Ok::<Response, Infallible>(full())
        }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(READ_AHEAD)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(REFUSING_MAX, served).await;
}

fn full() -> Response {
    let code = "too_many_connections";
    let detail = "all connections of this host are in use; only health checks are answered";
    let refused = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
    let close = [(header::CONNECTION, "close")];
    origin::safe((close, refused.retry_after(1)).into_response())
}

/// The body of an answer, whose connection is busy until it is sent.
struct Counted {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
