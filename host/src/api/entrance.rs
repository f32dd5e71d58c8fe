//! The way in, from before there is a host behind it.
//!
//! A port is answered from its first moment: `/healthz` says that the process is there, `/readyz`
//! how far it has come, and everything else is asked to come again. Once there is a host the next
//! request reaches it, also one on a connection from before.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse as _, Response},
    routing::future::RouteFuture,
};
use futures_util::future::Either;
use tower::Service;

use super::{Router, State, error::ApiError, health, router};
use crate::driver::Progress;

/// What a port leads to. Clones are handles to the same.
#[derive(Clone)]
pub struct Entrance {
    shared: Arc<Shared>,
}

struct Shared {
    progress: Progress,
    host: OnceLock<(Router, State)>,
}

impl Entrance {
    /// An entrance to a host that starts.
    pub fn new(progress: Progress) -> Self {
        let host = OnceLock::new();
        Self {
            shared: Arc::new(Shared { progress, host }),
        }
    }

    /// Lets requests through from here on. There is one host behind an entrance, the first.
    pub fn open(&self, state: State) {
        self.shared
            .host
            .get_or_init(|| (router(state.clone()), state));
    }

    /// Ends what would go on for ever.
    pub(super) fn stop(&self) {
        if let Some((_, state)) = self.shared.host.get() {
            state.shared.stopping.send_replace(true);
        }
    }

    /// What is answered while there is no host.
    fn waiting(&self, request: &Request) -> Response {
        let is_asking = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/healthz" if is_asking => health::alive().into_response(),
            "/readyz" if is_asking => health::recovering(&self.shared.progress),
            _ => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "recovering",
                "the host is not ready yet; `/readyz` says how far it is",
            )
            .retry_after(1)
            .into_response(),
        }
    }
}

impl Service<Request> for Entrance {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<RouteFuture<Infallible>, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.shared.host.get() {
            Some((router, _)) => Either::Left(router.clone().call(request)),
            None => Either::Right(ready(Ok(self.waiting(&request)))),
        }
    }
}
