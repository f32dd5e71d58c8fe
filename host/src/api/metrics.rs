//! `/metrics`: the host's numbers for Prometheus. No label names a tenant.

mod machines;
mod requests;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    extract::State as Shared,
    http::{HeaderName, header},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, text},
    metrics::{MetricType, exemplar::Exemplar, info::Info},
    registry::Registry,
};

pub(super) use self::requests::{Requests, count};
use super::{
    State,
    error::{ApiError, Result},
    serve::Numbers as Connections,
    standing,
};
use crate::{
    cache,
    driver::{
        LaneGauges,
        gauges::{CommitGauges, Gauges, Histogram, ShardGauges},
    },
    memory::{Memory, Purpose},
    telemetry::{Spans, Tracer},
};

/// The format of Prometheus and of everything that reads the same.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What histograms of this host never have.
const NO_EXEMPLAR: Option<&Exemplar<[(&str, &str); 0], u64>> = None;

/// The host's numbers, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "operators",
    responses((status = 200, description = "The numbers", body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn read(
    Shared(state): Shared<State>,
) -> Result<([(HeaderName, &'static str); 1], String)> {
    let mut registry = Registry::with_prefix("xcomponent");
    let release = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "Which release this is", release);
    let standings = standing::of_all(&state).into_iter();
    registry.register_collector(Box::new(Numbers {
        gauges: state.handle().gauges(),
        requests: state.shared.requests.clone(),
        streams: state.shared.streams_max - state.shared.streams.available_permits(),
        connections: state.shared.connections.get().cloned().unwrap_or_default(),
        memory: state.config().memory.clone(),
        components: state.registry().list(&state.shared.tenant).len(),
        lanes: state.handle().lanes(),
        registry: state
            .shared
            .directory
            .registry()
            .map(|member| (member.is_reachable(), member.n_hosts())),
        cache: state.config().cache.clone(),
        reconnects: state.shared.directory.listening().reconnects(),
        spans: state.config().tracer.as_ref().map(Tracer::spans),
        transports: standings
            .map(|one| (one.name, one.status.as_str()))
            .collect(),
    }));
    let mut text = String::new();
    text::encode(&mut text, &registry).map_err(|error| ApiError::internal(&error))?;
    std::future::ready(Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text))).await
}

/// The numbers at one moment.
#[derive(Debug)]
struct Numbers {
    gauges: Gauges,
    requests: Requests,
    streams: usize,
    /// Of the port, if there is one.
    connections: Arc<Connections>,
    memory: Memory,
    components: usize,
    lanes: Vec<LaneGauges>,
    /// How often listening to the broker was begun again.
    reconnects: u64,
    /// What became of spans, if somebody takes them.
    spans: Option<Spans>,
    /// By name, how each stands.
    transports: Vec<(String, &'static str)>,
    /// Of the registry, if there is one: whether it answers, and how many hosts it knows.
    registry: Option<(bool, usize)>,
    cache: Option<Arc<cache::Numbers>>,
}

impl Collector for Numbers {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut out = Out(encoder);
        out.gauge("components", "Components that are loaded", self.components)?;
        out.gauge("streams", "Streams that clients have open", self.streams)?;
        out.connections(&self.connections)?;
        out.memory(&self.memory)?;
        if let Some(registry) = self.registry {
            out.registry(registry)?;
        }
        let shards = &self.gauges.shards;
        out.by_shard("instances", "Instances in memory", shards, |shard| {
            shard.live
        })?;
        out.by_shard(
            "passive_instances",
            "Instances that go on and that only the store has",
            shards,
            |shard| shard.passive,
        )?;
        out.by_shard(
            "keys_bytes",
            "Memory that callers' keys take; the store knows those beyond it",
            shards,
            |shard| shard.remembered_bytes,
        )?;
        out.by_shard(
            "debt",
            "Queued internal deliveries and unperformed effects",
            shards,
            |shard| shard.debt,
        )?;
        out.by_shard(
            "inbox",
            "Requests and deliveries that were not looked at",
            shards,
            |shard| shard.inbox,
        )?;
        out.bytes(shards)?;
        out.by_shard(
            "calls_away",
            "Calls that yielded and are not done",
            shards,
            |shard| shard.away,
        )?;
        out.events(shards)?;
        out.machines(&self.gauges.machines)?;
        self.requests.encode(&mut out.0)?;
        out.lanes(&self.lanes)?;
        out.lags(&self.lanes)?;
        out.transports(&self.transports)?;
        if let Some(cache) = &self.cache {
            out.cache(cache)?;
        }
        out.parcels(shards, self.reconnects)?;
        out.spans(self.spans.unwrap_or_default())?;
        out.counter(
            "deliveries_over_budget",
            "Deliveries dropped after the first dead letter of their root and instance",
            shards.iter().map(|shard| shard.dropped_over_budget).sum(),
        )?;
        out.commit(&self.gauges.commit)
    }
}

struct Out<'e>(DescriptorEncoder<'e>);

impl Out<'_> {
    /// What the shards hold.
    fn bytes(&mut self, shards: &[ShardGauges]) -> fmt::Result {
        self.by_shard(
            "inbox_bytes",
            "Bytes of requests and deliveries that were not looked at",
            shards,
            |shard| shard.inbox_bytes,
        )?;
        self.by_shard(
            "waiting_bytes",
            "Bytes of events that wait for instances",
            shards,
            |shard| shard.waiting_bytes,
        )?;
        self.by_shard(
            "instance_bytes",
            "Bytes of instances in memory",
            shards,
            |shard| shard.instance_bytes,
        )?;
        self.counter(
            "deliveries_spilled",
            "Internal deliveries whose payloads stayed in the log while they waited",
            shards.iter().map(|shard| shard.events.spilled).sum(),
        )
    }

    /// What the committer does.
    fn commit(&mut self, commit: &CommitGauges) -> fmt::Result {
        self.gauge(
            "commit_queue",
            "Records that are not durable",
            commit.queued,
        )?;
        self.gauge(
            "commit_queue_bytes",
            "Bytes of records that are not durable",
            commit.queued_bytes,
        )?;
        self.gauge(
            "commit_batch_bytes_max",
            "Bytes at which a batch is cut at the moment",
            commit.batch_bytes_max,
        )?;
        self.counter("commit_records", "Records committed", commit.records)?;
        self.counter("commit_batches", "Batches committed", commit.batches)?;
        self.counter("commit_failures", "Batches that failed", commit.failures)?;
        self.histogram(
            "commit_duration_seconds",
            "How long batches took",
            &commit.latency,
        )
    }

    fn gauge(&mut self, name: &str, help: &str, value: usize) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&number(value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter(&value, NO_EXEMPLAR)
    }

    fn by_shard(
        &mut self,
        name: &str,
        help: &str,
        shards: &[ShardGauges],
        value: impl Fn(&ShardGauges) -> usize,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (shard, gauges) in shards.iter().enumerate() {
            let labels = [("shard", shard.to_string())];
            metric
                .encode_family(&labels)?
                .encode_gauge(&number(value(gauges)))?;
        }
        Ok(())
    }

    fn events(&mut self, shards: &[ShardGauges]) -> fmt::Result {
        let help = "What became of events";
        let mut metric = self
            .0
            .encode_descriptor("events", help, None, MetricType::Counter)?;
        let sum = |of: fn(&ShardGauges) -> u64| shards.iter().map(of).sum::<u64>();
        for (disposition, count) in [
            ("transitioned", sum(|shard| shard.events.transitioned)),
            ("ignored", sum(|shard| shard.events.ignored)),
            ("deferred", sum(|shard| shard.events.deferred)),
            ("retrying", sum(|shard| shard.events.retrying)),
            ("rejected", sum(|shard| shard.events.rejected)),
            ("dead-lettered", sum(|shard| shard.events.dead_lettered)),
        ] {
            let labels = [("disposition", disposition)];
            metric
                .encode_family(&labels)?
                .encode_counter(&count, NO_EXEMPLAR)?;
        }
        Ok(())
    }

    fn connections(&mut self, connections: &Connections) -> fmt::Result {
        let open = connections.open.load(Ordering::Relaxed);
        self.gauge("connections", "Connections that clients have open", open)?;
        let max = connections.max.load(Ordering::Relaxed);
        self.gauge("connections_max", "Connections that may be open", max)?;
        self.counter(
            "connections_evicted",
            "Connections without a request that were closed for a new one",
            connections.evicted.load(Ordering::Relaxed),
        )?;
        self.counter(
            "connections_refused",
            "Connections beyond the limits, which get answers to health checks only",
            connections.refused.load(Ordering::Relaxed),
        )
    }

    fn memory(&mut self, memory: &Memory) -> fmt::Result {
        let mut by_purpose = |name: &str, help: &str, bytes: fn(&Memory, Purpose) -> usize| {
            let kind = MetricType::Gauge;
            let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
            for purpose in Purpose::ALL {
                let labels = [("purpose", purpose.as_str())];
                let bytes = number(bytes(memory, purpose));
                metric.encode_family(&labels)?.encode_gauge(&bytes)?;
            }
            Ok(())
        };
        let help = "Bytes that are held, by what they are held for";
        by_purpose("memory_used_bytes", help, Memory::used)?;
        let help = "Bytes that may be held, by what they are held for";
        by_purpose("memory_max_bytes", help, Memory::max)
    }

    fn lanes(&mut self, lanes: &[LaneGauges]) -> fmt::Result {
        let mut by_component =
            |name: &str, help: &str, kind: MetricType, value: fn(&LaneGauges) -> u64| {
                let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
                for lane in lanes {
                    let labels = [("component", lane.channel.component.as_str())];
                    let mut family = metric.encode_family(&labels)?;
                    match kind {
                        MetricType::Gauge => family.encode_gauge(&wide(value(lane)))?,
                        _ => family.encode_counter(&value(lane), NO_EXEMPLAR)?,
                    }
                }
                Ok(())
            };
        by_component(
            "outbox",
            "Records that wait for a component on another host",
            MetricType::Gauge,
            |lane| lane.waiting,
        )?;
        by_component(
            "relayed",
            "Records that have reached a component on another host",
            MetricType::Counter,
            |lane| lane.relayed,
        )?;
        by_component(
            "relay_failures",
            "Attempts to reach a component on another host that failed",
            MetricType::Counter,
            |lane| lane.failures,
        )
    }

    fn lags(&mut self, lanes: &[LaneGauges]) -> fmt::Result {
        let help = "How old the oldest record is that waits for a component on another host";
        let name = "outbox_lag_seconds";
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for lane in lanes {
            let labels = [("component", lane.channel.component.as_str())];
            let lag = lane.lag.as_secs_f64();
            metric.encode_family(&labels)?.encode_gauge(&lag)?;
        }
        let help = "How long it took from the commit until the oldest of a shipment had arrived";
        let name = "relay_duration_seconds";
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for lane in lanes {
            let labels = [("component", lane.channel.component.as_str())];
            write_histogram(metric.encode_family(&labels)?, &lane.latency)?;
        }
        Ok(())
    }

    fn parcels(&mut self, shards: &[ShardGauges], reconnects: u64) -> fmt::Result {
        let sum = |of: fn(&ShardGauges) -> u64| shards.iter().map(of).sum::<u64>();
        self.counter(
            "parcels_taken_in",
            "Parcels of other hosts that were new",
            sum(|shard| shard.parcels.taken_in),
        )?;
        self.counter(
            "parcels_redelivered",
            "Parcels of other hosts that came again, and were known",
            sum(|shard| shard.parcels.known),
        )?;
        self.counter(
            "broker_reconnects",
            "How often listening to the broker stopped and was begun again",
            reconnects,
        )
    }

    fn spans(&mut self, spans: Spans) -> fmt::Result {
        let help = "Spans that a collector has taken";
        self.counter("spans_exported", help, spans.exported)?;
        let help = "Spans that found no room, or that no collector took";
        self.counter("spans_dropped", help, spans.dropped)
    }

    fn transports(&mut self, transports: &[(String, &str)]) -> fmt::Result {
        let help = "Whether what leads to other hosts takes anything: its breaker, or whether a \
                    broker took the last shipment";
        let mut metric = self
            .0
            .encode_descriptor("transport", help, None, MetricType::Gauge)?;
        for (name, status) in transports {
            for state in ["closed", "half_open", "open"] {
                let labels = [("transport", name.as_str()), ("state", state)];
                let is_so = i64::from(*status == state);
                metric.encode_family(&labels)?.encode_gauge(&is_so)?;
            }
        }
        Ok(())
    }

    fn registry(&mut self, (is_reachable, n_hosts): (bool, usize)) -> fmt::Result {
        let reachable = usize::from(is_reachable);
        self.gauge(
            "registry_reachable",
            "Whether the registry answers",
            reachable,
        )?;
        self.gauge(
            "registry_hosts",
            "Hosts that have announced themselves",
            n_hosts,
        )
    }

    fn cache(&mut self, cache: &cache::Numbers) -> fmt::Result {
        self.counter(
            "cache_written",
            "States that were copied to the cache",
            cache.written(),
        )?;
        self.counter(
            "cache_dropped",
            "States that were not copied to the cache since too many waited",
            cache.dropped(),
        )?;
        self.counter(
            "cache_failures",
            "Attempts to write to the cache that failed",
            cache.failures(),
        )
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        let metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        write_histogram(metric, histogram)
    }
}

fn write_histogram(mut metric: MetricEncoder<'_>, histogram: &Histogram) -> fmt::Result {
    let upper = |bucket: usize| match bucket + 1 == histogram.buckets.len() {
        true => f64::INFINITY,
        false => seconds(1 << bucket),
    };
    let buckets = histogram.buckets.iter().enumerate();
    let buckets: Vec<_> = buckets
        .map(|(bucket, count)| (upper(bucket), *count))
        .collect();
    let count = histogram.buckets.iter().sum();
    let sum = seconds(histogram.sum_us);
    metric.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
}

fn wide(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn number(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn seconds(microseconds: u64) -> f64 {
    std::time::Duration::from_micros(microseconds).as_secs_f64()
}
