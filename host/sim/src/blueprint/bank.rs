//! Accounts, which have a public member, and the one ledger.

use super::{Blueprint, Kind, Machine, OnFault, State, Transition, on, same, state};

/// The only version.
pub(super) fn first() -> Blueprint {
    Blueprint {
        component: "Bank",
        version: "1",
        singleton: Some("Ledger"),
        machines: vec![account(), ledger()],
    }
}

fn account() -> Machine {
    Machine {
        name: "Account",
        initial: "Open",
        public: true,
        parent_event: Some("MOVED"),
        fault: OnFault::Goto("Failed"),
        states: vec![
            state("Open"),
            State {
                entry: Some("work"),
                ..state("Low")
            },
            State {
                kind: "final",
                ..state("Closed")
            },
            State {
                kind: "error",
                ..state("Failed")
            },
        ],
        transitions: vec![
            Transition {
                method: Some("count"),
                ..on("Open", "DEBIT", "Low")
            },
            on("Low", "DEBIT", "Low"),
            Transition {
                rules: vec![same("key", "!==")],
                ..on("Open", "MATCH", "Low")
            },
            on("Open", "AUDIT", "Open"),
            Transition {
                kind: Kind::Timeout(60, true),
                ..on("Low", "REFILL", "Open")
            },
            Transition {
                guard: Some("lucky"),
                ..on("*", "CLOSE", "Closed")
            },
        ],
    }
}

fn ledger() -> Machine {
    Machine {
        name: "Ledger",
        initial: "Only",
        public: false,
        parent_event: None,
        fault: OnFault::Keep,
        states: vec![state("Only")],
        transitions: vec![Transition {
            method: Some("count"),
            ..on("Only", "INC", "Only")
        }],
    }
}
