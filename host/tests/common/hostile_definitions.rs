//! Definitions that cost as much as their author can make them: each of a few hundred kilobytes at
//! most, and each to be read in a fraction of a second.

use std::fmt::Write;

/// Each with its name.
pub(crate) fn all() -> Vec<(&'static str, String)> {
    vec![
        ("ambiguous-transitions", ambiguous_transitions(10_000)),
        (
            "any-state-times-events",
            any_state_times_events(3_000, 3_000),
        ),
        ("unknown-states", unknown_states(600)),
        ("many-keys", many_keys(100_000)),
        ("patterns", patterns(9_999, |_| r"^\w{5}$".to_owned())),
        (
            "different-patterns",
            patterns(9_999, |n| format!("^[^{n}]{{500}}$")),
        ),
        (
            "large-pattern",
            patterns(1, |_| "(((a{999}){999}){999}){999}".to_owned()),
        ),
        ("wrong-patterns", patterns(9_999, |n| format!("a{n}("))),
        ("guarded-choices", guarded_choices(10_000)),
        ("rules", rules(10_000)),
        ("timers-of-any-state", timers_of_any_state(5_000, 5_000)),
        ("deferred", deferred(100_000)),
        ("cascades", cascades(10_000)),
        ("templates", templates(1_000_000)),
        ("duplicate-keys", duplicate_keys(100_000)),
        ("deep", deep(100_000)),
        ("long-names", long_names(1_000)),
        ("aliases", aliases(49_000)),
        ("aliased-text", aliased_text(1_000_000, 10_000)),
        ("merge-keys", merge_keys(7_000)),
        ("metadata", metadata(200_000)),
        ("machines", machines(10_000)),
    ]
}

fn machine(states: &str, transitions: &str, more: &str) -> String {
    format!(
        "name: Hostile\nversion: 1.0.0\nstateMachines:\n  - name: M\n    initialState: S0\n    states: [{states}]\n    transitions:\n{transitions}{more}"
    )
}

fn lines(n: usize, line: impl Fn(usize) -> String) -> String {
    (0..n).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "{}", line(n));
        text
    })
}

fn list(n: usize, item: impl Fn(usize) -> String) -> String {
    (0..n).map(item).collect::<Vec<_>>().join(", ")
}

/// Transitions that no event can tell apart.
pub(crate) fn ambiguous_transitions(n: usize) -> String {
    machine(
        "S0",
        &lines(n, |_| "      - {from: S0, to: S0, event: E}".to_owned()),
        "",
    )
}

/// Transitions from `"*"`.
pub(crate) fn any_state_times_events(n_states: usize, n_events: usize) -> String {
    let transitions = lines(n_events, |n| {
        format!("      - {{from: '*', to: S0, event: E{n}}}")
    });
    machine(&list(n_states, |n| format!("S{n}")), &transitions, "")
}

/// States that are not there, each with many that have nearly its name.
pub(crate) fn unknown_states(n: usize) -> String {
    let long = "x".repeat(100);
    let transitions = lines(n, |n| {
        format!("      - {{from: {long}y{n}, to: S0, event: E}}")
    });
    machine(
        &format!("S0, {}", list(n, |n| format!("{long}{n}"))),
        &transitions,
        "",
    )
}

/// Keys that no table knows.
pub(crate) fn many_keys(n: usize) -> String {
    lines(n, |n| format!("key{n}: 1"))
}

/// Fields with a pattern each.
pub(crate) fn patterns(n: usize, pattern: impl Fn(usize) -> String) -> String {
    let fields = lines(n, |n| {
        format!("      f{n}: {{type: text, pattern: '{}'}}", pattern(n))
    });
    let transitions = "      - {from: S0, to: S0, event: E}\n";
    machine("S0", transitions, &format!("    contextSchema:\n{fields}"))
}

/// Transitions that one event would try one after the other.
pub(crate) fn guarded_choices(n: usize) -> String {
    let transitions = lines(n, |n| {
        format!("      - {{from: S0, to: S0, event: E, guard: g{n}}}")
    });
    machine("S0", &transitions, "")
}

/// Rules of one transition.
pub(crate) fn rules(n: usize) -> String {
    let rules = list(n, |n| {
        format!("{{eventProperty: a.b{n}, instanceProperty: c.d{n}}}")
    });
    let transition = format!("      - {{from: S0, to: S0, event: E, matchingRules: [{rules}]}}\n");
    machine("S0", &transition, "")
}

/// Timers that every state would have.
pub(crate) fn timers_of_any_state(n_states: usize, n: usize) -> String {
    let transitions = lines(n, |n| {
        format!(
            "      - {{from: '*', to: S0, event: E{n}, type: timeout, timeoutMs: {}}}",
            n + 1
        )
    });
    machine(&list(n_states, |n| format!("S{n}")), &transitions, "")
}

/// Events that a state defers.
pub(crate) fn deferred(n: usize) -> String {
    let state = format!("{{name: S0, defer: [{}]}}", list(n, |n| format!("E{n}")));
    machine(&state, "      - {from: S0, to: S0, event: E}\n", "")
}

/// Rules that cascade.
pub(crate) fn cascades(n: usize) -> String {
    let rules = list(n, |n| {
        format!("{{targetMachine: M, event: E{n}, payload: {{a: '{{{{b}}}}'}}}}")
    });
    let state = format!("{{name: S0, cascadingRules: [{rules}]}}");
    machine(&state, "      - {from: S0, to: S0, event: E}\n", "")
}

/// A template that opens paths and ends none.
pub(crate) fn templates(bytes: usize) -> String {
    let template = "{{".repeat(bytes / 2);
    let rule = format!("{{targetMachine: M, event: E, payload: {{a: '{template}'}}}}");
    let state = format!("{{name: S0, cascadingRules: [{rule}]}}");
    machine(&state, "      - {from: S0, to: S0, event: E}\n", "")
}

/// A mapping of the author's that has one key again and again.
pub(crate) fn duplicate_keys(n: usize) -> String {
    format!(
        "name: Hostile\nmetadata:\n{}",
        lines(n, |_| "  a: 1".to_owned())
    )
}

/// Lists in lists.
pub(crate) fn deep(levels: usize) -> String {
    format!("name: {}", "[".repeat(levels))
}

/// Unknown keys with names that fill every finding.
pub(crate) fn long_names(n: usize) -> String {
    let long = "k".repeat(1_000);
    lines(n, |n| format!("{long}{n}: 1"))
}

/// One list, repeated as often as aliases may.
pub(crate) fn aliases(n: usize) -> String {
    let states = list(100, |n| format!("S{n}"));
    let transitions = lines(n / 102, |n| {
        format!("      - {{from: *all, to: S0, event: E{n}}}")
    });
    let head = "name: Hostile\nversion: 1.0.0\nmetadata: &all";
    let machine =
        "stateMachines:\n  - name: M\n    initialState: S0\n    states: *all\n    transitions:";
    format!("{head} [{states}]\n{machine}\n{transitions}")
}

/// One long text, repeated.
pub(crate) fn aliased_text(bytes: usize, n: usize) -> String {
    let text = "t".repeat(bytes);
    format!(
        "name: &t {text}\nmetadata: [{}]\n",
        list(n, |_| "*t".to_owned())
    )
}

/// Mappings that take in another.
pub(crate) fn merge_keys(n: usize) -> String {
    let base = "name: Hostile\nversion: 1.0.0\nmetadata: &base {from: S0, to: S0, guard: g}\n";
    let transitions = lines(n, |n| format!("      - {{<<: *base, event: E{n}}}"));
    let machine =
        "stateMachines:\n  - name: M\n    initialState: S0\n    states: [S0]\n    transitions:";
    format!("{base}{machine}\n{transitions}")
}

/// Data of the author.
pub(crate) fn metadata(n: usize) -> String {
    let transitions = "      - {from: S0, to: S0, event: E}\n";
    let data = list(n, |n| format!("{{k{n}: 1}}"));
    machine("S0", transitions, &format!("    metadata: [{data}]\n"))
}

/// Machines of one state.
pub(crate) fn machines(n: usize) -> String {
    let machines = lines(n, |n| {
        format!("  - {{name: M{n}, initialState: S, states: [S], transitions: []}}")
    });
    format!("name: Hostile\nversion: 1.0.0\nstateMachines:\n{machines}")
}
