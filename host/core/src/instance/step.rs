//! One event at one instance, from the choice of a transition to its decision: pure.
//!
//! A [`Step`] walks the candidates, asks for guards and actions one at a time ([`Next::Ask`]) and
//! ends in a [`Decision`]. It knows nothing of mailboxes, timers or other instances, and nothing
//! it does is visible before the engine applies the decision: a fault anywhere undoes all of it.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{
    call::{Answer, Failure, Fault, FaultCode, LogLine, Outcome, Send},
    definition::{
        Machine, MachineIdx, MethodKind, StateIdx, Transition, TransitionIdx, TransitionKind,
    },
    id::MethodName,
    instance::{
        payloads::too_large,
        select::{mismatch, rules_hold},
    },
    json::Json,
    limits::SENDS_PER_TRANSITION_MAX,
    record::{Mismatch, Reason},
};

/// An event on its way through an instance.
#[derive(Debug)]
pub(crate) struct Step {
    /// The machine, in the version that the whole transition runs on.
    pub(crate) machine: MachineIdx,
    /// The state before; none for a creation.
    pub(crate) from: Option<StateIdx>,
    /// Context or public member, as changed so far.
    pub(crate) context: Json,
    /// What the methods sent so far.
    pub(crate) sends: Vec<Send>,
    /// What they wrote so far.
    pub(crate) logs: Vec<LogLine>,
    /// The work they did so far.
    pub(crate) fuel: u64,
    /// How many were called so far.
    pub(crate) calls: u32,
    candidates: SmallVec<[TransitionIdx; 4]>,
    tried: usize,
    stage: Stage,
    /// Whether an action has answered a new context.
    acted: bool,
    /// Whether the payload may be merged into the context.
    merges: bool,
}

/// Where a step is. Stages after the choice follow each other in this order.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Choose,
    Guard(TransitionIdx),
    Exit(TransitionIdx),
    Method(TransitionIdx),
    Merge(TransitionIdx),
    Entry(Option<TransitionIdx>, StateIdx),
    Check(Option<TransitionIdx>, StateIdx),
}

/// What a step needs next.
#[derive(Debug)]
pub(crate) enum Next {
    /// The answer of a method.
    Ask {
        /// Guard or action.
        kind: MethodKind,
        /// Which.
        method: MethodName,
        /// The state that the transition leads to.
        target: StateIdx,
    },
    /// Nothing.
    Done(Decision),
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// The transition is taken (none: the creation succeeds); the step's context is the new one.
    Take {
        /// Which transition.
        transition: Option<TransitionIdx>,
        /// Where it leads.
        to: StateIdx,
    },
    /// No transition is taken.
    Ignore(Reason),
    /// A method or the schema said no.
    Reject(Reason),
    /// Something is broken.
    Fault(Fault),
}

impl Step {
    /// An event that may take one of `candidates`, tried in order.
    pub(crate) fn new(
        machine: MachineIdx,
        from: StateIdx,
        context: Json,
        candidates: SmallVec<[TransitionIdx; 4]>,
    ) -> Self {
        Self::at(Stage::Choose, machine, Some(from), context, candidates)
    }

    /// A creation: a transition into the initial state.
    pub(crate) fn creation(machine: MachineIdx, initial: StateIdx, context: Json) -> Self {
        let stage = Stage::Entry(None, initial);
        Self::at(stage, machine, None, context, SmallVec::new())
    }

    fn at(
        stage: Stage,
        machine: MachineIdx,
        from: Option<StateIdx>,
        context: Json,
        candidates: SmallVec<[TransitionIdx; 4]>,
    ) -> Self {
        Self {
            machine,
            from,
            context,
            sends: Vec::new(),
            logs: Vec::new(),
            fuel: 0,
            calls: 0,
            candidates,
            tried: 0,
            stage,
            acted: false,
            merges: true,
        }
    }

    /// The same event with a payload that the host itself made: that is never merged.
    pub(crate) fn without_merging(mut self, is_host_made: bool) -> Self {
        self.merges &= !is_host_made;
        self
    }

    /// How many numbers the sends have used up: cancellations have none.
    pub(crate) fn numbered_sends(&self) -> u32 {
        let numbered = self
            .sends
            .iter()
            .filter(|send| !matches!(send, Send::Cancel { .. }))
            .count();
        u32::try_from(numbered).expect("sends are limited per transition")
    }

    /// Goes on until a method must be asked or the decision is made.
    pub(crate) fn advance(&mut self, machine: &Machine, payload: &Json) -> Next {
        loop {
            match self.stage {
                Stage::Choose => match self.choose(machine, payload) {
                    Ok(idx) => {
                        let transition = machine.transition(idx);
                        let Some(guard) = &transition.guard else {
                            self.stage = Stage::Exit(idx);
                            continue;
                        };
                        self.stage = Stage::Guard(idx);
                        return ask(MethodKind::Guard, guard, transition.to);
                    }
                    Err(reason) => return Next::Done(Decision::Ignore(reason)),
                },
                Stage::Guard(idx) => self.stage = Stage::Exit(idx),
                Stage::Exit(idx) => {
                    let transition = machine.transition(idx);
                    self.stage = Stage::Method(idx);
                    let source = self.from.filter(|_| !is_internal(transition));
                    if let Some(exit) = source.and_then(|from| machine.state(from).on_exit.as_ref())
                    {
                        return ask(MethodKind::Action, exit, transition.to);
                    }
                }
                Stage::Method(idx) => {
                    let transition = machine.transition(idx);
                    self.stage = Stage::Merge(idx);
                    if let Some(method) = &transition.method {
                        return ask(MethodKind::Action, method, transition.to);
                    }
                }
                Stage::Merge(idx) => {
                    let transition = machine.transition(idx);
                    if transition.merge_payload && self.merges {
                        self.context = self.context.merge(payload);
                    }
                    self.stage = if is_internal(transition) {
                        Stage::Check(Some(idx), self.from.expect("a transition has a source"))
                    } else {
                        Stage::Entry(Some(idx), transition.to)
                    };
                }
                Stage::Entry(transition, to) => {
                    self.stage = Stage::Check(transition, to);
                    if let Some(entry) = &machine.state(to).on_entry {
                        return ask(MethodKind::Action, entry, to);
                    }
                }
                Stage::Check(transition, to) => {
                    return Next::Done(self.check(machine, transition, to, payload));
                }
            }
        }
    }

    /// Takes over what a method answered; the decision, if it ends the step.
    pub(crate) fn absorb(&mut self, outcome: Outcome) -> Option<Decision> {
        self.calls += 1;
        self.fuel += outcome.fuel;
        self.logs.extend(outcome.logs);
        match (outcome.result, self.stage) {
            (Ok(Answer::Guard(true)), Stage::Guard(_)) => None,
            (Ok(Answer::Guard(false)), Stage::Guard(_)) => {
                self.stage = Stage::Choose;
                None
            }
            (
                Ok(Answer::Action { context, sends }),
                Stage::Method(_) | Stage::Merge(_) | Stage::Check(..),
            ) => {
                self.sends.extend(sends);
                if let Some(context) = context {
                    self.context = context;
                    self.acted = true;
                }
                (self.sends.len() > SENDS_PER_TRANSITION_MAX).then(|| {
                    let message = format!("the methods of one transition sent more than {SENDS_PER_TRANSITION_MAX} events");
                    fault(FaultCode::TooManySends, message)
                })
            }
            (Err(Failure::Refused(refusal)), _) => Some(Decision::Reject(Reason::Refused(refusal))),
            (Err(Failure::Fault(fault)), _) => Some(Decision::Fault(fault)),
            (Ok(_), _) => Some(fault(
                FaultCode::AnswerMalformed,
                "a guard answered for an action, or the reverse",
            )),
        }
    }

    /// The next candidate whose rules hold, or why there is none.
    fn choose(&mut self, machine: &Machine, payload: &Json) -> Result<TransitionIdx, Reason> {
        while let Some(idx) = self.candidates.get(self.tried).copied() {
            self.tried += 1;
            if rules_hold(&machine.transition(idx).rules, &self.context, payload) {
                return Ok(idx);
            }
        }
        Err(match self.candidates.first() {
            None => Reason::NoTransition,
            Some(first) => {
                let Transition { rules, guard, .. } = machine.transition(*first);
                let rule = mismatch(rules, &self.context, payload);
                let guard = || guard.clone().map(Mismatch::Guard);
                Reason::NothingMatched(rule.or_else(guard).map(Box::new))
            }
        })
    }

    /// The context must fit the schema: after an action it is the action's fault if it does not,
    /// else the caller's. What the definition makes of it must not be too large to be sent.
    fn check(
        &mut self,
        machine: &Machine,
        transition: Option<TransitionIdx>,
        to: StateIdx,
        payload: &Json,
    ) -> Decision {
        if let Some(schema) = machine.schema.as_ref().filter(|_| self.acted) {
            self.context = schema.defaults(&self.context);
        }
        let Err(violations) = machine
            .schema
            .as_ref()
            .map_or(Ok(()), |schema| schema.check(&self.context))
        else {
            let taken = transition.map(|idx| machine.transition(idx));
            return match too_large(machine, taken, to, &self.context, payload) {
                None => Decision::Take { transition, to },
                Some(what) => fault(FaultCode::BadSend, what),
            };
        };
        if !self.acted {
            return Decision::Reject(Reason::Schema(violations));
        }
        let fields: Vec<String> = violations
            .iter()
            .map(|violation| violation.to_string())
            .collect();
        fault(
            FaultCode::SchemaViolation,
            format!("the new context breaks the schema: {}", fields.join("; ")),
        )
    }
}

fn is_internal(transition: &Transition) -> bool {
    matches!(transition.kind, TransitionKind::Internal)
}

fn ask(kind: MethodKind, method: &MethodName, target: StateIdx) -> Next {
    Next::Ask {
        kind,
        method: method.clone(),
        target,
    }
}

fn fault(code: FaultCode, message: impl Into<Arc<str>>) -> Decision {
    Decision::Fault(Fault {
        code,
        message: message.into(),
        backtrace: None,
    })
}
