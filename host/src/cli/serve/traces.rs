//! Where traces go, as far as the command line says it.

use clap::Args;

use crate::{address::Address, authorities::Authorities, telemetry::Config};

/// Spans for a collector.
#[derive(Debug, Args)]
#[command(next_help_heading = "Traces")]
pub(super) struct Traces {
    /// A collector that takes spans by OTLP over HTTP, as in `http://HOST:4318`. `OTEL_SERVICE_NAME`
    /// and `OTEL_RESOURCE_ATTRIBUTES` say who sends them.
    #[arg(
        long,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        hide_env_values = true
    )]
    otlp_endpoint: Option<Address>,
    /// Which part of the requests without a `traceparent` is traced, in 0 to 1; those with one say
    /// themselves whether they are.
    #[arg(long, value_name = "PART", value_parser = part, default_value = "0")]
    otlp_sample: f64,
}

impl Traces {
    /// What the host is told.
    pub(super) fn config(&self, authorities: &Authorities) -> Option<Config> {
        let endpoint = self.otlp_endpoint.clone();
        let endpoint = endpoint.filter(|endpoint| !endpoint.exposed().is_empty());
        endpoint.map(|endpoint| Config {
            endpoint,
            sample: self.otlp_sample,
            authorities: authorities.clone(),
        })
    }
}

fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| format!("expected a number from 0 to 1, as in `0.01`, not `{text}`"))
}
