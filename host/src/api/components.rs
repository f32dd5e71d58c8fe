//! `/v1/components`: what is loaded, in which versions, and how it is.

use std::collections::BTreeMap;

use axum::{
    Json as JsonAnswer,
    extract::{Path, State as Shared},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use xcomponent_core::{
    effect::{self, BreakerState, Refused, Reply},
    id::{ComponentName, Version},
    input::Request,
    limits::DEFINITION_BYTES_MAX,
    record::Status,
};

use super::{
    State, answers,
    body::Params,
    caller::Caller,
    error::{ApiError, Problem, Result},
    machine::{MachineView, machines},
    openapi::words,
    wire::{List, Time},
};
use crate::{
    driver::{ComponentVersion, InstanceCount, InstanceFilter},
    tenancy::Loaded,
};

/// A component in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ComponentItem {
    /// Its name.
    name: String,
    /// The version that new instances run on.
    version: String,
    /// How many versions are there.
    versions: usize,
    /// Its machines.
    machines: Vec<String>,
    /// `closed`, `half_open` or `open`: that of the active version.
    breaker: &'static str,
    /// How many instances there are.
    instances: StatusCounts,
}

/// Instances by status.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(super) struct StatusCounts {
    /// Going on.
    active: u64,
    /// In a final state.
    completed: u64,
    /// In an error state.
    error: u64,
    /// Ended by an operator.
    terminated: u64,
}

impl StatusCounts {
    fn count(&mut self, count: &InstanceCount) {
        let of_status = match count.status {
            Status::Active => &mut self.active,
            Status::Completed => &mut self.completed,
            Status::Error => &mut self.error,
            Status::Terminated => &mut self.terminated,
            // Nobody is shown deleted instances.
            Status::Deleted => return,
        };
        *of_status += count.instances;
    }
}

/// A component.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Component {
    /// Its name.
    name: String,
    /// The version that new instances run on.
    version: String,
    /// All versions, the oldest upload first.
    versions: Vec<VersionView>,
    /// The machine that other components reach without naming one.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_machine: Option<String>,
    /// Whether that has exactly one instance.
    singleton: bool,
    /// `reused` or `fresh`: whether a sandbox serves more than one transition.
    isolation: &'static str,
    /// The machines of the active version.
    machines: Vec<MachineView>,
    /// How many instances there are, by version, machine, state and status.
    instances: Vec<StateCount>,
}

/// A version of a component.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionView {
    /// Its label.
    version: String,
    /// SHA-256 of the component.
    digest: String,
    /// Bytes of the component.
    size: u64,
    /// When it was uploaded.
    #[schema(value_type = String)]
    uploaded_at: Time,
    /// Whether new instances run on it.
    active: bool,
    /// When it was activated last, if it ever was and that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    activated_at: Option<Time>,
    /// `next-event` or `pin`: what happened to live instances when it was activated last.
    on_live: &'static str,
    /// Whether its methods are called.
    breaker: BreakerView,
}

/// How the breaker of a version stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BreakerView {
    /// `closed`, `half_open` or `open`.
    state: &'static str,
    /// When an open one lets the next event through.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    until: Option<Time>,
    /// Events in the present window that called methods.
    calls: u32,
    /// How many of these faulted.
    faults: u32,
}

impl BreakerView {
    fn of(breaker: Option<&effect::Breaker>) -> Self {
        Self {
            state: state_of(breaker).as_str(),
            until: breaker.and_then(|breaker| breaker.until).map(Time),
            calls: breaker.map_or(0, |breaker| breaker.calls),
            faults: breaker.map_or(0, |breaker| breaker.faults),
        }
    }
}

fn state_of(breaker: Option<&effect::Breaker>) -> BreakerState {
    breaker.map_or(BreakerState::Closed, |breaker| breaker.state)
}

/// How many instances there are of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StateCount {
    /// On which version.
    version: String,
    /// Of which machine.
    machine: String,
    /// In which state.
    state: String,
    /// `active`, `completed`, `error` or `terminated`.
    status: &'static str,
    /// How many.
    instances: u64,
}

/// The components that are loaded, by name.
#[utoipa::path(
    get, path = "/v1/components", operation_id = "listComponents", tag = "components",
    responses((status = 200, description = "All of them", body = List<ComponentItem>))
)]
pub(super) async fn list(Shared(state): Shared<State>, caller: Caller) -> Result<Response> {
    let room = state.room(answers::PAGE).await?;
    let loaded = state.registry().list(&caller.tenant);
    let counts = state
        .handle()
        .instance_counts(&caller.tenant, InstanceFilter::default())
        .await?;
    let mut by_component: BTreeMap<ComponentName, StatusCounts> = BTreeMap::new();
    for count in &counts {
        let counts = by_component.entry(count.component.clone()).or_default();
        counts.count(count);
    }
    let breakers = loaded.iter().map(|(name, _)| state.breakers(&caller, name));
    let breakers = try_join_all(breakers).await?;
    let items = loaded
        .iter()
        .zip(breakers)
        .map(|((name, loaded), breakers)| {
            let definition = &loaded.active.definition;
            let active = breakers
                .iter()
                .find(|breaker| breaker.version == definition.version);
            ComponentItem {
                name: name.to_string(),
                version: definition.version.to_string(),
                versions: loaded.versions.len(),
                machines: definition
                    .machines
                    .iter()
                    .map(|machine| machine.name.to_string())
                    .collect(),
                breaker: state_of(active).as_str(),
                instances: by_component.get(name).copied().unwrap_or_default(),
            }
        });
    let list = List {
        items: items.collect(),
        next_cursor: None,
    };
    room.answer(StatusCode::OK, &list)
}

/// A component: its versions, machines, breakers and instances.
#[utoipa::path(
    get, path = "/v1/components/{component}", operation_id = "getComponent", tag = "components",
    params(("component" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The component", body = Component),
        (status = 404, description = "There is none", body = Problem),
    )
)]
pub(super) async fn read(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(component): Path<String>,
) -> Result<Response> {
    let name = ComponentName::new(component);
    let room = state.room(answers::PAGE).await?;
    let loaded = state.registry().expect(&caller.tenant, &name)?;
    let breakers = state.breakers(&caller, &name).await?;
    let handle = state.handle();
    let stored = handle.versions(&caller.tenant, Some(&name)).await?;
    let filter = InstanceFilter {
        component: Some(name),
        ..InstanceFilter::default()
    };
    let counts = handle.instance_counts(&caller.tenant, filter).await?;
    let component = Component::of(&loaded, &stored, &breakers, &counts);
    room.answer(StatusCode::OK, &component)
}

impl Component {
    fn of(
        loaded: &Loaded,
        stored: &[ComponentVersion],
        breakers: &[effect::Breaker],
        counts: &[InstanceCount],
    ) -> Self {
        let definition = &loaded.active.definition;
        let version = |version: &ComponentVersion| {
            let breaker = breakers
                .iter()
                .find(|breaker| breaker.version == version.version);
            VersionView {
                version: version.version.to_string(),
                digest: version.digest.to_string(),
                size: version.size,
                uploaded_at: Time(version.uploaded),
                active: version.active,
                activated_at: version.activated().map(Time),
                on_live: version.on_live.as_str(),
                breaker: BreakerView::of(breaker),
            }
        };
        let count = |count: &InstanceCount| StateCount {
            version: count.version.to_string(),
            machine: count.machine.to_string(),
            state: count.state.to_string(),
            status: count.status.as_str(),
            instances: count.instances,
        };
        let entry = definition.entry;
        Self {
            name: definition.name.to_string(),
            version: definition.version.to_string(),
            versions: stored.iter().map(version).collect(),
            entry_machine: entry.map(|entry| definition.machine(entry.machine).name.to_string()),
            singleton: entry.is_some_and(|entry| entry.singleton),
            isolation: match definition.isolation {
                xcomponent_core::definition::Isolation::Reused => "reused",
                xcomponent_core::definition::Isolation::Fresh => "fresh",
            },
            machines: machines(definition),
            instances: counts.iter().map(count).collect(),
        }
    }
}

impl State {
    /// How the breakers of a component's versions stand.
    async fn breakers(
        &self,
        caller: &Caller,
        component: &ComponentName,
    ) -> Result<Vec<effect::Breaker>> {
        let component = component.clone();
        self.told_breakers(caller, Request::Breakers { component })
            .await
    }

    /// How breakers stand after a request that is answered with them.
    async fn told_breakers(
        &self,
        caller: &Caller,
        request: Request,
    ) -> Result<Vec<effect::Breaker>> {
        match self.handle().request(&caller.tenant, request).await {
            Reply::Breakers(breakers) => Ok(breakers),
            Reply::Refused(refused) => Err(ApiError::of_refused(refused, self.handle().now())),
            other => unreachable!("breakers are told or refused: {other:?}"),
        }
    }
}

/// How the breakers of a component stand.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Unblocked {
    /// Its name.
    component: String,
    /// Each version's breaker.
    items: Vec<UnblockedVersion>,
}

/// How the breaker of a version stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UnblockedVersion {
    /// Which version.
    version: String,
    /// `closed`, or `open` again if it has faulted since.
    breaker: &'static str,
}

/// Closes the breakers of all versions of a component now: events get through again, and those that
/// waited for a breaker go on. A version that goes on faulting is suspended again.
#[utoipa::path(
    post, path = "/v1/components/{component}/unblock", operation_id = "unblockComponent", tag = "components",
    params(("component" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "How the breakers stand", body = Unblocked),
        (status = 404, description = "There is no such component", body = Problem),
    )
)]
pub(super) async fn unblock(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(component): Path<String>,
) -> Result<JsonAnswer<Unblocked>> {
    let name = ComponentName::new(component);
    if state.registry().get(&caller.tenant, &name).is_none() {
        let refused = Refused::UnknownComponent(name.as_str().into());
        return Err(ApiError::of_refused(refused, state.handle().now()));
    }
    let component = name.to_string();
    let request = Request::Unblock { component: name };
    let breakers = state.told_breakers(&caller, request).await?;
    let items = breakers.iter().map(|breaker| UnblockedVersion {
        version: breaker.version.to_string(),
        breaker: breaker.state.as_str(),
    });
    Ok(JsonAnswer(Unblocked {
        component,
        items: items.collect(),
    }))
}

/// Which version of a component.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OfVersion {
    /// This version; without it the active one.
    version: Option<String>,
}

/// The definition, byte for byte as it was uploaded.
#[utoipa::path(
    get, path = "/v1/components/{component}/definition", operation_id = "getDefinition", tag = "components",
    params(("component" = String, Path, description = "Its name"), OfVersion),
    responses(
        (status = 200, description = "The YAML", body = String, content_type = "application/yaml"),
        (status = 404, description = "There is no such component or version", body = Problem),
    )
)]
pub(super) async fn definition(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(component): Path<String>,
    Params(which): Params<OfVersion>,
) -> Result<Response> {
    let room = state.room(DEFINITION_BYTES_MAX).await?;
    let version = state.stored_version(&caller, component, which).await?;
    let yaml = version.definition.to_string();
    let kind = HeaderValue::from_static("application/yaml");
    Ok(room.hold(StatusCode::OK, kind, yaml))
}

/// The packed component, byte for byte as it was uploaded.
#[utoipa::path(
    get, path = "/v1/components/{component}/artifact", operation_id = "getArtifact", tag = "components",
    params(("component" = String, Path, description = "Its name"), OfVersion),
    responses(
        (status = 200, description = "The WebAssembly component", body = words::WasmBytes, content_type = "application/wasm"),
        (status = 404, description = "There is no such component or version", body = Problem),
    )
)]
pub(super) async fn artifact(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(component): Path<String>,
    Params(which): Params<OfVersion>,
) -> Result<Response> {
    let version = state.stored_version(&caller, component, which).await?;
    let size = usize::try_from(version.size).unwrap_or(usize::MAX);
    let room = state.room(size).await?;
    let artifact = state.handle().artifact(version.digest).await?;
    let artifact = artifact.ok_or_else(|| unknown_version(&version.component, &version.version))?;
    let kind = HeaderValue::from_static("application/wasm");
    let answer = room.hold(StatusCode::OK, kind, artifact);
    let tag = [(header::ETAG, format!("\"{}\"", version.digest))];
    Ok((tag, answer).into_response())
}

impl State {
    async fn stored_version(
        &self,
        caller: &Caller,
        component: String,
        which: OfVersion,
    ) -> Result<ComponentVersion> {
        let name = ComponentName::new(component);
        let loaded = self.registry().expect(&caller.tenant, &name)?;
        let wanted = match which.version {
            Some(version) => Version::new(version),
            None => loaded.active.definition.version.clone(),
        };
        let versions = self.handle().versions(&caller.tenant, Some(&name)).await?;
        let found = versions
            .into_iter()
            .find(|version| version.version == wanted);
        found.ok_or_else(|| unknown_version(&name, &wanted))
    }
}

/// 404 for a version.
pub(super) fn unknown_version(component: &ComponentName, version: &Version) -> ApiError {
    ApiError::not_found(
        "unknown_version",
        format!("`{component}` has no version `{version}`"),
    )
}
