//! A seeded world around the core: shards, faults, a reference model and properties.
//!
//! A run interleaves everything that may happen in any order: requests, deliveries between
//! shards, answers of guests, commits, truncations, deadlines. The [`model`] works out what the
//! durable log must say, from the same [`blueprint`]s and the same [`guest`], without any of the
//! engine's code; [`property`] says what must hold besides. The same seed gives the same trace.

pub mod blueprint;
pub mod fleet;
pub mod guest;
pub mod log;
pub mod model;
pub mod plan;
pub mod property;
pub mod shrink;
pub mod world;

use std::fmt;

use self::world::World;
pub use self::{plan::Plan, shrink::shrink};

/// A run that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which run.
    pub plan: Plan,
    /// What is wrong.
    pub what: String,
    /// Everything that happened before, a line each.
    pub trace: Vec<String>,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Records in the log.
    pub records: usize,
    /// Truncations.
    pub truncations: u64,
    /// Crashes.
    pub crashes: u64,
    /// The most instances that were passive at the same time.
    pub passive: usize,
    /// Everything that happened, a line each.
    pub trace: Vec<String>,
}

/// Runs a plan.
///
/// # Errors
///
/// The first thing that is not as it should be.
pub fn run(plan: &Plan) -> Result<Report, Box<Failure>> {
    let mut world = World::new(plan.clone());
    match world.run() {
        Ok(()) => Ok(world.into_report()),
        Err(what) => Err(Box::new(Failure {
            plan: plan.clone(),
            what,
            trace: world.into_report().trace,
        })),
    }
}

/// Lines of a trace that are shown with a failure.
const LINES: usize = 60;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace[self.trace.len().saturating_sub(LINES)..] {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "{}: {}", self.plan, self.what)
    }
}
