//! The way in, from before there is a host behind it.
//!
//! A port is answered from its first moment: `/healthz` says that the process is there, `/readyz`
//! how far it has come, and everything else is asked to come again. Once there is a host the next
//! request reaches it, also one on a connection from before.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, OnceLock, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::Request,
    http::{HeaderValue, Method, StatusCode, Version, header},
    response::{IntoResponse as _, Response},
    routing::future::RouteFuture,
};
use futures_util::{
    FutureExt as _,
    future::{Either, Map},
};
use tower::Service;

use super::{Router, State, error::ApiError, health, origin, router, serve::Numbers};
use crate::driver::Progress;

/// What a port leads to. Clones are handles to the same.
#[derive(Clone)]
pub struct Entrance {
    shared: Arc<Shared>,
}

struct Shared {
    progress: Progress,
    host: OnceLock<(Router, State)>,
    /// Connections of the port, once there is one.
    connections: OnceLock<Arc<Numbers>>,
}

impl Entrance {
    /// An entrance to a host that starts.
    pub fn new(progress: Progress) -> Self {
        Self {
            shared: Arc::new(Shared {
                progress,
                host: OnceLock::new(),
                connections: OnceLock::new(),
            }),
        }
    }

    /// Lets requests through from here on. There is one host behind an entrance, the first.
    pub fn open(&self, state: State) {
        if let Some(connections) = self.shared.connections.get() {
            state.count_connections(connections);
        }
        self.shared
            .host
            .get_or_init(|| (router(state.clone()), state));
    }

    /// Shows the connections of a port in `/metrics`.
    pub(super) fn count_connections(&self, connections: Arc<Numbers>) {
        let connections = self.shared.connections.get_or_init(|| connections);
        if let Some((_, state)) = self.shared.host.get() {
            state.count_connections(connections);
        }
    }

    /// Says from here on that the host is going to end: `/readyz` does, and every connection is
    /// closed after its next answer. Says how long that is to be so before it ends.
    pub(super) fn drain(&self) -> Duration {
        let Some((_, state)) = self.shared.host.get() else {
            return Duration::ZERO;
        };
        state.shared.draining.store(true, Ordering::Relaxed);
        state.config().drain_wait
    }

    /// Ends what would go on for ever.
    pub(super) fn stop(&self) {
        if let Some((_, state)) = self.shared.host.get() {
            state.shared.stopping.send_replace(true);
        }
    }

    /// Waits until every stream has said goodbye.
    pub(super) async fn streams_ended(&self) {
        if let Some((_, state)) = self.shared.host.get() {
            let all = u32::try_from(state.shared.streams_max).unwrap_or(u32::MAX);
            // Nobody closes it.
            drop(state.shared.streams.acquire_many(all).await);
        }
    }

    /// What is answered while there is no host.
    fn waiting(&self, request: &Request) -> Response {
        let is_asking = matches!(*request.method(), Method::GET | Method::HEAD);
        origin::safe(match request.uri().path() {
            "/healthz" if is_asking => health::alive(),
            "/readyz" if is_asking => health::recovering(&self.shared.progress),
            _ => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "recovering",
                "the host is not ready yet; `/readyz` says how far it is",
            )
            .retry_after(1)
            .into_response(),
        })
    }
}

/// What a request is answered.
type Answered = Result<Response, Infallible>;

/// The last answer on a connection.
type Last = Map<RouteFuture<Infallible>, fn(Answered) -> Answered>;

/// Says that the connection is closed after this.
fn closing(answered: Answered) -> Answered {
    answered.map(|mut response| {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        response
    })
}

impl Service<Request> for Entrance {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Either<RouteFuture<Infallible>, Last>, Ready<Answered>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.shared.host.get() {
            Some((router, state)) => {
                // Connections of HTTP/2 are told in another way, when the port is closed.
                let is_last = state.is_draining() && request.version() < Version::HTTP_2;
                let answer = router.clone().call(request);
                Either::Left(match is_last {
                    false => Either::Left(answer),
                    true => Either::Right(answer.map(closing as fn(Answered) -> Answered)),
                })
            }
            None => Either::Right(ready(Ok(self.waiting(&request)))),
        }
    }
}
