//! Pictures of a machine: Mermaid and DOT as text, and SVG.

mod svg;

use std::fmt::Write;

pub use self::svg::svg;
use crate::definition::{Machine, StateIdx, StateKind, Transition, TransitionKind};

/// Which state a picture points out.
pub type Highlight = Option<StateIdx>;

/// A Mermaid `stateDiagram-v2`. States have plain aliases, so that any name can be shown.
pub fn mermaid(machine: &Machine, highlight: Highlight) -> String {
    let mut text = "stateDiagram-v2\n".to_owned();
    for (position, state) in machine.states.iter().enumerate() {
        let _ = writeln!(
            text,
            "    state \"{}\" as s{position}",
            label(state.name.as_str())
        );
    }
    let _ = writeln!(text, "    [*] --> s{}", machine.initial.0);
    for (from, transition) in edges(machine) {
        let _ = writeln!(
            text,
            "    s{} --> s{}: {}",
            from.0,
            transition.to.0,
            label(&caption(machine, transition))
        );
    }
    for (position, state) in machine.states.iter().enumerate() {
        match state.kind {
            StateKind::Final => _ = writeln!(text, "    s{position} --> [*]"),
            StateKind::Error => _ = writeln!(text, "    class s{position} failed"),
            StateKind::Entry | StateKind::Regular => {}
        }
    }
    if let Some(current) = highlight {
        let _ = writeln!(text, "    class s{} current", current.0);
    }
    if let Some(left_out) = left_out(machine) {
        let _ = writeln!(text, "    %% {left_out}");
    }
    text.push_str("    classDef failed fill:#fde8e8,stroke:#c0392b\n");
    text.push_str("    classDef current fill:#dbeafe,stroke:#1d4ed8,stroke-width:3px\n");
    text
}

/// A Graphviz digraph.
pub fn dot(machine: &Machine, highlight: Highlight) -> String {
    let mut text = format!(
        "digraph {} {{\n    rankdir=LR;\n    node [shape=box, style=rounded];\n",
        quoted(machine.name.as_str())
    );
    for (position, state) in machine.states.iter().enumerate() {
        let shape = match state.kind {
            StateKind::Final => ", peripheries=2",
            StateKind::Error => ", color=red",
            StateKind::Entry | StateKind::Regular => "",
        };
        let current = highlight.is_some_and(|current| usize::from(current.0) == position);
        let style = if current {
            ", style=\"rounded,filled\", fillcolor=lightblue"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "    s{position} [label={}{shape}{style}];",
            quoted(state.name.as_str())
        );
    }
    let _ = writeln!(
        text,
        "    start [shape=point];\n    start -> s{};",
        machine.initial.0
    );
    for (from, transition) in edges(machine) {
        let caption = quoted(&caption(machine, transition));
        let _ = writeln!(
            text,
            "    s{} -> s{} [label={caption}];",
            from.0, transition.to.0
        );
    }
    if let Some(left_out) = left_out(machine) {
        let _ = writeln!(text, "    // {left_out}");
    }
    text.push_str("}\n");
    text
}

/// Ways that a picture shows: nobody can look at more.
const WAYS_MAX: usize = 10_000;

/// Each way from one state to another, the first [`WAYS_MAX`].
fn edges(machine: &Machine) -> impl Iterator<Item = (StateIdx, &Transition)> {
    let all = machine.transitions.iter().flat_map(|transition| {
        let sources = machine.sources(transition);
        sources.map(move |from| (from, transition))
    });
    all.take(WAYS_MAX)
}

/// What a picture does not show.
fn left_out(machine: &Machine) -> Option<String> {
    let more = machine.n_ways().saturating_sub(WAYS_MAX);
    (more > 0).then(|| format!("{more} further transitions are not shown"))
}

/// `EVENT [guard] / method (after 500 ms)`.
fn caption(machine: &Machine, transition: &Transition) -> String {
    let mut caption = machine.event(transition.event).to_string();
    if let Some(guard) = &transition.guard {
        let _ = write!(caption, " [{guard}]");
    }
    if let Some(method) = &transition.method {
        let _ = write!(caption, " / {method}");
    }
    match &transition.kind {
        TransitionKind::Timeout { after, .. } | TransitionKind::Auto { after } => {
            _ = write!(caption, " (after {after})")
        }
        TransitionKind::InterMachine { .. }
        | TransitionKind::CreateAcross { .. }
        | TransitionKind::SendAcross { .. } => {
            caption.push_str(" (to another machine)");
        }
        TransitionKind::Regular | TransitionKind::Internal => {}
    }
    caption
}

/// Characters that would end a Mermaid label are written as entities.
fn label(text: &str) -> String {
    text.chars().fold(String::new(), |mut label, c| {
        match c {
            '"' | '#' | ';' | ':' | '<' | '>' | '&' | '{' | '}' => {
                _ = write!(label, "#{};", u32::from(c))
            }
            c if c.is_control() => label.push(' '),
            c => label.push(c),
        }
        label
    })
}

fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', " ")
    )
}
