//! `Prefer` (RFC 7240): a caller who does not want to wait for the commit.
//!
//! What such a caller reads claims nothing: the request is in its shard's queue, and no more. The
//! queue is as bounded as for everybody, so what finds no room is refused here too.

use std::{convert::Infallible, mem, time::Duration};

use axum::{
    Json as JsonAnswer,
    extract::FromRequestParts,
    http::{HeaderName, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use xcomponent_core::{
    definition::Machine,
    effect::{Refused, Reply},
    id::{ComponentName, EventId, InstanceId, MachineName},
    input::Request,
};

use super::{
    State,
    caller::Caller,
    error::{ApiError, Result},
    openapi::words,
};

const PREFER: &str = "prefer";
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// For what a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefer {
    /// For the answer, which is durable.
    Answer,
    /// `respond-async`: for the answer so many seconds at most (`wait`), else only until the
    /// request was taken in.
    Async {
        /// `wait`, where the caller says it.
        wait_s: Option<u32>,
    },
}

impl FromRequestParts<State> for Prefer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Infallible> {
        let lines = parts.headers.get_all(PREFER).into_iter();
        Ok(Self::read(lines.filter_map(|line| line.to_str().ok())))
    }
}

impl Prefer {
    /// Reads the lines of the header. What is not known or not understood counts as not said, and
    /// what is said twice counts the first time.
    fn read<'l>(lines: impl Iterator<Item = &'l str>) -> Self {
        let (mut is_async, mut wait) = (false, None);
        for preference in lines.flat_map(|line| unquoted(line, ',')) {
            let without_parameters = unquoted(preference, ';').next().unwrap_or_default();
            let named = without_parameters.split_once('=');
            let (name, value) = named.unwrap_or((without_parameters, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => is_async = true,
                "wait" if wait.is_none() => {
                    wait = Some(value.trim().trim_matches('"').parse().ok())
                }
                _ => {}
            }
        }
        match is_async {
            true => Self::Async {
                wait_s: wait.flatten(),
            },
            false => Self::Answer,
        }
    }

    /// Whether the answer may come before anything is durable.
    pub(super) fn is_async(self) -> bool {
        self != Self::Answer
    }

    /// The id of an event: its sender's own; without, one by which a sender who does not wait can
    /// look for it, and send it again.
    pub(super) fn event_id(self, state: &State, own: Option<EventId>) -> Option<EventId> {
        own.or_else(|| self.is_async().then(|| state.handle().new_event_id()))
    }

    /// Asks, and waits as long as the caller wants to; none = it was taken in, and may become
    /// durable or not.
    ///
    /// # Errors
    ///
    /// If it is known at once that it will not: there is no room, or the store does not work.
    pub(super) async fn ask(
        self,
        state: &State,
        caller: &Caller,
        request: Request,
    ) -> Result<Option<Reply>> {
        let handle = state.handle();
        let Self::Async { wait_s } = self else {
            return Ok(Some(handle.request(&caller.tenant, request).await));
        };
        let refused = |refused| ApiError::of_refused(refused, handle.now());
        if handle.store_problem().is_some() {
            return Err(refused(Refused::NotCommitted));
        }
        let pending = handle.admit(&caller.tenant, request).map_err(refused)?;
        let Some(wait_s) = wait_s else {
            return Ok(None);
        };
        let patience = Duration::from_secs(wait_s.into());
        Ok(tokio::time::timeout(patience, pending).await.ok())
    }

    /// Says that something was taken in, and nothing more.
    pub(super) fn accepted(self, accepted: Accepted) -> Response {
        let applied = match self {
            Self::Async {
                wait_s: Some(wait_s),
            } => format!("respond-async, wait={wait_s}"),
            Self::Async { wait_s: None } | Self::Answer => "respond-async".to_owned(),
        };
        let headers = [
            (APPLIED, applied),
            (header::LOCATION, accepted.location.clone()),
        ];
        (StatusCode::ACCEPTED, headers, JsonAnswer(accepted)).into_response()
    }
}

/// The parts between separators that do not stand in quotes.
fn unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |letter| {
        match (letter, mem::take(&mut is_escaped)) {
            ('\\', false) => is_escaped = is_quoted,
            ('"', false) => is_quoted = !is_quoted,
            _ => {}
        }
        letter == separator && !is_quoted
    })
}

/// Something was taken in and is not durable yet. A host that ends now forgets it; the caller may
/// ask the same again under the same id, and it is done once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Always `accepted`: what becomes of it is not known.
    #[schema(value_type = words::Accepted)]
    disposition: &'static str,
    /// Always false: nothing is promised yet.
    durable: bool,
    /// The event's id, the caller's own or a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    /// The id of an instance that is to be created.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<String>,
    /// Where to see what became of it, once it is durable; the header `Location` says the same.
    location: String,
}

impl Accepted {
    /// An event, and where its trace is.
    pub(super) fn event(id: &EventId, location: String) -> Self {
        Self {
            disposition: "accepted",
            durable: false,
            event_id: Some(id.to_string()),
            instance_id: None,
            location,
        }
    }

    /// A creation.
    pub(super) fn instance(id: &InstanceId) -> Self {
        Self {
            disposition: "accepted",
            durable: false,
            event_id: None,
            instance_id: Some(id.to_string()),
            location: format!("/v1/instances/{id}"),
        }
    }
}

impl State {
    /// Looks at the machine that a request is for, as its component is at this moment: for who
    /// would not learn from the answer that there is none.
    pub(super) fn expect_machine<T>(
        &self,
        caller: &Caller,
        component: &ComponentName,
        machine: &MachineName,
        look: impl FnOnce(&Machine) -> Result<T, Refused>,
    ) -> Result<T> {
        let loaded = self.registry().get(&caller.tenant, component);
        let loaded = loaded.ok_or_else(|| Refused::UnknownComponent(component.as_str().into()));
        let looked = loaded.and_then(|loaded| {
            let found = loaded.active.definition.find(machine.as_str());
            let unknown = || Refused::UnknownMachine(machine.as_str().into());
            look(found.ok_or_else(unknown)?.1)
        });
        looked.map_err(|refused| ApiError::of_refused(refused, self.handle().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Prefer {
        Prefer::read(lines.iter().copied())
    }

    #[test]
    fn only_who_says_so_does_not_wait() {
        for lines in [
            &[][..],
            &[""],
            &["wait=5"],
            &["return=minimal, handling=lenient"],
            &["respond-asynchronously"],
            &["foo=\"respond-async, respond-async\""],
            &["foo; respond-async"],
            &[r#"foo="\", respond-async""#],
        ] {
            assert_eq!(read(lines), Prefer::Answer, "{lines:?}");
        }
        for lines in [
            &["respond-async"][..],
            &["return=minimal , Respond-Async;x=y"],
            &["return=minimal", "respond-async"],
            &[r#"foo="a,\"b", respond-async"#],
            &["respond-async, wait=soon, wait=5"],
            &["respond-async, wait=-1"],
        ] {
            assert_eq!(read(lines), Prefer::Async { wait_s: None }, "{lines:?}");
        }
    }

    #[test]
    fn the_first_wait_counts() {
        for lines in [
            &["respond-async, wait=5"][..],
            &["wait = \"5\" ; x, respond-async, wait=7"],
            &["WAIT=5", "respond-async"],
        ] {
            assert_eq!(read(lines), Prefer::Async { wait_s: Some(5) }, "{lines:?}");
        }
    }
}
