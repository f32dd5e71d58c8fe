//! `/api/components…` and diagrams: what is loaded, and what it looks like.

use axum::{Json as JsonAnswer, extract::State as Shared, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use xcomponent_core::{
    definition::{Definition, MachineIdx, mermaid},
    id::ComponentName,
};

use super::{
    super::{State, answers, caller::Caller, error::ApiError},
    failure::{Failure, Result},
    read::{Asked, Named},
    shape::{self, Component},
};
use crate::driver::{InstanceCount, InstanceFilter, PAGE_BYTES_MAX};

/// All components.
#[derive(Serialize)]
pub(super) struct Components {
    components: Vec<Box<RawValue>>,
}

/// All components, by name; refused where they are more than fits one answer.
pub(super) async fn list(Shared(state): Shared<State>, caller: Caller) -> Result<Response> {
    let room = state.room(answers::PAGE).await?;
    let filter = InstanceFilter::default();
    let counts = state.handle().instance_counts(&caller.tenant, filter);
    let counts = counts.await?;
    let of = |name: &ComponentName| {
        let own = counts.iter().filter(|count| count.component == *name);
        own.map(|count: &InstanceCount| count.instances).sum()
    };
    let mut components = Vec::new();
    let mut left = PAGE_BYTES_MAX;
    for (name, loaded) in state.registry().list(&caller.tenant) {
        let component = Component::of(&loaded.active, of(&name));
        let text = to_raw_value(&component).map_err(|error| ApiError::internal(&error))?;
        left = left.checked_sub(text.get().len()).ok_or_else(too_many)?;
        components.push(text);
        // One may take long.
        tokio::task::yield_now().await;
    }
    Ok(room.answer(StatusCode::OK, &Components { components })?)
}

/// One component.
#[derive(Serialize)]
pub(super) struct OneComponent {
    component: Component,
}

/// One component.
pub(super) async fn read(
    Shared(state): Shared<State>,
    caller: Caller,
    Named(component): Named<String>,
) -> Result<Response> {
    let room = state.room(answers::PAGE).await?;
    let component = ComponentName::new(component);
    let loaded = state.registry().expect(&caller.tenant, &component)?;
    let filter = InstanceFilter {
        component: Some(component),
        ..InstanceFilter::default()
    };
    let counts = state.handle().instance_counts(&caller.tenant, filter);
    let instances = counts.await?.iter().map(|count| count.instances).sum();
    let component = OneComponent {
        component: Component::of(&loaded.active, instances),
    };
    Ok(room.answer(StatusCode::OK, &component)?)
}

/// The machines of a component.
#[derive(Serialize)]
pub(super) struct Machines {
    machines: Vec<Value>,
}

/// The machines of a component, as its YAML has them.
pub(super) async fn machines(
    Shared(state): Shared<State>,
    caller: Caller,
    Named(component): Named<String>,
) -> Result<Response> {
    let room = state.room(answers::PAGE).await?;
    let component = ComponentName::new(component);
    let loaded = state.registry().expect(&caller.tenant, &component);
    let definition = &loaded?.active.definition;
    let machines = shape::machines(definition, &definition.written());
    Ok(room.answer(StatusCode::OK, &Machines { machines })?)
}

/// How a diagram is wanted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    /// The state that it points out.
    current_state: Option<String>,
}

/// A machine as a picture.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Diagram {
    /// Mermaid, `stateDiagram-v2`.
    diagram: String,
    terminal_states: Vec<String>,
    transitions: Vec<Value>,
    machine_name: String,
    component_name: String,
    /// Null where the machine has no such state: then nothing is pointed out.
    current_state: Option<String>,
}

/// A machine of a component as a picture.
pub(super) async fn diagram(
    Shared(state): Shared<State>,
    caller: Caller,
    Named((component, machine)): Named<(String, String)>,
    Asked(wanted): Asked<Wanted>,
) -> Result<JsonAnswer<Diagram>> {
    let component = ComponentName::new(component);
    let loaded = state.registry().expect(&caller.tenant, &component)?;
    let definition = &loaded.active.definition;
    let Some((machine, _)) = definition.find(&machine) else {
        return Err(unknown_machine(&machine));
    };
    Ok(std::future::ready(JsonAnswer(draw(definition, machine, &wanted))).await)
}

/// The same for a machine of whichever component has it; the first by name, where several have.
pub(super) async fn any_diagram(
    Shared(state): Shared<State>,
    caller: Caller,
    Named(machine): Named<String>,
    Asked(wanted): Asked<Wanted>,
) -> Result<JsonAnswer<Diagram>> {
    let all = state.registry().list(&caller.tenant);
    let mut drawn = all.iter().filter_map(|(_, loaded)| {
        let definition = &loaded.active.definition;
        let (machine, _) = definition.find(&machine)?;
        Some(draw(definition, machine, &wanted))
    });
    let drawn = drawn.next().ok_or_else(|| unknown_machine(&machine))?;
    Ok(std::future::ready(JsonAnswer(drawn)).await)
}

fn draw(definition: &Definition, idx: MachineIdx, wanted: &Wanted) -> Diagram {
    let machine = definition.machine(idx);
    let current = wanted.current_state.as_deref();
    let current = current.and_then(|name| machine.find_state(name));
    let terminal = machine
        .states
        .iter()
        .filter(|state| state.kind.is_terminal());
    let written = definition.written();
    let are_single = shape::are_single(definition, &written);
    let written = &written["stateMachines"][usize::from(idx.0)];
    Diagram {
        diagram: mermaid(machine, current),
        terminal_states: terminal.map(|state| state.name.to_string()).collect(),
        transitions: shape::transitions(written, machine, are_single),
        machine_name: machine.name.to_string(),
        component_name: definition.name.to_string(),
        current_state: current.map(|state| machine.state(state).name.to_string()),
    }
}

fn too_many() -> Failure {
    let detail = format!(
        "the components are more than the {PAGE_BYTES_MAX} bytes of one answer; `/v1/components` \
         lists them, `/api/components/{{name}}` has one"
    );
    ApiError::unprocessable("answer_too_large", detail).into()
}

/// 404.
pub(super) fn unknown_machine(name: &str) -> Failure {
    Failure::not_found("unknown_machine", format!("there is no machine `{name}`"))
}
