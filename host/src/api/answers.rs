//! Answers that may be large: each has its room in the budget of [`Purpose::Answers`] before it is
//! written, and keeps it until its last byte is with the client.
//!
//! A client that does not read pins its own answers, for as long as its connection is waited for;
//! others wait for room meanwhile, and are asked to come again when there is none in time.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State as Shared},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use xcomponent_core::{limits::JSON_BYTES_MAX, record::Snapshot};

use super::{
    State, compat,
    error::{ApiError, Result},
};
use crate::{
    driver::PAGE_BYTES_MAX,
    memory::{Memory, Purpose, Share},
};

/// The media type of most answers.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How long an answer waits for room.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How long the answer about something that was done waits for it: longer than a client that does
/// not read is waited for.
const DONE_WAIT_MAX: Duration = Duration::from_secs(40);

/// Room for a page: its items, and the same as text.
pub(super) const PAGE: usize = 2 * PAGE_BYTES_MAX;

/// Room for one thing with a text of its own at the limit, and the same as text.
pub(super) const ONE: usize = 2 * JSON_BYTES_MAX;

/// What an answer has besides the texts of others.
const AROUND: usize = 4 << 10;

/// Answers up to this size may use all of the budget, larger ones three quarters of it: clients that
/// read pages slowly must not keep everybody else waiting.
const SMALL_BYTES_MAX: usize = ONE;

/// Answers that are larger and did not ask for room get theirs when they are there.
const UNASKED_BYTES_MAX: usize = 64 << 10;

/// Room for an answer.
pub(super) struct Room(Share);

/// What an answer carries that has its room already.
#[derive(Clone, Copy)]
struct HasRoom;

/// Gives answers their room that did not ask for it: those that are large once in a while.
pub(super) async fn step(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    let question = (request.method() == Method::GET).then(|| request.uri().clone());
    let mut response = next.run(request).await;
    let bytes = response.body().size_hint().exact().unwrap_or(0);
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    if bytes <= UNASKED_BYTES_MAX || response.extensions_mut().remove::<HasRoom>().is_some() {
        return response;
    }
    let memory = &state.config().memory;
    let share = match take(memory, bytes) {
        Some(share) => share,
        None => match question {
            Some(uri) if compat::has(uri.path()) => return compat::failure(busy()),
            Some(_) => return busy().into_response(),
            // It was done.
            None => memory.force(Purpose::Answers, bytes),
        },
    };
    response.map(|body| {
        Body::new(WithRoom {
            body,
            _share: share,
        })
    })
}

/// The body of an answer, and its room.
struct WithRoom {
    body: Body,
    _share: Share,
}

impl HttpBody for WithRoom {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn take(memory: &Memory, bytes: usize) -> Option<Share> {
    memory.take_up_to(Purpose::Answers, bytes, most(memory, bytes))
}

/// What all answers together may hold once one of so many bytes is among them.
fn most(memory: &Memory, bytes: usize) -> usize {
    let all = memory.max(Purpose::Answers);
    match bytes {
        ..=SMALL_BYTES_MAX => all,
        _ => all / 4 * 3,
    }
}

fn busy() -> ApiError {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "busy",
        "too many answers wait for clients to read them",
    )
    .retry_after(1)
}

/// The text of an answer, and its room.
struct Held<T> {
    text: T,
    _share: Share,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.text.as_ref()
    }
}

impl State {
    /// Room for an answer of at most so many bytes, before anything is looked up for it.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room> {
        self.room_within(bytes, WAIT_MAX).await.ok_or_else(busy)
    }

    /// The answer about an instance that something was done to.
    pub(super) async fn answer_done(
        &self,
        status: StatusCode,
        instance: &Snapshot,
        value: &impl Serialize,
    ) -> Result<Response> {
        let room = self.room_within(instance.context.len() + AROUND, DONE_WAIT_MAX);
        let room = room.await.ok_or_else(|| {
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_room_for_answer",
                "it was done, but too many answers wait for clients to read them; ask for the \
                 instance, or repeat the request under the same id",
            )
            .retry_after(1)
        })?;
        room.write(status, value)
    }

    async fn room_within(&self, bytes: usize, patience: Duration) -> Option<Room> {
        let memory = &self.config().memory;
        // One that is larger than all there ever is waits until there is no other.
        let bytes = bytes.min(most(memory, bytes));
        let waiting = memory.wait_until(Purpose::Answers, || take(memory, bytes));
        let share = tokio::time::timeout(patience, waiting).await.ok()?;
        Some(Room(share))
    }
}

impl Room {
    /// Writes an answer; what is not needed for it is given back. One that turns out larger than
    /// its room, and finds no more, is refused.
    pub(super) fn answer(mut self, status: StatusCode, value: &impl Serialize) -> Result<Response> {
        let text = serde_json::to_vec(value).map_err(|error| ApiError::internal(&error))?;
        if !self.reach(text.len()) {
            return Err(busy());
        }
        Ok(self.hold(status, JSON, text))
    }

    /// The same for something that was done, which is always answered.
    fn write(self, status: StatusCode, value: &impl Serialize) -> Result<Response> {
        let text = serde_json::to_vec(value).map_err(|error| ApiError::internal(&error))?;
        Ok(self.hold(status, JSON, text))
    }

    /// Grows to so many bytes, if there is room for them; says whether it has them.
    pub(super) fn reach(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.0.bytes());
        self.0.grow(more)
    }

    /// The same with a text that is there already.
    pub(super) fn hold<T: AsRef<[u8]> + Send + 'static>(
        mut self,
        status: StatusCode,
        kind: HeaderValue,
        text: T,
    ) -> Response {
        self.0.resize(text.as_ref().len());
        let held = Held {
            text,
            _share: self.0,
        };
        let mut response = Response::new(Body::from(Bytes::from_owner(held)));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.extensions_mut().insert(HasRoom);
        response
    }
}
