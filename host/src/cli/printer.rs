//! Where everything that a person or program reads goes through.
//!
//! Results go to standard output, whatever accompanies them to standard error. Colour is for
//! terminals whose owner did not set `NO_COLOR`, and never carries a meaning of its own.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use annotate_snippets::Renderer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::Failure;

/// How often a spinner turns.
const SPIN_EVERY: Duration = Duration::from_millis(100);

/// Prints results as text or as JSON.
#[derive(Debug)]
pub(super) struct Printer {
    json: bool,
    colour: Colour,
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
        }
    }

    /// Whether programs read the output.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// A line of the result, for people.
    pub(super) fn line(&self, text: impl Display) {
        write(&mut io::stdout().lock(), text);
    }

    /// A value of the result, for programs, on one line.
    pub(super) fn json(&self, value: &impl Serialize) {
        let text = serde_json::to_string(value).expect("what is printed has text keys");
        write(&mut io::stdout().lock(), text);
    }

    /// A line that accompanies the result.
    pub(super) fn note(&self, text: impl Display) {
        write(&mut io::stderr().lock(), text);
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
                return self.note(format_args!("error: {}", problem.lines().join("\n")));
            }
        };
        let detail = format!("{error:#}");
        match self.json {
            true => self.json(&json!({ "error": { "code": code, "detail": detail } })),
            false => self.note(format_args!("error: {detail}")),
        }
    }

    /// Draws findings for standard output.
    pub(super) fn renderer(&self) -> Renderer {
        renderer(self.colour.output)
    }

    /// Draws findings for standard error.
    pub(super) fn note_renderer(&self) -> Renderer {
        renderer(self.colour.error)
    }

    /// Shows that something is going on, if somebody looks.
    pub(super) fn progress(&self, what: impl Display) -> Progress {
        let target = match self.json {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(None, target).with_message(what.to_string());
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

fn write(stream: &mut impl Write, text: impl Display) {
    // A reader that went away (`… | head`) wants no more.
    let _ = writeln!(stream, "{text}");
}
