//! The routes that clients written for xcomponent-ai know, beside the native API.
//!
//! Names are camelCase, times are milliseconds since 1970, an event's name may come as `type` or
//! `event`, and whatever goes wrong is `{success: false, error, code}` with a status of 400 or
//! more. Everything is asked of the same engines as `/v1`: what is created here is seen there.
//!
//! | route | what a client gets |
//! | --- | --- |
//! | `GET /health` | `{status, mode, broker, database, databaseType, connectedRuntimes, components, timestamp}`; 503 while the host ends |
//! | `GET /api/runtimes` | `{runtimes: [{runtimeId, componentName, host, port, lastSeen}]}`, one for each loaded component |
//! | `GET /api/components` | `{components: [{name, version, machineCount, instanceCount, entryMachine, stateMachines}]}` |
//! | `GET /api/components/{c}` | `{component}` |
//! | `GET /api/components/{c}/machines` | `{machines}`: states, transitions and `contextSchema` as the YAML has them |
//! | `GET /api/components/{c}/instances` | `{instances}`, finished ones too; query `machine`, `state`, `status`, `q`, `limit` |
//! | `POST /api/components/{c}/instances` | from `{machineName, context}`: `{success, instanceId, componentName, message}` |
//! | `POST /api/components/{c}/instances/{id}/events`, `…/trigger` | what became of the event; 404 if the instance belongs to another component |
//! | `GET /api/components/{c}/diagrams/{m}?currentState=` | `{diagram, terminalStates, transitions, machineName, currentState}` |
//! | `GET /api/machines/{m}/diagram` | the same, of whichever component has that machine |
//! | `GET /api/instances` | `{instances}`, the last created first, finished ones too |
//! | `POST /api/instances` | a creation; `componentName` is needed only where several components have that machine |
//! | `GET /api/instances/{id}` | `{instance}` |
//! | `GET /api/instances/{id}/history` | `{history}`: creation and transitions, the first first |
//! | `POST /api/instances/{id}/events`, `…/trigger` | `{success, disposition, …}`; refused: 4xx |
//! | `GET /api/history/instances?machine&state&q&limit` | `{instances}` |
//! | `GET /api/history/instances/{id}/events` | `{events}`: the same as its history |
//! | `POST /api/{c}/{m}/instance`, `GET /api/{c}/instance/{id}`, `POST /api/{c}/instance/{id}/event` | as the first releases had them: `{success, data: {instanceId}}`, `{success, data: {instance}}` |
//! | `GET /api/history/correlated/{id}` | `{instances, events}`: what the same outside events did to other instances |
//!
//! Upper case and a slash at the end of a path make no difference, and a body may begin with a byte
//! order mark or be compressed with gzip.
//!
//! An event that no transition takes is `success: true` with `disposition: "ignored"`; one for a
//! finished instance is refused with 409. What a method or the schema says no to is 422, as under
//! `/v1`; a creation that the schema refuses is 400, as its clients expect.

mod components;
mod failure;
mod history;
mod host;
mod instances;
mod older;
mod path;
mod read;
mod shape;

use axum::{
    Router,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};

pub(super) use self::path::{has, lenient};
use super::{State, error::ApiError};

/// The routes.
pub(super) fn router() -> Router<State> {
    Router::new()
        .route("/health", get(host::health))
        .nest("/api", api())
}

fn api() -> Router<State> {
    Router::new()
        .route("/runtimes", get(host::runtimes))
        .merge(of_component())
        .merge(older::routes())
        .route("/machines/{machine}/diagram", get(components::any_diagram))
        .route("/instances", get(instances::list).post(instances::create))
        .route("/instances/{id}", get(instances::read))
        .route("/instances/{id}/history", get(history::of_instance))
        .route("/instances/{id}/events", post(instances::send))
        .route("/instances/{id}/trigger", post(instances::send))
        .route("/history/instances", get(instances::list))
        .route("/history/instances/{id}/events", get(history::events))
        .route("/history/correlated/{id}", get(history::correlated))
        .method_not_allowed_fallback(failure::no_such_method)
}

/// Something is not done, in the words of these clients.
pub(super) fn failure(error: ApiError) -> Response {
    failure::Failure::from(error).into_response()
}

fn of_component() -> Router<State> {
    const COMPONENT: &str = "/components/{component}";
    let path = |rest: &str| format!("{COMPONENT}{rest}");
    let instances = get(instances::list_of_component).post(instances::create_in_component);
    let send = || post(instances::send_in_component);
    Router::new()
        .route("/components", get(components::list))
        .route(COMPONENT, get(components::read))
        .route(&path("/machines"), get(components::machines))
        .route(&path("/diagrams/{machine}"), get(components::diagram))
        .route(&path("/instances"), instances)
        .route(&path("/instances/{id}/events"), send())
        .route(&path("/instances/{id}/trigger"), send())
}
