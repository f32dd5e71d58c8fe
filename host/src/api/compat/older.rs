//! The routes of the first releases, whose answers are `{success, data}`.

use axum::{
    Json as JsonAnswer, Router,
    extract::State as Shared,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Serialize;
use xcomponent_core::{
    id::{ComponentName, MachineName},
    record::Snapshot,
};

use super::{
    super::{State, answers, caller::Caller, error::ApiError, events},
    failure::Result,
    instances,
    read::{Named, NewEvent, NewInstance, Sent},
    shape::Instance,
};

/// The routes.
pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/{component}/{machine}/instance", post(create))
        .route("/{component}/instance/{id}", get(read))
        .route("/{component}/instance/{id}/event", post(send))
}

#[derive(Serialize)]
struct Answer<T> {
    success: bool,
    data: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    instance_id: String,
}

#[derive(Serialize)]
struct OneInstance {
    instance: Instance,
}

/// Creates an instance.
async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    Named((component, machine)): Named<(String, String)>,
    headers: HeaderMap,
    Sent(new, ..): Sent<NewInstance>,
) -> Result<Response> {
    let component = ComponentName::new(component);
    let machine = MachineName::new(machine);
    let created = instances::new_instance(&state, &caller, component, machine, &new, &headers);
    let created = created.await?;
    let data = Created {
        instance_id: created.instance_id,
    };
    let success = true;
    let mut response = JsonAnswer(Answer { success, data }).into_response();
    events::mark_replayed(&mut response, created.replayed);
    Ok(response)
}

/// Sends an event, and shows the instance after it.
async fn send(
    Shared(state): Shared<State>,
    caller: Caller,
    Named((component, id)): Named<(String, String)>,
    headers: HeaderMap,
    Sent(event, ..): Sent<NewEvent>,
) -> Result<Response> {
    let handled = instances::handled_in_component(&state, &caller, component, &id, event, &headers);
    let (status, handled) = handled.await?;
    let shown = shown(&state, &handled.after);
    let mut response = state.answer_done(status, &handled.after, &shown).await?;
    events::mark_replayed(&mut response, handled.replayed);
    Ok(response)
}

/// An instance, finished or not.
async fn read(
    Shared(state): Shared<State>,
    caller: Caller,
    Named((component, id)): Named<(String, String)>,
) -> Result<Response> {
    let room = state.room(answers::ONE).await?;
    let component = ComponentName::new(component);
    state.registry().expect(&caller.tenant, &component)?;
    let snapshot = instances::known(&state, &caller, &id).await?;
    if *snapshot.component() != component {
        let detail = format!("there is no instance `{id}` of `{component}`");
        return Err(ApiError::not_found("unknown_instance", detail).into());
    }
    Ok(room.answer(StatusCode::OK, &shown(&state, &snapshot))?)
}

fn shown(state: &State, snapshot: &Snapshot) -> Answer<OneInstance> {
    let instance = Instance::of(snapshot, state.handle().now());
    Answer {
        success: true,
        data: OneInstance { instance },
    }
}
