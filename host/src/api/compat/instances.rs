//! `/api/…/instances`: creating, reading and listing them, and sending them events.

use axum::{
    Json as JsonAnswer,
    extract::State as Shared,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use xcomponent_core::{
    effect::{HandledReply, Refused, Reply},
    id::{ComponentName, MachineName, StateName},
    input::{Create, Request, SendEvent},
    record::{Snapshot, Status},
};

use super::{
    super::{State, answers, body, caller::Caller, error::ApiError, events, traced},
    components::unknown_machine,
    failure::{Failure, Result},
    read::{Asked, Named, NewEvent, NewInstance, Sent},
    shape::{Handling, Instance},
};
use crate::driver::{InstanceFilter, PAGE_BYTES_MAX, PageRequest};

/// Instances in one answer: these routes know no pages. The rest is to be had from `/v1`.
const LIST_MAX: usize = 10_000;

/// A creation that succeeded.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Created {
    success: bool,
    pub(super) instance_id: String,
    component_name: String,
    message: String,
    /// Whether it was there before.
    #[serde(skip)]
    pub(super) replayed: bool,
}

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let replayed = self.replayed;
        let mut response = JsonAnswer(self).into_response();
        events::mark_replayed(&mut response, replayed);
        response
    }
}

/// Creates an instance of a component.
pub(super) async fn create_in_component(
    Shared(state): Shared<State>,
    caller: Caller,
    Named(component): Named<String>,
    headers: HeaderMap,
    Sent(new, ..): Sent<NewInstance>,
) -> Result<Response> {
    let machine = new.machine()?;
    let component = ComponentName::new(component);
    let created = new_instance(&state, &caller, component, machine, &new, &headers).await?;
    Ok(created.into_response())
}

/// Creates an instance of whichever component has the machine, if none is named.
pub(super) async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    headers: HeaderMap,
    Sent(new, ..): Sent<NewInstance>,
) -> Result<Response> {
    let machine = new.machine()?;
    let component = match new.component() {
        Some(component) => component,
        None => owner(&state, &caller, &machine)?,
    };
    let created = new_instance(&state, &caller, component, machine, &new, &headers).await?;
    Ok(created.into_response())
}

/// The one component that has a machine of that name.
fn owner(state: &State, caller: &Caller, machine: &MachineName) -> Result<ComponentName> {
    let all = state.registry().list(&caller.tenant);
    let has = |definition: &xcomponent_core::definition::Definition| {
        definition.find(machine.as_str()).is_some()
    };
    let mut owners = all
        .iter()
        .filter(|(_, loaded)| has(&loaded.active.definition));
    let (first, _) = owners
        .next()
        .ok_or_else(|| unknown_machine(machine.as_str()))?;
    if let Some((second, _)) = owners.next() {
        let detail = format!(
            "`{first}` and `{second}` have a machine `{machine}`; say which with `componentName`"
        );
        return Err(Failure::bad_request("ambiguous_machine", detail));
    }
    Ok(first.clone())
}

/// Creates an instance.
pub(super) async fn new_instance(
    state: &State,
    caller: &Caller,
    component: ComponentName,
    machine: MachineName,
    new: &NewInstance,
    headers: &HeaderMap,
) -> Result<Created> {
    let context = new.context()?;
    let own = new.id()?;
    let key = new.key(headers)?;
    let (id, repeatable) = state.creation_id(caller, &component, &machine, &context, own, key);
    let request = Request::Create(Create {
        component,
        machine,
        context,
        id,
        repeatable,
        entry_point: false,
        trace_parent: traced::context(headers),
    });
    match state.handle().request(&caller.tenant, request).await {
        Reply::Created { instance, existing } => Ok(Created {
            success: true,
            instance_id: instance.id.to_string(),
            component_name: instance.component().to_string(),
            message: match existing {
                true => "the instance already exists".to_owned(),
                false => format!("created in {}", instance.state().name),
            },
            replayed: existing,
        }),
        Reply::Refused(refused) => {
            let is_about_key = refused == Refused::KeyReused;
            let error = ApiError::of_refused(refused, state.handle().now());
            Err(match is_about_key {
                true => error.into(),
                false => Failure::about_what_was_sent(error),
            })
        }
        other => unreachable!("a creation is answered with an instance or refused: {other:?}"),
    }
}

/// An instance, finished or not.
#[derive(Serialize)]
pub(super) struct OneInstance {
    instance: Instance,
}

/// An instance, finished or not.
pub(super) async fn read(
    Shared(state): Shared<State>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Response> {
    let room = state.room(answers::ONE).await?;
    let snapshot = known(&state, &caller, &id).await?;
    let instance = Instance::of(&snapshot, state.handle().now());
    Ok(room.answer(StatusCode::OK, &OneInstance { instance })?)
}

/// An instance that must be there.
pub(super) async fn known(state: &State, caller: &Caller, id: &str) -> Result<Snapshot> {
    let id = body::instance_id(id)?;
    let found = state.handle().read(&caller.tenant, &id).await?;
    Ok(found.map_err(|refused| ApiError::of_refused(refused, state.handle().now()))?)
}

/// Which instances.
#[derive(Default, Deserialize)]
pub(super) struct Search {
    component: Option<String>,
    machine: Option<String>,
    state: Option<String>,
    status: Option<String>,
    /// This text stands in the id or the context.
    q: Option<String>,
    limit: Option<usize>,
}

/// Instances, the last created first.
#[derive(Serialize)]
pub(super) struct Instances {
    instances: Vec<Instance>,
    /// Whether there are more than are listed.
    truncated: bool,
}

/// Instances of all components.
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Asked(search): Asked<Search>,
) -> Result<Response> {
    found(&state, &caller, &search).await
}

/// Instances of one component.
pub(super) async fn list_of_component(
    Shared(state): Shared<State>,
    caller: Caller,
    Named(component): Named<String>,
    Asked(search): Asked<Search>,
) -> Result<Response> {
    let name = ComponentName::new(component.as_str());
    state.registry().expect(&caller.tenant, &name)?;
    let search = Search {
        component: Some(component),
        ..search
    };
    found(&state, &caller, &search).await
}

async fn found(state: &State, caller: &Caller, search: &Search) -> Result<Response> {
    let filter = filter(search)?;
    let room = state.room(answers::PAGE).await?;
    let wanted = search.limit.unwrap_or(LIST_MAX).min(LIST_MAX);
    let now = state.handle().now();
    let (mut instances, mut bytes) = (Vec::new(), 0);
    let mut page = PageRequest::first(wanted);
    loop {
        let found = state
            .handle()
            .instances(&caller.tenant, filter.clone(), page);
        let found = found.await?;
        let before = instances.len();
        for snapshot in found.items.iter().take(wanted - before) {
            bytes += snapshot.context.len();
            if bytes > PAGE_BYTES_MAX && !instances.is_empty() {
                break;
            }
            instances.push(Instance::of(snapshot, now));
        }
        let is_cut = instances.len() - before < found.items.len();
        if is_cut || instances.len() == wanted || found.next.is_none() {
            let listed = Instances {
                truncated: is_cut || found.next.is_some(),
                instances,
            };
            return Ok(room.answer(StatusCode::OK, &listed)?);
        }
        page = PageRequest {
            after: found.next,
            limit: wanted - instances.len(),
        };
    }
}

fn filter(search: &Search) -> Result<InstanceFilter> {
    let status = search.status.as_deref().map(|word| {
        let shown = Status::parse(word).filter(|status| *status != Status::Deleted);
        shown.ok_or_else(|| {
            let detail =
                format!("`status` is `active`, `completed`, `error` or `terminated`, not `{word}`");
            Failure::bad_request("invalid_query", detail)
        })
    });
    Ok(InstanceFilter {
        component: search.component.as_deref().map(ComponentName::new),
        machine: search.machine.as_deref().map(MachineName::new),
        state: search.state.as_deref().map(StateName::new),
        status: status.transpose()?,
        text: search.q.clone(),
        ..InstanceFilter::default()
    })
}

/// Sends an event to an instance.
pub(super) async fn send(
    Shared(state): Shared<State>,
    caller: Caller,
    Named(id): Named<String>,
    headers: HeaderMap,
    Sent(event, ..): Sent<NewEvent>,
) -> Result<Response> {
    let event = event.into_request(&id, None, &headers)?;
    let (status, handled) = handled(&state, &caller, event).await?;
    Ok(answered(status, &handled))
}

/// Sends an event to an instance of a component.
pub(super) async fn send_in_component(
    Shared(state): Shared<State>,
    caller: Caller,
    Named((component, id)): Named<(String, String)>,
    headers: HeaderMap,
    Sent(event, ..): Sent<NewEvent>,
) -> Result<Response> {
    let handled = handled_in_component(&state, &caller, component, &id, event, &headers);
    let (status, handled) = handled.await?;
    Ok(answered(status, &handled))
}

/// What an event came to at an instance of a component.
pub(super) async fn handled_in_component(
    state: &State,
    caller: &Caller,
    component: String,
    id: &str,
    event: NewEvent,
    headers: &HeaderMap,
) -> Result<(StatusCode, HandledReply)> {
    let component = ComponentName::new(component);
    state.registry().expect(&caller.tenant, &component)?;
    let event = event.into_request(id, Some(component), headers)?;
    handled(state, caller, event).await
}

fn answered(status: StatusCode, handled: &HandledReply) -> Response {
    let mut response = (status, JsonAnswer(Handling::of(handled))).into_response();
    events::mark_replayed(&mut response, handled.replayed);
    response
}

/// What became of an event that was not refused.
pub(super) async fn handled(
    state: &State,
    caller: &Caller,
    event: SendEvent,
) -> Result<(StatusCode, HandledReply)> {
    let request = Request::Send(event);
    match state.handle().request(&caller.tenant, request).await {
        Reply::Handled(handled) => {
            let status = events::settled_status(&handled)?;
            Ok((status, handled))
        }
        Reply::Refused(refused) => Err(ApiError::of_refused(refused, state.handle().now()).into()),
        other => unreachable!("an event is answered with what became of it: {other:?}"),
    }
}
