//! What a shard tells the log about versions and instances that are suspended or go on.

use std::time::{Duration, Instant};

use xcomponent_core::engine::{Engine, Suspension, Suspensions};

/// Lines about suspensions that a shard writes in each period; of more it tells the number.
const LINES_MAX: usize = 16;
const PERIOD: Duration = Duration::from_secs(10);

/// Suspensions that were not told.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// When the period began; none = nothing was told yet.
    since: Option<Instant>,
    /// Lines written in it.
    lines: usize,
    /// Suspensions for which there was no line.
    more: u64,
}

impl Untold {
    /// Tells the log what happened since the last time.
    pub(super) fn tell(&mut self, shard: usize, engine: &mut Engine) {
        let Suspensions { kept, more } = engine.take_suspensions();
        if kept.is_empty() && self.more == 0 {
            return;
        }
        let now = Instant::now();
        if self
            .since
            .is_none_or(|since| now.duration_since(since) >= PERIOD)
        {
            if self.more > 0 {
                let more = self.more;
                tracing::warn!(shard, more, "more was suspended or went on meanwhile");
            }
            *self = Self {
                since: Some(now),
                ..Self::default()
            };
        }
        self.more += more;
        for suspension in &kept {
            if self.lines == LINES_MAX {
                self.more += 1;
            } else {
                self.lines += 1;
                tell(shard, suspension);
            }
        }
    }
}

fn tell(shard: usize, suspension: &Suspension) {
    let Suspension {
        component,
        version,
        instance,
        until,
    } = suspension;
    match (until, instance) {
        (Some(until), None) => tracing::warn!(
            shard,
            %component,
            %version,
            until = until.0,
            "a version of a component faults too often and is suspended; its events wait"
        ),
        (Some(until), Some(instance)) => tracing::warn!(
            shard,
            %component,
            %version,
            %instance,
            until = until.0,
            "an instance faults too often in a row and is suspended; its events wait"
        ),
        (None, _) => tracing::info!(
            shard,
            %component,
            %version,
            "a suspended version of a component goes on"
        ),
    }
}
