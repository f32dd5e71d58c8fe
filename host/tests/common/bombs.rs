//! Small inputs that cost whoever reads them carelessly a stack, a processor or all memory.
//!
//! Each is made from a number, so that a test takes one that is small and an attack one that is not.

#![allow(dead_code, reason = "not everybody needs every bomb")]

use std::fmt::Write as _;

/// How a component begins.
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// Ids of sections.
const CUSTOM: u8 = 0;
const NESTED: u8 = 4;
const TYPES: u8 = 7;

/// A component whose type has so many component types, one in the other.
pub(crate) fn nested_types(levels: usize) -> Vec<u8> {
    // One type, which is made of declarations: one, which is a type, which is made of…
    let mut types = vec![1];
    for _ in 0..levels {
        types.extend([0x41, 1, 0x01]);
    }
    types.extend([0x41, 0]);
    with_section(TYPES, types.len(), &types)
}

/// So many components, one in the other.
pub(crate) fn nested_components(levels: usize) -> Vec<u8> {
    let mut sizes = vec![COMPONENT.len()];
    for level in 0..levels {
        let inner = sizes[level];
        sizes.push(COMPONENT.len() + 1 + leb(inner).len() + inner);
    }
    let mut component = Vec::new();
    for inner in sizes.iter().rev().skip(1) {
        component.extend(COMPONENT);
        component.push(NESTED);
        component.extend(leb(*inner));
    }
    component.extend(COMPONENT);
    component
}

/// A component with a section of so many bytes that nobody knows.
pub(crate) fn huge_section(bytes: usize) -> Vec<u8> {
    let mut content = vec![1, b'x'];
    content.resize(bytes, 0);
    with_section(CUSTOM, bytes, &content)
}

/// A component that announces more types than there are bytes, in a section that ends early.
pub(crate) fn lying_counts() -> Vec<u8> {
    with_section(TYPES, usize::MAX >> 33, &[0xff, 0xff, 0xff, 0xff, 0x0f])
}

/// A definition in which aliases repeat aliases, so many levels deep.
pub(crate) fn aliases(levels: usize) -> String {
    let mut yaml = "name: Bomb\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..levels {
        let inner = format!("*a{}, ", level - 1).repeat(9);
        let _ = writeln!(
            yaml,
            "a{level}: &a{level} [{}]",
            inner.trim_end_matches(", ")
        );
    }
    yaml
}

/// A definition whose first value is a list in a list, so many levels deep.
pub(crate) fn nested_lists(levels: usize) -> String {
    format!("name: {}{}\n", "[".repeat(levels), "]".repeat(levels))
}

/// A machine with so many states and as many transitions from every state.
pub(crate) fn wildcards(n: usize) -> String {
    let mut yaml = "name: Bomb\nversion: 1.0.0\nstateMachines:\n  - name: M\n    initialState: S0\n    states:\n".to_owned();
    for n in 0..n {
        let _ = writeln!(yaml, "      - {{name: S{n}}}");
    }
    yaml += "    transitions:\n";
    for n in 0..n {
        let _ = writeln!(yaml, "      - {{from: '*', to: S0, event: E{n}}}");
    }
    yaml
}

/// A machine with so many transitions from states that do not exist.
pub(crate) fn unknown_states(n: usize) -> String {
    let mut yaml = "name: Bomb\nversion: 1.0.0\nstateMachines:\n  - name: M\n    initialState: S0\n    states: [{name: S0}]\n    transitions:\n".to_owned();
    for n in 0..n {
        let _ = writeln!(yaml, "      - {{from: Gone{n}, to: Missing{n}, event: E}}");
    }
    yaml
}

fn with_section(id: u8, announced: usize, content: &[u8]) -> Vec<u8> {
    let mut component = COMPONENT.to_vec();
    component.push(id);
    component.extend(leb(announced));
    component.extend(content);
    component
}

/// A number, seven bits to a byte, the lowest first.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits fit in a byte");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
