//! The host's log, on standard error.

use std::{
    io::{self, Write},
    panic,
};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use super::printer::{Printer, escaped};
use crate::plain::Plain;

/// How it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts it. `RUST_LOG` says how much is told, else `usual`. In JSON, what the command notes and
/// panics are part of it.
pub(super) fn start(format: Format, usual: &str, printer: &Printer) {
    // What a client does to its own connection is no warning to whoever runs the host.
    let usual = format!("{usual},h2=error,hyper=error");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(StandardError(format));
    // It fails only if there is a log already, which is as good.
    let _ = match format {
        Format::Text => subscriber.try_init(),
        Format::Json => {
            printer.notes_go_to_the_log();
            panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
            subscriber.json().try_init()
        }
    };
}

/// Standard error, on which nothing acts on a terminal.
#[derive(Clone, Copy)]
struct StandardError(Format);

impl<'w> MakeWriter<'w> for StandardError {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        *self
    }
}

impl Write for StandardError {
    /// Takes an event, which comes at once and ends with a line feed.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let line = match self.0 {
            Format::Text => format!("{}\n", Plain(text)),
            Format::Json => format!("{}\n", escaped(text)),
        };
        io::stderr().lock().write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
