//! Answers that may be large: each has its room in the budget of [`Purpose::Answers`] before it is
//! written, and keeps it until its last byte is with the client.
//!
//! A client that does not read pins its own answers, for as long as its connection is waited for;
//! others wait for room meanwhile, and are asked to come again when there is none in time.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use serde::Serialize;
use xcomponent_core::{limits::JSON_BYTES_MAX, record::Snapshot};

use super::{
    State,
    error::{ApiError, Result},
};
use crate::{
    driver::PAGE_BYTES_MAX,
    memory::{Purpose, Share},
};

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

/// Room for an answer.
pub(super) struct Room(Share);

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
        self.room_within(bytes, WAIT_MAX).await.ok_or_else(|| {
            ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "busy",
                "too many answers wait for clients to read them",
            )
            .retry_after(1)
        })
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
        room.answer(status, value)
    }

    async fn room_within(&self, bytes: usize, most: Duration) -> Option<Room> {
        let memory = &self.config().memory;
        if let Some(share) = memory.take(Purpose::Answers, bytes) {
            return Some(Room(share));
        }
        let waiting = memory.wait_for(Purpose::Answers, bytes);
        let share = tokio::time::timeout(most, waiting).await.ok()?;
        Some(Room(share))
    }
}

impl Room {
    /// Writes an answer; what is not needed for it is given back.
    pub(super) fn answer(self, status: StatusCode, value: &impl Serialize) -> Result<Response> {
        let text = serde_json::to_vec(value).map_err(|error| ApiError::internal(&error))?;
        let json = HeaderValue::from_static("application/json");
        Ok(self.hold(status, json, text))
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
        response
    }
}
