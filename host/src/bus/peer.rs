//! Another host, reached over HTTP.
//!
//! One client for each host: its connections are kept, its breaker is shared by everything that
//! goes there, and no more than a few requests of callers are on their way at a time, so that a host
//! that is slow makes nothing else so.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
    http::uri::PathAndQuery,
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{SendError, Shipment, Status, Transport, breaker::Breaker};
use crate::{address::Address, authorities::Authorities, https};

/// Where shipments go.
pub const SHIPMENTS: &str = "/v1/shipments";

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Longest answer that is read, in bytes: a page, with what stands around its items.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Requests of callers that are on their way at a time; more are refused.
const CALLS_MAX: usize = 64;

/// Another host.
pub struct Peer {
    name: String,
    base: Uri,
    key: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    breaker: Mutex<Breaker>,
    calls: Semaphore,
}

/// How hosts know each other.
#[derive(Clone, Default)]
pub struct Trust {
    /// What they show each other to be let in.
    pub key: Option<Arc<str>>,
    /// Who vouches for those that are reached over HTTPS.
    pub authorities: Authorities,
}

/// A text is no address of a host.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no address of a host: expected http://NAME:PORT or https://NAME:PORT")]
pub struct InvalidAddress(Address);

/// What another host answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why a request of a caller was not answered.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The host is left alone for a while.
    #[error("the host does not answer and is left alone for a while")]
    Open {
        /// How long.
        wait: Duration,
    },
    /// Too many requests are on their way to it.
    #[error("too many requests wait for the host")]
    Full,
    /// It did not answer.
    #[error("the host does not answer: {0}")]
    Lost(String),
}

/// The members of an answer to a shipment that matter here.
#[derive(Debug, Default, Deserialize)]
struct Told {
    through: Option<u64>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
}

/// Why a host did not answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("no answer within {} s", ANSWER_MAX.as_secs())]
    Late,
    #[error("{0}")]
    Failed(String),
}

impl Peer {
    /// The host at an address.
    ///
    /// # Errors
    ///
    /// If the address is none.
    pub fn new(address: &Address, trust: &Trust) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(address.clone());
        if address.credentials().is_some() {
            tracing::warn!(
                "credentials in the address of `{address}` are not sent: hosts know each other by \
                 the key of `--peer-key-file`"
            );
        }
        let base: Uri = address
            .without_credentials()
            .trim_end_matches('/')
            .parse()
            .map_err(|_| invalid())?;
        let is_web = matches!(base.scheme_str(), Some("http" | "https"));
        if !is_web || base.authority().is_none() || base.path() != "/" || base.query().is_some() {
            return Err(invalid());
        }
        let bearer = |key: &str| HeaderValue::from_str(&format!("Bearer {key}"));
        let key = trust
            .key
            .as_deref()
            .map(bearer)
            .transpose()
            .map_err(|_| invalid())?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(https::connector(CONNECT_MAX, &trust.authorities));
        Ok(Self {
            name: base.authority().map_or("", |host| host.as_str()).to_owned(),
            base,
            key,
            client,
            breaker: Mutex::default(),
            calls: Semaphore::new(CALLS_MAX),
        })
    }

    /// Passes a caller's request on. The body of the answer is read once there is `room` for it.
    ///
    /// # Errors
    ///
    /// If it was not answered: then it may have been carried out all the same.
    pub async fn call<R>(
        &self,
        method: Method,
        path: &PathAndQuery,
        headers: HeaderMap,
        body: Bytes,
        room: impl Future<Output = R>,
    ) -> Result<(Answer, R), CallError> {
        let permit = self.calls.try_acquire().map_err(|_| CallError::Full)?;
        self.breaker()
            .admit(Instant::now())
            .map_err(|wait| CallError::Open { wait })?;
        let answer = self.ask(method, path, headers, body, room).await;
        drop(permit);
        let (now, chance) = (Instant::now(), fastrand::f64());
        match &answer {
            Ok(_) => self.breaker().succeeded(),
            // What takes long is the caller's choice: that must not stop shipments.
            Err(NoAnswer::Late) => self.breaker().slow(now, chance),
            Err(NoAnswer::Failed(_)) => self.breaker().failed(now, chance),
        }
        answer.map_err(|error| CallError::Lost(error.to_string()))
    }

    async fn ask<R>(
        &self,
        method: Method,
        path: &PathAndQuery,
        headers: HeaderMap,
        body: Bytes,
        room: impl Future<Output = R>,
    ) -> Result<(Answer, R), NoAnswer> {
        let asking = self.ask_once(method, path, headers, body, room);
        let asked = tokio::time::timeout(ANSWER_MAX, asking).await;
        asked.map_err(|_| NoAnswer::Late)?.map_err(NoAnswer::Failed)
    }

    async fn ask_once<R>(
        &self,
        method: Method,
        path: &PathAndQuery,
        headers: HeaderMap,
        body: Bytes,
        room: impl Future<Output = R>,
    ) -> Result<(Answer, R), String> {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = Some(path.clone());
        let uri = Uri::from_parts(parts).map_err(|error| error.to_string())?;
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        *request.headers_mut() = headers;
        let answer = self.client.request(request).await.map_err(in_full)?;
        let (head, body) = answer.into_parts();
        let room = room.await;
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let answer = Answer {
            status: head.status,
            headers: head.headers,
            body: body.map_err(|error| error.to_string())?.to_bytes(),
        };
        Ok((answer, room))
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn deliver(&self, shipment: &Shipment) -> Result<u64, SendError> {
        self.breaker()
            .admit(Instant::now())
            .map_err(|_| SendError::unavailable("the host does not answer"))?;
        let path = PathAndQuery::from_static(SHIPMENTS);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Shown here and nowhere else: what callers ask must not gain from it.
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        let body = shipment.to_json();
        let bytes = body.len();
        let room = std::future::ready(());
        let answer = self
            .ask(Method::POST, &path, headers, body.into(), room)
            .await;
        match &answer {
            Ok(_) => self.breaker().succeeded(),
            Err(_) => self.breaker().failed(Instant::now(), fastrand::f64()),
        }
        let (answer, ()) = answer.map_err(|error| SendError::Unavailable(error.to_string()))?;
        let told: Told = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status, told.through) {
            (StatusCode::OK, Some(through)) => Ok(through),
            (StatusCode::CONFLICT, Some(through)) => Err(SendError::Gap { through }),
            (StatusCode::PAYLOAD_TOO_LARGE, _) => Err(SendError::TooLarge {
                bytes,
                most: bytes.saturating_sub(1),
            }),
            (status, _) => Err(SendError::Unavailable(format!(
                "it answers {}: {} {}",
                status.as_u16(),
                told.code,
                told.detail
            ))),
        }
    }
}

impl Transport for Peer {
    fn name(&self) -> &str {
        &self.name
    }

    fn send<'a>(&'a self, shipment: &'a Shipment) -> BoxFuture<'a, Result<u64, SendError>> {
        self.deliver(shipment).boxed()
    }

    fn peer(&self) -> Option<&Peer> {
        Some(self)
    }

    fn status(&self) -> Status {
        self.breaker().status()
    }
}

/// An error and what caused it.
fn in_full(error: hyper_util::client::legacy::Error) -> String {
    let first: &dyn std::error::Error = &error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}
