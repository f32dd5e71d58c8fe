//! Cascades from a host in this process to one in another, on the same machine.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
};
use xcomponent_core::{
    id::{ComponentName, EventName, InstanceId, TenantId},
    input::Request,
    json::Json,
    record::Body,
};
use xcomponent_host::{
    app::{Config, Host, LinksConfig},
    driver::RecordFilter,
};
use xcomponent_pack::{Metadata, blank, pack};
use xcomponent_servers::{Kafka, Nats, RabbitMq, Redis, free_port};

use crate::{
    ROUNDS, components, durable,
    engine::send,
    host, note,
    report::{Rounds, number, percentile, rate},
};

/// First argument of the process with the other host.
pub(crate) const COMMAND: &str = "--remote-host";
/// How many instances are alive there.
const POPULATIONS: [usize; 2] = [100, 50_000];
/// Instances that cascade.
const SOURCES: usize = 100;
/// Cascades of one round, one after the other.
const CASCADES: usize = 400;
/// Cascades of one round, as many at a time as there can be.
const FLOW: usize = 60_000;
/// Events of one round beside a broker that is away.
const BESIDE: usize = 1_000_000;
/// A prime: multiples of it visit instances in no order that a cache would like.
const STRIDE: usize = 7_919;

const ORIGIN: &str = r#"
name: Origin
version: 1.0.0
stateMachines:
  - name: Source
    initialState: Idle
    states:
      - name: Idle
      - name: Sent
        cascadingRules:
          - targetComponent: Remote
            targetMachine: Target
            event: EXECUTE
            matchingRules: [{eventProperty: orderId, instanceProperty: orderId}]
            payload: {orderId: "{{orderId}}"}
    transitions:
      - {from: "*", to: Sent, event: GO}
"#;

const REMOTE: &str = r#"
name: Remote
version: 1.0.0
stateMachines:
  - name: Target
    initialState: Open
    states: [{name: Open}]
    transitions:
      - from: Open
        to: Open
        event: EXECUTE
        mergePayload: false
        matchingRules: [{eventProperty: orderId, instanceProperty: orderId}]
"#;

/// How the other host is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    Redis,
    RedisStreams,
    Nats,
    Amqp,
    Kafka,
}

/// `remote_redis_p50`
pub(crate) fn redis() -> anyhow::Result<Vec<Rounds>> {
    latency(Way::Redis)
}

/// `remote_http_p50`
pub(crate) fn http() -> anyhow::Result<Vec<Rounds>> {
    latency(Way::Http)
}

/// `remote_nats_p50`
pub(crate) fn nats() -> anyhow::Result<Vec<Rounds>> {
    latency(Way::Nats)
}

/// `remote_amqp_p50`
pub(crate) fn amqp() -> anyhow::Result<Vec<Rounds>> {
    latency(Way::Amqp)
}

/// `remote_kafka_p50`
pub(crate) fn kafka() -> anyhow::Result<Vec<Rounds>> {
    latency(Way::Kafka)
}

/// `flow_http`
pub(crate) fn flow_http() -> anyhow::Result<Vec<Rounds>> {
    flow(Way::Http)
}

/// `flow_kafka`
pub(crate) fn flow_kafka() -> anyhow::Result<Vec<Rounds>> {
    flow(Way::Kafka)
}

/// `flow_nats`
pub(crate) fn flow_nats() -> anyhow::Result<Vec<Rounds>> {
    flow(Way::Nats)
}

/// `flow_amqp`
pub(crate) fn flow_amqp() -> anyhow::Result<Vec<Rounds>> {
    flow(Way::Amqp)
}

/// `flow_redis_streams`
pub(crate) fn flow_redis_streams() -> anyhow::Result<Vec<Rounds>> {
    flow(Way::RedisStreams)
}

/// From an event at one host until the transition at the other is done and anybody who listens there
/// is told, in ms: the median of each round, among the larger population.
fn latency(way: Way) -> anyhow::Result<Vec<Rounds>> {
    let mut among = Vec::new();
    for population in POPULATIONS {
        let between = Between::start(way)?;
        let mut other = Other::start(&between, population, None)?;
        let rounds = runtime()?.block_on(async {
            let (host, sources) = sender(&between, None).await?;
            let mut rounds = Rounds::new();
            // One more, to warm up.
            for _ in 0..=ROUNDS {
                let mut waits = Vec::with_capacity(CASCADES);
                for n in 0..CASCADES {
                    let began = now();
                    go(&host, &sources, n, population).await?;
                    waits.push((other.until_one_more()? - began) * 1e3);
                }
                rounds.push(percentile(&mut waits, 0.5));
            }
            host.shutdown(durable::END).await;
            anyhow::Ok(rounds)
        })?;
        among.push(rounds[1..].to_vec());
    }
    let few = percentile(&mut among[0].clone(), 0.5);
    note(&format!(
        "   among {}: {} ms; the row is among {}",
        POPULATIONS[0],
        number(few),
        POPULATIONS[1]
    ));
    Ok(vec![among.remove(1)])
}

/// Events per second that are durable at both hosts.
fn flow(way: Way) -> anyhow::Result<Vec<Rounds>> {
    let (between, folders) = (
        Between::start(way)?,
        [durable::folder()?, durable::folder()?],
    );
    let population = POPULATIONS[0];
    let mut other = Other::start(&between, population, Some(&folders[1]))?;
    runtime()?.block_on(async {
        let (host, sources) = sender(&between, Some(&folders[0])).await?;
        let mut rounds = Rounds::new();
        // One more, to warm up.
        for _ in 0..=ROUNDS {
            let began = now();
            let mut answers = VecDeque::new();
            for n in 0..FLOW {
                let request = event(&sources, n, population);
                answers.push_back(host.handle().submit(&TenantId::default_tenant(), request));
                if answers.len() > 4_096
                    && let Some(answer) = answers.pop_front()
                {
                    ensure!(host::is_transition(&answer.await), "no transition");
                }
            }
            for answer in answers {
                ensure!(host::is_transition(&answer.await), "no transition");
            }
            let ended = other.until_more(FLOW)?;
            rounds.push(rate(FLOW, ended - began));
        }
        host.shutdown(durable::END).await;
        rounds.remove(0);
        Ok(vec![rounds])
    })
}

/// `broker_down_ratio`: events of this host per second while a broker is away for which something
/// waits, against the same host without a broker.
pub(crate) fn beside_a_broker_that_is_down() -> anyhow::Result<Vec<Rounds>> {
    runtime()?.block_on(async {
        let away = format!("nats://127.0.0.1:{}", free_port()?);
        let links = LinksConfig {
            broker: Some(away.into()),
            ..LinksConfig::default()
        };
        let beside = components::host(|config| config.links = links).await?;
        let alone = components::host(|_| ()).await?;
        let origin = components::upload(beside.registry(), packed(ORIGIN)?).await?;
        let name = &origin.definition.name;
        let sources = components::create(beside.handle(), name, "Source", SOURCES).await?;
        for n in 0..SOURCES {
            go(&beside, &sources, n, SOURCES).await?;
        }
        let bench = components::guest("bench")?;
        let mut ids = Vec::new();
        for host in [&alone, &beside] {
            let bench = components::upload(host.registry(), bench.clone()).await?;
            let name = &bench.definition.name;
            ids.push(components::create(host.handle(), name, "Order", 10_000).await?);
        }
        let mut rounds = Rounds::new();
        // One more, to fill the history.
        for _ in 0..=ROUNDS {
            let mut rates = Vec::new();
            for (host, ids) in [&alone, &beside].into_iter().zip(&ids) {
                let began = now();
                host::send_all(host, ids, "NOOP", "{}", BESIDE).await?;
                rates.push(rate(BESIDE, now() - began));
            }
            rounds.push(rates[1] / rates[0]);
        }
        let waiting: u64 = beside
            .handle()
            .lanes()
            .iter()
            .map(|lane| lane.waiting)
            .sum();
        ensure!(waiting > 0, "nothing waits for the broker");
        rounds.remove(0);
        Ok(vec![rounds])
    })
}

/// What is between the hosts.
enum Between {
    Http(u16),
    Redis(Redis, &'static str),
    Nats(Nats),
    RabbitMq(RabbitMq),
    Kafka(Kafka),
}

impl Between {
    fn start(way: Way) -> anyhow::Result<Self> {
        Ok(match way {
            Way::Http => Self::Http(free_port()?),
            Way::Redis => Self::Redis(Redis::start()?, "redis:"),
            Way::RedisStreams => Self::Redis(Redis::start()?, "redis+streams:"),
            Way::Nats => Self::Nats(Nats::start()?),
            Way::Amqp => Self::RabbitMq(RabbitMq::start()?),
            Way::Kafka => {
                Kafka::install()?;
                Self::Kafka(Kafka::start()?)
            }
        })
    }

    /// The broker, if it is one, or where the other host listens.
    fn address(&self) -> String {
        match self {
            Self::Http(port) => format!("http://127.0.0.1:{port}"),
            Self::Redis(redis, scheme) => redis.url().replacen("redis:", scheme, 1),
            Self::Nats(nats) => nats.url(),
            Self::RabbitMq(rabbit) => rabbit.url(),
            Self::Kafka(kafka) => kafka.url(),
        }
    }
}

/// A host's links, by what is between the hosts.
fn links(address: &str, component: &str) -> LinksConfig {
    let mut links = LinksConfig::default();
    if address.starts_with("http:") {
        links.peers = vec![(ComponentName::new(component), address.into())];
    } else {
        links.broker = Some(address.into());
    }
    links
}

/// The host in this process, and its instances.
async fn sender(
    between: &Between,
    folder: Option<&TempDir>,
) -> anyhow::Result<(Host, Vec<InstanceId>)> {
    let host = components::host(|config| {
        config.links = links(&between.address(), "Remote");
        if let Some(folder) = folder {
            durable::keep_in(config, folder.path());
        }
    })
    .await?;
    let origin = components::upload(host.registry(), packed(ORIGIN)?).await?;
    let name = &origin.definition.name;
    let sources = components::create(host.handle(), name, "Source", SOURCES).await?;
    Ok((host, sources))
}

/// The event that has the `n`th source tell one of so many targets.
fn event(sources: &[InstanceId], n: usize, population: usize) -> Request {
    let order = n * STRIDE % population;
    let payload = Json::from_trusted(format!(r#"{{"orderId":"ORD-{order:07}"}}"#));
    let source = &sources[n % sources.len()];
    Request::Send(send(source, &EventName::new("GO"), &payload))
}

async fn go(
    host: &Host,
    sources: &[InstanceId],
    n: usize,
    population: usize,
) -> anyhow::Result<()> {
    let request = event(sources, n, population);
    let tenant = TenantId::default_tenant();
    let reply = host.handle().request(&tenant, request).await;
    ensure!(host::is_transition(&reply), "the event took no transition");
    Ok(())
}

/// As the host has it, so that what relays goes on while this thread waits for the other process.
fn runtime() -> anyhow::Result<Runtime> {
    Ok(runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn packed(yaml: &str) -> anyhow::Result<Vec<u8>> {
    Ok(pack(&blank(), yaml, &Metadata::default(), &[])?)
}

/// The time, in seconds, by a clock that all processes of the machine share.
#[expect(
    clippy::cast_precision_loss,
    reason = "machines do not run for so long"
)]
fn now() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// The process with the other host. It tells how many targets have taken a transition, and when.
struct Other {
    process: Child,
    told: BufReader<ChildStdout>,
    count: usize,
}

impl Other {
    fn start(
        between: &Between,
        population: usize,
        folder: Option<&TempDir>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([COMMAND, &between.address(), &population.to_string()]);
        if let Some(folder) = folder {
            command.arg(folder.path());
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let told = process.stdout.take().context("it has an output")?;
        let mut other = Self {
            process,
            told: BufReader::new(told),
            count: 0,
        };
        other.next()?;
        Ok(other)
    }

    /// When one more target has taken a transition.
    fn until_one_more(&mut self) -> anyhow::Result<f64> {
        self.until_more(1)
    }

    /// When so many more have.
    fn until_more(&mut self, more: usize) -> anyhow::Result<f64> {
        let wanted = self.count + more;
        loop {
            let at = self.next()?;
            if self.count >= wanted {
                return Ok(at);
            }
        }
    }

    fn next(&mut self) -> anyhow::Result<f64> {
        let mut line = String::new();
        self.told.read_line(&mut line)?;
        let (count, at) = line
            .trim()
            .split_once(' ')
            .context("the other host ended")?;
        self.count = count.parse()?;
        Ok(at.parse()?)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The other host: ends when it is killed.
pub(crate) fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let (address, population, folder) = match &*arguments {
        [address, population] => (address, population, None),
        [address, population, folder] => (address, population, Some(folder)),
        _ => bail!("an address, a number and maybe a folder are wanted"),
    };
    let population = population.parse()?;
    runtime()?.block_on(async {
        let configure = |config: &mut Config| {
            if !address.starts_with("http:") {
                config.links = links(address, "Origin");
            }
            if let Some(folder) = folder {
                durable::keep_in(config, folder.as_ref());
            }
        };
        let host = components::host(configure).await?;
        let remote = components::upload(host.registry(), packed(REMOTE)?).await?;
        let name = &remote.definition.name;
        components::create(host.handle(), name, "Target", population).await?;
        let handle = host.handle().clone();
        if let Some(at) = address.strip_prefix("http://") {
            let listener = TcpListener::bind(at).await?;
            tokio::spawn(host.serve(listener, std::future::pending()));
        }
        let tenant = TenantId::default_tenant();
        let after = handle.durable_position();
        let mut records = handle.subscribe(&tenant, RecordFilter::default(), Some(after));
        let mut count = 0;
        tell(count)?;
        loop {
            let entries = records.next().await?;
            let handled = entries.iter().filter(|entry| {
                matches!(&entry.record.body, Body::Handled(handled) if handled.event.name.as_str() == "EXECUTE")
            });
            let handled = handled.count();
            if handled > 0 {
                count += handled;
                tell(count)?;
            }
        }
    })
}

fn tell(count: usize) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{count} {:.9}", now())?;
    Ok(output.flush()?)
}
