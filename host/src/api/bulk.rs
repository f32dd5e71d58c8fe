//! `POST /v1/events`: many events in one request, a JSON line each.
//!
//! Everything is read before anything is done, so that a body which is too large changes nothing.
//! Lines are then parsed in slices; while the shards work on one, the next is parsed and the
//! answers of the one before are written. Answers are short: who wants the instance asks for it.

use std::{borrow::Cow, collections::VecDeque, fmt, sync::Arc};

use axum::{
    extract::{FromRequest, Request as HttpRequest, State as Shared},
    http::{HeaderValue, StatusCode},
    response::Response,
};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;
use xcomponent_core::{
    effect::{HandledReply, Reply},
    id::{ComponentName, EventName, MachineName},
    input::{Request, SendEvent},
    record::{SelectBy, Selector},
};

use super::{
    State, arrival, body,
    caller::Caller,
    error::{ApiError, Problem, Result},
    events,
    traced::Trace,
    wire::{self, BroadcastTally},
};

/// Lines of one request at most. Their answers are kept until all are there.
const LINES_MAX: usize = 100_000;

/// Bytes of one request at most.
const BYTES_MAX: usize = 64 << 20;

/// Lines that are handed to the shards together. Two such slices are with them at a time, which
/// fills their inboxes and leaves room for others.
const SLICE: usize = 4_096;

/// Bytes of payloads after which a slice ends: inboxes are bounded in bytes, too.
const SLICE_BYTES: usize = 2 << 20;

/// Bytes that an answer takes, roughly.
const ANSWER_BYTES: usize = 100;

/// Bytes of what an answer says of what is wrong; who wants all of it sends the event by itself.
const DETAIL_BYTES_MAX: usize = 512;

/// One line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    /// For this instance.
    #[serde(default, borrow)]
    instance: Option<Text<'l>>,
    /// Else for the instances of a machine of this component.
    #[serde(default, borrow)]
    component: Option<Text<'l>>,
    /// Of this machine.
    #[serde(default, borrow)]
    machine: Option<Text<'l>>,
    /// Only to instances in this state.
    #[serde(default, borrow)]
    state: Option<Text<'l>>,
    #[serde(borrow)]
    event: Text<'l>,
    #[serde(default, borrow)]
    payload: Option<&'l RawValue>,
    #[serde(default, borrow)]
    id: Option<Text<'l>>,
    #[serde(default, borrow)]
    expected_state: Option<Text<'l>>,
}

/// A text that is borrowed where it has no escapes.
struct Text<'l>(Cow<'l, str>);

impl<'de: 'l, 'l> Deserialize<'de> for Text<'l> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> de::Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

/// The lines of a body that is not too large.
pub(super) struct Lines(arrival::Arrived);

impl FromRequest<State> for Lines {
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest, state: &State) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let body = arrival::read(state, &parts.headers, body, BYTES_MAX).await?;
        let lines = body.bytes.iter().filter(|byte| is_end(byte)).count();
        if lines > LINES_MAX {
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_many_lines",
                format!("the body has more than {LINES_MAX} lines; nothing was done"),
            ));
        }
        Ok(Self(body))
    }
}

/// Sends many events; each line of the answer is about the same line of the request.
///
/// A line is `{"instance", "event", "payload"?, "id"?, "expected_state"?}` for one instance, or
/// `{"component", "machine", "event", "payload"?, "state"?, "id"?}` for a broadcast. Its answer has
/// the `status` that a request of its own would have: `{"status", "disposition", "from", "to",
/// "seq"}`, `{"status", "matched", …}`, or `{"status", "code", "detail", …}`. Lines for the same
/// instance take effect in their order.
#[utoipa::path(
    post, path = "/v1/events", operation_id = "sendEvents", tag = "events",
    request_body(
        content = String,
        content_type = "application/x-ndjson",
        example = json!("{\"instance\":\"order-1\",\"event\":\"PAY\",\"payload\":{\"amount\":120}}\n{\"component\":\"Shop\",\"machine\":\"Order\",\"event\":\"REMIND\"}\n"),
    ),
    responses(
        (status = 200, description = "A line for each line", body = String, content_type = "application/x-ndjson"),
        (status = 413, description = "Too many bytes or lines; nothing was done", body = Problem),
    )
)]
pub(super) async fn send_all(
    Shared(state): Shared<State>,
    caller: Caller,
    trace: Trace,
    Lines(body): Lines,
) -> Result<Response> {
    let lines = body::without_mark(&body.bytes).split(is_end);
    let mut lines = lines.filter(is_filled).peekable();
    let mut left = lines.clone().count();
    let mut room = state.room(left * ANSWER_BYTES).await?;
    let mut answers = Vec::new();
    let mut running = VecDeque::new();
    while lines.peek().is_some() {
        // The answers to come need room beside those that are there.
        if !room.reach(answers.len() + left * ANSWER_BYTES) {
            break;
        }
        let slice = Slice::parse(&state, &trace, &mut lines);
        left -= slice.len();
        let pending = state.handle().submit_batch(&caller.tenant, slice.requests);
        running.push_back((slice.refused, pending));
        let in_flight_max = if slice.broadcast.is_some() { 0 } else { 1 };
        while running.len() > in_flight_max
            && let Some((refused, pending)) = running.pop_front()
        {
            write_slice(&state, &mut answers, refused, pending.await);
        }
        if let Some(broadcast) = slice.broadcast {
            let reply = state.handle().request(&caller.tenant, broadcast).await;
            write_reply(&state, &mut answers, reply);
        }
    }
    for (refused, pending) in running {
        write_slice(&state, &mut answers, refused, pending.await);
    }
    for _ in lines {
        write_error(&mut answers, busy());
    }
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(room.hold(StatusCode::OK, kind, answers))
}

fn is_end(byte: &u8) -> bool {
    *byte == b'\n'
}

fn is_filled(line: &&[u8]) -> bool {
    !line.trim_ascii().is_empty()
}

/// Lines that were parsed.
struct Slice {
    /// What the shards are asked.
    requests: Vec<Request>,
    /// Lines that they are not asked, by number within the slice.
    refused: Vec<(usize, ApiError)>,
    /// The line that ends the slice, if it is a broadcast: those before it are settled first, and
    /// it is settled before those that follow, since they may be for the same instances.
    broadcast: Option<Request>,
}

impl Slice {
    /// How many lines it has.
    fn len(&self) -> usize {
        self.requests.len() + self.refused.len() + usize::from(self.broadcast.is_some())
    }

    fn parse<'b>(state: &State, trace: &Trace, lines: &mut impl Iterator<Item = &'b [u8]>) -> Self {
        let mut slice = Self {
            requests: Vec::new(),
            refused: Vec::new(),
            broadcast: None,
        };
        let mut bytes = 0;
        for number in 0..SLICE {
            let Some(line) = (bytes < SLICE_BYTES).then(|| lines.next()).flatten() else {
                break;
            };
            match parse(state, trace, line) {
                Ok(broadcast @ Request::Broadcast(_)) => {
                    slice.broadcast = Some(broadcast);
                    break;
                }
                Ok(request) => {
                    bytes += request.bytes();
                    slice.requests.push(request);
                }
                Err(error) => slice.refused.push((number, error)),
            }
        }
        slice
    }
}

fn text<'l>(text: &'l Option<Text<'_>>) -> Option<&'l str> {
    text.as_ref().map(|text| &*text.0)
}

fn parse(state: &State, Trace(trace): &Trace, line: &[u8]) -> Result<Request> {
    let line: Line<'_> = body::parse(line)?;
    let event = EventName::new(body::name(&line.event.0, "event")?);
    let payload = body::object(line.payload, "payload")?;
    let id = line
        .id
        .as_ref()
        .map(|id| body::event_id(&id.0))
        .transpose()?;
    if let Some(instance) = &line.instance {
        return Ok(Request::Send(SendEvent {
            instance: body::instance_id(&instance.0)?,
            component: line.component.map(|name| ComponentName::new(&*name.0)),
            event,
            payload,
            id,
            expected_state: body::state(text(&line.expected_state), "expected_state")?,
            sent_at: None,
            trace_parent: trace.clone(),
        }));
    }
    let (Some(component), Some(machine)) = (&line.component, &line.machine) else {
        return Err(ApiError::bad_request(
            "invalid_body",
            "a line names an `instance`, or a `component` and a `machine`",
        ));
    };
    let selector = Selector {
        component: ComponentName::new(&*component.0),
        machine: Some(MachineName::new(&*machine.0)),
        state: body::state(text(&line.state), "state")?,
        by: SelectBy::MachineRules,
    };
    let handle = state.handle();
    Ok(handle.broadcast(Arc::new(selector), event, payload, id, trace.clone()))
}

/// Writes the answers of a slice, in the order of its lines.
fn write_slice(
    state: &State,
    answers: &mut Vec<u8>,
    refused: Vec<(usize, ApiError)>,
    replies: Vec<Reply>,
) {
    let mut refused = refused.into_iter().peekable();
    let mut replies = replies.into_iter();
    for number in 0.. {
        if let Some((_, error)) = refused.next_if(|(line, _)| *line == number) {
            write_error(answers, error);
        } else if let Some(reply) = replies.next() {
            write_reply(state, answers, reply);
        } else {
            break;
        }
    }
}

fn write_reply(state: &State, answers: &mut Vec<u8>, reply: Reply) {
    match reply {
        Reply::Handled(handled) => match events::settled_status(&handled) {
            Ok(status) => write_handled(answers, status, &handled),
            Err(error) => write_error(answers, error),
        },
        Reply::Tally { tally, replayed } => write_json(
            answers,
            &TallyLine {
                status: StatusCode::OK.as_u16(),
                tally: tally.into(),
                replayed,
            },
        ),
        Reply::Refused(refused) => {
            write_error(answers, ApiError::of_refused(refused, state.handle().now()));
        }
        other => unreachable!("an event is answered with what became of it: {other:?}"),
    }
}

/// The answer about a broadcast.
#[derive(Serialize)]
struct TallyLine {
    status: u16,
    #[serde(flatten)]
    tally: BroadcastTally,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

/// The answer about an event: written by hand, since there are hundreds of thousands a second.
fn write_handled(answers: &mut Vec<u8>, status: StatusCode, handled: &HandledReply) {
    let mut number = itoa::Buffer::new();
    answers.extend_from_slice(b"{\"status\":");
    answers.extend_from_slice(number.format(status.as_u16()).as_bytes());
    answers.extend_from_slice(b",\"disposition\":\"");
    answers.extend_from_slice(handled.disposition.as_str().as_bytes());
    answers.push(b'"');
    if let Some(reason) = &handled.reason {
        write_text(answers, b",\"reason\":", wire::reason(reason));
    }
    if let Some(from) = handled.from_name() {
        write_text(answers, b",\"from\":", from.as_str());
    }
    write_text(answers, b",\"to\":", handled.to_name().as_str());
    answers.extend_from_slice(b",\"seq\":");
    answers.extend_from_slice(number.format(handled.after.seq).as_bytes());
    if let Some(retry_at) = handled.retry_at() {
        write_text(answers, b",\"retry_at\":", &wire::time(retry_at));
    }
    if handled.replayed {
        answers.extend_from_slice(b",\"replayed\":true");
    }
    answers.extend_from_slice(b"}\n");
}

fn write_text(answers: &mut Vec<u8>, member: &[u8], text: &str) {
    answers.extend_from_slice(member);
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(answers, text);
}

fn write_error(answers: &mut Vec<u8>, error: ApiError) {
    write_json(answers, &error.into_line(DETAIL_BYTES_MAX));
}

/// There is no room for what became of further lines: nothing is done about them.
fn busy() -> ApiError {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "busy",
        "too many answers wait for clients to read them",
    )
}

fn write_json(answers: &mut Vec<u8>, line: &impl Serialize) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(&mut *answers, line);
    answers.push(b'\n');
}
