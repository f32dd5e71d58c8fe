//! One machine: its states, and the tables that the engine asks.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};

use crate::{
    definition::{
        CascadingRule, EventIdx, Machine, MachineIdx, OnFault, ParentLink, State, StateIdx,
        StateKind,
        check::{choices, lint, transition},
        choices::Choices,
        diagnostic::Strictness,
        keys,
        notes::Notes,
        parse::{Kind, Node, Place},
        read::{Fields, Named, wrong_type},
    },
    id::{ComponentName, EventName, MachineName, MethodName, StateName},
    limits::{MACHINE_PARTS_MAX, SENDS_PER_TRANSITION_MAX},
    schema::Schema,
    template::Template,
};

/// What machines know of each other while they are read.
pub(super) struct Outline<'a> {
    /// The names of all machines.
    pub(super) names: &'a BTreeMap<String, MachineIdx>,
    pub(super) strictness: Strictness,
    /// The component's own fields: its `onFault` is the default.
    pub(super) fault: &'a Fields<'a>,
}

/// Where a state is written.
pub(super) struct Written {
    /// Where it begins.
    pub(super) place: Place,
    /// Where in the document.
    pub(super) path: String,
}

/// The names of all machines, each with the first that has it.
pub(super) fn names(
    fields: &Fields<'_>,
    items: &[(String, &Node)],
    notes: &mut Notes,
) -> BTreeMap<String, MachineIdx> {
    let mut names = BTreeMap::new();
    for (position, (path, item)) in items.iter().enumerate() {
        let mut quiet = Notes::default();
        let name = item.get("name");
        let Some(name) = name.and_then(|node| fields.name_in(node, path, &mut quiet)) else {
            continue;
        };
        if names.contains_key(&name.text) {
            notes.error(
                "duplicate_name",
                name.place,
                &format!("{path}.name"),
                format!("there are two machines `{}`", name.text),
            );
            continue;
        }
        let idx = MachineIdx(u16::try_from(position).expect("machines are limited"));
        names.insert(name.text, idx);
    }
    names
}

/// Reads one machine.
pub(super) fn machine(
    parent: &Fields<'_>,
    node: &Node,
    path: &str,
    outline: &Outline<'_>,
    notes: &mut Notes,
) -> Option<Machine> {
    let fields = parent.item(node, path, &keys::MACHINE, notes)?;
    let name = fields.required_name("name", notes);
    let (states, written_states) = states(&fields, notes);
    let mut machine = Machine {
        name: MachineName::new(name.map(|name| name.text).unwrap_or_default()),
        initial: StateIdx(0),
        state_positions: positions(&states, &written_states, notes),
        states,
        transitions: Vec::new(),
        events: Vec::new(),
        public_member_type: fields.text("publicMemberType", notes).map(Into::into),
        parent_link: parent_link(&fields, notes),
        schema: fields
            .get("contextSchema")
            .and_then(|node| Schema::read(node, &fields, notes)),
        on_fault: OnFault::Keep,
        description: fields.text("description", notes).map(Into::into),
        metadata: fields.json("metadata"),
        choices: Choices::default(),
        event_positions: HashMap::default(),
    };
    if let Some(initial) = state_named(&fields, "initialState", &machine, notes) {
        machine.initial = initial;
    }
    if let Some(initial) = machine.states.get_mut(usize::from(machine.initial.0))
        && initial.kind == StateKind::Regular
    {
        initial.kind = StateKind::Entry;
    }
    let fault = if fields.get("onFault").is_some() {
        &fields
    } else {
        outline.fault
    };
    machine.on_fault = transition::on_fault(fault, &machine, notes);
    let written = transition::transitions(&fields, &mut machine, outline, notes);
    choices::tabulate(&fields, &mut machine, &written, notes);
    lint::machine(
        &machine,
        &written,
        &written_states,
        outline.strictness,
        notes,
    );
    Some(machine)
}

/// The states, and where each is written.
fn states(fields: &Fields<'_>, notes: &mut Notes) -> (Vec<State>, Vec<Written>) {
    let items = fields.list("states", notes);
    if fields.get("states").is_none() {
        fields.missing("states", notes);
    }
    if items.len() > MACHINE_PARTS_MAX {
        notes.error(
            "too_many",
            fields.place_of("states"),
            &fields.path_of("states"),
            format!("at most {MACHINE_PARTS_MAX} states"),
        );
        return (Vec::new(), Vec::new());
    }
    let mut states: Vec<State> = Vec::new();
    let mut written = Vec::new();
    for (path, item) in items {
        if let Some(state) = state(fields, item, &path, notes) {
            let place = item.place;
            written.push(Written { place, path });
            states.push(state);
        }
    }
    (states, written)
}

/// The first state of each name.
fn positions(
    states: &[State],
    written: &[Written],
    notes: &mut Notes,
) -> HashMap<StateName, StateIdx, foldhash::fast::FixedState> {
    let mut positions = HashMap::default();
    for (position, (state, written)) in states.iter().zip(written).enumerate() {
        let idx = StateIdx(u16::try_from(position).expect("states are limited"));
        if positions.contains_key(&state.name) {
            let message = format!("there are two states `{}`", state.name);
            notes.error("duplicate_name", written.place, &written.path, message);
        } else {
            positions.insert(state.name.clone(), idx);
        }
    }
    positions
}

fn state(parent: &Fields<'_>, node: &Node, path: &str, notes: &mut Notes) -> Option<State> {
    if !matches!(node.kind, Kind::Map(_)) {
        let name = parent.name_in(node, path, notes)?;
        return Some(bare(name.text));
    }
    let fields = parent.item(node, path, &keys::STATE, notes)?;
    let name = fields.required_name("name", notes)?;
    let kind = match fields.name("type", notes) {
        None => StateKind::Regular,
        Some(kind) => match kind.text.as_str() {
            "entry" => StateKind::Entry,
            "regular" => StateKind::Regular,
            "final" => StateKind::Final,
            "error" => StateKind::Error,
            other => {
                let finding = notes.error(
                    "unknown_value",
                    kind.place,
                    &fields.path_of("type"),
                    format!("unknown state type `{other}`"),
                );
                finding.help = Some("a state is `entry`, `regular`, `final` or `error`".to_owned());
                StateKind::Regular
            }
        },
    };
    let mut method = |new: &str, old: &str| {
        let name = match (fields.get(new), fields.get(old)) {
            (None, _) => old,
            (Some(_), None) => new,
            (Some(_), Some(_)) => {
                let why = format!("it is the old name of `{new}`, which is written too");
                notes.no_effect(old, fields.key_place(old), &fields.path_of(old), &why);
                new
            }
        };
        fields
            .name(name, notes)
            .map(|name| MethodName::new(name.text))
    };
    let (on_entry, on_exit) = (
        method("onEntry", "entryMethod"),
        method("onExit", "exitMethod"),
    );
    let defer: Vec<EventName> = fields
        .list("defer", notes)
        .iter()
        .filter_map(|(path, item)| fields.name_in(item, path, notes))
        .map(|name| EventName::new(name.text))
        .collect();
    let cascades = cascades(&fields, notes);
    Some(State {
        kind,
        on_entry,
        on_exit,
        cascades,
        deferred: defer.iter().cloned().collect(),
        defer,
        description: fields.text("description", notes).map(Into::into),
        metadata: fields.json("metadata"),
        ..bare(name.text)
    })
}

fn bare(name: String) -> State {
    State {
        name: StateName::new(name),
        kind: StateKind::Regular,
        on_entry: None,
        on_exit: None,
        cascades: Vec::new(),
        defer: Vec::new(),
        deferred: HashSet::default(),
        autos: Vec::new(),
        timeouts: Vec::new(),
        description: None,
        metadata: None,
    }
}

/// What entering a state sends to other machines.
fn cascades(fields: &Fields<'_>, notes: &mut Notes) -> Vec<CascadingRule> {
    let cascades = fields.list("cascadingRules", notes);
    if cascades.len() > SENDS_PER_TRANSITION_MAX {
        let (place, path) = (
            fields.place_of("cascadingRules"),
            fields.path_of("cascadingRules"),
        );
        let message = format!("at most {SENDS_PER_TRANSITION_MAX} cascading rules");
        notes.error("too_many", place, &path, message);
    }
    cascades
        .iter()
        .filter_map(|(path, item)| cascade(fields, item, path, notes))
        .collect()
}

fn cascade(
    parent: &Fields<'_>,
    node: &Node,
    path: &str,
    notes: &mut Notes,
) -> Option<CascadingRule> {
    let fields = parent.item(node, path, &keys::CASCADE, notes)?;
    let machine = fields.required_name("targetMachine", notes);
    let event = fields.required_name("event", notes);
    let state = fields
        .name("targetState", notes)
        .filter(|state| state.text != "*");
    Some(CascadingRule {
        component: fields
            .name("targetComponent", notes)
            .map(|name| ComponentName::new(name.text)),
        machine: MachineName::new(machine?.text),
        state: state.map(|state| StateName::new(state.text)),
        event: EventName::new(event?.text),
        rules: transition::matching_rules(&fields, notes),
        payload: fields
            .get("payload")
            .map(|node| Template::new(node.to_json())),
    })
}

fn parent_link(fields: &Fields<'_>, notes: &mut Notes) -> Option<ParentLink> {
    let link = fields.fields("parentLink", &keys::PARENT_LINK, notes)?;
    let enabled = link.boolean("enabled", notes);
    let event = link.name("onStateChange", notes);
    if event.is_none() && enabled == Some(true) {
        let why = "`onStateChange` names the event that the parent gets";
        let (place, path) = (link.key_place("enabled"), link.path_of("enabled"));
        notes.no_effect("enabled", place, &path, why);
    }
    let event = event.filter(|_| enabled.unwrap_or(true))?;
    Some(ParentLink {
        on_state_change: EventName::new(event.text),
    })
}

/// The state that a required field names.
pub(super) fn state_named(
    fields: &Fields<'_>,
    field: &str,
    machine: &Machine,
    notes: &mut Notes,
) -> Option<StateIdx> {
    let name = fields.required_name(field, notes)?;
    find_state(&name, &fields.path_of(field), machine, notes)
}

/// The state of a name.
pub(super) fn find_state(
    name: &Named,
    path: &str,
    machine: &Machine,
    notes: &mut Notes,
) -> Option<StateIdx> {
    let found = machine.find_state(&name.text);
    if found.is_none() {
        let known = machine.states.iter().map(|state| state.name.as_str());
        let help = notes.suggest(&name.text, known);
        let message = format!("there is no state `{}`", name.text);
        notes.error("unknown_state", name.place, path, message).help = help;
    }
    found
}

/// The position of an event's name, entered if it is new.
pub(super) fn event_idx(machine: &mut Machine, name: &str) -> EventIdx {
    if let Some(idx) = machine.event_positions.get(name) {
        return *idx;
    }
    let idx = EventIdx(u16::try_from(machine.events.len()).unwrap_or(u16::MAX));
    let name = EventName::new(name);
    machine.events.push(name.clone());
    machine.event_positions.insert(name, idx);
    idx
}

/// A list of names, or one.
pub(super) fn names_or_one(fields: &Fields<'_>, field: &str, notes: &mut Notes) -> Vec<Named> {
    let Some(node) = fields.get(field) else {
        return Vec::new();
    };
    match &node.kind {
        Kind::List(_) => {
            let items = fields.list(field, notes);
            items
                .iter()
                .filter_map(|(path, item)| fields.name_in(item, path, notes))
                .collect()
        }
        Kind::Map(_) => {
            wrong_type(
                notes,
                node,
                &fields.path_of(field),
                "a name or a list of names",
            );
            Vec::new()
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => fields
            .name_in(node, &fields.path_of(field), notes)
            .into_iter()
            .collect(),
    }
}
