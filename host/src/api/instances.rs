//! `/v1/…/instances`: creating, reading, searching.

use axum::{
    Json as JsonAnswer,
    extract::{Path, State as Shared},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use xcomponent_core::{
    definition::Operator,
    effect::{Refused, Reply},
    id::{
        ComponentName, EventId, InstanceId, MachineName, StateName, Version, keyed_instance_id,
        singleton_id,
    },
    input::{Create, Repeatable, Request},
    json,
    record::Status,
};

use super::{
    State, answers,
    body::{self, Body, PageParams, Params},
    caller::Caller,
    error::{ApiError, Problem, Result},
    events::{event_key, mark_replayed},
    openapi::words,
    prefer::{Accepted, Prefer},
    traced,
    wire::{Instance, List},
};
use crate::driver::{InstanceFilter, Page, PageRequest, Where};

/// Items on a page where the caller names no limit.
const PAGE_DEFAULT: usize = 100;

/// A new instance.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewInstance {
    /// What it begins with; `{}` if absent.
    #[serde(default)]
    #[schema(value_type = Option<HashMap<String, serde_json::Value>>)]
    context: Option<Box<RawValue>>,
    /// The caller's own id for it: creating it again gives the first. Without one, the header
    /// `Idempotency-Key` does the same.
    #[serde(default)]
    id: Option<String>,
}

/// Creates an instance.
#[utoipa::path(
    post, path = "/v1/components/{component}/machines/{machine}/instances", operation_id = "createInstance", tag = "instances",
    params(
        ("component" = String, Path, description = "Its component"),
        ("machine" = String, Path, description = "Its machine"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key for the same machine gives the first instance"),
        ("Prefer" = Option<String>, Header, description = "`respond-async` answers before the commit; with `wait=5` only if that takes longer than 5 s"),
    ),
    request_body(content = NewInstance, example = json!({"context": {"customer": "Ann", "amount": 120}, "id": "order-1"})),
    responses(
        (status = 201, description = "The instance", body = Instance),
        (status = 200, description = "The instance that this id or key named before", body = Instance),
        (status = 202, description = "The caller did not want to wait: it was taken in, and is not durable yet", body = Accepted),
        (status = "4XX", description = "It was not created", body = Problem),
    )
)]
pub(super) async fn create(
    Shared(state): Shared<State>,
    caller: Caller,
    Path((component, machine)): Path<(String, String)>,
    prefer: Prefer,
    headers: HeaderMap,
    Body(new, ..): Body<NewInstance>,
) -> Result<Response> {
    let context = body::object(new.context.as_deref(), "context")?;
    let (component, machine) = (ComponentName::new(component), MachineName::new(machine));
    if prefer.is_async() {
        state.expect_machine(&caller, &component, &machine, |machine| {
            let Some(schema) = &machine.schema else {
                return Ok(());
            };
            let context = schema.defaults(&context);
            schema.check(&context).map_err(Refused::Schema)
        })?;
    }
    let key = event_key(&headers, new.id.as_deref())?;
    let own = new.id.as_deref().map(body::instance_id).transpose()?;
    let (id, repeatable) = state.creation_id(&caller, &component, &machine, &context, own, key);
    let create = Create {
        component,
        machine,
        context,
        id: id.clone(),
        repeatable,
        entry_point: false,
        trace_parent: traced::context(&headers),
    };
    let asked = prefer.ask(&state, &caller, Request::Create(create)).await?;
    let Some(reply) = asked else {
        return Ok(prefer.accepted(Accepted::instance(&id)));
    };
    match reply {
        Reply::Created { instance, existing } => {
            let status = if existing {
                StatusCode::OK
            } else {
                StatusCode::CREATED
            };
            let location = format!("/v1/instances/{}", instance.id);
            let shown = Instance::of(&instance);
            let answered = state.answer_done(status, &instance, &shown).await?;
            let mut response = ([(header::LOCATION, location)], answered).into_response();
            mark_replayed(&mut response, existing);
            Ok(response)
        }
        Reply::Refused(refused) => Err(ApiError::of_refused(refused, state.handle().now())),
        other => unreachable!("a creation is answered with an instance or refused: {other:?}"),
    }
}

impl State {
    /// The id of a new instance, and how it is recognised when it is created again: the id that its
    /// singleton machine gives it, else the caller's own, else one made of the caller's key, else
    /// one in the partition of its routing value if the component has one.
    pub(super) fn creation_id(
        &self,
        caller: &Caller,
        component: &ComponentName,
        machine: &MachineName,
        context: &json::Json,
        own: Option<InstanceId>,
        key: Option<EventId>,
    ) -> (InstanceId, Repeatable) {
        let repeatable = match (&own, key) {
            (Some(_), _) => Repeatable::ById,
            (None, Some(key)) => Repeatable::ByKey(key),
            (None, None) => Repeatable::No,
        };
        let loaded = self.registry().get(&caller.tenant, component);
        let definition = loaded.as_ref().map(|loaded| &loaded.active.definition);
        let entry = definition.and_then(|definition| {
            let entry = definition.entry.filter(|entry| entry.singleton)?;
            Some(&definition.machine(entry.machine).name)
        });
        if entry == Some(machine) {
            return (singleton_id(&caller.tenant, component, machine), repeatable);
        }
        let of_key = |key: &EventId| keyed_instance_id(&caller.tenant, component, machine, key);
        let id = own.or_else(|| repeatable.key().map(of_key));
        let id = id.unwrap_or_else(|| {
            let routing = definition.and_then(|definition| definition.routing.as_ref());
            let route = routing.and_then(|routing| context.route(routing));
            self.handle().new_instance_id(route)
        });
        (id, repeatable)
    }
}

/// An instance, finished or not.
#[utoipa::path(
    get, path = "/v1/instances/{id}", operation_id = "getInstance", tag = "instances",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The instance", body = Instance),
        (status = 404, description = "There is none", body = Problem),
    )
)]
pub(super) async fn read(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response> {
    let id = body::instance_id(&id)?;
    let room = state.room(answers::ONE).await?;
    let instance = state.expect_instance(&caller, &id).await?;
    room.answer(StatusCode::OK, &Instance::of(&instance))
}

/// Which instances.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Search {
    /// Of this component.
    component: Option<String>,
    /// Of this machine.
    machine: Option<String>,
    /// In this state.
    state: Option<String>,
    /// `active`, `completed`, `error` or `terminated`; or `unreadable`: then all those, whatever
    /// else is asked.
    status: Option<String>,
    /// On this version.
    version: Option<String>,
    /// This text stands in the id or the context.
    q: Option<String>,
    /// Counts instead of instances.
    #[serde(default)]
    count: bool,
}

/// How many instances there are of one kind.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct InstanceCount {
    /// Of which component.
    component: String,
    /// On which version.
    version: String,
    /// Of which machine.
    machine: String,
    /// In which state.
    state: String,
    /// `active`, `completed`, `error` or `terminated`.
    #[schema(value_type = words::InstanceStatus)]
    status: &'static str,
    /// How many.
    instances: u64,
}

/// An instance that is suspended since what the store has of it cannot be read.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct UnreadableInstance {
    /// Its id; empty where that cannot be read either.
    id: String,
    /// What is wrong with it.
    why: String,
}

/// What a search answers, told apart by `kind`.
#[derive(Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Found {
    /// Instances, the last created first.
    Instances(FoundInstances),
    /// With `status=unreadable`: those that cannot be read.
    Unreadable(FoundUnreadable),
    /// With `count=true`: how many there are of each kind.
    Counts(FoundCounts),
}

/// A page of instances.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct FoundInstances {
    /// `instances`.
    #[schema(value_type = words::InstancesKind)]
    kind: &'static str,
    /// What is on it, the last created first.
    items: Vec<Instance>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A page of instances that cannot be read.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct FoundUnreadable {
    /// `unreadable`.
    #[schema(value_type = words::UnreadableKind)]
    kind: &'static str,
    /// What is on it.
    items: Vec<UnreadableInstance>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// How many instances there are.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(super) struct FoundCounts {
    /// `counts`.
    #[schema(value_type = words::CountsKind)]
    kind: &'static str,
    /// Of each kind.
    items: Vec<InstanceCount>,
}

/// Instances, the last created first.
#[utoipa::path(
    get, path = "/v1/instances", operation_id = "listInstances", tag = "instances",
    params(
        Search,
        ("where" = Option<Vec<String>>, Query, description = "`path:op:value`, for example `amount:>:100` or `customer.name:===:Ann`; all of several must hold"),
        PageParams,
    ),
    responses(
        (status = 200, description = "A page of instances, or counts", body = Found),
        (status = 400, description = "The query is not understood", body = Problem),
    )
)]
pub(super) async fn list(
    Shared(state): Shared<State>,
    caller: Caller,
    Params(search): Params<Search>,
    Params(pairs): Params<Vec<(String, String)>>,
    Params(page): Params<PageParams>,
) -> Result<Response> {
    if search.status.as_deref() == Some("unreadable") {
        let page = state.page_request(&caller, &page)?;
        let room = state.room(answers::PAGE).await?;
        let found = state.handle().unreadable(&caller.tenant, page).await?;
        let List { items, next_cursor } =
            state.page_of(&caller, found, |found| UnreadableInstance {
                id: found.id.to_string(),
                why: found.why.to_string(),
            });
        let found = Found::Unreadable(FoundUnreadable {
            kind: "unreadable",
            items,
            next_cursor,
        });
        return room.answer(StatusCode::OK, &found);
    }
    let conditions = pairs.iter().filter(|(name, _)| name == "where");
    let conditions = conditions.map(|(_, text)| condition(text));
    let filter = filter(&search, conditions.collect::<Result<_>>()?)?;
    if search.count {
        let counts = state
            .handle()
            .instance_counts(&caller.tenant, filter)
            .await?;
        let items = counts.iter().map(|count| InstanceCount {
            component: count.component.to_string(),
            version: count.version.to_string(),
            machine: count.machine.to_string(),
            state: count.state.to_string(),
            status: count.status.as_str(),
            instances: count.instances,
        });
        let counts = Found::Counts(FoundCounts {
            kind: "counts",
            items: items.collect(),
        });
        return Ok(JsonAnswer(counts).into_response());
    }
    let page = state.page_request(&caller, &page)?;
    let room = state.room(answers::PAGE).await?;
    let found = state
        .handle()
        .instances(&caller.tenant, filter, page)
        .await?;
    let List { items, next_cursor } =
        state.page_of(&caller, found, |instance| Instance::of(&instance));
    let found = Found::Instances(FoundInstances {
        kind: "instances",
        items,
        next_cursor,
    });
    room.answer(StatusCode::OK, &found)
}

fn filter(search: &Search, conditions: Vec<Where>) -> Result<InstanceFilter> {
    let status = search.status.as_deref().map(|word| {
        let shown = Status::parse(word).filter(|status| *status != Status::Deleted);
        shown.ok_or_else(|| {
            ApiError::bad_request(
                "invalid_query",
                format!(
                    "`status` is `active`, `completed`, `error`, `terminated` or `unreadable`, not `{word}`"
                ),
            )
        })
    });
    Ok(InstanceFilter {
        component: search.component.as_deref().map(ComponentName::new),
        machine: search.machine.as_deref().map(MachineName::new),
        state: search.state.as_deref().map(StateName::new),
        status: status.transpose()?,
        version: search.version.as_deref().map(Version::new),
        conditions,
        text: search.q.clone(),
    })
}

/// Reads `path:op:value`; a value that is no JSON is a string.
fn condition(text: &str) -> Result<Where> {
    let malformed = || {
        ApiError::bad_request(
            "invalid_query",
            format!("`where` is `path:op:value`, as in `amount:>:100`, not `{text}`"),
        )
    };
    let mut parts = text.splitn(3, ':');
    let (Some(path), Some(operator), Some(value)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    let path = path.strip_prefix("context.").unwrap_or(path);
    Ok(Where {
        path: json::Path::parse(path).ok_or_else(malformed)?,
        operator: Operator::parse(operator).ok_or_else(malformed)?,
        value: json::Json::parse(value)
            .unwrap_or_else(|_| json::Json::from_value(&Value::from(value))),
    })
}

impl State {
    /// The page that a caller asks for.
    pub(super) fn page_request(&self, caller: &Caller, page: &PageParams) -> Result<PageRequest> {
        let cursor = page.cursor.as_deref();
        let after = cursor.map(|cursor| self.seal().read_cursor(&caller.tenant, cursor));
        Ok(PageRequest {
            after: after.transpose()?,
            limit: page.limit.unwrap_or(PAGE_DEFAULT),
        })
    }

    /// The wire form of a page.
    pub(super) fn page_of<T, W>(
        &self,
        caller: &Caller,
        page: Page<T>,
        wire: impl FnMut(T) -> W,
    ) -> List<W> {
        let cursor = |cursor| self.seal().cursor(&caller.tenant, cursor);
        List {
            items: page.items.into_iter().map(wire).collect(),
            next_cursor: page.next.map(cursor),
        }
    }
}
