//! `cargo xtask attack`: hostile input of every kind against a real host, next to a polite client.
//!
//! Each attack gets a host of its own, with a memory budget, and a component that a polite client
//! calls at a steady rate before and during the attack. The host and its clients run on cores of
//! their own. Afterwards the host is killed and started
//! again on what it left. An attack succeeds, and the chore fails, if the host ends, takes more
//! memory than its budget and a quarter, refuses the polite client, or does not start again.

mod answers;
mod bodies;
mod bombs;
mod connections;
mod cores;
mod floods;
mod polite;
mod shipments;
mod stores;
mod terminal;
mod uploads;
mod victim;
mod watch;
mod wire;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};

pub(crate) use self::polite::Polite;
use self::{
    cores::{Cores, behind_others},
    victim::Victim,
    watch::{Report, Watch},
};
use crate::{
    command::{build, built, say, step, target},
    guests,
};

/// How far above its budget a host may go: the budget and a quarter.
const MEMORY_PERCENT_MAX: u64 = 125;

/// Slowest answer of `/healthz` that is acceptable.
const HEALTH_MAX: Duration = Duration::from_secs(1);

/// How much slower than without the attack the polite client's p99 may be.
const SLOWDOWN_MAX: f64 = 3.0;

/// A p99 below this is not compared: it is within what the machine's scheduler does by itself.
const P99_FLOOR: Duration = Duration::from_millis(20);

/// Attacks a host with hostile input, and prints what that did to it and to a polite client.
#[derive(Debug, clap::Args)]
pub(crate) struct Attack {
    /// Attacks to run, by the beginning of their names; all if none is named.
    names: Vec<String>,
    /// A tenth of each attack, and no judgement of speed: for machines that do other work as well.
    #[arg(long)]
    short: bool,
    /// Memory budget of the host, in MiB.
    #[arg(long, default_value_t = 1_024)]
    memory_mib: u64,
    /// A release build of the host, which is there already.
    #[arg(long)]
    release: bool,
}

/// How often an attack is tried that delays somebody: a machine that others use as well is slower at
/// times, and never faster than it is.
const TRIES: usize = 3;

/// How much of an attack is run.
#[derive(Clone, Copy, Debug)]
struct Scale {
    short: bool,
}

impl Scale {
    /// So many of something; a tenth in the short form.
    fn of(self, full: usize) -> usize {
        if self.short { full.div_ceil(10) } else { full }
    }
}

/// One way to hurt a host.
struct Kind {
    name: &'static str,
    /// Does it. It ends by itself; an error means that the attack could not be carried out, or that
    /// the host answered wrongly.
    run: fn(&mut Victim, Scale) -> Result<()>,
}

/// Every attack.
fn kinds() -> Vec<Kind> {
    [
        uploads::KINDS,
        bodies::KINDS,
        answers::KINDS,
        connections::KINDS,
        floods::KINDS,
        shipments::KINDS,
        stores::KINDS,
        terminal::KINDS,
    ]
    .into_iter()
    .flat_map(|kinds| kinds.iter())
    .map(|(name, run)| Kind { name, run: *run })
    .collect()
}

/// A name and what it does.
type Entry = (&'static str, fn(&mut Victim, Scale) -> Result<()>);

impl Attack {
    /// As much as there is time for in CI.
    pub(crate) fn check() -> Self {
        Self {
            names: Vec::new(),
            short: true,
            memory_mib: 1_024,
            release: false,
        }
    }

    pub(crate) fn run(&self) -> Result<()> {
        let program = if self.release {
            target().join("release").join("xcomponent")
        } else {
            step("host", &mut build("xcomponent"))?;
            built("xcomponent")
        };
        if !guests::path("misbehaving").exists() {
            guests::Guests {}.run()?;
        }
        let wanted = |kind: &Kind| {
            let mut names = self.names.iter();
            self.names.is_empty() || names.any(|name| kind.name.starts_with(name.as_str()))
        };
        let cores = Cores::divide()?;
        say("── attacks");
        say(&Report::heading());
        let mut failed = Vec::new();
        for kind in kinds().iter().filter(|kind| wanted(kind)) {
            let mut problems = Vec::new();
            for _ in 0..TRIES {
                let report = self.attack(kind, &program, cores)?;
                say(&report.row(kind.name));
                problems = self.harm(&report);
                let delays = self.delays(&report);
                let is_clear = delays.is_empty() || !problems.is_empty();
                problems.extend(delays);
                if is_clear {
                    break;
                }
            }
            if !problems.is_empty() {
                say(&format!("   {}", problems.join("; ")));
                failed.push(kind.name);
            }
        }
        ensure!(
            failed.is_empty(),
            "attacks succeeded: {}",
            failed.join(", ")
        );
        Ok(())
    }

    /// Does one attack on a host of its own.
    fn attack(&self, kind: &Kind, program: &Path, cores: Cores) -> Result<Report> {
        let folder = target().join("attack");
        // An earlier run may have left it.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut victim = Victim::start(program, &folder, self.memory_mib, cores)?;
        let watch = Watch::begin(&victim, self.short)?;
        let scale = Scale { short: self.short };
        let attacked = behind_others(|| (kind.run)(&mut victim, scale));
        let mut report = watch.end(&victim)?;
        report.problem = attacked.err().map(|error| format!("{error:#}"));
        report.start = victim.restart();
        Ok(report)
    }

    /// What should not have happened.
    fn harm(&self, report: &Report) -> Vec<String> {
        let mut problems: Vec<String> = report.problem.iter().cloned().collect();
        if let Err(error) = &report.start {
            problems.push(format!("the host does not start again: {error:#}"));
        }
        let memory_max = self.memory_mib * MEMORY_PERCENT_MAX / 100;
        match report.peak_mib {
            None => problems.push("the host has ended".to_owned()),
            Some(peak) if peak > memory_max => {
                problems.push(format!(
                    "{peak} MiB of memory, at most {memory_max} expected"
                ));
            }
            Some(_) => {}
        }
        if report.refused > 0 {
            problems.push(format!(
                "the polite client was refused {} times",
                report.refused
            ));
        }
        if report.failed > 0 {
            problems.push(format!("the polite client failed {} times", report.failed));
        }
        problems
    }

    /// What should not have taken so long.
    fn delays(&self, report: &Report) -> Vec<String> {
        let mut problems = Vec::new();
        if self.short {
            return problems;
        }
        if report.health > HEALTH_MAX {
            problems.push(format!("a health answer took {:?}", report.health));
        }
        let p99_max = report.baseline.mul_f64(SLOWDOWN_MAX).max(P99_FLOOR);
        if report.p99 > p99_max {
            problems.push(format!(
                "the polite client's p99 is {:?}, {:?} without the attack",
                report.p99, report.baseline
            ));
        }
        problems
    }
}

/// Lets time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "these threads have nothing else to do"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
