//! What the definition makes a transition send: to the parent, to a child, to another component,
//! by cascading rules.

use std::sync::Arc;

use serde_json::json;

use crate::{
    call::{Event, child_id},
    definition::{Machine, Mapping, MatchingRule, State, StateIdx, Transition, TransitionKind},
    engine::cascade::caused_by,
    id::{ComponentName, EventId, EventName, MachineName, StateName},
    json::Json,
    limits::JSON_BYTES_MAX,
    record::{Condition, Mail, Outgoing, Parent, SelectBy, Selector, Snapshot, Target},
    time::Timestamp,
};

/// The name that a creation has in an instance's history.
pub(crate) const CREATED: &str = "$created";

/// Collects what one transition sends; numbers go on after those of the guest's sends.
pub(crate) struct Sender<'a> {
    /// What goes out, in order.
    pub(crate) out: Vec<Outgoing>,
    snapshot: &'a Snapshot,
    mail: &'a Mail,
    n: u32,
    now: Timestamp,
}

impl<'a> Sender<'a> {
    /// For a transition whose methods used the numbers up to `used`.
    pub(crate) fn new(snapshot: &'a Snapshot, mail: &'a Mail, used: u32, now: Timestamp) -> Self {
        Self {
            out: Vec::new(),
            snapshot,
            mail,
            n: used,
            now,
        }
    }

    /// `notifyParent` of the transition, else `parentLink.onStateChange` of the machine.
    pub(crate) fn notify_parent(
        &mut self,
        machine: &Machine,
        transition: Option<&Transition>,
        from: StateIdx,
        to: StateIdx,
        internal: bool,
    ) {
        let Some(parent) = &self.snapshot.parent else {
            return;
        };
        let own = transition.and_then(|transition| transition.notify_parent.as_ref());
        let link = machine.parent_link.as_ref().filter(|_| !internal);
        let (event, with_state, with_context) = match (own, link) {
            (Some(notify), _) => (
                notify.event.clone(),
                notify.include_state,
                notify.include_context,
            ),
            (None, Some(link)) => (link.on_state_change.clone(), true, false),
            (None, None) => return,
        };
        let mut payload = json!({ "childInstanceId": self.snapshot.id.to_string(), "childMachine": machine.name.as_str() });
        if with_state {
            payload["previousState"] = machine.state(from).name.as_str().into();
            payload["newState"] = machine.state(to).name.as_str().into();
        }
        let mut payload = Json::from_value(&payload);
        if with_context {
            payload = payload.with("childContext", &self.snapshot.context);
        }
        let to = Target::Instance {
            component: parent.component.clone(),
            id: parent.id.clone(),
        };
        self.push(to, event, payload);
    }

    /// `inter_machine` and `cross_component`.
    pub(crate) fn across(&mut self, kind: &TransitionKind) {
        match kind {
            TransitionKind::InterMachine { machine, mapping } => {
                let name = self
                    .snapshot
                    .deployment
                    .definition
                    .machine(*machine)
                    .name
                    .clone();
                let context = self.mapped(mapping.as_ref());
                self.create(self.snapshot.component().clone(), Some(name), context, true);
            }
            TransitionKind::CreateAcross {
                component,
                machine,
                mapping,
            } => {
                let context = self.mapped(mapping.as_ref());
                self.create(component.clone(), machine.clone(), context, false);
            }
            TransitionKind::SendAcross {
                component,
                machine,
                event,
                mapping,
                rules,
            } => {
                let payload = self.mapped(mapping.as_ref());
                let conditions = rules.iter().map(|rule| Condition {
                    rule: rule.clone(),
                    value: payload.part(&rule.event_property),
                });
                let by = SelectBy::Conditions(conditions.collect());
                let selector = Selector {
                    component: component.clone(),
                    machine: machine.clone(),
                    state: None,
                    by,
                };
                self.push(
                    Target::Selection(Arc::new(selector)),
                    event.clone(),
                    payload,
                );
            }
            TransitionKind::Regular
            | TransitionKind::Internal
            | TransitionKind::Auto { .. }
            | TransitionKind::Timeout { .. } => {}
        }
    }

    /// The cascading rules of the state that was entered.
    pub(crate) fn cascades(&mut self, state: &State) {
        for rule in &state.cascades {
            // A step whose payloads are too large was not taken; after a fault that leads to an
            // error state, such a payload is empty.
            let template = rule.payload.as_ref();
            let payload = template
                .and_then(|one| one.render_within(&self.snapshot.context, JSON_BYTES_MAX))
                .unwrap_or_else(Json::empty);
            let component = rule
                .component
                .as_ref()
                .unwrap_or_else(|| self.snapshot.component())
                .clone();
            let by = if rule.rules.is_empty() {
                SelectBy::MachineRules
            } else {
                SelectBy::Conditions(self.conditions(&rule.rules, &payload))
            };
            let selector = Selector {
                component,
                machine: Some(rule.machine.clone()),
                state: rule.state.clone(),
                by,
            };
            self.push(
                Target::Selection(Arc::new(selector)),
                rule.event.clone(),
                payload,
            );
        }
    }

    /// The event side of cascading rules: the built payload, then the source's context.
    fn conditions(&self, rules: &[MatchingRule], payload: &Json) -> Vec<Condition> {
        let value = |rule: &MatchingRule| {
            payload
                .part(&rule.event_property)
                .or_else(|| self.snapshot.context.part(&rule.event_property))
        };
        rules
            .iter()
            .map(|rule| Condition {
                rule: rule.clone(),
                value: value(rule),
            })
            .collect()
    }

    fn create(
        &mut self,
        component: ComponentName,
        machine: Option<MachineName>,
        context: Json,
        child: bool,
    ) {
        let n = self.n + 1;
        let id = child_id(
            &self.snapshot.deployment.definition,
            &self.snapshot.id,
            &self.mail.event.id,
            n,
            &context,
        );
        let parent = child.then(|| Box::new(parent_of(self.snapshot)));
        self.push(
            Target::Create {
                component,
                machine,
                id,
                parent,
            },
            EventName::new(CREATED),
            context,
        );
    }

    fn push(&mut self, to: Target, name: EventName, payload: Json) {
        self.n += 1;
        let event = Event {
            id: self.mail.event.id.derive(self.n),
            name,
            payload,
            at: self.now,
        };
        let cause = caused_by(self.mail, &self.snapshot.id, 0);
        self.out.push(Outgoing {
            n: self.n,
            to,
            event,
            cause,
            elsewhere: false,
        });
    }

    /// The context merged with the payload, as `contextMapping` picks from it.
    fn mapped(&self, mapping: Option<&Mapping>) -> Json {
        let merged = self.snapshot.context.merge(&self.mail.event.payload);
        match mapping {
            None => merged,
            Some(mapping) => mapping
                .apply_within(&merged, JSON_BYTES_MAX)
                .unwrap_or_else(Json::empty),
        }
    }
}

/// A guest's broadcast: the target's own rules decide.
pub(crate) fn broadcast(
    component: ComponentName,
    machine: MachineName,
    state: Option<StateName>,
) -> Target {
    Target::Selection(Arc::new(Selector {
        component,
        machine: Some(machine),
        state,
        by: SelectBy::MachineRules,
    }))
}

/// What a child knows of its parent.
pub(crate) fn parent_of(snapshot: &Snapshot) -> Parent {
    Parent {
        id: snapshot.id.clone(),
        component: snapshot.component().clone(),
        machine: snapshot.machine().name.clone(),
    }
}

/// The event of a creation; its payload is the context.
pub(crate) fn creation(cause: &EventId, n: u32, context: Json, now: Timestamp) -> Event {
    Event {
        id: cause.derive(n),
        name: EventName::new(CREATED),
        payload: context,
        at: now,
    }
}
