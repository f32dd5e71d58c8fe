//! Transitions: what they leave, where they lead, what makes them fire.

use crate::{
    definition::{
        Machine, Mapping, MatchingRule, NotifyParent, OnFault, Operator, Sources, StateIdx,
        StateKind, Transition, TransitionKind,
        check::machine::{Outline, event_idx, find_state, names_or_one, state_named},
        keys,
        notes::Notes,
        parse::{Kind, Node, Place},
        read::{Fields, wrong_type},
    },
    id::{ComponentName, EventName, MachineName, MethodName},
    json::Path,
    limits::MACHINE_PARTS_MAX,
    time::Duration,
};

/// What must be known of a transition besides what the engine needs.
pub(super) struct Written {
    /// Where it begins.
    pub(super) place: Place,
    /// Where in the document.
    pub(super) path: String,
    /// As written, else zero; the lowest is tried first.
    pub(super) priority: i64,
}

/// Reads all transitions into the machine.
pub(super) fn transitions(
    fields: &Fields<'_>,
    machine: &mut Machine,
    outline: &Outline<'_>,
    notes: &mut Notes,
) -> Vec<Written> {
    let items = fields.list("transitions", notes);
    if items.len() > MACHINE_PARTS_MAX {
        let message = format!("at most {MACHINE_PARTS_MAX} transitions");
        notes.error(
            "too_many",
            fields.place_of("transitions"),
            &fields.path_of("transitions"),
            message,
        );
        return Vec::new();
    }
    let mut written = Vec::new();
    for (path, item) in items {
        let Some(fields) = fields.item(item, &path, &keys::TRANSITION, notes) else {
            continue;
        };
        if let Some(transition) = transition(&fields, machine, outline, notes) {
            machine.transitions.push(transition);
            written.push(Written {
                place: item.place,
                path,
                priority: fields.integer("priority", notes).unwrap_or(0),
            });
        }
    }
    written
}

fn transition(
    fields: &Fields<'_>,
    machine: &mut Machine,
    outline: &Outline<'_>,
    notes: &mut Notes,
) -> Option<Transition> {
    let from = sources(fields, machine, notes);
    let to = state_named(fields, "to", machine, notes);
    let event = fields.required_name("event", notes);
    let rules = matching_rules(fields, notes);
    let has_rules = !rules.is_empty();
    let (kind, rules) = kind(fields, outline, rules, notes)?;
    if let (TransitionKind::Internal, Some(to)) = (&kind, to)
        && !machine.is_only_source(&from, to)
    {
        let finding = notes.error(
            "internal_moves",
            fields.place_of("to"),
            &fields.path_of("to"),
            "an `internal` transition stays in its state",
        );
        finding.help = Some("`to` must equal `from`".to_owned());
    }
    let guard = guard(fields, notes);
    let merge = fields.boolean("mergePayload", notes).unwrap_or(!has_rules);
    let notify = notify_parent(fields, notes);
    Some(Transition {
        from,
        to: to?,
        event: event_idx(machine, &event?.text),
        kind,
        guard,
        rules,
        method: fields
            .name("triggeredMethod", notes)
            .map(|name| MethodName::new(name.text)),
        merge_payload: merge,
        notify_parent: notify,
        description: fields.text("description", notes).map(Into::into),
        metadata: fields.json("metadata"),
    })
}

fn sources(fields: &Fields<'_>, machine: &Machine, notes: &mut Notes) -> Sources {
    if fields.get("from").is_none() {
        fields.missing("from", notes);
    }
    let names = names_or_one(fields, "from", notes);
    if names.iter().any(|name| name.text == "*") {
        return Sources::Any;
    }
    let path = fields.path_of("from");
    let mut from: Vec<StateIdx> = names
        .iter()
        .filter_map(|name| find_state(name, &path, machine, notes))
        .collect();
    from.sort_unstable();
    from.dedup();
    Sources::States(from)
}

/// What makes it fire and what else it does; correlation rules move from `rules` into it.
fn kind(
    fields: &Fields<'_>,
    outline: &Outline<'_>,
    rules: Vec<MatchingRule>,
    notes: &mut Notes,
) -> Option<(TransitionKind, Vec<MatchingRule>)> {
    let name = fields.name("type", notes);
    let text = name.as_ref().map_or("regular", |name| name.text.as_str());
    Some(match text {
        "regular" | "triggerable" => (TransitionKind::Regular, rules),
        "internal" => (TransitionKind::Internal, rules),
        "auto" => {
            let after = fields.millis("timeoutMs", notes).unwrap_or(Duration::ZERO);
            (TransitionKind::Auto { after }, rules)
        }
        "timeout" => (timeout(fields, notes), rules),
        "inter_machine" => (inter_machine(fields, outline, notes)?, rules),
        "cross_component" => across(fields, rules, notes)?,
        other => {
            let help = notes.suggest(other, keys::TRANSITION.types.iter().copied());
            let (place, path) = (fields.place_of("type"), fields.path_of("type"));
            let message = format!("unknown transition type `{other}`");
            notes.error("unknown_value", place, &path, message).help = help;
            return None;
        }
    })
}

fn timeout(fields: &Fields<'_>, notes: &mut Notes) -> TransitionKind {
    let after = fields.millis("timeoutMs", notes);
    let after = after.filter(|after| *after > Duration::ZERO);
    if after.is_none() {
        let message = "a `timeout` transition needs `timeoutMs`, more than 0";
        notes.error(
            "timeout_without_time",
            fields.place_of("timeoutMs"),
            &fields.path_of("timeoutMs"),
            message,
        );
    }
    let reset = fields.boolean("resetOnTransition", notes).unwrap_or(true);
    TransitionKind::Timeout {
        after: after.unwrap_or(Duration(1)),
        reset,
    }
}

fn inter_machine(
    fields: &Fields<'_>,
    outline: &Outline<'_>,
    notes: &mut Notes,
) -> Option<TransitionKind> {
    let target = fields.required_name("targetMachine", notes)?;
    let Some(machine) = outline.names.get(&target.text).copied() else {
        let help = notes.suggest(&target.text, outline.names.keys().map(String::as_str));
        let message = format!("there is no machine `{}` in this component", target.text);
        let path = fields.path_of("targetMachine");
        notes
            .error("unknown_machine", target.place, &path, message)
            .help = help;
        return None;
    };
    Some(TransitionKind::InterMachine {
        machine,
        mapping: mapping(fields, notes),
    })
}

fn across(
    fields: &Fields<'_>,
    rules: Vec<MatchingRule>,
    notes: &mut Notes,
) -> Option<(TransitionKind, Vec<MatchingRule>)> {
    let component = ComponentName::new(fields.required_name("targetComponent", notes)?.text);
    let machine = fields
        .name("targetMachine", notes)
        .map(|name| MachineName::new(name.text));
    let mapping = mapping(fields, notes);
    let Some(event) = fields.name("targetEvent", notes) else {
        return Some((
            TransitionKind::CreateAcross {
                component,
                machine,
                mapping,
            },
            rules,
        ));
    };
    if rules.is_empty() {
        let message = "with `targetEvent` the `matchingRules` say which instances get it";
        let finding = notes.error(
            "missing_key",
            fields.place,
            &fields.path_of("matchingRules"),
            message,
        );
        finding.help =
            Some("add at least one rule, or drop `targetEvent` to create an instance".to_owned());
    }
    let event = EventName::new(event.text);
    Some((
        TransitionKind::SendAcross {
            component,
            machine,
            event,
            mapping,
            rules,
        },
        Vec::new(),
    ))
}

/// A method's name, or `{method: name}`; expressions are reserved.
fn guard(fields: &Fields<'_>, notes: &mut Notes) -> Option<MethodName> {
    let node = fields.get("guard")?;
    let path = fields.path_of("guard");
    let name = match &node.kind {
        Kind::Map(_) => {
            let inner = fields.fields("guard", &keys::GUARD, notes)?;
            if inner.get("expression").is_some() {
                unsupported(inner.place_of("expression"), &path, notes);
                return None;
            }
            inner.required_name("method", notes)?
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => {
            fields.name_in(node, &path, notes)?
        }
    };
    let legal = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.' || c == '$';
    if !name.text.chars().all(legal) || name.text.starts_with(|c: char| c.is_ascii_digit()) {
        unsupported(name.place, &path, notes);
        return None;
    }
    Some(MethodName::new(name.text))
}

fn unsupported(place: Place, path: &str, notes: &mut Notes) {
    let finding = notes.error(
        "expression",
        place,
        path,
        "expressions are not supported yet",
    );
    finding.help = Some("name a guard method instead".to_owned());
}

/// Reads `matchingRules`.
pub(super) fn matching_rules(fields: &Fields<'_>, notes: &mut Notes) -> Vec<MatchingRule> {
    let mut rules = Vec::new();
    for (path, item) in fields.list("matchingRules", notes) {
        let Some(rule) = fields.item(item, &path, &keys::RULE, notes) else {
            continue;
        };
        let operator = operator(&rule, notes);
        let event = rule.dotted("eventProperty", notes);
        let instance = rule.dotted("instanceProperty", notes);
        if let (Some(event), Some(instance), Some(operator)) = (event, instance, operator) {
            let event_property = event.without_prefix("payload").unwrap_or(event);
            rules.push(MatchingRule {
                event_property,
                instance_property: instance,
                operator,
            });
        }
    }
    rules
}

fn operator(rule: &Fields<'_>, notes: &mut Notes) -> Option<Operator> {
    let Some(name) = rule.name("operator", notes) else {
        return Some(Operator::Equal);
    };
    let operator = Operator::parse(&name.text);
    if operator.is_none() {
        let finding = notes.error(
            "unknown_value",
            name.place,
            &rule.path_of("operator"),
            format!("unknown operator `{}`", name.text),
        );
        finding.help = Some("an operator is one of === !== > < >= <= contains in".to_owned());
    }
    operator
}

fn mapping(fields: &Fields<'_>, notes: &mut Notes) -> Option<Mapping> {
    let node = fields.get("contextMapping")?;
    let path = fields.path_of("contextMapping");
    let Kind::Map(entries) = &node.kind else {
        wrong_type(
            notes,
            node,
            &path,
            "a mapping of target property to source path",
        );
        return None;
    };
    let mut pairs = Vec::new();
    for (key, value) in entries {
        let target = fields.legal_name(&key.text, key.place, &path, notes);
        let Some(source) = fields.name_in(value, &path, notes) else {
            continue;
        };
        match (target, Path::parse(&source.text)) {
            (Some(target), Some(source)) => pairs.push((target.text, source)),
            (_, None) => {
                notes.error(
                    "invalid_path",
                    source.place,
                    &path,
                    format!("`{}` is not a path like `customer.id`", source.text),
                );
            }
            (None, _) => {}
        }
    }
    Some(Mapping::new(pairs))
}

fn notify_parent(fields: &Fields<'_>, notes: &mut Notes) -> Option<NotifyParent> {
    let notify = fields.fields("notifyParent", &keys::NOTIFY_PARENT, notes)?;
    let event = notify.required_name("event", notes)?;
    Some(NotifyParent {
        event: EventName::new(event.text),
        include_state: notify.boolean("includeState", notes).unwrap_or(true),
        include_context: notify.boolean("includeContext", notes).unwrap_or(false),
    })
}

/// Reads `onFault`: `keep`, `{retry: {max, backoffMs}}` or `{state: name}`.
pub(super) fn on_fault(fields: &Fields<'_>, machine: &Machine, notes: &mut Notes) -> OnFault {
    let Some(node) = fields.get("onFault") else {
        return OnFault::Keep;
    };
    if let Kind::Map(_) = node.kind {
        return on_fault_map(fields, node, machine, notes);
    }
    match fields.name("onFault", notes) {
        Some(name) if name.text == "keep" => {}
        Some(name) => {
            let message =
                "`onFault` is `keep`, `{retry: {max, backoffMs}}` or `{state: <error state>}`";
            notes.error(
                "unknown_value",
                name.place,
                &fields.path_of("onFault"),
                message,
            );
        }
        None => {}
    }
    OnFault::Keep
}

fn on_fault_map(fields: &Fields<'_>, node: &Node, machine: &Machine, notes: &mut Notes) -> OnFault {
    let Some(fault) = fields.fields("onFault", &keys::ON_FAULT, notes) else {
        return OnFault::Keep;
    };
    if fault.get("state").is_some() {
        if fault.get("retry").is_some() {
            let (place, path) = (fault.key_place("retry"), fault.path_of("retry"));
            let why = "an instance that moves to an error state does not try again";
            notes.no_effect("retry", place, &path, why);
        }
        let Some(state) = state_named(&fault, "state", machine, notes) else {
            return OnFault::Keep;
        };
        if machine.state(state).kind != StateKind::Error {
            notes.error(
                "not_an_error_state",
                fault.place_of("state"),
                &fault.path_of("state"),
                "`onFault` leads to a state of type `error`",
            );
        }
        return OnFault::Goto(state);
    }
    let Some(retry) = fault.fields("retry", &keys::RETRY, notes) else {
        notes.error(
            "unknown_value",
            node.place,
            &fields.path_of("onFault"),
            "expected `retry` or `state`",
        );
        return OnFault::Keep;
    };
    let max = retry.whole("max", notes).unwrap_or(3);
    let backoff = retry
        .millis("backoffMs", notes)
        .unwrap_or(Duration::from_secs(1));
    OnFault::Retry {
        max: u32::try_from(max).unwrap_or(u32::MAX),
        backoff,
    }
}
