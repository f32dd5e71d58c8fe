//! `/v1/stream`: records as they become durable, over WebSocket or as Server-Sent Events.
//!
//! A client is a position in the log: nothing is queued for it, and one that reads slowly is only
//! further behind. It goes on from any position that it was given, as long as the log reaches back.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{
        State as Shared,
        ws::{
            CloseFrame, Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection,
        },
    },
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use utoipa::ToSchema;
use xcomponent_core::id::{ComponentName, MachineName, TenantId};

use super::{
    Config, State,
    body::{self, Params},
    caller::Caller,
    error::{ApiError, Problem, Result},
    openapi::words,
    record::StreamRecord,
    wire::Time,
};
use crate::{
    driver::{self, Entry, Kind, RecordFilter, STRETCH_BYTES_MAX, Subscription, bytes_of},
    memory::{Memory, Purpose, Share},
};

/// Streams that are open at one time. Each costs a task, and a look at the log whenever something
/// is durable.
pub(super) const STREAMS_MAX: usize = 1_000;

/// How long one message may wait for a client that does not read, before it is given up.
const SENDING_MAX: Duration = Duration::from_secs(30);

/// How long a client may take to end a WebSocket in good order.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// Bytes of a message that a client may send over a WebSocket, where it has nothing to say.
const HEARD_BYTES_MAX: usize = 4 << 10;

/// Pings without any word from the client after which it is given up.
const SILENCE_MAX: u32 = 3;

/// Closes a WebSocket whose host ends.
const GOING_AWAY: u16 = 1001;

/// Closes a WebSocket whose client sends more than is expected.
const TOO_LARGE: u16 = 1009;

/// Closes a WebSocket that cannot go on.
const CANNOT_GO_ON: u16 = 1011;

/// Which records.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// About this component.
    component: Option<String>,
    /// About this machine.
    machine: Option<String>,
    /// About this instance.
    instance: Option<String>,
    /// Of these kinds, separated by commas: `created`, `transitioned`, `ignored`, `deferred`,
    /// `retrying`, `rejected`, `dead-lettered`, `terminated`, `deleted`, `selected`, `departed`, `moved`,
    /// `discarded`.
    kinds: Option<String>,
    /// After this position; without it, what happens from now on. The header `Last-Event-ID` does
    /// the same and wins.
    after: Option<String>,
}

/// Says where the stream is, when nothing happened for a while.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Heartbeat {
    /// `heartbeat`.
    #[schema(value_type = words::HeartbeatKind)]
    kind: &'static str,
    /// From here it can be resumed.
    position: String,
    /// The host's time.
    #[schema(value_type = String)]
    at: Time,
}

/// Why a stream ends before its client wants it to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StreamEnd {
    /// `error`.
    #[schema(value_type = words::EndKind)]
    kind: &'static str,
    /// Stable, for programs.
    code: String,
    /// In words.
    detail: String,
}

/// What a stream says, told apart by `kind`; a dead letter that an instance left has a `seq`.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it only describes what is written elsewhere")]
pub(super) enum StreamMessage {
    /// Something is durable.
    Record(StreamRecord),
    /// Nothing happened for a while.
    Heartbeat(Heartbeat),
    /// The stream ends here.
    End(StreamEnd),
}

/// Records as they become durable.
///
/// A WebSocket where the client asks for one; Server-Sent Events with `Accept: text/event-stream`.
/// Each message is a record with its `kind` and `position`, or a `heartbeat`.
#[utoipa::path(
    get, path = "/v1/stream", operation_id = "openStream", tag = "stream",
    params(Filter),
    responses(
        (status = 200, description = "Server-Sent Events", body = StreamMessage, content_type = "text/event-stream"),
        (status = 101, description = "A WebSocket with the same messages"),
        (status = 410, description = "The log no longer reaches back to that position", body = Problem),
        (status = 426, description = "Neither a WebSocket nor `Accept: text/event-stream`", body = Problem),
        (status = 429, description = "Too many streams are open", body = Problem),
    )
)]
pub(super) async fn open(
    Shared(state): Shared<State>,
    caller: Caller,
    Params(filter): Params<Filter>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    let wants_events = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/event-stream"));
    if upgrade.is_err() && !wants_events {
        return Err(ApiError::new(
            StatusCode::UPGRADE_REQUIRED,
            "upgrade_required",
            "ask for a WebSocket, or send `Accept: text/event-stream`",
        ));
    }
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let feed = Feed::open(state, caller.tenant, &filter, last_seen).await?;
    Ok(match upgrade {
        Ok(upgrade) => upgrade
            .max_message_size(HEARD_BYTES_MAX)
            .max_frame_size(HEARD_BYTES_MAX)
            .read_buffer_size(HEARD_BYTES_MAX)
            .on_upgrade(move |socket| feed.send_to(socket)),
        Err(_) => feed.into_events(),
    })
}

/// What a client is sent, one step after the other.
struct Feed {
    state: State,
    tenant: TenantId,
    subscription: Subscription,
    _permit: OwnedSemaphorePermit,
}

enum Step {
    /// Records, and their room until they are sent.
    Records(Vec<Entry>, Share),
    Heartbeat,
    /// The host ends.
    Stopped,
    Failed(ApiError),
}

impl Feed {
    async fn open(
        state: State,
        tenant: TenantId,
        filter: &Filter,
        last_seen: Option<&str>,
    ) -> Result<Self> {
        // A browser that reconnects asks for the same URL again, and says in the header how far it
        // came since.
        let after = last_seen.or(filter.after.as_deref());
        let after = after.map(|text| state.seal().read_position(&tenant, text));
        let filter = record_filter(filter)?;
        let permit = Arc::clone(&state.shared.streams).try_acquire_owned();
        let permit = permit.map_err(|_| {
            ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                format!(
                    "at most {} streams are open at one time",
                    state.shared.streams_max
                ),
            )
            .retry_after(1)
        })?;
        let subscription = state
            .handle()
            .subscribe(&tenant, filter, after.transpose()?);
        subscription.check().await?;
        Ok(Self {
            state,
            tenant,
            subscription,
            _permit: permit,
        })
    }

    async fn next(&mut self) -> Step {
        let mut stopping = self.state.shared.stopping.subscribe();
        let Config {
            heartbeat, memory, ..
        } = self.state.config();
        tokio::select! {
            // A host that ends says so first, and stops its driver after that: clients are to see
            // the reason, not its consequence.
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => Step::Stopped,
            records = Self::records(&mut self.subscription, memory) => match records {
                Ok((entries, room)) => Step::Records(entries, room),
                Err(error) => Step::Failed(error.into()),
            },
            () = tokio::time::sleep(*heartbeat) => Step::Heartbeat,
        }
    }

    /// The next records. Their room is taken before they are read: twice, for their text.
    async fn records(
        subscription: &mut Subscription,
        memory: &Memory,
    ) -> Result<(Vec<Entry>, Share), driver::Error> {
        loop {
            subscription.more().await?;
            let room = memory.wait_for(Purpose::Streams, 2 * STRETCH_BYTES_MAX);
            let mut room = room.await;
            let entries = subscription.read().await?;
            if !entries.is_empty() {
                room.resize(2 * bytes_of(&entries));
                return Ok((entries, room));
            }
        }
    }

    fn record(&self, entry: &Entry) -> StreamRecord {
        StreamRecord::of(self.state.seal(), &self.tenant, entry)
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            kind: "heartbeat",
            position: self.position(),
            at: Time(self.state.handle().now()),
        }
    }

    fn position(&self) -> String {
        let position = self.subscription.position();
        self.state.seal().position(&self.tenant, position)
    }

    /// As Server-Sent Events.
    fn into_events(self) -> Response {
        let steps = stream::unfold(Some(self), |feed| async move {
            let mut feed = feed?;
            let mut held = None;
            let (events, feed): (Vec<_>, _) = match feed.next().await {
                Step::Records(entries, room) => {
                    held = Some(room);
                    let event = |entry: &Entry| {
                        let position = feed.state.seal().position(&feed.tenant, entry.position);
                        event(&feed.record(entry)).id(position)
                    };
                    (entries.iter().map(event).collect(), Some(feed))
                }
                Step::Heartbeat => {
                    let event = Event::default().id(feed.position()).comment("heartbeat");
                    (vec![event], Some(feed))
                }
                Step::Stopped => (Vec::new(), None),
                Step::Failed(error) => (vec![event(&StreamEnd::of(&error)).event("error")], None),
            };
            let events = events.into_iter().map(move |event| {
                // The room is given back with the last of them.
                let _ = &held;
                Ok::<_, Infallible>(event)
            });
            Some((stream::iter(events), feed))
        });
        Sse::new(futures_util::StreamExt::flatten(steps)).into_response()
    }

    /// Over a WebSocket, until one of both ends it.
    async fn send_to(mut self, mut socket: WebSocket) {
        let mut silent = 0;
        loop {
            let step = tokio::select! {
                heard = socket.recv() => match heard {
                    None => return,
                    Some(Ok(Message::Close(_))) => return ended(socket).await,
                    Some(Err(_)) => {
                        let close = close(TOO_LARGE, "nothing of that size is expected");
                        let _ = timeout(GOODBYE_MAX, socket.send(close)).await;
                        return;
                    }
                    Some(Ok(_)) => {
                        silent = 0;
                        continue;
                    }
                },
                step = self.next() => step,
            };
            // The room of the records is given back when they are sent.
            let (messages, _room): (Vec<_>, Option<Share>) = match step {
                Step::Records(entries, room) => {
                    let message = |entry| text(&self.record(entry));
                    (entries.iter().map(message).collect(), Some(room))
                }
                Step::Heartbeat if silent == SILENCE_MAX => return,
                Step::Heartbeat => {
                    silent += 1;
                    let ping = Message::Ping(bytes::Bytes::new());
                    (vec![text(&self.heartbeat()), ping], None)
                }
                Step::Stopped => (vec![close(GOING_AWAY, "the host ends")], None),
                Step::Failed(error) => {
                    let close = close(CANNOT_GO_ON, error.code());
                    (vec![text(&StreamEnd::of(&error)), close], None)
                }
            };
            let is_last = matches!(messages.last(), Some(Message::Close(_)));
            for message in messages {
                if !matches!(timeout(SENDING_MAX, socket.send(message)).await, Ok(Ok(()))) {
                    return;
                }
            }
            if is_last {
                return ended(socket).await;
            }
        }
    }
}

/// Waits a moment for the end of the closing handshake: reading on sends what is owed for it.
async fn ended(mut socket: WebSocket) {
    let rest = async { while let Some(Ok(_)) = socket.recv().await {} };
    let _ = timeout(GOODBYE_MAX, rest).await;
}

impl StreamEnd {
    fn of(error: &ApiError) -> Self {
        Self {
            kind: "error",
            code: error.code().to_owned(),
            detail: error.detail().to_owned(),
        }
    }
}

fn record_filter(filter: &Filter) -> Result<RecordFilter> {
    let kinds = filter.kinds.as_deref().unwrap_or_default();
    let kinds = kinds
        .split(',')
        .map(str::trim)
        .filter(|kind| !kind.is_empty());
    let kind = |text: &str| {
        Kind::parse(text).ok_or_else(|| {
            ApiError::bad_request("invalid_query", format!("there is no kind `{text}`"))
        })
    };
    Ok(RecordFilter {
        component: filter.component.as_deref().map(ComponentName::new),
        machine: filter.machine.as_deref().map(MachineName::new),
        instance: filter
            .instance
            .as_deref()
            .map(body::instance_id)
            .transpose()?,
        kinds: kinds.map(kind).collect::<Result<_>>()?,
    })
}

fn event(data: &impl Serialize) -> Event {
    // What is written has text keys and no maps of its own making, so writing cannot fail.
    Event::default().data(serde_json::to_string(data).unwrap_or_default())
}

fn text(data: &impl Serialize) -> Message {
    Message::Text(serde_json::to_string(data).unwrap_or_default().into())
}

fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame {
        code,
        reason: reason.into(),
    }))
}
