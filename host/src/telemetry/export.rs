//! Takes spans to a collector: OTLP over HTTP, in batches.
//!
//! A collector that is slow or away takes nothing from the host but a bounded queue; what finds no
//! room in it, or is not taken after a few attempts, is dropped and counted.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hyper::Uri;
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{Counts, Shared, Tracer};
use crate::{address::Address, authorities::Authorities, https};

/// Spans that wait at most; about 1 KiB each.
const WAITING_MAX: usize = 8_192;

/// Spans of one request to the collector at most.
const BATCH_MAX: usize = 512;

/// How long it is waited for more of them.
const GATHER_FOR: Duration = Duration::from_millis(500);

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How long a host that ends waits for what is left.
const LAST_MAX: Duration = Duration::from_secs(3);

/// Where signals of this kind go at a collector.
const TRACES: &str = "/v1/traces";

/// What a host is called that was not given a name.
const SERVICE: &str = "xcomponent";

/// Where spans go.
#[derive(Clone, Debug)]
pub struct Config {
    /// The collector: `http://HOST:4318`.
    pub endpoint: Address,
    /// Which part of the requests without a context is traced, in 0..=1.
    pub sample: f64,
    /// Who vouches for it.
    pub authorities: Authorities,
}

/// A text is no address of a collector.
#[derive(Debug, thiserror::Error)]
#[error("`{endpoint}` is no address of a collector: {why}; expected one as `http://HOST:4318`")]
pub struct InvalidEndpoint {
    endpoint: Address,
    why: String,
}

/// What takes spans away.
#[must_use = "without it nothing is exported"]
#[derive(Debug)]
pub struct Exporting {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Begins to export, on the runtime at hand.
///
/// # Errors
///
/// If there is no such address.
pub fn start(config: &Config) -> Result<(Tracer, Exporting), InvalidEndpoint> {
    let exporter = exporter(config).map_err(|why| InvalidEndpoint {
        endpoint: config.endpoint.clone(),
        why,
    })?;
    let (spans, waiting) = mpsc::channel(WAITING_MAX);
    let scope = InstrumentationScope::builder(SERVICE).with_version(env!("CARGO_PKG_VERSION"));
    let shared = Arc::new(Shared {
        spans,
        sample: config.sample,
        scope: scope.build(),
        counts: Counts::default(),
    });
    let (stop, stopped) = oneshot::channel();
    let worker = Worker {
        exporter,
        waiting,
        shared: Arc::clone(&shared),
        is_away: false,
    };
    let task = tokio::spawn(worker.run(stopped));
    Ok((Tracer { shared }, Exporting { stop, task }))
}

impl Exporting {
    /// Takes away what is left, and ends.
    pub async fn end(mut self) {
        // It listens as long as it runs.
        let _ = self.stop.send(());
        if timeout(LAST_MAX, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

fn exporter(config: &Config) -> Result<SpanExporter, String> {
    if config.endpoint.credentials().is_some() {
        tracing::warn!(
            "credentials in the address of `{}` are not sent: give them in \
             `OTEL_EXPORTER_OTLP_HEADERS`",
            config.endpoint
        );
    }
    let endpoint = config.endpoint.without_credentials();
    let uri: Uri = endpoint
        .parse()
        .map_err(|_| "it cannot be read".to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
        return Err("it is not of http or https".to_owned());
    }
    let connector = https::connector(CONNECT_MAX, &config.authorities);
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(HyperClient::new(connector, ANSWER_MAX, None))
        .with_endpoint(format!("{}{TRACES}", endpoint.trim_end_matches('/')))
        .with_timeout(ANSWER_MAX)
        .build()
        .map_err(|error| error.to_string())?;
    exporter.set_resource(&resource());
    Ok(exporter)
}

/// Who sends: what `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say.
fn resource() -> Resource {
    let name = Key::from_static_str("service.name");
    let told = Resource::builder().build();
    let has_name = told
        .get(&name)
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    match has_name {
        true => resource.build(),
        false => resource.with_service_name(SERVICE).build(),
    }
}

struct Worker {
    exporter: SpanExporter,
    waiting: mpsc::Receiver<SpanData>,
    shared: Arc<Shared>,
    is_away: bool,
}

impl Worker {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let mut batch = Vec::with_capacity(BATCH_MAX);
            let is_over = tokio::select! {
                () = gather(&mut self.waiting, &mut batch) => false,
                // An error means that nobody will ever say so any more, which is the same.
                _ = &mut stopped => true,
            };
            self.export(batch).await;
            if is_over {
                break;
            }
        }
        loop {
            let mut rest = Vec::with_capacity(BATCH_MAX);
            while rest.len() < BATCH_MAX
                && let Ok(span) = self.waiting.try_recv()
            {
                rest.push(span);
            }
            if rest.is_empty() {
                return;
            }
            self.export(rest).await;
        }
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        if batch.is_empty() {
            return;
        }
        let spans = batch.len() as u64;
        let counts = &self.shared.counts;
        match self.exporter.export(batch).await {
            Ok(()) => {
                counts.exported.fetch_add(spans, Ordering::Relaxed);
                if std::mem::take(&mut self.is_away) {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                counts.dropped.fetch_add(spans, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!("spans are dropped: {error}");
                }
            }
        }
    }
}

/// Waits for a span, and for those that come soon after it. May be dropped at any time: what it has
/// taken is in the batch.
async fn gather(waiting: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    waiting.recv_many(batch, BATCH_MAX).await;
    let more = async {
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            if waiting.recv_many(batch, room).await == 0 {
                return;
            }
        }
    };
    // What has not come by then belongs to the next batch.
    let _ = timeout(GATHER_FOR, more).await;
}
