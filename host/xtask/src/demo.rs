//! `cargo xtask demo`: a host with real components, a stream of orders, and trouble on purpose.
//!
//! Orders are created, submitted, paid by another component, shipped and delivered; one in eight
//! is paid by a means that is refused. Beside them a component panics again and again, and the
//! order component is replaced by another version and back, while events flow. `--check` does the
//! same for some seconds, and fails unless every order ended as it had to.

mod orders;

use std::{
    fs,
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use xcomponent_pack::{Metadata, pack, read};

use self::orders::Orders;
use crate::{
    command::{build, root, say, step},
    guests,
    host::Host,
};

/// How often the world moves on.
const TICK: Duration = Duration::from_millis(100);

/// How long `--check` feeds orders, in ticks.
const CHECK_TICKS: u64 = 60;

/// How long the last orders may take, in ticks: a payment takes six.
const DRAIN_TICKS: u64 = 300;

/// Ticks between two panics, and between two versions.
const PANIC_EVERY: u64 = 20;
const SWITCH_EVERY: u64 = 30;

/// Builds what is needed, starts a host with the demo components and feeds it orders.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Runs for some seconds, verifies the counts, and exits.
    #[arg(long)]
    check: bool,
    /// The host's port.
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

impl Demo {
    /// The demo that ends by itself, on any port.
    pub(crate) fn check() -> Self {
        Self {
            check: true,
            port: 0,
        }
    }

    pub(crate) fn run(self) -> Result<()> {
        guests::Guests {}.run()?;
        step("host", &mut build("xcomponent"))?;
        let port = if self.check { 0 } else { self.port };
        let components = ["order", "payment", "trading", "misbehaving"];
        let host = Host::start(port, &components.map(guests::path))?;
        let mut scene = Scene::new(&host)?;
        say(&format!(
            "\n  API        {url}/v1\n  reference  {url}/docs\n  stream     {url}/v1/stream\n  \
             for clients of xcomponent-ai: {url}/api\n",
            url = host.url()
        ));
        if self.check {
            return scene.check();
        }
        say("  Ctrl-C ends it.\n");
        loop {
            scene.tick()?;
            host.pause(TICK)?;
        }
    }
}

/// The demo at one moment.
struct Scene<'h> {
    host: &'h Host,
    orders: Orders<'h>,
    /// The instance that panics.
    troublemaker: String,
    /// Its events that were dead-lettered.
    faults: u64,
    switches: u64,
    ticks: u64,
    started: Instant,
}

impl<'h> Scene<'h> {
    fn new(host: &'h Host) -> Result<Self> {
        let machine = "components/MisbehavingComponent/machines/Misbehaving";
        let created = host.post(&format!("{machine}/instances"), &json!({}), 201)?;
        host.put("components/OrderComponent", &other_version()?)?;
        Ok(Self {
            host,
            orders: Orders::new(host),
            troublemaker: text(&created, "id")?,
            faults: 0,
            switches: 0,
            ticks: 0,
            started: Instant::now(),
        })
    }

    /// A tenth of a second of life.
    fn tick(&mut self) -> Result<()> {
        self.ticks += 1;
        self.orders.arrive(self.ticks)?;
        self.orders.advance()?;
        if self.ticks.is_multiple_of(PANIC_EVERY) {
            self.panic()?;
        }
        if self.ticks.is_multiple_of(SWITCH_EVERY) {
            self.switch()?;
        }
        if self.ticks.is_multiple_of(10) {
            self.show();
        }
        Ok(())
    }

    /// A component panics. Nothing else notices.
    fn panic(&mut self) -> Result<()> {
        let path = format!("instances/{}/events", self.troublemaker);
        let problem = self.host.post(&path, &json!({"event": "PANIC"}), 422)?;
        ensure!(
            problem["code"] == "method_failed",
            "a panic is answered as `method_failed`, not {problem}"
        );
        self.faults += 1;
        let pong = self.host.post(&path, &json!({"event": "PING"}), 200)?;
        ensure!(
            pong["disposition"] == "transitioned",
            "the event after a panic is taken, not {pong}"
        );
        Ok(())
    }

    /// The order component is replaced while events flow.
    fn switch(&mut self) -> Result<()> {
        let version = if self.switches.is_multiple_of(2) {
            "1.0.0"
        } else {
            "1.1.0"
        };
        let path = "components/OrderComponent/activate";
        self.host.post(path, &json!({"version": version}), 200)?;
        self.switches += 1;
        Ok(())
    }

    fn show(&self) {
        let line = format!(
            "{:>4} s  {}  {} panics survived, {} versions switched",
            self.started.elapsed().as_secs(),
            self.orders,
            self.faults,
            self.switches
        );
        let mut out = std::io::stderr();
        // Nobody is left to be told if standard error is gone.
        let _ = match out.is_terminal() {
            true => write!(out, "\r{line}").and_then(|()| out.flush()),
            false => writeln!(out, "{line}"),
        };
    }

    /// Feeds for a while, waits for the last orders, and compares.
    fn check(mut self) -> Result<()> {
        for _ in 0..CHECK_TICKS {
            self.tick()?;
            self.host.pause(TICK)?;
        }
        for _ in 0..DRAIN_TICKS {
            if self.orders.n_open() == 0 {
                break;
            }
            self.orders.advance()?;
            self.host.pause(TICK)?;
        }
        self.show();
        self.orders.verify()?;
        let parked = self
            .host
            .get("dead-letters?component=MisbehavingComponent&limit=1000")?;
        let n_parked = parked["items"].as_array().map_or(0, Vec::len) as u64;
        ensure!(
            n_parked == self.faults && self.faults > 0,
            "{} panics left {n_parked} dead letters",
            self.faults
        );
        ensure!(self.switches > 0, "no version was switched");
        say("the demo's counts are right");
        Ok(())
    }
}

/// The order component under another version label: its code is the same, its definition says so.
fn other_version() -> Result<Vec<u8>> {
    let path = guests::path("order");
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let packed = read(&bytes).with_context(|| format!("reading {}", path.display()))?;
    let definition = packed
        .definition
        .replace("version: 1.0.0", "version: 1.1.0");
    ensure!(
        definition != packed.definition,
        "{} is not version 1.0.0",
        root().join("components/order").display()
    );
    let metadata = Metadata {
        version: Some("1.1.0".to_owned()),
        ..packed.metadata
    };
    pack(&bytes, &definition, &metadata, &packed.methods).context("packing the other version")
}

/// A text in an answer.
fn text(answer: &Value, member: &str) -> Result<String> {
    let text = answer[member].as_str();
    Ok(text
        .with_context(|| format!("the answer has no text `{member}`: {answer}"))?
        .to_owned())
}
