//! What is legal one by one and wrong together.

use crate::definition::{
    EventIdx, Machine, StateIdx, Transition, TransitionKind,
    check::transition::Written,
    diagnostic::{Severity, Strictness},
    read::{Fields, Notes},
};

/// Ambiguous and shadowed transitions, dead ends, events that nobody handles.
pub(super) fn machine(
    fields: &Fields<'_>,
    machine: &Machine,
    written: &[Written],
    strictness: Strictness,
    notes: &mut Notes,
) {
    overlaps(machine, written, strictness, notes);
    for (transition, written) in machine.transitions.iter().zip(written) {
        let left = transition
            .from
            .iter()
            .find(|state| machine.state(**state).kind.is_terminal());
        if let Some(state) = left {
            let message = format!(
                "`{}` is final: no transition ever leaves it",
                machine.state(*state).name
            );
            notes.warning(
                "leaves_final_state",
                written.place,
                &format!("{}.from", written.path),
                message,
            );
        }
    }
    for state in &machine.states {
        for event in &state.defer {
            let handled = machine.find_event(event.as_str()).is_some();
            if !handled {
                let message = format!("`{}` defers `{event}`, which no state handles", state.name);
                notes.warning(
                    "defers_unhandled",
                    fields.place_of("states"),
                    &fields.path_of("states"),
                    message,
                );
            }
        }
    }
}

/// States that no transition reaches from the initial one.
pub(super) fn reachable(fields: &Fields<'_>, machine: &Machine, notes: &mut Notes) {
    if machine.states.is_empty() {
        return;
    }
    let mut reached = vec![false; machine.states.len()];
    let mut open = vec![machine.initial];
    if let crate::definition::OnFault::Goto(state) = machine.on_fault {
        open.push(state);
    }
    while let Some(state) = open.pop() {
        if std::mem::replace(&mut reached[usize::from(state.0)], true) {
            continue;
        }
        open.extend(
            machine
                .transitions
                .iter()
                .filter(|transition| transition.from.contains(&state))
                .map(|transition| transition.to),
        );
    }
    for (state, (path, node)) in machine
        .states
        .iter()
        .zip(fields.list("states", &mut Notes::default()))
    {
        let position = machine.find_state(state.name.as_str());
        if position.is_some_and(|position| !reached[usize::from(position.0)]) {
            notes.warning(
                "unreachable_state",
                node.place,
                &path,
                format!("no transition reaches `{}`", state.name),
            );
        }
    }
}

/// Pairs of unconditional transitions for the same state and event: the later one never fires.
fn overlaps(machine: &Machine, written: &[Written], strictness: Strictness, notes: &mut Notes) {
    for (position, later) in machine.transitions.iter().enumerate() {
        for (earlier_position, earlier) in machine.transitions[..position].iter().enumerate() {
            let Some((state, event)) = overlap(earlier, later) else {
                continue;
            };
            let same_rank = earlier.from_any == later.from_any
                && written[earlier_position].priority.unwrap_or(0)
                    == written[position].priority.unwrap_or(0);
            let place = written[position].place;
            let path = &written[position].path;
            let (state, event) = (&machine.state(state).name, machine.event(event));
            if same_rank {
                let severity = if strictness == Strictness::Lenient {
                    Severity::Warning
                } else {
                    Severity::Error
                };
                let message =
                    format!("two transitions without guard or rules leave `{state}` on `{event}`");
                let finding = notes.note(severity, "ambiguous", place, path, message);
                finding.help = Some(format!(
                    "the other is {}; give one a guard, matching rules or a priority",
                    written[earlier_position].path
                ));
            } else if earlier.from_any == later.from_any {
                let message = format!(
                    "for `{state}` on `{event}` only one of this and {} ever fires",
                    written[earlier_position].path
                );
                notes.warning("shadowed", place, path, message);
            }
        }
    }
}

fn overlap(left: &Transition, right: &Transition) -> Option<(StateIdx, EventIdx)> {
    let unconditional =
        |transition: &Transition| transition.guard.is_none() && transition.rules.is_empty();
    let by_itself = |transition: &Transition| {
        matches!(
            transition.kind,
            TransitionKind::Timeout { .. } | TransitionKind::Auto { .. }
        )
    };
    if left.event != right.event
        || !unconditional(left)
        || !unconditional(right)
        || by_itself(left)
        || by_itself(right)
    {
        return None;
    }
    left.from
        .iter()
        .find(|state| right.from.contains(state))
        .map(|state| (*state, left.event))
}
