//! Several hosts and a bus between them that delays, drops, repeats, reorders and forgets.
//!
//! Each host has a component of its own, whose instances tell those of all others what they did. The
//! durable logs say in the end whether everything that was sent happened at the other end, once and
//! in order, and whether nobody waits for anything any more.

mod bus;
mod host;
mod lane;
mod verdict;

use fastrand::Rng;

use self::{bus::Bus, host::Host};

/// Rounds after which a fleet that does not come to rest has failed.
const PATIENCE: usize = 4_000;

/// Hosts and the bus.
#[derive(Debug)]
pub struct Fleet {
    chance: Rng,
    hosts: Vec<Host>,
    bus: Bus,
    steps: u64,
    tally: Tally,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that reached another host.
    pub crossed: usize,
    /// Shipments that came once more.
    pub repeated: u64,
    /// Hosts that were killed.
    pub crashes: u64,
    /// Logs that failed.
    pub truncations: u64,
    /// Times the bus forgot what it had acknowledged.
    pub forgotten: u64,
}

/// Runs a fleet.
///
/// # Errors
///
/// The first thing that is not as it should be.
pub fn run(seed: u64, steps: u64) -> Result<Tally, String> {
    let mut fleet = Fleet::new(seed, steps);
    let mut done = || {
        for _ in 0..fleet.steps {
            fleet.step()?;
        }
        fleet.come_to_rest()
    };
    done().map_err(|what| format!("fleet --from {seed} --steps {steps}: {what}"))?;
    Ok(fleet.tally)
}

impl Fleet {
    fn new(seed: u64, steps: u64) -> Self {
        let mut chance = Rng::with_seed(seed);
        let count = chance.usize(2..=3);
        let mut bus = Bus::new(count, seed % 2 == 1);
        let hosts = (0..count)
            .map(|number| {
                let mut host = Host::new(number, count, &mut chance);
                // Whoever is told something must be there.
                let begun = host.work_all();
                let begun = begun.and_then(|()| host.commit(usize::MAX, &mut bus));
                begun.expect("nothing has happened yet");
                host
            })
            .collect();
        Self {
            hosts,
            bus,
            chance,
            steps,
            tally: Tally::default(),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let number = self.chance.usize(0..self.hosts.len());
        let host = &mut self.hosts[number];
        match self.chance.u32(0..100) {
            0..=19 => host.ask(&mut self.chance),
            20..=39 => host.work(&mut self.chance)?,
            40..=49 => {
                let records = self.chance.usize(1..8);
                host.commit(records, &mut self.bus)?;
            }
            50..=64 => host.ship(&mut self.chance, &mut self.bus),
            65..=84 => self.bus.carry(&mut self.hosts, &mut self.chance),
            85..=93 => self.bus.confirm(&mut self.hosts, &mut self.chance),
            94..=95 => host.note(),
            96 => {
                host.truncate();
                self.bus.cut_off(number);
                self.tally.truncations += 1;
            }
            97 if self.chance.bool() => {
                host.crash(&mut self.chance);
                self.bus.cut_off(number);
                self.tally.crashes += 1;
            }
            98 if self.chance.bool() && self.bus.forget(&mut self.hosts, &mut self.chance) => {
                self.tally.forgotten += 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// Everything arrives, and nothing goes wrong any more.
    fn come_to_rest(&mut self) -> Result<(), String> {
        for _ in 0..PATIENCE {
            let mut is_quiet = true;
            for host in &mut self.hosts {
                host.work_all()?;
                host.commit(usize::MAX, &mut self.bus)?;
                host.work_all()?;
                // What waits for others is sent, so that in the end nothing does.
                is_quiet &= !host.ship_all(&mut self.bus);
                is_quiet &= host.is_quiet();
            }
            is_quiet &= self.bus.is_quiet();
            if is_quiet {
                self.tally.repeated = self.bus.repeated();
                self.tally.crossed = verdict::verdict(&self.hosts)?;
                return Ok(());
            }
            self.bus.carry_all(&mut self.hosts);
            self.bus.confirm_all(&mut self.hosts);
        }
        Err("it does not come to rest".to_owned())
    }
}
