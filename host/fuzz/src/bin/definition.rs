//! Any text is checked to an end: a definition, or findings that say why not.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xcomponent_core::definition::{Severity, Strictness, check, dot, mermaid};

fuzz_target!(|source: &str| {
    let checked = check(source, Strictness::Normal);
    let is_wrong =
        |finding: &xcomponent_core::definition::Finding| finding.severity == Severity::Error;
    match &checked.definition {
        Some(definition) => {
            assert!(!checked.findings.iter().any(is_wrong));
            for machine in &definition.machines {
                let _ = mermaid(machine, Some(machine.initial));
                let _ = dot(machine, None);
            }
        }
        None => assert!(checked.findings.iter().any(is_wrong)),
    }
    for finding in &checked.findings {
        assert!(finding.line > 0 && finding.column > 0 && finding.length > 0);
    }
});
