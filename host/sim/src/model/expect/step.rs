//! One event at one instance: which transition, and what its methods say.

use serde_json::Value;

use super::super::{Instance, holds, value::merge};
use crate::{
    blueprint::{Kind, Machine, Transition},
    guest::{self, Answer, Question, Sent},
};

/// An event at an instance.
#[derive(Debug)]
pub(super) struct Step<'a> {
    /// Whose.
    pub(super) tenant: &'a str,
    /// At which instance.
    pub(super) id: &'a str,
    /// The event's id.
    pub(super) event: String,
    /// What it carries.
    pub(super) payload: Value,
    /// From 1.
    pub(super) attempt: u32,
    /// Whether the host made the payload.
    pub(super) host_made: bool,
    /// The machine, in the version that the record names.
    pub(super) machine: &'a Machine,
}

/// What an event comes to.
#[derive(Debug)]
pub(super) enum Decision {
    /// A transition.
    Take(Box<Taken>),
    /// Nothing applied.
    Ignored,
    /// It was not to be looked at.
    Rejected,
    /// A method said no.
    Refused,
    /// It waits.
    Deferred,
    /// A method panicked.
    Fault,
    /// An operator ends the instance.
    Terminated,
    /// An operator deletes the instance.
    Deleted,
}

/// A transition that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    /// Which; none for a creation or after a fault.
    pub(super) transition: Option<Transition>,
    /// Where it leads.
    pub(super) to: String,
    /// The context afterwards.
    pub(super) context: Value,
    /// What its methods sent, with the payload.
    pub(super) sends: Vec<(Sent, Value)>,
    /// Whether it is a creation.
    pub(super) creates: bool,
}

impl Taken {
    /// A fault led to an error state.
    pub(super) fn failed(to: &str, context: Value) -> Self {
        Self {
            transition: None,
            to: to.to_owned(),
            context,
            sends: Vec::new(),
            creates: false,
        }
    }
}

impl Step<'_> {
    /// A creation: the initial state is entered.
    pub(super) fn create(&self, born: &Instance) -> Decision {
        let mut taken = Taken {
            transition: None,
            to: self.machine.initial.to_owned(),
            context: born.context.clone(),
            sends: Vec::new(),
            creates: true,
        };
        let entry = self.machine.state(&taken.to).and_then(|state| state.entry);
        match self.act(&mut taken, entry) {
            Ok(()) => Decision::Take(Box::new(taken)),
            Err(decision) => decision,
        }
    }

    /// The first candidate whose rules and guard pass.
    pub(super) fn choose(&self, before: &Instance, candidates: &[&Transition]) -> Decision {
        for transition in candidates {
            let ruled = transition.rules.iter().all(|rule| {
                holds(
                    rule.op,
                    before.context.get(rule.instance),
                    self.payload.get(rule.event),
                )
            });
            if !ruled {
                continue;
            }
            if let Some(guard) = transition.guard {
                match guest::answer(self.question(true, guard, &before.context, 0)) {
                    Answer::Guard(true) => {}
                    Answer::Guard(false) => continue,
                    Answer::Refused => return Decision::Refused,
                    Answer::Panicked | Answer::Action { .. } => return Decision::Fault,
                }
            }
            return match self.take(before, transition) {
                Ok(taken) => Decision::Take(Box::new(taken)),
                Err(decision) => decision,
            };
        }
        Decision::Ignored
    }

    fn take(&self, before: &Instance, transition: &Transition) -> Result<Taken, Decision> {
        let internal = matches!(transition.kind, Kind::Internal);
        let mut taken = Taken {
            transition: Some(transition.clone()),
            to: if internal {
                before.state.clone()
            } else {
                transition.to.to_owned()
            },
            context: before.context.clone(),
            sends: Vec::new(),
            creates: false,
        };
        let exit = self
            .machine
            .state(&before.state)
            .and_then(|state| state.exit);
        let entry = self.machine.state(&taken.to).and_then(|state| state.entry);
        self.act(&mut taken, exit.filter(|_| !internal))?;
        self.act(&mut taken, transition.method)?;
        let has_rules = !transition.rules.is_empty() || matches!(transition.kind, Kind::Send(..));
        if !has_rules && !self.host_made {
            taken.context = merge(&taken.context, &self.payload);
        }
        self.act(&mut taken, entry.filter(|_| !internal))?;
        Ok(taken)
    }

    fn act(&self, taken: &mut Taken, method: Option<&str>) -> Result<(), Decision> {
        let Some(method) = method else { return Ok(()) };
        let numbered = taken
            .sends
            .iter()
            .filter(|(sent, _)| !matches!(sent, Sent::Cancel { .. }));
        let number = u32::try_from(numbered.count()).unwrap_or(u32::MAX);
        match guest::answer(self.question(false, method, &taken.context, number)) {
            Answer::Action { context, sends } => {
                let payload = guest::payload(self.tenant, &taken.context);
                taken
                    .sends
                    .extend(sends.into_iter().map(|sent| (sent, payload.clone())));
                taken.context = context.unwrap_or_else(|| taken.context.clone());
                Ok(())
            }
            Answer::Refused => Err(Decision::Refused),
            Answer::Panicked | Answer::Guard(_) => Err(Decision::Fault),
        }
    }

    fn question<'q>(
        &'q self,
        guard: bool,
        method: &'q str,
        context: &'q Value,
        sends: u32,
    ) -> Question<'q> {
        Question {
            tenant: self.tenant,
            guard,
            method,
            instance: self.id,
            event: &self.event,
            attempt: self.attempt,
            sends,
            context,
        }
    }
}
