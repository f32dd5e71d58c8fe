//! `xcomponent serve`: a host with components, until it is told to end.

mod cache;
mod limits;
mod links;
mod notify;
mod retain;
mod store;
mod traces;

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use xcomponent_core::{
    call::Deployment,
    definition::Strictness,
    id::{ComponentName, TenantId},
    time,
};

use self::{cache::Cache, limits::Limits, links::Links, store::Store, traces::Traces};
use super::{
    Failure, Result, Verdict, loading, log,
    printer::Printer,
    span,
    trust::Trust,
    upload::{self, Given, upload},
};
use crate::{
    app::{self, Config, Host, Reception, StoreConfig},
    driver::ComponentVersion,
    tenancy::{Activation, Leniency, Registry},
};

/// How long the threads of a host that was told twice to end may take.
const HURRY: Duration = Duration::from_millis(100);

/// Runs components and serves the HTTP API.
///
/// Takes packed components (`.wasm`), definitions (`.yaml`, whose methods do nothing) and folders
/// of component projects, which are built first. More can be uploaded while it runs. Ctrl-C or
/// SIGTERM lets finish what is in flight and ends it; a second one ends it at once.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Components to begin with. One that the host has already changes nothing: the version that was
    /// active when it ended is active again.
    #[arg(value_name = "COMPONENT")]
    components: Vec<PathBuf>,
    /// Makes the components named here the active versions, also those that the host has already.
    #[arg(long)]
    activate: bool,
    /// Port to listen on; 0 = any that is free.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Address or name to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Serves everybody who reaches an address that is not loopback: there are no keys.
    #[arg(long)]
    insecure_no_auth: bool,
    /// A further name under which callers may address this host; without keys others are refused.
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<String>,
    /// Engines, each with a thread of its own; one per core where absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    shards: Option<u16>,
    /// Folder in which the host keeps what must outlive it: its database, the key of the positions
    /// that callers were given, and compiled components.
    #[arg(
        long,
        value_name = "FOLDER",
        env = "XCOMPONENT_DATA",
        default_value = "xcomponent-data"
    )]
    data: PathBuf,
    /// Suspends components and instances that fault too often.
    #[arg(long, value_enum, default_value_t = Breaker::On)]
    breaker: Breaker,
    /// Folder in which compiled components are kept from one start to the next; `cache` in the data
    /// folder where absent, if the host uses that.
    #[arg(long, value_name = "FOLDER", env = "XCOMPONENT_CODE_CACHE")]
    code_cache: Option<PathBuf>,
    /// An ambiguous pair of transitions is a warning: the first wins.
    #[arg(long)]
    lenient: bool,
    /// Accepts components whose code lacks methods: these do nothing.
    #[arg(long)]
    allow_missing_methods: bool,
    /// How long requests are taken after SIGTERM, as in `5s`, while `/readyz` says `draining`: as
    /// long as whoever spreads requests over hosts needs to see that.
    #[arg(long, value_name = "SPAN", value_parser = span::parse, default_value = "0s")]
    drain_wait: time::Duration,
    /// How the host's log looks, on standard error. `RUST_LOG` says how much of it.
    #[arg(long, value_enum, default_value_t = log::Format::Text)]
    log: log::Format,
    #[command(flatten)]
    store: Store,
    #[command(flatten)]
    cache: Cache,
    #[command(flatten)]
    links: Links,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    traces: Traces,
    #[command(flatten)]
    limits: Limits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Breaker {
    On,
    Off,
}

impl Serve {
    pub(super) fn run(self, printer: &Printer) -> Result {
        let address = self.address()?;
        log::start(self.log, "info", printer);
        let components = loading::load(&self.components, printer)?;
        let runtime = multi_thread().context("starting the threads of the host")?;
        let served = runtime.block_on(async {
            let (listener, config) = self.listen(address).await?;
            let url = url(&self.host, address, &listener)?;
            let (stop, mut stopped) = watch::channel(false);
            let (progress, connections) = (config.progress.clone(), config.connections);
            let reception = Reception::open(listener, progress, connections, async move {
                // An error means that nobody will ever say so any more, which is the same.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            });
            tracing::info!(%url, "listening");
            let leniency = config.leniency;
            let starting = printer.progress(format_args!("starting; {url}/readyz tells how far"));
            let telling = notify::starting(config.progress.clone());
            let host = Host::start(config).await.context("starting the host")?;
            drop((starting, telling));
            let activation = match self.activate {
                true => Activation::Always,
                false => Activation::IfNew,
            };
            let given = upload(&host, components, leniency, activation, printer).await?;
            // From here on a signal lets finish what is in flight; before, nothing is.
            let signals = Signals::await_them().context("waiting for signals")?;
            let registry = host.registry().clone();
            let lost = host.lost();
            let handle = host.handle().clone();
            let tenant = TenantId::default_tenant();
            let since = handle.versions(&tenant, None).await;
            let since = since.context("asking which versions are active")?;
            let serving = reception.lead_to(host);
            announce(&url, &given, &registry, &since, printer);
            if address.ip().is_unspecified() && self.allowed_host.is_empty() {
                printer.note("note: callers elsewhere need a name given with `--allowed-host`");
            }
            let _telling = notify::ready(&url, handle);
            tokio::select! {
                served = serve_until_told(serving, signals, &stop, printer) => served,
                lost = lost => Err(Failure::Failed(lost.into())),
            }
        });
        runtime.shutdown_timeout(HURRY);
        served
    }

    /// Where to listen. Without keys everybody who can reach the host may do everything.
    fn address(&self) -> Result<SocketAddr> {
        let misuse = |error: anyhow::Error| Failure::Misuse(error);
        let found = (&*self.host, self.port).to_socket_addrs();
        let found = found.with_context(|| format!("`{}` is no address", self.host));
        let address = found.map_err(misuse)?.next();
        let address = address.ok_or_else(|| misuse(anyhow!("`{}` has no address", self.host)))?;
        if !address.ip().is_loopback() && !self.insecure_no_auth {
            return Err(misuse(anyhow!(
                "everybody who reaches {} could do everything, since this host has no keys; \
                 listen on a loopback address, or add `--insecure-no-auth` if that is what you want",
                address.ip()
            )));
        }
        Ok(address)
    }

    /// Where others reach this host, if nothing else is said.
    fn advertised(&self, bound: SocketAddr) -> Result<String> {
        if bound.ip().is_unspecified() {
            return Err(Failure::Misuse(anyhow!(
                "`{}` is everywhere: say with `--advertise URL` where other hosts reach this one",
                bound.ip()
            )));
        }
        let host = match self.host.parse() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
            _ => self.host.clone(),
        };
        Ok(format!("http://{host}:{}", bound.port()))
    }

    /// Opens the port, and says how the host behind it is set up.
    async fn listen(&self, address: SocketAddr) -> Result<(TcpListener, Config)> {
        let store = self.store.config(&self.data)?;
        let listener = app::listen(address).await;
        let listener = listener.with_context(|| format!("listening on {address}"))?;
        let bound = listener.local_addr().context("asking for the port")?;
        let mut config = Config {
            leniency: Leniency {
                strictness: if self.lenient {
                    Strictness::Lenient
                } else {
                    Strictness::Normal
                },
                allow_missing: self.allow_missing_methods,
            },
            public_address: Some((self.host.clone(), bound.port())),
            allowed_hosts: self.allowed_host.clone(),
            drain_wait: Duration::from_millis(self.drain_wait.0),
            ..Config::default()
        };
        if !bound.ip().is_loopback() {
            config.allowed_hosts.push(self.host.clone());
        }
        if let Some(shards) = self.shards {
            config.shards = usize::from(shards);
        }
        self.limits.apply(&mut config);
        config.limits.breaker = self.breaker == Breaker::On;
        config.snapshot_interval = self.store.snapshot_interval;
        config.accepts_new_store = self.store.new;
        if let Some(retention) = self.store.retain {
            retain::check(retention, &config.limits)?;
            config.retention = retention;
        }
        let authorities = self.trust.authorities()?;
        config.cache = self.cache.config(&authorities)?;
        config.telemetry = self.traces.config(&authorities);
        let here = || self.advertised(bound);
        config.links = self.links.config(authorities, here)?;
        config.store = store;
        let own_cache = || self.data.join("cache");
        let uses_data = config.store != StoreConfig::Memory;
        // Positions in memory begin anew with each start, and so does what they are shown under.
        config.seal_key = uses_data.then(|| self.data.join("seal.key"));
        config.sandbox.cache_dir = self
            .code_cache
            .clone()
            .or_else(|| uses_data.then(own_cache));
        Ok((listener, config))
    }
}

/// Says what is served, and where: from here on it is. `stored` are the versions that the host has.
fn announce(
    url: &str,
    given: &[Given],
    registry: &Registry,
    stored: &[ComponentVersion],
    printer: &Printer,
) {
    if printer.is_json() {
        let to_json = |one: &Given| upload::to_json(&one.uploaded, &one.path);
        return printer.json(&json!({
            "url": url,
            "api": format!("{url}/v1"),
            "docs": format!("{url}/docs"),
            "components": given.iter().map(to_json).collect::<Vec<_>>(),
        }));
    }
    for one in given.iter().filter(|one| one.uploaded.active) {
        let path = one.path.display().to_string();
        let described = upload::describe(&one.uploaded.deployment, &path);
        let since = match one.uploaded.existing {
            true => since(&one.uploaded.deployment, stored),
            false => String::new(),
        };
        printer.line(format_args!("{described}{since}"));
    }
    let is_told = |name: &ComponentName| {
        let mut active = given.iter().filter(|one| one.uploaded.active);
        active.any(|one| one.uploaded.deployment.definition.name == *name)
    };
    for (name, loaded) in registry.list(&TenantId::default_tenant()) {
        if !is_told(&name) {
            let described = upload::describe(&loaded.active, "the last run");
            let since = since(&loaded.active, stored);
            printer.line(format_args!("{described}{since}"));
        }
    }
    for one in given.iter().filter(|one| !one.uploaded.active) {
        let definition = &one.uploaded.deployment.definition;
        printer.note(format_args!(
            "note: {}: `{}` {} was here before and is not the active version; nothing was changed, \
             `--activate` switches to it",
            one.path.display(),
            definition.name,
            definition.version
        ));
    }
    for waiting in registry.waiting(&TenantId::default_tenant()) {
        printer.note(format_args!(
            "warning: `{}` {} is not accepted by this version of the host, and its instances wait: {}",
            waiting.component, waiting.version, waiting.reason
        ));
    }
    printer.line(format_args!("API   {url}/v1"));
    printer.line(format_args!("docs  {url}/docs"));
}

/// Since when a version is the active one, if that is known.
fn since(deployment: &Deployment, stored: &[ComponentVersion]) -> String {
    let mut stored = stored.iter();
    let stored = stored.find(|version| {
        version.component == deployment.definition.name
            && version.version == deployment.definition.version
    });
    let since = stored
        .and_then(ComponentVersion::activated)
        .and_then(|at| jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok());
    since.map_or_else(String::new, |at| format!(", active since {at:.0}"))
}

/// A runtime with a thread per core.
pub(super) fn multi_thread() -> io::Result<Runtime> {
    runtime::Builder::new_multi_thread().enable_all().build()
}

/// What tells a host to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on they do not end the process themselves.
    fn await_them() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next of either.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Serves until a signal says to end; a second one leaves nothing time to finish.
async fn serve_until_told(
    serving: impl Future<Output = io::Result<()>>,
    mut signals: Signals,
    stop: &watch::Sender<bool>,
    printer: &Printer,
) -> Result {
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        served = &mut serving => served.context("serving")?,
        () = signals.next() => {
            printer.note("shutting down: finishing requests in flight");
            notify::stopping();
            stop.send_replace(true);
            tokio::select! {
                served = &mut serving => served.context("serving")?,
                () = signals.next() => printer.note("ended at once"),
            }
        }
    }
    Ok(Verdict::Done)
}

/// The address as a caller writes it.
fn url(host: &str, address: SocketAddr, listener: &TcpListener) -> Result<String> {
    let port = listener.local_addr().context("asking for the port")?.port();
    let ip = address.ip();
    let host = match (host.parse::<IpAddr>(), ip.is_unspecified()) {
        (_, true) => "localhost".to_owned(),
        (Ok(IpAddr::V6(_)), _) => format!("[{ip}]"),
        _ => host.to_owned(),
    };
    Ok(format!("http://{host}:{port}"))
}
