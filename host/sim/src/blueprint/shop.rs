//! Orders and their tasks: every kind of transition, in two versions.

use super::{Blueprint, Cascade, Kind, Machine, OnFault, State, Transition, on, same, state};

/// The version that runs at first.
pub(super) fn first() -> Blueprint {
    Blueprint {
        component: "Shop",
        version: "1",
        singleton: None,
        machines: vec![order(), task()],
    }
}

/// A version that lacks a state, and has another delay and another transition.
pub(super) fn second() -> Blueprint {
    let mut blueprint = first();
    blueprint.version = "2";
    let order = &mut blueprint.machines[0];
    order.states.retain(|state| state.name != "Busy");
    order
        .transitions
        .retain(|transition| transition.from != "Busy" && transition.to != "Busy");
    for transition in &mut order.transitions {
        if transition.event == "TICK" {
            transition.kind = Kind::Timeout(80, true);
        }
    }
    order.transitions.push(on("Open", "NEW", "Wait"));
    order.states[1].cascades.clear();
    blueprint
}

fn order() -> Machine {
    Machine {
        name: "Order",
        initial: "Fresh",
        public: false,
        parent_event: None,
        fault: OnFault::Retry(2, 10),
        states: states(),
        transitions: [by_event(), by_itself(), across()].concat(),
    }
}

fn states() -> Vec<State> {
    let ping = Cascade {
        component: None,
        machine: "Task",
        state: None,
        event: "PING",
        rules: vec![same("key", "===")],
        payload: vec!["key", "tenant"],
    };
    let audit = Cascade {
        component: Some("Bank"),
        machine: "Account",
        state: Some("Open"),
        event: "AUDIT",
        rules: Vec::new(),
        payload: vec!["tenant", "nothing"],
    };
    vec![
        State {
            entry: Some("greet"),
            defer: vec!["LATE"],
            ..state("Fresh")
        },
        State {
            exit: Some("leave"),
            defer: vec!["LATE"],
            cascades: vec![ping.clone()],
            ..state("Open")
        },
        State {
            entry: Some("work"),
            cascades: vec![ping, audit],
            ..state("Busy")
        },
        State {
            entry: Some("rest"),
            ..state("Wait")
        },
        State {
            kind: "final",
            ..state("Done")
        },
        State {
            kind: "error",
            ..state("Bad")
        },
    ]
}

/// Those that an event fires.
fn by_event() -> Vec<Transition> {
    let key = || vec![same("key", "===")];
    vec![
        Transition {
            guard: Some("may"),
            method: Some("begin"),
            ..on("Fresh", "START", "Open")
        },
        Transition {
            kind: Kind::Internal,
            method: Some("count"),
            ..on("Open", "INC", "Open")
        },
        on("Open", "LOOP", "Open"),
        Transition {
            guard: Some("may"),
            ..on("Open", "GO", "Busy")
        },
        on("Open", "GO", "Wait"),
        on("Wait", "LOOP", "Wait"),
        Transition {
            rules: key(),
            method: Some("count"),
            ..on("Wait", "MATCH", "Open")
        },
        Transition {
            rules: vec![same("n", ">")],
            ..on("Wait", "MATCH", "Wait")
        },
        Transition {
            method: Some("count"),
            ..on("Wait", "LATE", "Open")
        },
        Transition {
            guard: Some("lucky"),
            ..on("*", "CLOSE", "Done")
        },
        Transition {
            guard: Some("lucky"),
            ..on("*", "BREAK", "Bad")
        },
        Transition {
            kind: Kind::Internal,
            ..on("Open", "MOVED", "Open")
        },
    ]
}

/// Those that fire by themselves.
fn by_itself() -> Vec<Transition> {
    vec![
        Transition {
            kind: Kind::Auto(0),
            guard: Some("lucky"),
            ..on("Busy", "SPIN", "Open")
        },
        Transition {
            kind: Kind::Auto(0),
            method: Some("count"),
            ..on("Busy", "SPUN", "Wait")
        },
        Transition {
            kind: Kind::Auto(25),
            guard: Some("lucky"),
            ..on("Open", "DOZE", "Wait")
        },
        Transition {
            kind: Kind::Timeout(50, true),
            ..on("Wait", "TICK", "Open")
        },
        Transition {
            kind: Kind::Timeout(30, false),
            guard: Some("may"),
            ..on("Wait", "NUDGE", "Wait")
        },
    ]
}

/// Those that reach other machines.
fn across() -> Vec<Transition> {
    let key = || vec![same("key", "===")];
    vec![
        Transition {
            kind: Kind::Child("Task"),
            ..on("Open", "CHILD", "Open")
        },
        Transition {
            kind: Kind::Create("Bank", "Account"),
            ..on("Open", "ACCOUNT", "Wait")
        },
        Transition {
            kind: Kind::Send("Bank", "Account", "DEBIT", key()),
            ..on("*", "PAY", "Wait")
        },
    ]
}

fn task() -> Machine {
    Machine {
        name: "Task",
        initial: "Idle",
        public: false,
        parent_event: Some("MOVED"),
        fault: OnFault::Keep,
        states: vec![
            state("Idle"),
            State {
                entry: Some("work"),
                ..state("Work")
            },
            State {
                kind: "final",
                ..state("Fin")
            },
        ],
        transitions: vec![
            on("Idle", "PING", "Work"),
            Transition {
                rules: vec![same("key", "===")],
                notify: Some("INC"),
                ..on("Work", "PING", "Idle")
            },
            Transition {
                kind: Kind::Timeout(40, true),
                guard: Some("may"),
                ..on("Work", "TICK", "Idle")
            },
            Transition {
                guard: Some("lucky"),
                ..on("*", "CLOSE", "Fin")
            },
        ],
    }
}
