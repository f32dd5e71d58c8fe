//! Where everything that a person or program reads goes through.
//!
//! Results go to standard output, whatever accompanies them to standard error. Colour is for
//! terminals whose owner did not set `NO_COLOR`, and never carries a meaning of its own.
//!
//! What is printed may come from guests and from other hosts. Whatever could act on a terminal is
//! shown as its code here, so that no command has to think of it: a line stays one line.

use std::{
    fmt::{Display, Write as _},
    io::{self, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use annotate_snippets::Renderer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::Failure;
use crate::plain::{Plain, PlainDrawing, PlainLines, is_dangerous};

/// How often a spinner turns.
const SPIN_EVERY: Duration = Duration::from_millis(100);

/// Prints results as text or as JSON.
#[derive(Debug)]
pub(super) struct Printer {
    json: bool,
    colour: Colour,
    /// Standard error is the host's log, of which every line is JSON.
    logs_json: AtomicBool,
}

/// Which streams may be coloured.
#[derive(Clone, Copy, Debug)]
struct Colour {
    output: bool,
    error: bool,
}

/// Something that takes a while. It shows on a terminal until it is dropped.
#[derive(Debug)]
#[must_use = "it shows only as long as it is held"]
pub(super) struct Progress(ProgressBar);

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Printer {
    /// A printer of JSON or text.
    pub(super) fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            json,
            colour: Colour {
                output: wanted && io::stdout().is_terminal(),
                error: wanted && io::stderr().is_terminal(),
            },
            logs_json: AtomicBool::new(false),
        }
    }

    /// Whether programs read the output.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// From now on whatever accompanies the result is part of a log in JSON.
    pub(super) fn notes_go_to_the_log(&self) {
        self.logs_json.store(true, Relaxed);
    }

    /// A line of the result, for people.
    pub(super) fn line(&self, text: impl Display) {
        write(&mut io::stdout().lock(), Plain(text));
    }

    /// Lines of the result, for people: a text that has lines of its own, none of them a guest's.
    pub(super) fn lines(&self, text: impl Display) {
        write(&mut io::stdout().lock(), PlainLines(text));
    }

    /// A drawing of the result, for people.
    pub(super) fn drawing(&self, drawn: &str) {
        write(&mut io::stdout().lock(), PlainDrawing(drawn));
    }

    /// A value of the result, for programs, on one line.
    pub(super) fn json(&self, value: &impl Serialize) {
        let text = serde_json::to_string(value).expect("what is printed has text keys");
        write(&mut io::stdout().lock(), escaped(&text));
    }

    /// A line that accompanies the result.
    pub(super) fn note(&self, text: impl Display) {
        match self.logs_json.load(Relaxed) {
            true => tracing::info!("{text}"),
            false => write(&mut io::stderr().lock(), Plain(text)),
        }
    }

    /// A drawing that accompanies the result.
    pub(super) fn note_drawing(&self, drawn: &str) {
        match self.logs_json.load(Relaxed) {
            true => tracing::warn!("{drawn}"),
            false => write(&mut io::stderr().lock(), PlainDrawing(drawn)),
        }
    }

    /// Why a command failed, with the chain of causes.
    pub(super) fn failure(&self, failure: &Failure) {
        let (code, error) = match failure {
            Failure::Misuse(error) => ("misuse", error),
            Failure::Failed(error) => ("failed", error),
            Failure::Refused(problem) if self.json => {
                return self.json(&json!({ "error": problem.value }));
            }
            Failure::Refused(problem) => {
                let mut lines = problem.lines().into_iter();
                self.note(format_args!("error: {}", lines.next().unwrap_or_default()));
                return lines.for_each(|line| self.note(line));
            }
        };
        let detail = format!("{error:#}");
        if self.logs_json.load(Relaxed) {
            tracing::error!(code, "{detail}");
        }
        match self.json {
            true => self.json(&json!({ "error": { "code": code, "detail": detail } })),
            false if self.logs_json.load(Relaxed) => {}
            // The output of a compiler has lines.
            false => write(
                &mut io::stderr().lock(),
                PlainLines(format_args!("error: {detail}")),
            ),
        }
    }

    /// Draws findings for standard output.
    pub(super) fn renderer(&self) -> Renderer {
        renderer(self.colour.output)
    }

    /// Draws findings for standard error.
    pub(super) fn note_renderer(&self) -> Renderer {
        renderer(self.colour.error && !self.logs_json.load(Relaxed))
    }

    /// Shows that something is going on, if somebody looks.
    pub(super) fn progress(&self, what: impl Display) -> Progress {
        let target = match self.json || self.logs_json.load(Relaxed) {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(None, target).with_message(Plain(what).to_string());
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        bar.set_style(style.expect("the template is well-formed"));
        bar.enable_steady_tick(SPIN_EVERY);
        Progress(bar)
    }
}

fn renderer(colour: bool) -> Renderer {
    match colour {
        true => Renderer::styled(),
        false => Renderer::plain(),
    }
}

/// JSON in which nothing acts on a terminal: outside texts there are no such characters, and inside
/// each may be written as its code.
pub(super) fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match is_dangerous(c) {
            true => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    // Writing into a text does not fail.
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
            false => escaped.push(c),
        }
    }
    escaped
}

fn write(stream: &mut impl Write, text: impl Display) {
    // A reader that went away (`… | head`) wants no more.
    let _ = writeln!(stream, "{text}");
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn json_says_the_same_without_characters_that_act_on_a_terminal() {
        let value = json!({"name": "a\u{9b}2J\u{202e}\u{7f}\u{2028}", "more": ["ü", 1]});
        let text = escaped(&value.to_string());
        assert!(!text.chars().any(is_dangerous), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
