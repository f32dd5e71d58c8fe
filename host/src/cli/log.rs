//! The host's log, on standard error.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts it. `RUST_LOG` says how much is told, else `usual`.
pub(super) fn start(format: Format, usual: &str) {
    // What a client does to its own connection is no warning to whoever runs the host.
    let usual = format!("{usual},h2=error,hyper=error");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // It fails only if there is a log already, which is as good.
    let _ = match format {
        Format::Text => subscriber.with_ansi(false).try_init(),
        Format::Json => subscriber.json().try_init(),
    };
}
