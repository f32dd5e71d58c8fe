//! Texts of strangers that reach the terminal of whoever looks at them.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Entry, Scale, victim::Victim};

pub(super) const KINDS: &[Entry] = &[("terminal-escapes", escapes)];

/// A machine whose event and state carry what a terminal obeys.
const ESCAPES: &str = r#"
name: Escapes
version: 1.0.0
stateMachines:
  - name: Painter
    initialState: Plain
    states: [{name: Plain}]
    transitions:
      - {from: Plain, to: Plain, event: PAINT}
"#;

/// Clears the screen, rings, forges a row, and turns the direction of text around.
const HOSTILE: &str = "\u{1b}[2J\u{7}\n1  forged row\r\u{202e}";

fn escapes(victim: &mut Victim, _: Scale) -> Result<()> {
    victim.deploy("Escapes", ESCAPES)?;
    victim.create("Escapes", "Painter", "painter", &json!({ "text": HOSTILE }))?;
    let path = "/v1/instances/painter/events";
    for event in ["PAINT", HOSTILE] {
        victim.post(
            path,
            &json!({ "event": event, "payload": { "text": HOSTILE } }),
        )?;
    }
    let url = format!("http://{}", victim.address());
    for command in [
        &["history", "painter"][..],
        &["instances"],
        &["send", "painter", HOSTILE],
        &["send", HOSTILE, "PAINT"],
        &["dead-letters"],
    ] {
        let mut program = Command::new(victim.program());
        program.args(command).env("XCOMPONENT_URL", &url);
        let output = program.output().context("starting the command line")?;
        for bytes in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(bytes);
            let obeyed = text.chars().find(|c| *c != '\n' && is_obeyed(*c));
            ensure!(obeyed.is_none(), "{command:?} prints {obeyed:?}");
            ensure!(
                !text.lines().any(|line| line.starts_with("1  forged")),
                "{command:?} prints a forged row"
            );
        }
    }
    Ok(())
}

fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
