//! `/v1/components/{name}/activate` and what else changes the versions that are there.

use std::collections::BTreeMap;

use axum::{
    Json as JsonAnswer,
    extract::{Path, State as Shared},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use xcomponent_core::{
    effect::Migrated,
    id::{ComponentName, StateName, Version},
    input::Migrate,
};

use super::{
    State,
    body::{self, Body, OptionalBody, Params},
    caller::Caller,
    error::{ApiError, Problem, Result},
    upload::switch,
    wire::Report,
};

/// Instances that one request moves where the caller names no limit.
const MIGRATED_DEFAULT: usize = 10_000;

/// Instances that one request moves at most: each has its line in the answer.
const MIGRATED_MAX: usize = 100_000;

/// Which version becomes the active one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Activation {
    /// Its label.
    version: String,
    /// What happens to live instances: `next-event` (default), `pin` or `refuse`.
    #[serde(default)]
    on_live: Option<String>,
}

/// What happens to live instances when the version before becomes the active one.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollback {
    /// `next-event` (default), `pin` or `refuse`.
    #[serde(default)]
    on_live: Option<String>,
}

/// Which version is the active one now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Activated {
    /// The component.
    component: String,
    /// The version.
    version: String,
    /// How live instances fit it.
    report: Report,
}

/// Makes a version the active one.
#[utoipa::path(
    post, path = "/v1/components/{component}/activate", operation_id = "activateVersion", tag = "components",
    params(("component" = String, Path, description = "Its name")),
    request_body(content = Activation, example = json!({"version": "2.0.0", "on_live": "pin"})),
    responses(
        (status = 200, description = "It is the active one", body = Activated),
        (status = 404, description = "There is no such component or version", body = Problem),
        (status = 409, description = "Live instances would not fit", body = Problem),
    )
)]
pub(super) async fn activate(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(component): Path<String>,
    Body(activation, ..): Body<Activation>,
) -> Result<JsonAnswer<Activated>> {
    let (name, version) = (
        ComponentName::new(component),
        Version::new(activation.version),
    );
    let switch = switch(activation.on_live.as_deref())?;
    let report = state
        .registry()
        .activate(&caller.tenant, &name, &version, switch)
        .await?;
    Ok(JsonAnswer(Activated {
        component: name.to_string(),
        version: version.to_string(),
        report: Report::of(&report),
    }))
}

/// Goes back to the version that was active before the present one.
#[utoipa::path(
    post, path = "/v1/components/{component}/rollback", operation_id = "rollBack", tag = "components",
    params(("component" = String, Path, description = "Its name")),
    request_body(content = Option<Rollback>, example = json!({"on_live": "next-event"})),
    responses(
        (status = 200, description = "It is the active one again", body = Activated),
        (status = 404, description = "There is no such component", body = Problem),
        (status = 409, description = "There is no version before, or live instances would not fit", body = Problem),
    )
)]
pub(super) async fn rollback(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(component): Path<String>,
    OptionalBody(rollback): OptionalBody<Rollback>,
) -> Result<JsonAnswer<Activated>> {
    let name = ComponentName::new(component);
    let switch = switch(rollback.on_live.as_deref())?;
    let (deployment, report) = state
        .registry()
        .rollback(&caller.tenant, &name, switch)
        .await?;
    Ok(JsonAnswer(Activated {
        component: name.to_string(),
        version: deployment.definition.version.to_string(),
        report: Report::of(&report),
    }))
}

/// Which live instances move.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Migration {
    /// Those on this version.
    from: String,
    /// To this version.
    to: String,
    /// Only says what would happen.
    #[serde(default)]
    dry_run: bool,
    /// What states of the old version are called in the new one, where that differs.
    #[serde(default)]
    states: BTreeMap<String, String>,
    /// At most so many, up to 100 000; 10 000 if absent.
    #[serde(default)]
    limit: Option<usize>,
}

/// What became of the instances.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MigrationAnswer {
    /// How many moved, or would.
    moved: usize,
    /// How many stay.
    held: usize,
    /// Each of them.
    items: Vec<MigratedInstance>,
}

/// What became of one instance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MigratedInstance {
    /// Its id.
    instance_id: String,
    /// Why it stays; absent if it moved, or would.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
}

/// Moves live instances from one version to another now.
#[utoipa::path(
    post, path = "/v1/components/{component}/migrate", operation_id = "migrateInstances", tag = "components",
    params(("component" = String, Path, description = "Its name")),
    request_body(content = Migration, example = json!({"from": "1.0.0", "to": "2.0.0", "states": {"Paid": "Settled"}, "dry_run": true})),
    responses(
        (status = 200, description = "What became of each instance", body = MigrationAnswer),
        (status = 404, description = "There is no such component or version", body = Problem),
    )
)]
pub(super) async fn migrate(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(component): Path<String>,
    Body(migration, ..): Body<Migration>,
) -> Result<JsonAnswer<MigrationAnswer>> {
    let limit = migration.limit.unwrap_or(MIGRATED_DEFAULT);
    if limit > MIGRATED_MAX {
        return Err(ApiError::bad_request(
            "invalid_body",
            format!("`limit` is at most {MIGRATED_MAX}"),
        ));
    }
    // Why an instance is held names its states, and is kept.
    let state_name = |text: &str| body::name(text, "states").map(StateName::new);
    let renamed = migration.states.iter();
    let migrate = Migrate {
        component: ComponentName::new(component),
        from: Version::new(migration.from),
        to: Version::new(migration.to),
        states: renamed
            .map(|(old, new)| Ok((state_name(old)?, state_name(new)?)))
            .collect::<Result<_>>()?,
        limit,
        dry_run: migration.dry_run,
    };
    let moved = state.registry().migrate(&caller.tenant, migrate).await?;
    let held = moved
        .iter()
        .filter(|migrated| migrated.held.is_some())
        .count();
    let item = |migrated: &Migrated| MigratedInstance {
        instance_id: migrated.instance.to_string(),
        held: migrated.held.as_ref().map(ToString::to_string),
    };
    Ok(JsonAnswer(MigrationAnswer {
        moved: moved.len() - held,
        held,
        items: moved.iter().map(item).collect(),
    }))
}

/// What is deleted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Deletion {
    /// This version; without it the whole component.
    version: Option<String>,
    /// Also where instances live on it; these finish on what they have.
    #[serde(default)]
    force: bool,
}

/// Takes a version, or the whole component, away.
#[utoipa::path(
    delete, path = "/v1/components/{component}", operation_id = "deleteVersion", tag = "components",
    params(("component" = String, Path, description = "Its name"), Deletion),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such component or version", body = Problem),
        (status = 409, description = "Instances live on it, or it is the active version of several", body = Problem),
    )
)]
pub(super) async fn delete(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(component): Path<String>,
    Params(deletion): Params<Deletion>,
) -> Result<StatusCode> {
    let version = deletion.version.map(Version::new);
    state
        .registry()
        .delete(
            &caller.tenant,
            &ComponentName::new(component),
            version.as_ref(),
            deletion.force,
        )
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
