//! What is legal one by one and wrong together.

use std::collections::BTreeSet;

use crate::definition::{
    EventIdx, Machine, OnFault, Sources, StateIdx, Transition, TransitionIdx, TransitionKind,
    check::{machine, transition::Written},
    diagnostic::{Severity, Strictness},
    notes::Notes,
};

/// Ambiguous and shadowed transitions, rules that never hold, dead ends, events that nobody
/// handles.
pub(super) fn machine(
    machine: &Machine,
    written: &[Written],
    states: &[machine::Written],
    strictness: Strictness,
    notes: &mut Notes,
) {
    overlaps(machine, written, strictness, notes);
    for (transition, written) in machine.transitions.iter().zip(written) {
        never_passes(transition, written, notes);
        leaves_final_state(machine, transition, written, notes);
    }
    for (state, written) in machine.states.iter().zip(states) {
        let unhandled = |event: &&_| machine.find_event(str_of(event)).is_none();
        for event in state.defer.iter().filter(unhandled) {
            let message = format!("`{}` defers `{event}`, which no state handles", state.name);
            let path = format!("{}.defer", written.path);
            notes.warning("defers_unhandled", written.place, &path, message);
        }
    }
    unreachable(machine, states, notes);
}

fn str_of(event: &crate::id::EventName) -> &str {
    event.as_str()
}

fn leaves_final_state(
    machine: &Machine,
    transition: &Transition,
    written: &Written,
    notes: &mut Notes,
) {
    let Sources::States(from) = &transition.from else {
        return;
    };
    let mut from = from.iter().map(|state| machine.state(*state));
    if let Some(state) = from.find(|state| state.kind.is_terminal()) {
        let message = format!("`{}` is final: no transition ever leaves it", state.name);
        let path = format!("{}.from", written.path);
        notes.warning("leaves_final_state", written.place, &path, message);
    }
}

/// What fires by itself has no payload but what the host puts in: `reason`, for a timeout.
fn never_passes(transition: &Transition, written: &Written, notes: &mut Notes) {
    let (kind, given) = match transition.kind {
        TransitionKind::Auto { .. } => ("an `auto` transition", None),
        TransitionKind::Timeout { .. } => ("a `timeout` transition", Some("reason")),
        TransitionKind::Regular
        | TransitionKind::Internal
        | TransitionKind::InterMachine { .. }
        | TransitionKind::CreateAcross { .. }
        | TransitionKind::SendAcross { .. } => return,
    };
    let mut rules = transition.rules.iter();
    let missing = rules.find(|rule| {
        let segments = rule.event_property.segments();
        segments.len() != 1 || Some(&*segments[0]) != given
    });
    if let Some(rule) = missing {
        let message = format!(
            "{kind} never passes this rule: its event has no `{}`",
            rule.event_property
        );
        let path = format!("{}.matchingRules", written.path);
        let finding = notes.warning("never_passes", written.place, &path, message);
        finding.help = Some("decide with a `guard`, which sees the context".to_owned());
    }
}

/// States that no transition reaches from the initial one.
fn unreachable(machine: &Machine, states: &[machine::Written], notes: &mut Notes) {
    if machine.states.is_empty() {
        return;
    }
    let mut leads_to: Vec<Vec<StateIdx>> = vec![Vec::new(); machine.states.len()];
    let mut from_any = Vec::new();
    for transition in &machine.transitions {
        match &transition.from {
            Sources::Any => from_any.push(transition.to),
            Sources::States(from) => {
                for state in from {
                    leads_to[usize::from(state.0)].push(transition.to);
                }
            }
        }
    }
    let mut reached = vec![false; machine.states.len()];
    let mut open = vec![machine.initial];
    if let OnFault::Goto(state) = machine.on_fault {
        open.push(state);
    }
    while let Some(state) = open.pop() {
        if std::mem::replace(&mut reached[usize::from(state.0)], true) {
            continue;
        }
        open.append(&mut leads_to[usize::from(state.0)]);
        if !machine.state(state).kind.is_terminal() {
            open.append(&mut from_any);
        }
    }
    for ((state, written), reached) in machine.states.iter().zip(states).zip(reached) {
        if !reached {
            let message = format!("no transition reaches `{}`", state.name);
            notes.warning("unreachable_state", written.place, &written.path, message);
        }
    }
}

/// Transitions that are never tried, because one without conditions comes before them. Those that
/// fire by themselves are told apart by their timers.
fn overlaps(machine: &Machine, written: &[Written], strictness: Strictness, notes: &mut Notes) {
    let mut overlaps = Overlaps {
        machine,
        written,
        strictness,
        known: BTreeSet::new(),
    };
    let live = machine
        .states
        .iter()
        .position(|one| !one.kind.is_terminal());
    let live = live.and_then(|position| u16::try_from(position).ok().map(StateIdx));
    for (position, transition) in machine.transitions.iter().enumerate() {
        let event = transition.event;
        let begins = |choices: &[TransitionIdx]| usize::from(choices[0].0) == position;
        // Each list once: where its first transition is written.
        match &transition.from {
            Sources::Any => {
                let choices = &machine.choices.any[usize::from(event.0)];
                if let Some(state) = live.filter(|_| begins(choices)) {
                    overlaps.find(choices, state, event, notes);
                }
            }
            Sources::States(from) => {
                for state in from {
                    let choices = &machine.choices.explicit[&(*state, event)];
                    if begins(choices) {
                        overlaps.find(choices, *state, event, notes);
                    }
                }
            }
        }
    }
}

struct Overlaps<'a> {
    machine: &'a Machine,
    written: &'a [Written],
    strictness: Strictness,
    /// Pairs that were reported for another state.
    known: BTreeSet<(TransitionIdx, TransitionIdx)>,
}

impl Overlaps<'_> {
    /// Reports what is never tried of one list, at most two findings for all of it.
    fn find(
        &mut self,
        choices: &[TransitionIdx],
        state: StateIdx,
        event: EventIdx,
        notes: &mut Notes,
    ) {
        let told_apart = |idx: &&TransitionIdx| {
            let kind = &self.machine.transition(**idx).kind;
            !matches!(
                kind,
                TransitionKind::Timeout { .. } | TransitionKind::Auto { .. }
            )
        };
        let mut tried = choices.iter().filter(told_apart);
        let Some(first) = tried.find(|idx| !self.machine.transition(**idx).is_conditional()) else {
            return;
        };
        let priority = |idx: &TransitionIdx| self.written[usize::from(idx.0)].priority;
        let (equal, after): (Vec<TransitionIdx>, Vec<TransitionIdx>) =
            tried.partition(|idx| priority(idx) == priority(first));
        let (state, event) = (&self.machine.state(state).name, self.machine.event(event));
        let other = &self.written[usize::from(first.0)].path;
        if let Some(second) = equal.first()
            && self.known.insert((*first, *second))
        {
            let severity = match self.strictness {
                Strictness::Lenient => Severity::Warning,
                Strictness::Normal => Severity::Error,
            };
            let n = equal.len() + 1;
            let (count, help) = match n {
                2 => (
                    "two".to_owned(),
                    format!("the other is {other}; give one a guard, matching rules or a priority"),
                ),
                n => (
                    n.to_string(),
                    format!("the first is {other}; give all but one a guard, rules or a priority"),
                ),
            };
            let Written { place, path, .. } = &self.written[usize::from(second.0)];
            let message =
                format!("{count} transitions without guard or rules leave `{state}` on `{event}`");
            let finding = notes.note(severity, "ambiguous", *place, path, message);
            finding.help = Some(help);
        }
        if let Some(second) = after.first()
            && self.known.insert((*first, *second))
        {
            let Written { place, path, .. } = &self.written[usize::from(second.0)];
            let more = match after.len() {
                1 => String::new(),
                n => format!(", nor do {} others", n - 1),
            };
            let message = format!(
                "for `{state}` on `{event}` this never fires{more}: {other} comes before it"
            );
            notes.warning("shadowed", *place, path, message);
        }
    }
}
