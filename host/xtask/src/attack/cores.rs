//! Who runs where: the host on some cores, and its clients on another, as if on another machine.
//!
//! Otherwise the processor time that an attacker spends on attacking would look like harm that it
//! does to the host. Among the clients, the polite one goes first for the same reason.

use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::{
    process::setpriority_process,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// The lowest priority that a thread can have.
const LOWEST_PRIORITY: i32 = 19;

/// The cores of this machine, divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cores {
    host: CpuSet,
    clients: CpuSet,
}

impl Cores {
    /// The clients get the last core of those that this process may use, and move there. A machine
    /// with a single core has it used by all.
    pub(super) fn divide() -> Result<Self> {
        let all = sched_getaffinity(None).context("asking for the cores")?;
        let (mut host, mut clients) = (all, all);
        let mut cores = (0..CpuSet::MAX_CPU).rev().filter(|core| all.is_set(*core));
        if let (Some(last), Some(_)) = (cores.next(), cores.next()) {
            host.unset(last);
            clients.clear();
            clients.set(last);
        }
        sched_setaffinity(None, &clients).context("moving to a core")?;
        Ok(Self { host, clients })
    }

    /// Starts something that runs on the host's cores, and its threads with it.
    pub(super) fn on_those_of_the_host<T>(&self, start: impl FnOnce() -> T) -> Result<T> {
        sched_setaffinity(None, &self.host).context("moving to the host's cores")?;
        let started = start();
        sched_setaffinity(None, &self.clients).context("moving back")?;
        Ok(started)
    }
}

/// Runs an attack in a thread that every other one comes before, and its threads with it.
pub(super) fn behind_others<T: Send>(attack: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let attack = scope.spawn(|| {
            setpriority_process(None, LOWEST_PRIORITY).context("lowering the priority")?;
            attack()
        });
        attack.join().map_err(|_| anyhow!("the attack panicked"))?
    })
}
