//! A collector: takes spans by OTLP over HTTP, reads them with the protocol's own types, and keeps
//! them in memory.

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::header::CONTENT_TYPE,
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::any_value::Value,
    resource::v1::Resource,
    trace::v1::{Span as WireSpan, span::SpanKind},
};
use prost::Message as _;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::host::PATIENCE;

/// Where it is; dropped, it is gone.
pub(crate) struct Collector {
    url: String,
    spans: watch::Receiver<Vec<Span>>,
    served: JoinHandle<()>,
}

/// A span that has come.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// Who sent it: the first part of the path to which it was sent.
    pub(crate) host: String,
    pub(crate) resource: Resource,
    pub(crate) span: WireSpan,
}

impl Span {
    pub(crate) fn kind(&self) -> SpanKind {
        self.span.kind()
    }

    /// An attribute as a text.
    pub(crate) fn attribute(&self, name: &str) -> String {
        let found = self.span.attributes.iter().find(|one| one.key == name);
        let value = found.and_then(|one| one.value.as_ref()?.value.clone());
        match value {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => panic!("{name} is {other:?} in {self:?}"),
        }
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let (tell, spans) = watch::channel(Vec::new());
        let router = Router::new().route("/{host}/v1/traces", post(take));
        let router = router.with_state(tell);
        let served = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            url: format!("http://{address}"),
            spans,
            served,
        }
    }

    /// Where a host sends its spans.
    pub(crate) fn endpoint(&self, host: &str) -> String {
        format!("{}/{host}", self.url)
    }

    /// Waits until all spans of a trace are there, as many as those.
    pub(crate) async fn trace(&self, trace: &str, spans: usize) -> Vec<Span> {
        let of_trace = |all: &Vec<Span>| {
            let is_of = |span: &&Span| hex(&span.span.trace_id) == trace;
            all.iter().filter(is_of).cloned().collect::<Vec<_>>()
        };
        let mut told = self.spans.clone();
        let enough = told.wait_for(|all| of_trace(all).len() >= spans);
        let found = match tokio::time::timeout(PATIENCE, enough).await {
            Ok(all) => of_trace(&all.expect("the collector runs")),
            Err(_) => panic!("only {:#?} have come", self.spans.borrow()),
        };
        assert_eq!(found.len(), spans, "{found:#?}");
        found
    }

    /// All that have come.
    pub(crate) fn all(&self) -> Vec<Span> {
        self.spans.borrow().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.served.abort();
    }
}

async fn take(
    State(tell): State<watch::Sender<Vec<Span>>>,
    Path(host): Path<String>,
    body: Bytes,
) -> ([(axum::http::HeaderName, &'static str); 1], Vec<u8>) {
    let request = ExportTraceServiceRequest::decode(body).expect("it is what the protocol says");
    for group in request.resource_spans {
        let resource = group.resource.unwrap_or_default();
        let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        let spans = spans.map(|span| Span {
            host: host.clone(),
            resource: resource.clone(),
            span,
        });
        let spans: Vec<Span> = spans.collect();
        tell.send_modify(|all| all.extend(spans));
    }
    let taken = ExportTraceServiceResponse::default().encode_to_vec();
    ([(CONTENT_TYPE, "application/x-protobuf")], taken)
}

/// Bytes as they are written in headers.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
