//! Bodies of requests, kept as they arrive.
//!
//! A body takes its room from the budget of [`Purpose::Requests`] as it grows, whatever its
//! `Content-Length` promises, and gives it back when its request has been handled. The last quarter
//! of the budget is for small bodies, so that large ones cannot keep ordinary requests out. A body
//! that does not go on arriving is given up.

use std::{
    io::{self, Read as _},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{
    State,
    error::{ApiError, Result},
};
use crate::memory::{Memory, Purpose, Share};

/// Bodies up to this size may use all of the budget, larger ones three quarters of it.
const SMALL_BYTES_MAX: usize = 16 << 10;

/// Bytes that a slow client has to send in a second.
const SLOWEST_BYTES: usize = 16 << 10;

/// Bytes that are decoded before others get their turn.
const DECODED_AT_ONCE: usize = 64 << 10;

/// Bytes of a refused body that are read and forgotten, so that a client which sends everything
/// before it reads gets to see the answer.
const DISCARDED_BYTES_MAX: usize = 1 << 30;

/// How long that may take.
const DISCARDING_MAX: Duration = Duration::from_secs(10);

/// A body that is there, and its room.
pub(super) struct Arrived {
    pub(super) bytes: Bytes,
    pub(super) room: Held,
}

/// Room of a body, as long as its request is handled.
pub(super) struct Held(#[expect(dead_code, reason = "it is given back when it is dropped")] Share);

/// Reads a body of at most so many bytes, also after it was decompressed. A larger one is refused
/// as soon as that is known; what comes after that is not kept.
pub(super) async fn read(
    state: &State,
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Arrived> {
    let is_packed = is_packed(headers)?;
    let mut arriving = Arriving::of(state, headers, body, bytes_max)?;
    let mut whole = Growing::new(&state.config().memory, bytes_max);
    while let Some(chunk) = arriving.next().await? {
        if let Err(refused) = whole.push(&chunk) {
            return Err(arriving.given_up(refused));
        }
    }
    match is_packed {
        true => unpacked(whole, bytes_max, &state.config().memory).await,
        false => Ok(whole.done()),
    }
}

/// A body on its way.
pub(super) struct Arriving {
    stream: BodyDataStream,
    begun: Instant,
    /// How long nothing may come.
    still_max: Duration,
    bytes: usize,
}

impl Arriving {
    /// One of at most so many bytes, if that is what its head says.
    pub(super) fn of(
        state: &State,
        headers: &HeaderMap,
        body: Body,
        bytes_max: usize,
    ) -> Result<Self> {
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let arriving = Self {
            stream: body.into_data_stream(),
            begun: Instant::now(),
            still_max: state.config().connections.body,
            bytes: 0,
        };
        if announced.is_some_and(|length| length > bytes_max) {
            return Err(arriving.given_up(too_large(bytes_max)));
        }
        Ok(arriving)
    }

    /// What comes next; none when it is complete.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        let seconds = u64::try_from(self.bytes / SLOWEST_BYTES).unwrap_or(u64::MAX);
        let end = self.begun + 2 * self.still_max + Duration::from_secs(seconds);
        let end = end.min(Instant::now() + self.still_max);
        let Ok(chunk) = tokio::time::timeout_at(end, self.stream.next()).await else {
            return Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow_body",
                "the body did not arrive in time",
            ));
        };
        let chunk = chunk.transpose().map_err(|_| {
            ApiError::bad_request("unreadable_body", "the body ended before it was complete")
        })?;
        self.bytes += chunk.as_ref().map_or(0, Bytes::len);
        Ok(chunk)
    }

    /// Reads on without keeping anything, for the client's sake.
    pub(super) fn given_up(self, why: ApiError) -> ApiError {
        tokio::spawn(tokio::time::timeout(DISCARDING_MAX, discard(self.stream)));
        why
    }
}

/// Whether a body is compressed with gzip; any other coding is refused.
pub(super) fn is_packed(headers: &HeaderMap) -> Result<bool> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let coding = codings.next().map(|coding| coding.as_bytes());
    let is = |coding: &[u8], name: &str| coding.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    match (coding, codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if is(coding, "identity") => Ok(false),
        (Some(coding), None) if is(coding, "gzip") || is(coding, "x-gzip") => Ok(true),
        (Some(coding), _) => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            format!(
                "the `Content-Encoding` may be `gzip`, not `{}`",
                String::from_utf8_lossy(&coding[..coding.len().min(100)])
            ),
        )),
    }
}

/// The same body without its compression, within the same limits.
async fn unpacked(packed: Growing<'_>, bytes_max: usize, memory: &Memory) -> Result<Arrived> {
    let mut whole = Growing::new(memory, bytes_max);
    let mut decoder = MultiGzDecoder::new(&packed.bytes[..]);
    let mut some = vec![0; DECODED_AT_ONCE];
    loop {
        let malformed = |error: io::Error| {
            let detail = format!("the body is not gzip, as its `Content-Encoding` says: {error}");
            ApiError::bad_request("unreadable_body", detail)
        };
        match decoder.read(&mut some).map_err(malformed)? {
            0 => return Ok(whole.done()),
            read => whole.push(&some[..read])?,
        }
        tokio::task::yield_now().await;
    }
}

/// A body that grows.
struct Growing<'m> {
    bytes: BytesMut,
    bytes_max: usize,
    memory: &'m Memory,
    share: Share,
}

impl<'m> Growing<'m> {
    fn new(memory: &'m Memory, bytes_max: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            bytes_max,
            memory,
            share: memory.force(Purpose::Requests, 0),
        }
    }

    /// Takes some more, and room for it.
    fn push(&mut self, some: &[u8]) -> Result<()> {
        let length = self.bytes.len() + some.len();
        if length > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        let capacity = self.share.bytes();
        if length > capacity {
            let wanted = length.max(2 * capacity).min(self.bytes_max);
            self.grow(wanted)?;
            self.bytes.reserve(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(some);
        Ok(())
    }

    fn grow(&mut self, wanted: usize) -> Result<()> {
        let all = self.memory.max(Purpose::Requests);
        let most = match wanted {
            ..=SMALL_BYTES_MAX => all,
            _ => all / 4 * 3,
        };
        if wanted > most {
            return Err(too_large(most));
        }
        if self.share.grow_up_to(wanted - self.share.bytes(), most) {
            return Ok(());
        }
        Err(ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "busy",
            "too many bytes of other requests are being received",
        )
        .retry_after(1))
    }

    fn done(self) -> Arrived {
        Arrived {
            bytes: self.bytes.freeze(),
            room: Held(self.share),
        }
    }
}

/// 413.
pub(super) fn too_large(bytes_max: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!("the body has more than the {bytes_max} bytes that this route accepts"),
    )
}

async fn discard(mut rest: BodyDataStream) {
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(chunk)) = rest.next().await {
        match left.checked_sub(chunk.len()) {
            Some(less) => left = less,
            None => break,
        }
    }
}
