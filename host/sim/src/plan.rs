//! What a run is made of: its seed, its length, and what is left out of it.

use std::{collections::BTreeSet, fmt};

/// Something that may happen in a run; leaving kinds out is how a failing run is made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The log fails and is truncated.
    Truncate,
    /// Another version becomes active.
    Activate,
    /// Events for a selection.
    Broadcast,
    /// Requests that were made before.
    Repeat,
    /// Dead letters are tried again.
    Replay,
    /// New instances.
    Create,
    /// Events for one instance.
    Send,
    /// Time goes on.
    Tick,
}

impl Kind {
    /// All of them, those that explain the most first.
    pub const ALL: [Self; 8] = [
        Self::Truncate,
        Self::Activate,
        Self::Replay,
        Self::Repeat,
        Self::Broadcast,
        Self::Tick,
        Self::Send,
        Self::Create,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where its chance comes from.
    pub seed: u64,
    /// How many steps it has.
    pub steps: u64,
    /// What never happens in it.
    pub without: BTreeSet<Kind>,
}

impl Plan {
    /// A run in which everything happens.
    pub fn new(seed: u64, steps: u64) -> Self {
        Self {
            seed,
            steps,
            without: BTreeSet::new(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--from {} --seeds 1 --steps {}", self.seed, self.steps)?;
        let mut separator = " --without ";
        for kind in &self.without {
            write!(f, "{separator}{kind}")?;
            separator = ",";
        }
        Ok(())
    }
}
