//! The tables that the engine asks, and limits on what an event may cost it.

use std::collections::BTreeSet;

use crate::{
    definition::{
        EventIdx, Machine, MatchingRule, Operator, Sources, StateIdx, TransitionIdx,
        TransitionKind, check::transition::Written, notes::Notes, read::Fields,
    },
    limits::{CHOICES_MAX, INDEXED_MAX, RULES_MAX},
};

/// Fills the machine's tables.
pub(super) fn tabulate(
    fields: &Fields<'_>,
    machine: &mut Machine,
    written: &[Written],
    notes: &mut Notes,
) {
    let n_events = machine.events.len();
    machine.choices.any = vec![Vec::new(); n_events];
    machine.choices.ruled = vec![Vec::new(); n_events];
    for idx in in_order(machine, written) {
        let transition = &machine.transitions[usize::from(idx.0)];
        let event = transition.event;
        match &transition.from {
            Sources::Any => machine.choices.any[usize::from(event.0)].push(idx),
            Sources::States(states) => {
                for state in states {
                    let choices = machine.choices.explicit.entry((*state, event)).or_default();
                    choices.push(idx);
                }
            }
        }
    }
    limit_choices(machine, written, notes);
    self_firing(machine, written, notes);
    rules(machine, written, notes);
    if machine.choices.indexed.len() > INDEXED_MAX {
        let message = format!(
            "rules compare {} properties for equality; {INDEXED_MAX} of them have an index, \
             for the others every instance is looked at",
            machine.choices.indexed.len()
        );
        let (place, path) = (
            fields.place_of("transitions"),
            fields.path_of("transitions"),
        );
        notes.warning("too_many_indexed", place, &path, message);
        machine.choices.indexed.truncate(INDEXED_MAX);
    }
}

/// All transitions in the order in which they are tried: by priority, then those with rules or a
/// guard, then as written.
fn in_order(machine: &Machine, written: &[Written]) -> Vec<TransitionIdx> {
    let mut order: Vec<usize> = (0..machine.transitions.len()).collect();
    order.sort_by_key(|position| {
        let conditional = machine.transitions[*position].is_conditional();
        (written[*position].priority, !conditional, *position)
    });
    order.into_iter().map(transition_idx).collect()
}

fn transition_idx(position: usize) -> TransitionIdx {
    TransitionIdx(u16::try_from(position).expect("transitions are limited"))
}

/// One event in one state may try so many transitions and rules.
fn limit_choices(machine: &Machine, written: &[Written], notes: &mut Notes) {
    let mut check = |choices: &[TransitionIdx], state: Option<StateIdx>, event: EventIdx| {
        let rules = choices
            .iter()
            .map(|idx| machine.transition(*idx).rules.len());
        let n_rules: usize = rules.sum();
        if choices.len() <= CHOICES_MAX && n_rules <= RULES_MAX {
            return;
        }
        let written = &written[usize::from(choices[0].0)];
        let state = state.map_or("*", |state| machine.state(state).name.as_str());
        let message = format!(
            "{} transitions with {n_rules} matching rules leave `{state}` on `{}`; \
             at most {CHOICES_MAX} with {RULES_MAX} are tried for one event",
            choices.len(),
            machine.event(event)
        );
        notes.error("too_many_choices", written.place, &written.path, message);
    };
    for (position, transition) in machine.transitions.iter().enumerate() {
        let (idx, event) = (transition_idx(position), transition.event);
        // Each list once: where its first transition is written.
        match &transition.from {
            Sources::Any => {
                let choices = &machine.choices.any[usize::from(event.0)];
                if choices[0] == idx {
                    check(choices, None, event);
                }
            }
            Sources::States(states) => {
                for state in states {
                    let explicit = &machine.choices.explicit[&(*state, event)];
                    if explicit[0] == idx
                        && machine.choices.any[usize::from(event.0)].len() <= CHOICES_MAX
                    {
                        check(&machine.candidates(*state, event), Some(*state), event);
                    }
                }
            }
        }
    }
}

/// Notes for each state which transitions fire by themselves.
fn self_firing(machine: &mut Machine, written: &[Written], notes: &mut Notes) {
    let Machine {
        states,
        transitions,
        ..
    } = machine;
    for (position, transition) in transitions.iter().enumerate() {
        let is_auto = match transition.kind {
            TransitionKind::Auto { .. } => true,
            TransitionKind::Timeout { .. } => false,
            TransitionKind::Regular
            | TransitionKind::Internal
            | TransitionKind::InterMachine { .. }
            | TransitionKind::CreateAcross { .. }
            | TransitionKind::SendAcross { .. } => continue,
        };
        let idx = transition_idx(position);
        let mut enter = |state: &mut crate::definition::State| {
            if state.autos.len() + state.timeouts.len() == CHOICES_MAX {
                return Err(state.name.clone());
            }
            match is_auto {
                true => state.autos.push(idx),
                false => state.timeouts.push(idx),
            }
            Ok(())
        };
        let entered = match &transition.from {
            Sources::Any => states
                .iter_mut()
                .filter(|state| !state.kind.is_terminal())
                .try_for_each(&mut enter),
            Sources::States(from) => from
                .iter()
                .try_for_each(|state| enter(&mut states[usize::from(state.0)])),
        };
        if let Err(state) = entered {
            let Written { place, path, .. } = &written[position];
            let message =
                format!("more than {CHOICES_MAX} transitions of `{state}` fire by themselves");
            notes.error("too_many_choices", *place, path, message);
            return;
        }
    }
}

/// Notes for each event which different rules select its instances, and which properties they
/// compare.
fn rules(machine: &mut Machine, written: &[Written], notes: &mut Notes) {
    let mut known: BTreeSet<(EventIdx, &[MatchingRule])> = BTreeSet::new();
    for (position, transition) in machine.transitions.iter().enumerate() {
        let (event, rules) = (transition.event, transition.rules.as_slice());
        if rules.is_empty() || !known.insert((event, rules)) {
            continue;
        }
        let ruled = &mut machine.choices.ruled[usize::from(event.0)];
        ruled.push(transition_idx(position));
        if ruled.len() == RULES_MAX + 1 {
            let Written { place, path, .. } = &written[position];
            let message = format!(
                "more than {RULES_MAX} different lists of matching rules for `{}`",
                machine.events[usize::from(event.0)]
            );
            notes.error("too_many_choices", *place, path, message);
        }
    }
    let rules = machine.transitions.iter().flat_map(|one| &one.rules);
    let equal = rules.filter(|rule| rule.operator == Operator::Equal);
    machine.choices.indexed = equal.map(|rule| rule.instance_property.clone()).collect();
    machine.choices.indexed.sort();
    machine.choices.indexed.dedup();
}
