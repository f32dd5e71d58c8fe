//! One machine: its states, and the tables that the engine asks.

use hashbrown::HashMap;

use crate::{
    definition::{
        CascadingRule, EventIdx, Machine, Operator, ParentLink, State, StateIdx, StateKind,
        TransitionIdx, TransitionKind,
        check::{lint, transition},
        diagnostic::Strictness,
        parse::{Kind, Node},
        read::{Fields, Named, Notes, nearest, wrong_type},
    },
    id::{ComponentName, EventName, MachineName, MethodName, StateName},
    json::Path,
    limits::MACHINE_PARTS_MAX,
    schema::Schema,
    template::Template,
};

/// What machines know of each other while they are read.
pub(super) struct Outline<'a> {
    /// The names of all machines, in order.
    pub(super) names: &'a [String],
    pub(super) strictness: Strictness,
    /// The component's own fields: its `onFault` is the default.
    pub(super) fault: &'a Fields<'a>,
}

const MACHINE_KEYS: &[&str] = &[
    "name",
    "initialState",
    "states",
    "transitions",
    "publicMemberType",
    "parentLink",
    "contextSchema",
    "onFault",
    "metadata",
    "description",
    "layout",
];
const STATE_KEYS: &[&str] = &[
    "name",
    "type",
    "onEntry",
    "onExit",
    "entryMethod",
    "exitMethod",
    "cascadingRules",
    "defer",
    "metadata",
    "description",
];
const CASCADE_KEYS: &[&str] = &[
    "targetComponent",
    "targetMachine",
    "targetState",
    "event",
    "matchingRules",
    "payload",
    "metadata",
    "description",
];

/// The names of all machines, each once.
pub(super) fn names(
    fields: &Fields<'_>,
    items: &[(String, &Node)],
    notes: &mut Notes,
) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (path, item) in items {
        let Kind::Map(map) = &item.kind else { continue };
        let name = map
            .iter()
            .find(|(key, _)| matches!(&key.kind, Kind::Text(text) if text == "name"));
        let mut quiet = Notes::default();
        let Some(name) = name.and_then(|(_, node)| fields.name_in(node, path, &mut quiet)) else {
            continue;
        };
        if names.contains(&name.text) {
            notes.error(
                "duplicate_name",
                name.place,
                &format!("{path}.name"),
                format!("there are two machines `{}`", name.text),
            );
        }
        names.push(name.text);
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
    let fields = parent.item(node, path, MACHINE_KEYS, notes)?;
    let name = fields.required_name("name", notes);
    let states = states(&fields, notes);
    let initial = state_named(&fields, "initialState", &states, true, notes);
    let mut machine = Machine {
        name: MachineName::new(name.map(|name| name.text).unwrap_or_default()),
        initial: initial.unwrap_or(StateIdx(0)),
        states,
        transitions: Vec::new(),
        events: Vec::new(),
        public_member_type: fields.text("publicMemberType", notes).map(Into::into),
        parent_link: parent_link(&fields, notes),
        schema: fields
            .get("contextSchema")
            .and_then(|node| Schema::read(node, &fields, notes)),
        on_fault: crate::definition::OnFault::Keep,
        description: fields.text("description", notes).map(Into::into),
        metadata: fields.json("metadata"),
        candidates: HashMap::default(),
        event_positions: HashMap::default(),
        indexed: Vec::new(),
    };
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
    lint::machine(&fields, &machine, &written, outline.strictness, notes);
    let order = transition::in_order(&machine, &written);
    tabulate(&mut machine, &order);
    lint::reachable(&fields, &machine, notes);
    Some(machine)
}

fn states(fields: &Fields<'_>, notes: &mut Notes) -> Vec<State> {
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
        return Vec::new();
    }
    let mut states: Vec<State> = Vec::new();
    for (path, item) in items {
        let Some(state) = state(fields, item, &path, notes) else {
            continue;
        };
        if states.iter().any(|other| other.name == state.name) {
            notes.error(
                "duplicate_name",
                item.place,
                &path,
                format!("there are two states `{}`", state.name),
            );
        }
        states.push(state);
    }
    states
}

fn state(parent: &Fields<'_>, node: &Node, path: &str, notes: &mut Notes) -> Option<State> {
    if let Kind::Text(_) = node.kind {
        let name = parent.name_in(node, path, notes)?;
        return Some(bare(name.text));
    }
    let fields = parent.item(node, path, STATE_KEYS, notes)?;
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
        let name = if fields.get(new).is_some() { new } else { old };
        fields
            .name(name, notes)
            .map(|name| MethodName::new(name.text))
    };
    let (on_entry, on_exit) = (
        method("onEntry", "entryMethod"),
        method("onExit", "exitMethod"),
    );
    let defer = fields
        .list("defer", notes)
        .iter()
        .filter_map(|(path, item)| fields.name_in(item, path, notes))
        .collect::<Vec<_>>();
    let cascades = fields
        .list("cascadingRules", notes)
        .iter()
        .filter_map(|(path, item)| cascade(&fields, item, path, notes))
        .collect();
    Some(State {
        kind,
        on_entry,
        on_exit,
        cascades,
        defer: defer
            .into_iter()
            .map(|name| EventName::new(name.text))
            .collect(),
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
        autos: Vec::new(),
        timeouts: Vec::new(),
        description: None,
        metadata: None,
    }
}

fn cascade(
    parent: &Fields<'_>,
    node: &Node,
    path: &str,
    notes: &mut Notes,
) -> Option<CascadingRule> {
    let fields = parent.item(node, path, CASCADE_KEYS, notes)?;
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
    let link = fields.fields("parentLink", &["enabled", "onStateChange"], notes)?;
    let enabled = link.boolean("enabled", notes).unwrap_or(true);
    let event = link.name("onStateChange", notes).filter(|_| enabled)?;
    Some(ParentLink {
        on_state_change: EventName::new(event.text),
    })
}

/// A state that a field names.
pub(super) fn state_named(
    fields: &Fields<'_>,
    field: &str,
    states: &[State],
    required: bool,
    notes: &mut Notes,
) -> Option<StateIdx> {
    let name = if required {
        fields.required_name(field, notes)?
    } else {
        fields.name(field, notes)?
    };
    find_state(&name, &fields.path_of(field), states, notes)
}

/// The state of a name.
pub(super) fn find_state(
    name: &Named,
    path: &str,
    states: &[State],
    notes: &mut Notes,
) -> Option<StateIdx> {
    if let Some(position) = states
        .iter()
        .position(|state| state.name.as_str() == name.text)
    {
        return u16::try_from(position).ok().map(StateIdx);
    }
    let known: Vec<&str> = states.iter().map(|state| state.name.as_str()).collect();
    let finding = notes.error(
        "unknown_state",
        name.place,
        path,
        format!("there is no state `{}`", name.text),
    );
    finding.help = nearest(&name.text, &known).map(|near| format!("did you mean `{near}`?"));
    None
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

/// The tables by state and event, and the properties to index.
fn tabulate(machine: &mut Machine, order: &[TransitionIdx]) {
    let any_state: Vec<StateIdx> = (0..machine.states.len())
        .filter_map(|position| u16::try_from(position).ok().map(StateIdx))
        .collect();
    for explicit in [true, false] {
        for idx in order {
            let transition = &machine.transitions[usize::from(idx.0)];
            if transition.from_any == explicit {
                continue;
            }
            for state in any_state
                .iter()
                .filter(|state| transition.from.contains(state))
            {
                machine
                    .candidates
                    .entry((*state, transition.event))
                    .or_default()
                    .push(*idx);
            }
        }
    }
    for (position, transition) in machine.transitions.iter().enumerate() {
        let idx = TransitionIdx(u16::try_from(position).expect("transitions are limited"));
        for state in &transition.from {
            let state = &mut machine.states[usize::from(state.0)];
            match transition.kind {
                TransitionKind::Auto { .. } => state.autos.push(idx),
                TransitionKind::Timeout { .. } => state.timeouts.push(idx),
                TransitionKind::Regular
                | TransitionKind::Internal
                | TransitionKind::InterMachine { .. }
                | TransitionKind::CreateAcross { .. }
                | TransitionKind::SendAcross { .. } => {}
            }
        }
        let equal = transition
            .rules
            .iter()
            .filter(|rule| rule.operator == Operator::Equal);
        let paths: Vec<&Path> = equal.map(|rule| &rule.instance_property).collect();
        machine.indexed.extend(paths.into_iter().cloned());
    }
    machine.indexed.sort();
    machine.indexed.dedup();
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
