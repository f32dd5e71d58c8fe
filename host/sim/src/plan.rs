//! What a run is made of: its seed, its length, and what is left out of it.

use std::{collections::BTreeSet, fmt};

use xcomponent_core::time::Duration;

/// Something that may happen in a run; leaving kinds out is how a failing run is made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The log fails and is truncated.
    Truncate,
    /// It fails because it refuses what is in a record.
    Refuse,
    /// The host is killed and starts again.
    Crash,
    /// Payloads of waiting deliveries stay in the log.
    Spill,
    /// Idle instances leave memory.
    Passivate,
    /// Another version becomes active.
    Activate,
    /// Events for a selection.
    Broadcast,
    /// Requests that were made before.
    Repeat,
    /// Dead letters are tried again.
    Replay,
    /// Operators end instances.
    Terminate,
    /// Operators delete instances.
    Delete,
    /// New instances.
    Create,
    /// Events for one instance.
    Send,
    /// Time goes on.
    Tick,
}

impl Kind {
    /// All of them, those that explain the most first.
    pub const ALL: [Self; 14] = [
        Self::Refuse,
        Self::Spill,
        Self::Passivate,
        Self::Crash,
        Self::Truncate,
        Self::Activate,
        Self::Delete,
        Self::Terminate,
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

/// A mistake that a host makes on purpose, to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Answers leave before what they depend on is durable.
    AcknowledgeEarly,
    /// Repeated events are not recognised after a crash.
    SkipDedup,
    /// What was on its way at a crash is not delivered.
    DropCascade,
    /// A timer that fired before a crash is armed again.
    FireTwice,
    /// Instances that are loaded are not found by their properties.
    ForgetIndex,
    /// Deliveries whose payloads were left in the log are lost.
    ForgetSpilled,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AcknowledgeEarly,
        Self::SkipDedup,
        Self::DropCascade,
        Self::FireTwice,
        Self::ForgetIndex,
        Self::ForgetSpilled,
    ];
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
    /// The mistake that the host makes.
    pub bug: Option<Bug>,
}

impl Plan {
    /// A run in which everything happens.
    pub fn new(seed: u64, steps: u64) -> Self {
        Self {
            seed,
            steps,
            without: BTreeSet::new(),
            bug: None,
        }
    }

    /// Whether the log refuses records for what is in them: in one run of four.
    pub(crate) fn refuses(&self) -> bool {
        self.seed % 4 == 2 && !self.without.contains(&Kind::Refuse)
    }

    /// Whether operators end instances: in one run of five.
    pub(crate) fn terminates(&self) -> bool {
        self.seed % 5 == 2
    }

    /// Whether operators delete instances: where they end them, and in one run of ten besides.
    pub(crate) fn deletes(&self) -> bool {
        self.terminates() || self.seed % 10 == 1
    }

    /// Whether broadcasts are repeated: in one run of four.
    pub(crate) fn repeats_broadcasts(&self) -> bool {
        matches!(self.seed % 8, 4 | 5)
    }

    /// Bytes from which payloads of deliveries over the budget stay in the log: in two runs of five
    /// all of them.
    pub(crate) fn spills_from(&self) -> Option<usize> {
        let spills = matches!(self.seed % 5, 1 | 3) && !self.without.contains(&Kind::Spill);
        spills.then_some(1)
    }

    /// Bytes of records that may wait to be durable: in one run of three very few.
    pub(crate) fn commit_bytes_max(&self) -> usize {
        if self.seed % 3 == 1 { 4_000 } else { 64 << 20 }
    }

    /// How long instances are idle before they leave memory: in one run of three never, in the
    /// others sooner or later.
    pub(crate) fn passivate_after(&self) -> Option<Duration> {
        let spans = [None, Some(Duration(4)), Some(Duration(100))];
        let span = spans[usize::try_from(self.seed % 3).expect("it is small")];
        span.filter(|_| !self.without.contains(&Kind::Passivate))
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
