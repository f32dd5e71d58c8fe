//! Pictures of machines, as text or SVG.

use axum::{
    extract::{Path, State as Shared},
    http::{HeaderName, header},
};
use serde::Deserialize;
use xcomponent_core::{
    definition::{self, Definition, Highlight, Machine},
    id::ComponentName,
};

use super::{
    State,
    body::{self, Params},
    caller::Caller,
    error::{ApiError, Problem, Result},
};

/// What a picture shows, and how it is written.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OfMachine {
    /// Which machine; without it the entry machine, else the first.
    machine: Option<String>,
    /// `mermaid` (default), `dot` or `svg`.
    format: Option<String>,
}

/// How a picture is written.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Format {
    /// `mermaid` (default), `dot` or `svg`.
    format: Option<String>,
}

type Picture = ([(HeaderName, &'static str); 1], String);

/// A machine of the active version.
#[utoipa::path(
    get, path = "/v1/components/{component}/diagram", operation_id = "getComponentDiagram", tag = "components",
    params(("component" = String, Path, description = "Its name"), OfMachine),
    responses(
        (status = 200, description = "The picture", content((String = "text/vnd.mermaid"), (String = "text/vnd.graphviz"), (String = "image/svg+xml"))),
        (status = 404, description = "There is no such component or machine", body = Problem),
    )
)]
pub(super) async fn of_component(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(component): Path<String>,
    Params(what): Params<OfMachine>,
) -> Result<Picture> {
    let name = ComponentName::new(component);
    let loaded = state.registry().expect(&caller.tenant, &name)?;
    let machine = machine(&loaded.active.definition, what.machine.as_deref())?;
    std::future::ready(draw(machine, None, what.format.as_deref())).await
}

/// An instance's machine, with its state pointed out.
#[utoipa::path(
    get, path = "/v1/instances/{id}/diagram", operation_id = "getInstanceDiagram", tag = "instances",
    params(("id" = String, Path, description = "Its id"), Format),
    responses(
        (status = 200, description = "The picture", content((String = "text/vnd.mermaid"), (String = "text/vnd.graphviz"), (String = "image/svg+xml"))),
        (status = 404, description = "There is no such instance", body = Problem),
    )
)]
pub(super) async fn of_instance(
    Shared(state): Shared<State>,
    caller: Caller,
    Path(id): Path<String>,
    Params(what): Params<Format>,
) -> Result<Picture> {
    let id = body::instance_id(&id)?;
    let instance = state.expect_instance(&caller, &id).await?;
    draw(
        instance.machine(),
        Some(instance.state),
        what.format.as_deref(),
    )
}

fn machine<'d>(definition: &'d Definition, name: Option<&str>) -> Result<&'d Machine> {
    let Some(name) = name else {
        let entry = definition.entry.map(|entry| entry.machine);
        return Ok(entry.map_or(&definition.machines[0], |entry| definition.machine(entry)));
    };
    let found = definition.find(name).map(|(_, machine)| machine);
    found.ok_or_else(|| {
        ApiError::not_found("unknown_machine", format!("there is no machine `{name}`"))
    })
}

fn draw(machine: &Machine, highlight: Highlight, format: Option<&str>) -> Result<Picture> {
    let (kind, picture) = match format.unwrap_or("mermaid") {
        "mermaid" => ("text/vnd.mermaid", definition::mermaid(machine, highlight)),
        "dot" => ("text/vnd.graphviz", definition::dot(machine, highlight)),
        "svg" => ("image/svg+xml", definition::svg(machine, highlight)),
        other => {
            return Err(ApiError::bad_request(
                "invalid_query",
                format!("`format` is `mermaid`, `dot` or `svg`, not `{other}`"),
            ));
        }
    };
    Ok(([(header::CONTENT_TYPE, kind)], picture))
}
