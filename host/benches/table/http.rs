//! Events over HTTP, from a load generator on the same machine.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, ensure};
use tokio::{runtime::Runtime, sync::oneshot};
use xcomponent_core::{call::Deployment, id::InstanceId};
use xcomponent_host::{app, driver::Handle, tenancy::Registry};

use crate::{
    ROUNDS, components,
    load::Load,
    note,
    report::{Rounds, number, percentile, rate},
};

/// Instances that take turns.
const INSTANCES: usize = 1_000;
/// Length of a round.
const SECONDS: f64 = 3.0;
/// Lines of one bulk request: as many as a host takes.
const LINES: usize = 100_000;

/// `http_16`
pub(crate) fn sixteen() -> anyhow::Result<Vec<Rounds>> {
    connections(16, |_| ())
}

/// `http_64`
pub(crate) fn sixty_four() -> anyhow::Result<Vec<Rounds>> {
    connections(64, |_| ())
}

/// So many connections, to a host that may be set up otherwise.
pub(crate) fn connections(
    connections: usize,
    edit: impl FnOnce(&mut app::Config),
) -> anyhow::Result<Vec<Rounds>> {
    let served = Served::start(edit)?;
    let bench = served.upload(components::guest("bench")?)?;
    let ids = served.create(&bench, "Order", INSTANCES)?;
    let load = Load {
        address: served.address,
        connections,
        seconds: SECONDS,
        rate: None,
        status: 200,
        requests: ids
            .iter()
            .map(|id| event(id, r#"{"event":"NOOP"}"#))
            .collect(),
    };
    let (mut rates, mut p99, mut shares) = (Rounds::new(), Rounds::new(), Rounds::new());
    // One more, to warm up.
    for _ in 0..=ROUNDS {
        let loaded = load.start()?.wait()?;
        rates.push(loaded.rate());
        p99.push(loaded.p99_ms);
        shares.push(loaded.processor_share() * 100.0);
    }
    rates.remove(0);
    p99.remove(0);
    note(&format!(
        "   the load generator takes {} % of the processor",
        number(percentile(&mut shares, 0.5))
    ));
    Ok(vec![rates, p99])
}

/// `bulk`: one connection, one request after the other.
pub(crate) fn bulk() -> anyhow::Result<Vec<Rounds>> {
    let served = Served::start(|_| ())?;
    let bench = served.upload(components::guest("bench")?)?;
    let ids = served.create(&bench, "Order", INSTANCES)?;
    let mut body = String::new();
    for id in ids.iter().cycle().take(LINES) {
        body.push_str(&format!(r#"{{"instance":"{id}","event":"NOOP"}}"#));
        body.push('\n');
    }
    let mut stream = TcpStream::connect(served.address)?;
    stream.set_nodelay(true)?;
    let mut rounds = Rounds::new();
    // One more, to warm up.
    for _ in 0..=ROUNDS {
        let began = Instant::now();
        let answers = bulk_request(&mut stream, served.address, &body)?;
        rounds.push(rate(LINES, began.elapsed().as_secs_f64()));
        ensure!(answers == LINES, "every line has its transition");
    }
    rounds.remove(0);
    Ok(vec![rounds])
}

/// Sends a bulk request on a thread of its own and counts the transitions in the answer.
fn bulk_request(stream: &mut TcpStream, address: SocketAddr, body: &str) -> anyhow::Result<usize> {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut writing = stream.try_clone()?;
    std::thread::scope(|scope| {
        let written = scope.spawn(move || {
            writing.write_all(head.as_bytes())?;
            writing.write_all(body.as_bytes())
        });
        let lines = answer_lines(stream)?;
        written
            .join()
            .map_err(|_| anyhow::anyhow!("the writing thread panicked"))??;
        let transition = br#""disposition":"transitioned""#;
        let transitions = lines.split(|byte| *byte == b'\n').filter(|line| {
            line.windows(transition.len())
                .any(|part| part == transition)
        });
        Ok(transitions.count())
    })
}

/// The body of an answer, of known length or in chunks.
fn answer_lines(stream: &TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200"), "the answer is {line}");
    let mut length = None;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse()?);
        }
    }
    let mut body = Vec::new();
    if let Some(length) = length {
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        return Ok(body);
    }
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let chunk = usize::from_str_radix(line.trim_end(), 16).context("a chunk has a length")?;
        let at = body.len();
        body.resize(at + chunk, 0);
        reader.read_exact(&mut body[at..])?;
        reader.read_exact(&mut [0; 2])?;
        if chunk == 0 {
            return Ok(body);
        }
    }
}

/// Path and body of an event.
pub(crate) fn event(id: &InstanceId, body: &str) -> (String, String) {
    (format!("/v1/instances/{id}/events"), body.to_owned())
}

/// A host that serves on a port of the loopback, as `xcomponent serve` does.
pub(crate) struct Served {
    runtime: Runtime,
    pub(crate) address: SocketAddr,
    handle: Handle,
    registry: Registry,
    /// Dropped, it stops the host.
    _stop: oneshot::Sender<()>,
}

impl Served {
    pub(crate) fn start(edit: impl FnOnce(&mut app::Config)) -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let (host, listener) = runtime.block_on(async {
            let host = components::host(edit).await?;
            let listener = app::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
            anyhow::Ok((host, listener))
        })?;
        let address = listener.local_addr()?;
        let (handle, registry) = (host.handle().clone(), host.registry().clone());
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(host.serve(listener, async move {
            // An error means that whoever would stop it is gone.
            let _ = stopped.await;
        }));
        Ok(Self {
            runtime,
            address,
            handle,
            registry,
            _stop: stop,
        })
    }

    /// Uploads a component.
    pub(crate) fn upload(&self, component: Vec<u8>) -> anyhow::Result<Arc<Deployment>> {
        self.runtime
            .block_on(components::upload(&self.registry, component))
    }

    /// Creates instances of one of its machines.
    pub(crate) fn create(
        &self,
        deployment: &Deployment,
        machine: &str,
        count: usize,
    ) -> anyhow::Result<Vec<InstanceId>> {
        let component = &deployment.definition.name;
        self.runtime
            .block_on(components::create(&self.handle, component, machine, count))
    }
}
