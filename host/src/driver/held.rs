//! What a shard holds of the host's memory. The engine keeps to its part by itself; this makes it
//! visible to whoever looks at the budget.

use xcomponent_core::engine::Engine;

use crate::memory::{Memory, Purpose, Share};

/// Bytes that a shard holds, by purpose.
pub(super) struct Held {
    queues: Share,
    commits: Share,
    instances: Share,
}

impl Held {
    /// Those of a shard that has not begun.
    pub(super) fn nothing(memory: &Memory) -> Self {
        let nothing = |purpose| memory.force(purpose, 0);
        Self {
            queues: nothing(Purpose::Queues),
            commits: nothing(Purpose::Commits),
            instances: nothing(Purpose::Instances),
        }
    }

    /// What the engine holds now, and what its inbox does.
    pub(super) fn update(&mut self, engine: &Engine, inbox_bytes: usize) {
        self.queues.set(engine.waiting_bytes() + inbox_bytes);
        self.commits.set(engine.undurable_bytes());
        self.instances.set(engine.instance_bytes());
    }
}
