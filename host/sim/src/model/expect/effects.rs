//! What a transition does: state, timers, and everything that it sends.

use serde_json::{Value, json};
use xcomponent_core::{
    json::Json,
    record::{Handled, Outgoing, SelectBy, Target},
};

use super::{
    super::{Instance, Timer, Wait, canonical, value::merge},
    step::{Step, Taken},
    used_up,
};
use crate::{
    blueprint::{Blueprint, Kind, Machine, Rule, State, Transition},
    guest::Sent,
};

/// Carries a transition out, and compares what it sends with the record; names what it took back.
pub(super) fn carry_out(
    step: &Step<'_>,
    blueprint: &Blueprint,
    next: &mut Instance,
    seen: &Instance,
    at: u64,
    taken: &Taken,
    handled: &Handled,
) -> Result<Vec<String>, String> {
    let from = next.state.clone();
    let kind = taken.transition.as_ref().map(|transition| &transition.kind);
    let internal = matches!(kind, Some(Kind::Internal));
    if next.version != seen.version {
        move_timers(next, step.machine);
        next.version.clone_from(&seen.version);
    }
    used_up(next, &step.event);
    next.state.clone_from(&taken.to);
    next.context = taken.context.clone();
    let target = step.machine.state(&taken.to).ok_or("an unknown state")?;
    next.ended = !target.kind.is_empty();
    if !internal {
        let same_state = !taken.creates && taken.transition.is_some() && from == taken.to;
        next.entered = at;
        enter(next, step.machine, same_state, at);
    }
    let mut wanted = Wanted {
        step,
        own: blueprint.component,
        next: &*next,
        n: u32::try_from(
            taken
                .sends
                .iter()
                .filter(|(sent, _)| !matches!(sent, Sent::Cancel { .. }))
                .count(),
        )
        .unwrap_or(u32::MAX),
        lines: Vec::new(),
    };
    wanted.of_definition(taken, &from, target, internal);
    let (mut lines, mut timers, cancelled) = wanted.of_methods(taken, at);
    let taken_back = |id: &str| cancelled.iter().any(|cancelled| cancelled == id);
    lines.retain(|(id, _)| !taken_back(id));
    timers.retain(|timer: &Timer| !taken_back(&timer.id));
    next.timers
        .retain(|timer| !(matches!(timer.wait, Wait::Send(_)) && taken_back(&timer.id)));
    next.timers.extend(timers);
    if next.ended {
        next.timers.retain(|timer| timer.wait == Wait::Send(false));
        next.retry = None;
    }
    let mut wanted: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    let mut found: Vec<String> = handled.deliveries.iter().map(line).collect();
    wanted.sort();
    found.sort();
    if wanted == found {
        Ok(cancelled)
    } else {
        Err(format!("expected to send {wanted:#?}\n   found {found:#?}"))
    }
}

/// Timers of the state as another version has them.
pub(super) fn move_timers(next: &mut Instance, machine: &Machine) {
    let (state, entered) = (next.state.clone(), next.entered);
    let here = |transition: &&Transition| transition.from == state || transition.from == "*";
    let waits: Vec<Wait> = machine
        .transitions
        .iter()
        .filter(here)
        .filter_map(wait)
        .collect();
    next.timers.retain(|timer| match timer.wait {
        Wait::Send(_) => true,
        Wait::Timeout(..) | Wait::Auto(_) => waits.contains(&timer.wait),
    });
    for wait in waits {
        let known = next.timers.iter().any(|timer| timer.wait == wait);
        if let Wait::Timeout(_, after) = &wait
            && !known
        {
            let due = entered + after;
            next.timers.push(Timer {
                due,
                wait,
                id: String::new(),
            });
        }
    }
}

fn wait(transition: &Transition) -> Option<Wait> {
    match transition.kind {
        Kind::Timeout(after, _) => Some(Wait::Timeout(transition.event.to_owned(), after)),
        Kind::Auto(after) => Some(Wait::Auto(after)),
        Kind::Regular | Kind::Internal | Kind::Child(_) | Kind::Create(..) | Kind::Send(..) => None,
    }
}

/// Timers of the state that was left are void, those of the new one begin.
fn enter(next: &mut Instance, machine: &Machine, same_state: bool, at: u64) {
    let state = next.state.clone();
    let here = |transition: &&Transition| transition.from == state || transition.from == "*";
    let goes_on = |wanted: &Wait| {
        let mut all = machine.transitions.iter().filter(here);
        same_state
            && all.any(|transition| {
                wait(transition).as_ref() == Some(wanted)
                    && matches!(transition.kind, Kind::Timeout(_, false))
            })
    };
    next.timers.retain(|timer| match &timer.wait {
        Wait::Send(_) => true,
        Wait::Timeout(..) | Wait::Auto(_) => goes_on(&timer.wait),
    });
    if next.ended {
        return;
    }
    for transition in machine.transitions.iter().filter(here) {
        let Some(wait) = wait(transition) else {
            continue;
        };
        let (Wait::Timeout(_, after) | Wait::Auto(after)) = wait else {
            continue;
        };
        if !next.timers.iter().any(|timer| timer.wait == wait) {
            next.timers.push(Timer {
                due: at + after,
                wait,
                id: String::new(),
            });
        }
    }
}

/// Collects what must be sent: by id, and as a line.
struct Wanted<'a> {
    step: &'a Step<'a>,
    own: &'a str,
    next: &'a Instance,
    n: u32,
    lines: Vec<(String, String)>,
}

impl Wanted<'_> {
    fn push(&mut self, to: &str, event: &str, payload: &Value) {
        self.n += 1;
        let id = format!("{}.{}", self.step.event, self.n);
        let line = format!("{id} {to} {event} {}", canonical(payload));
        self.lines.push((id, line));
    }

    /// To the parent, to children, across, by cascades.
    fn of_definition(&mut self, taken: &Taken, from: &str, target: &State, internal: bool) {
        let own = taken
            .transition
            .as_ref()
            .and_then(|transition| transition.notify);
        let notice = own.or_else(|| self.step.machine.parent_event.filter(|_| !internal));
        if let (Some((component, parent)), Some(event), false) =
            (&self.next.parent, notice, taken.creates)
        {
            let payload = json!({
                "childInstanceId": self.step.id,
                "childMachine": self.next.machine,
                "previousState": from,
                "newState": taken.to,
            });
            let to = format!("to {component}/{parent}");
            self.push(&to, event, &payload);
        }
        let all = merge(&self.next.context, &self.step.payload);
        match taken.transition.as_ref().map(|transition| &transition.kind) {
            Some(Kind::Child(machine)) => {
                let to = format!("create {}/{machine} for {}", self.own, self.step.id);
                self.push(&to, "$created", &all);
            }
            Some(Kind::Create(component, machine)) => {
                self.push(&format!("create {component}/{machine}"), "$created", &all);
            }
            Some(Kind::Send(component, machine, event, rules)) => {
                let by = conditions(rules, |member| all.get(member).cloned());
                self.push(
                    &format!("select {component}/{machine}[] by {by}"),
                    event,
                    &all,
                );
            }
            _ => {}
        }
        for cascade in target.cascades.iter().filter(|_| !internal) {
            let context = &self.next.context;
            let member = |name: &&str| {
                (
                    (*name).to_owned(),
                    context.get(*name).cloned().unwrap_or_default(),
                )
            };
            let payload = Value::Object(cascade.payload.iter().map(member).collect());
            let value = |member: &str| payload.get(member).or_else(|| context.get(member)).cloned();
            let by = conditions(&cascade.rules, value);
            let to = format!(
                "select {}/{}[{}] by {by}",
                cascade.component.unwrap_or(self.own),
                cascade.machine,
                cascade.state.unwrap_or_default(),
            );
            self.push(&to, cascade.event, &payload);
        }
    }

    /// What the methods sent at once, and later; and what they took back.
    fn of_methods(
        mut self,
        taken: &Taken,
        at: u64,
    ) -> (Vec<(String, String)>, Vec<Timer>, Vec<String>) {
        let (mut timers, mut cancelled) = (Vec::new(), Vec::new());
        self.n = 0;
        for (sent, payload) in &taken.sends {
            let (to, event, payload, delay, itself) = match sent {
                Sent::Cancel { id } => {
                    cancelled.push(id.clone());
                    continue;
                }
                Sent::Itself { event, delay } => {
                    let to = format!("to {}/{}", self.own, self.step.id);
                    (to, *event, payload, *delay, true)
                }
                Sent::Peer { id, event, delay } => {
                    let itself = id == self.step.id;
                    (
                        format!("to {}/{id}", self.own),
                        *event,
                        payload,
                        *delay,
                        itself,
                    )
                }
                Sent::Tasks => {
                    let to = format!("select {}/Task[] by its rules", self.own);
                    (to, "PING", payload, None, false)
                }
                Sent::Child { context } => {
                    let to = format!("create {}/Task for {}", self.own, self.step.id);
                    (to, "$created", context, None, false)
                }
            };
            if let Some(delay) = delay {
                self.n += 1;
                timers.push(Timer {
                    due: at + delay,
                    wait: Wait::Send(itself),
                    id: format!("{}.{}", self.step.event, self.n),
                });
            } else {
                self.push(&to, event, payload);
            }
        }
        (self.lines, timers, cancelled)
    }
}

fn conditions(rules: &[Rule], value: impl Fn(&str) -> Option<Value>) -> String {
    if rules.is_empty() {
        return "its rules".to_owned();
    }
    let one = |rule: &Rule| format!("{} {} {:?}", rule.instance, rule.op, value(rule.event));
    rules.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// What the record sends, in the same words.
fn line(outgoing: &Outgoing) -> String {
    let to = match &outgoing.to {
        Target::Instance { component, id } => format!("to {component}/{id}"),
        Target::Create {
            component,
            machine,
            parent,
            ..
        } => {
            let machine = machine
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let parent = parent.as_ref().map(|parent| format!(" for {}", parent.id));
            format!("create {component}/{machine}{}", parent.unwrap_or_default())
        }
        Target::Selection(selector) => {
            let by = match &selector.by {
                SelectBy::MachineRules => "its rules".to_owned(),
                SelectBy::Conditions(conditions) => {
                    let one = |condition: &xcomponent_core::record::Condition| {
                        let rule = &condition.rule;
                        format!(
                            "{} {} {:?}",
                            rule.instance_property,
                            rule.operator,
                            condition.value.as_ref().map(Json::value)
                        )
                    };
                    conditions.iter().map(one).collect::<Vec<_>>().join(" and ")
                }
            };
            let machine = selector
                .machine
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let state = selector
                .state
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("select {}/{machine}[{state}] by {by}", selector.component)
        }
    };
    format!(
        "{} {to} {} {}",
        outgoing.event.id,
        outgoing.event.name,
        canonical(&outgoing.event.payload.value())
    )
}
