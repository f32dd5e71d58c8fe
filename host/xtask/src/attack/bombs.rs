//! Small inputs that are expensive to read.

use std::fmt::Write as _;

/// How a component begins.
const PREAMBLE: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

/// Section ids of the component model.
const SECTION_COMPONENT: u8 = 4;
const SECTION_TYPE: u8 = 7;

/// A component type, as a definition and as a declaration within one.
const COMPONENT_TYPE: u8 = 0x41;
const DECLARES_TYPE: u8 = 0x01;

/// A component whose type has so many component types, one in the other.
pub(super) fn nested_types(levels: usize) -> Vec<u8> {
    let mut types = vec![1];
    for _ in 0..levels {
        types.extend([COMPONENT_TYPE, 1, DECLARES_TYPE]);
    }
    types.extend([COMPONENT_TYPE, 0]);
    let mut component = PREAMBLE.to_vec();
    component.push(SECTION_TYPE);
    component.extend(leb(types.len()));
    component.extend(types);
    component
}

/// So many components, one in the other.
pub(super) fn nested_components(levels: usize) -> Vec<u8> {
    let mut sizes = vec![PREAMBLE.len()];
    for level in 0..levels {
        let inner = sizes[level];
        sizes.push(PREAMBLE.len() + 1 + leb(inner).len() + inner);
    }
    let mut component = Vec::new();
    for inner in sizes.iter().rev().skip(1) {
        component.extend(PREAMBLE);
        component.push(SECTION_COMPONENT);
        component.extend(leb(*inner));
    }
    component.extend(PREAMBLE);
    component
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits fit a byte");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Definitions, each with a name, that cost much more than their size where something is done once
/// for each pair.
pub(super) fn definitions() -> Vec<(&'static str, String)> {
    vec![
        ("transitions on one event", one_event(10_000, true)),
        ("ambiguous transitions", one_event(4_000, false)),
        ("every state times every event", wildcards(3_000)),
        ("unknown states", unknown_states(600)),
        ("keys in one mapping", mapping(100_000)),
        ("patterns", patterns(20_000)),
        ("aliases of aliases", aliases()),
        ("nesting", nesting(100_000)),
    ]
}

fn machine(states: &str, transitions: &str) -> String {
    format!(
        "name: Bomb\nversion: 1.0.0\nstateMachines:\n  - name: M\n    initialState: S0\n    \
         states:\n{states}    transitions:\n{transitions}"
    )
}

fn states(n: usize) -> String {
    (0..n).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "      - {{name: S{n}}}");
        text
    })
}

fn lines(n: usize, line: impl Fn(usize) -> String) -> String {
    (0..n).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "      - {}", line(n));
        text
    })
}

fn one_event(n: usize, guarded: bool) -> String {
    let guard = if guarded { ", guard: g" } else { "" };
    let line = |_| format!("{{from: S0, to: S0, event: E{guard}}}");
    machine(&states(1), &lines(n, line))
}

fn wildcards(n: usize) -> String {
    let line = |n| format!("{{from: '*', to: S0, event: E{n}}}");
    machine(&states(n), &lines(n, line))
}

fn unknown_states(n: usize) -> String {
    let line = |n| format!("{{from: Unknown{n}, to: Missing{n}, event: E{n}}}");
    machine(&states(n), &lines(n, line))
}

fn mapping(n: usize) -> String {
    let entries = (0..n).fold(String::new(), |mut text, n| {
        let _ = write!(text, "k{n}: a.b{n}, ");
        text
    });
    let line = |_| {
        format!(
            "{{from: S0, to: S0, event: E, type: cross_component, targetComponent: Other, \
             targetMachine: M, contextMapping: {{{entries}}}}}"
        )
    };
    machine(&states(1), &lines(1, line))
}

fn patterns(n: usize) -> String {
    let fields = (0..n).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "      f{n}: {{type: text, pattern: '\\w{{5}}'}}");
        text
    });
    let plain = machine(
        &states(1),
        &lines(1, |_| "{from: S0, to: S0, event: E}".to_owned()),
    );
    format!("{plain}    contextSchema:\n{fields}")
}

fn aliases() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..30 {
        let before = format!("*a{}", n - 1);
        let ten = vec![before; 10].join(", ");
        let _ = writeln!(text, "a{n}: &a{n} [{ten}]");
    }
    text
}

fn nesting(depth: usize) -> String {
    format!("name: {}{}\n", "[".repeat(depth), "]".repeat(depth))
}
