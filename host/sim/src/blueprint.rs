//! What the simulated components are: tables that the model reads as they are, and that become
//! YAML for the engine.

mod bank;
mod shop;

use std::fmt::Write as _;

/// One version of a component.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// Its name.
    pub component: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The entry machine, a singleton.
    pub singleton: Option<&'static str>,
    /// Its machines.
    pub machines: Vec<Machine>,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its name.
    pub name: &'static str,
    /// Where an instance starts.
    pub initial: &'static str,
    /// Whether creation hands over a public member.
    pub public: bool,
    /// The event that a parent gets on every change.
    pub parent_event: Option<&'static str>,
    /// What follows a fault.
    pub fault: OnFault,
    /// Its states.
    pub states: Vec<State>,
    /// Its transitions, in document order.
    pub transitions: Vec<Transition>,
}

/// What follows a fault.
#[derive(Clone, Copy, Debug)]
pub enum OnFault {
    /// The event is parked.
    Keep,
    /// It is tried so often again, the first time after so many milliseconds.
    Retry(u32, u64),
    /// The instance moves there.
    Goto(&'static str),
}

/// A state.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Its name.
    pub name: &'static str,
    /// `final`, `error` or nothing.
    pub kind: &'static str,
    /// Runs when it is entered.
    pub entry: Option<&'static str>,
    /// Runs when it is left.
    pub exit: Option<&'static str>,
    /// What entering it sends.
    pub cascades: Vec<Cascade>,
    /// Events that wait here.
    pub defer: Vec<&'static str>,
}

/// What entering a state sends.
#[derive(Clone, Debug)]
pub struct Cascade {
    /// To which component; none = the same.
    pub component: Option<&'static str>,
    /// To which machine.
    pub machine: &'static str,
    /// Only in this state.
    pub state: Option<&'static str>,
    /// Which event.
    pub event: &'static str,
    /// Only those that match.
    pub rules: Vec<Rule>,
    /// Members of the context that make the payload.
    pub payload: Vec<&'static str>,
}

/// `instance OP event`.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Member of the payload.
    pub event: &'static str,
    /// How they are compared.
    pub op: &'static str,
    /// Member of the context.
    pub instance: &'static str,
}

/// A transition.
#[derive(Clone, Debug)]
pub struct Transition {
    /// The states it leaves; `*` = all that do not end.
    pub from: &'static str,
    /// Where it leads.
    pub to: &'static str,
    /// On which event.
    pub event: &'static str,
    /// What else it does.
    pub kind: Kind,
    /// Asked first.
    pub guard: Option<&'static str>,
    /// Checked first.
    pub rules: Vec<Rule>,
    /// Runs in between.
    pub method: Option<&'static str>,
    /// What the parent is told.
    pub notify: Option<&'static str>,
}

/// What else a transition does, and what makes it fire.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Nothing else.
    Regular,
    /// Stays inside its state.
    Internal,
    /// By itself, after so many milliseconds.
    Auto(u64),
    /// After so many milliseconds; whether a self-loop starts it anew.
    Timeout(u64, bool),
    /// Creates a child of that machine.
    Child(&'static str),
    /// Creates an instance of another component's machine.
    Create(&'static str, &'static str),
    /// Sends an event to instances of another component's machine.
    Send(&'static str, &'static str, &'static str, Vec<Rule>),
}

/// Every version of every component, the first of each active at first.
pub fn all() -> Vec<Blueprint> {
    vec![shop::first(), bank::first(), shop::second()]
}

impl Blueprint {
    /// The machine of that name.
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name == name)
    }

    /// The definition that says the same.
    pub fn yaml(&self) -> String {
        let mut text = format!("name: {}\nversion: '{}'\n", self.component, self.version);
        if let Some(name) = self.singleton {
            let _ = writeln!(
                text,
                "entryMachine: {name}\nentryMachineMode: singleton\nautoCreateEntryPoint: false"
            );
        }
        text.push_str("stateMachines:\n");
        for machine in &self.machines {
            machine.write(&mut text);
        }
        text
    }
}

impl Machine {
    /// The state of that name.
    pub fn state(&self, name: &str) -> Option<&State> {
        self.states.iter().find(|state| state.name == name)
    }

    fn write(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "- name: {}\n  initialState: {}",
            self.name, self.initial
        );
        if self.public {
            text.push_str("  publicMemberType: Member\n");
        }
        if let Some(event) = self.parent_event {
            let _ = writeln!(
                text,
                "  parentLink: {{enabled: true, onStateChange: {event}}}"
            );
        }
        let _ = match self.fault {
            OnFault::Keep => writeln!(text, "  onFault: keep"),
            OnFault::Retry(max, backoff) => writeln!(
                text,
                "  onFault: {{retry: {{max: {max}, backoffMs: {backoff}}}}}"
            ),
            OnFault::Goto(state) => writeln!(text, "  onFault: {{state: {state}}}"),
        };
        text.push_str("  states:\n");
        for state in &self.states {
            state.write(text);
        }
        text.push_str("  transitions:\n");
        for transition in &self.transitions {
            transition.write(text);
        }
    }
}

impl State {
    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "  - name: {}", self.name);
        let members = [
            ("type", Some(self.kind).filter(|kind| !kind.is_empty())),
            ("onEntry", self.entry),
            ("onExit", self.exit),
        ];
        for (key, value) in members {
            if let Some(value) = value {
                let _ = writeln!(text, "    {key}: {value}");
            }
        }
        if !self.defer.is_empty() {
            let _ = writeln!(text, "    defer: [{}]", self.defer.join(", "));
        }
        if !self.cascades.is_empty() {
            text.push_str("    cascadingRules:\n");
        }
        for cascade in &self.cascades {
            let _ = writeln!(
                text,
                "    - targetMachine: {}\n      event: {}\n      matchingRules: {}",
                cascade.machine,
                cascade.event,
                rules(&cascade.rules)
            );
            if let Some(component) = cascade.component {
                let _ = writeln!(text, "      targetComponent: {component}");
            }
            if let Some(state) = cascade.state {
                let _ = writeln!(text, "      targetState: {state}");
            }
            let member = |name: &&str| format!("{name}: '{{{{{name}}}}}'");
            let members: Vec<String> = cascade.payload.iter().map(member).collect();
            let _ = writeln!(text, "      payload: {{{}}}", members.join(", "));
        }
    }
}

impl Transition {
    fn write(&self, text: &mut String) {
        let from = if self.from == "*" { "'*'" } else { self.from };
        let _ = writeln!(
            text,
            "  - from: {from}\n    to: {}\n    event: {}",
            self.to, self.event
        );
        let _ = match &self.kind {
            Kind::Regular => Ok(()),
            Kind::Internal => writeln!(text, "    type: internal"),
            Kind::Auto(after) => writeln!(text, "    type: auto\n    timeoutMs: {after}"),
            Kind::Timeout(after, reset) => writeln!(
                text,
                "    type: timeout\n    timeoutMs: {after}\n    resetOnTransition: {reset}"
            ),
            Kind::Child(machine) => {
                writeln!(
                    text,
                    "    type: inter_machine\n    targetMachine: {machine}"
                )
            }
            Kind::Create(component, machine) => writeln!(
                text,
                "    type: cross_component\n    targetComponent: {component}\n    targetMachine: {machine}"
            ),
            Kind::Send(component, machine, event, by) => writeln!(
                text,
                "    type: cross_component\n    targetComponent: {component}\n    targetMachine: {machine}\n    targetEvent: {event}\n    matchingRules: {}",
                rules(by)
            ),
        };
        if !self.rules.is_empty() {
            let _ = writeln!(text, "    matchingRules: {}", rules(&self.rules));
        }
        let members = [("guard", self.guard), ("triggeredMethod", self.method)];
        for (key, value) in members {
            if let Some(value) = value {
                let _ = writeln!(text, "    {key}: {value}");
            }
        }
        if let Some(event) = self.notify {
            let _ = writeln!(text, "    notifyParent: {{event: {event}}}");
        }
    }
}

fn rules(rules: &[Rule]) -> String {
    let one = |rule: &Rule| {
        format!(
            "{{eventProperty: {}, instanceProperty: {}, operator: '{}'}}",
            rule.event, rule.instance, rule.op
        )
    };
    format!("[{}]", rules.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A transition on an event, with nothing else about it.
fn on(from: &'static str, event: &'static str, to: &'static str) -> Transition {
    Transition {
        from,
        to,
        event,
        kind: Kind::Regular,
        guard: None,
        rules: Vec::new(),
        method: None,
        notify: None,
    }
}

/// A state with nothing about it.
fn state(name: &'static str) -> State {
    State {
        name,
        ..State::default()
    }
}

/// `instance.member OP event.member`, both of the same name.
fn same(member: &'static str, op: &'static str) -> Rule {
    Rule {
        event: member,
        op,
        instance: member,
    }
}
