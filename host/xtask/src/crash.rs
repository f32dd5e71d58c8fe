//! `cargo xtask crash`: kills a real host again and again while clients send it events, and
//! compares what it kept with what it acknowledged.

mod brokers;
mod client;
mod disk;
mod host;
mod standby;
mod verdict;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum as _;
use xcomponent_servers::{Durability, Postgres};

use self::{
    client::{Client, Record},
    host::Host,
    verdict::Verdict,
};
use crate::command::{build, built, say, step, target};

/// Clients that send at the same time, each one event after the other to each of its instances.
const CLIENTS: usize = 8;

/// How long a host lives before it is killed, in milliseconds: at least, and at most so much more.
const LIFE_MS: [u64; 2] = [150, 1_350];

/// How long what is still on its way at the end may take.
const DRAIN: Duration = Duration::from_secs(60);

/// Kills a host that works, and checks that nothing acknowledged was lost or done twice.
#[derive(Debug, clap::Args)]
pub(crate) struct Crash {
    /// How often something is killed.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// From which the moments of the kills come.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the host keeps its state in. PostgreSQL is killed and started again as well.
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    store: Store,
    /// Has the copies made on another host, which is reached like this; either host is killed, and
    /// the broker.
    #[arg(long, value_enum)]
    over: Option<Over>,
    /// Has a second host wait for the PostgreSQL store of the first, which is killed, or stopped for
    /// longer than its lease.
    #[arg(long)]
    standby: bool,
    /// Fills the disk instead of killing anything, and makes room again; needs root.
    #[arg(long)]
    full_disk: bool,
    /// A release build of the host, which is there already.
    #[arg(long)]
    release: bool,
}

/// What the host keeps its state in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Store {
    Sqlite,
    Postgres,
}

/// How another host is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Over {
    Http,
    RedisStreams,
    Nats,
    Rabbitmq,
    Kafka,
}

/// Where the accounts are, and where the mirrors.
#[derive(Clone, Debug)]
struct Urls {
    accounts: String,
    mirrors: String,
    /// The host that takes over from that one, and that it takes over from.
    standby: Option<String>,
}

impl Urls {
    /// All on one host.
    fn of(url: &str) -> Self {
        Self {
            accounts: url.to_owned(),
            mirrors: url.to_owned(),
            standby: None,
        }
    }
}

impl Crash {
    /// As often as there is time for in CI, on both kinds of store.
    pub(crate) fn checks() -> Vec<Self> {
        let check = |store, over, kills| Self {
            kills,
            seed: 1,
            store,
            over,
            standby: false,
            full_disk: false,
            release: false,
        };
        let mut checks = vec![
            check(Store::Sqlite, None, 10),
            check(Store::Postgres, None, 6),
        ];
        for over in Over::value_variants() {
            checks.push(check(Store::Sqlite, Some(*over), 5));
        }
        checks.push(Self {
            standby: true,
            ..check(Store::Postgres, None, 4)
        });
        checks
    }

    pub(crate) fn run(&self) -> Result<()> {
        let program = if self.release {
            target().join("release").join("xcomponent")
        } else {
            step("host", &mut build("xcomponent"))?;
            built("xcomponent")
        };
        let folder = target().join("crash");
        // An earlier run may have left it.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        fs::write(folder.join("ledger.yaml"), LEDGER).context("writing a definition")?;
        fs::write(folder.join("mirrors.yaml"), MIRRORS).context("writing a definition")?;
        if self.full_disk {
            ensure!(
                self.store == Store::Sqlite,
                "the disk that is filled is the host's own: `--full-disk` goes with SQLite"
            );
            say("── a full disk");
            say(&disk::fill_and_compare(&program, &folder)?);
            return Ok(());
        }
        if self.standby {
            say("── crashes of a host with a standby");
            say(&standby::take_away_and_compare(
                &program, &folder, self.kills, self.seed,
            )?);
            return Ok(());
        }
        if let Some(over) = self.over {
            ensure!(
                self.store == Store::Sqlite,
                "hosts that are reached over something keep their state in SQLite here"
            );
            say(&format!("── crashes of two hosts, over {over:?}"));
            say(&brokers::kill_and_compare(
                &program, &folder, over, self.kills, self.seed,
            )?);
            return Ok(());
        }
        say("── crashes");
        let server = match self.store {
            Store::Sqlite => None,
            Store::Postgres => Some(Postgres::start(Durability::Full)?),
        };
        say(&self.kill_and_compare(&program, &folder, server)?);
        Ok(())
    }

    fn kill_and_compare(
        &self,
        program: &Path,
        folder: &Path,
        mut server: Option<Postgres>,
    ) -> Result<String> {
        let store = match &server {
            Some(server) => server.url("postgres"),
            None => "sqlite:data/host.db".to_owned(),
        };
        let mut host = Host::start(program, folder, &store, 0)?;
        let clients = Clients::start(&Urls::of(host.url()));
        let mut chance = Chance(self.seed);
        let (mut slowest, mut servers) = (Duration::ZERO, 0);
        for kill in 1..=self.kills {
            let life = LIFE_MS[0] + chance.next() % LIFE_MS[1];
            pause(Duration::from_millis(life));
            // The host, the server, or the one right after the other.
            let victims = chance.next() % 3;
            if let Some(server) = &mut server
                && victims != 0
            {
                servers += 1;
                server.kill()?;
                server.restart()?;
            }
            if server.is_none() || victims != 1 {
                let port = host.port();
                host.kill()?;
                let began = Instant::now();
                host = Host::start(program, folder, &store, port)?;
                slowest = slowest.max(began.elapsed());
            }
            if kill % 10 == 0 {
                say(&format!("   {kill} of {} kills", self.kills));
            }
        }
        let verdict = clients.stop_and_compare(&Urls::of(host.url()))?;
        Ok(format!(
            "{} kills ({servers} of the server): {verdict}; slowest start {} ms",
            self.kills,
            slowest.as_millis()
        ))
    }
}

/// Clients at work.
struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Result<Record>>>,
}

impl Clients {
    fn start(urls: &Urls) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |number| {
            let (urls, stop) = (urls.clone(), Arc::clone(&stop));
            thread::spawn(move || Client::new(number, &urls).run(&stop))
        };
        Self {
            threads: (0..CLIENTS).map(start).collect(),
            stop,
        }
    }

    /// Lets them finish, and compares what they were told with what a host kept.
    fn stop_and_compare(self, urls: &Urls) -> Result<Verdict> {
        self.stop.store(true, Ordering::Release);
        let mut records = Vec::new();
        for thread in self.threads {
            let record = thread.join();
            records.push(record.map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        let verdict = verdict::compare(urls, &records, DRAIN)?;
        ensure!(
            verdict.problems.is_empty(),
            "{}",
            verdict.problems.join("\n")
        );
        Ok(verdict)
    }
}

/// Accounts, each of whose events is copied by a cascade to its mirror, and alarms that go off by
/// themselves.
const LEDGER: &str = "
name: Ledger
version: 1.0.0
stateMachines:
  - name: Account
    initialState: Open
    states:
      - name: Open
      - name: Changed
        cascadingRules:
          - targetComponent: Mirrors
            targetMachine: Mirror
            event: COPY
            matchingRules:
              - {eventProperty: key, instanceProperty: key}
            payload: {key: '{{key}}'}
    transitions:
      - {from: '*', to: Changed, event: ADD, mergePayload: false}
  - name: Alarm
    initialState: Armed
    states: [{name: Armed}, {name: Rung, type: final}]
    transitions:
      - {from: Armed, to: Rung, event: RING, type: timeout, timeoutMs: 400}
";

/// The mirrors.
const MIRRORS: &str = "
name: Mirrors
version: 1.0.0
stateMachines:
  - name: Mirror
    initialState: Open
    states: [{name: Open}]
    transitions:
      - from: Open
        to: Open
        event: COPY
        mergePayload: false
        matchingRules:
          - {eventProperty: key, instanceProperty: key}
";

/// Lets time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "these threads have nothing else to do"
)]
fn pause(time: Duration) {
    thread::sleep(time);
}

/// SplitMix64: the same moments for the same seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
