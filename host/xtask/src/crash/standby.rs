//! Two hosts on one PostgreSQL store: the one that has it is killed, or stopped for longer than its
//! lease and woken up again; the other takes over.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ureq::Agent;
use xcomponent_servers::{Durability, Postgres, Redis, free_port};

use super::{Chance, Clients, LIFE_MS, Urls, host::Host, pause};
use crate::command::say;

/// The lease of a host: as long as that of its store.
const LEASE: Duration = Duration::from_secs(5);

/// How long a takeover, or the end of a host that lost its place, may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Wait between two looks.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Takes hosts away that work, and checks that nothing acknowledged was lost or done twice, and that
/// who lost its place ends.
pub(super) fn take_away_and_compare(
    program: &Path,
    folder: &Path,
    rounds: usize,
    seed: u64,
) -> Result<String> {
    let (store, registry) = (Postgres::start(Durability::Full)?, Redis::start()?);
    let (store, registry) = (store.url("postgres"), registry.url());
    let ports = [free_port()?, free_port()?];
    let start = |host: usize| {
        let data = ["data-1", "data-2"][host];
        let lease = format!("{}ms", LEASE.as_millis());
        let arguments = [
            "ledger.yaml",
            "mirrors.yaml",
            "--data",
            data,
            "--store",
            &store,
            "--registry",
            &registry,
            "--lease",
            &lease,
        ];
        Host::spawn(program, folder, &arguments, ports[host])
    };
    let looker = Looker::new();
    let mut hosts = vec![start(0)?];
    looker.wait_until(&hosts[0], "ok")?;
    hosts.push(start(1)?);
    looker.wait_until(&hosts[1], "standby")?;
    let urls = Urls {
        accounts: hosts[0].url().to_owned(),
        mirrors: hosts[0].url().to_owned(),
        standby: Some(hosts[1].url().to_owned()),
    };
    let clients = Clients::start(&urls);
    let mut chance = Chance(seed);
    let (mut owner, mut stopped, mut slowest) = (0, 0, Duration::ZERO);
    for round in 1..=rounds {
        pause(Duration::from_millis(
            LIFE_MS[0] + chance.next() % LIFE_MS[1],
        ));
        let other = 1 - owner;
        let is_stopped = chance.next().is_multiple_of(2);
        let began = Instant::now();
        if is_stopped {
            hosts[owner].stop()?;
        } else {
            hosts[owner].kill()?;
        }
        looker.wait_until(&hosts[other], "ok")?;
        slowest = slowest.max(began.elapsed());
        if is_stopped {
            stopped += 1;
            hosts[owner].wake_up()?;
            let status = hosts[owner].wait_for_end(PATIENCE)?;
            ensure!(!status.success(), "who lost its place ended well");
        }
        hosts[owner] = start(owner)?;
        looker.wait_until(&hosts[owner], "standby")?;
        owner = other;
        if round % 10 == 0 {
            say(&format!("   {round} of {rounds} rounds"));
        }
    }
    let last = Urls::of(hosts[owner].url());
    let verdict = clients.stop_and_compare(&last)?;
    Ok(format!(
        "{rounds} times the host was taken away ({stopped} of them stopped and woken up): {verdict}; \
         slowest takeover {} ms with a lease of {} ms",
        slowest.as_millis(),
        LEASE.as_millis()
    ))
}

/// Looks how hosts are.
struct Looker(Agent);

impl Looker {
    fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(2)));
        Self(config.build().new_agent())
    }

    /// Waits until a host says that it is so.
    fn wait_until(&self, host: &Host, status: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        while Instant::now() < deadline {
            let answer = self.0.get(format!("{}/readyz", host.url())).call();
            if let Ok(mut answer) = answer
                && let Ok(text) = answer.body_mut().read_to_string()
            {
                let told: serde_json::Value = serde_json::from_str(&text)
                    .with_context(|| format!("`/readyz` answers {text}"))?;
                if told["status"] == status {
                    return Ok(());
                }
                last = text;
            }
            pause(AGAIN_AFTER);
        }
        anyhow::bail!("{} is not `{status}`, but says {last}", host.url())
    }
}
