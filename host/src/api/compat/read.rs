//! What these clients send: bodies that are read leniently, and parts of paths.

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use xcomponent_core::{
    id::{ComponentName, EventId, EventName, InstanceId, MachineName},
    input::SendEvent,
    json::Json,
    time::Timestamp,
};

use super::{
    super::{
        State, arrival,
        body::{self, Body, Params},
        events, traced,
    },
    failure::{Failure, Result},
};

/// A JSON body.
pub(super) struct Sent<T>(
    pub(super) T,
    #[expect(
        dead_code,
        reason = "the room of the body, held until the request is handled"
    )]
    pub(super) arrival::Held,
);

impl<T: DeserializeOwned> FromRequest<State> for Sent<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &State) -> Result<Self> {
        let Body(sent, room) = Body::from_request(request, state).await?;
        Ok(Self(sent, room))
    }
}

/// The query string.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<State> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self> {
        let Params(asked) = Params::from_request_parts(parts, state).await?;
        Ok(Self(asked))
    }
}

/// The parts of a path.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<State> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let Path(named) =
            path.map_err(|rejected| Failure::bad_request("invalid_path", rejected.body_text()))?;
        Ok(Self(named))
    }
}

/// A new instance.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewInstance {
    machine_name: Option<String>,
    component_name: Option<String>,
    context: Option<Box<RawValue>>,
    /// The caller's own id for it.
    id: Option<String>,
}

impl NewInstance {
    /// The machine; it must be named.
    pub(super) fn machine(&self) -> Result<MachineName> {
        let named = self.machine_name.as_deref();
        let named = named.ok_or_else(|| {
            Failure::bad_request("missing_machine", "`machineName` says which machine")
        })?;
        Ok(MachineName::new(body::name(named, "machineName")?))
    }

    /// The component, if it is named.
    pub(super) fn component(&self) -> Option<ComponentName> {
        self.component_name.as_deref().map(ComponentName::new)
    }

    /// What it begins with.
    pub(super) fn context(&self) -> Result<Json> {
        body::object(self.context.as_deref(), "context").map_err(Failure::about_what_was_sent)
    }

    /// The key under which it is created once.
    pub(super) fn key(&self, headers: &HeaderMap) -> Result<Option<EventId>> {
        Ok(events::event_key(headers, self.id.as_deref())?)
    }

    /// The caller's own id for it.
    pub(super) fn id(&self) -> Result<Option<InstanceId>> {
        let id = self.id.as_deref().map(body::instance_id);
        Ok(id.transpose()?)
    }
}

/// An event: `{type, payload}`, `{event: "NAME", payload}` or `{event: {type, payload}}`.
#[derive(Default, Deserialize)]
pub(super) struct NewEvent {
    #[serde(rename = "type")]
    kind: Option<String>,
    event: Option<Box<RawValue>>,
    payload: Option<Box<RawValue>>,
    /// The sender's own time, in milliseconds; only shown.
    timestamp: Option<Value>,
    /// The caller's own id for it: then it is applied once.
    id: Option<String>,
}

impl NewEvent {
    /// What the engines are asked.
    pub(super) fn into_request(
        self,
        instance: &str,
        component: Option<ComponentName>,
        headers: &HeaderMap,
    ) -> Result<SendEvent> {
        let event = self.unwrapped()?;
        let name = event.kind.as_deref().ok_or_else(|| {
            Failure::bad_request("missing_event", "`type` or `event` names the event")
        })?;
        let payload = body::object(event.payload.as_deref(), "payload");
        Ok(SendEvent {
            instance: body::instance_id(instance)?,
            component,
            event: EventName::new(body::name(name, "type")?),
            payload: payload.map_err(Failure::about_what_was_sent)?,
            id: events::event_key(headers, event.id.as_deref())?,
            expected_state: None,
            sent_at: event.timestamp.as_ref().and_then(sent_at),
            trace_parent: traced::context(headers),
        })
    }

    /// The event with its name in `kind`, wherever it stood.
    fn unwrapped(mut self) -> Result<Self> {
        let Some(event) = self.event.take() else {
            return Ok(self);
        };
        let inner = if event.get().starts_with('{') {
            body::parse::<Self>(event.get().as_bytes())?
        } else {
            let kind = body::parse::<Option<String>>(event.get().as_bytes())?;
            Self {
                kind,
                ..Self::default()
            }
        };
        if let (Some(outer), Some(inner)) = (&self.kind, &inner.kind)
            && outer != inner
        {
            let detail = format!("`type` is `{outer}`, and `event` is `{inner}`");
            return Err(Failure::bad_request("two_events", detail));
        }
        Ok(Self {
            kind: self.kind.or(inner.kind),
            event: None,
            payload: self.payload.or(inner.payload),
            timestamp: self.timestamp.or(inner.timestamp),
            id: self.id.or(inner.id),
        })
    }
}

/// Whole milliseconds; anything else is not shown.
fn sent_at(timestamp: &Value) -> Option<Timestamp> {
    timestamp.as_u64().map(Timestamp)
}
