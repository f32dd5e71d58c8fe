//! The end of a run: everything that is on its way arrives, then all must add up.

use std::collections::VecDeque;

use xcomponent_core::time::Timestamp;

use super::World;
use crate::property;

/// How often the clock goes on to the next deadline at the end.
const ROUNDS: usize = 6;

/// The same while somebody still waits for an answer.
const ROUNDS_MAX: usize = 200;

/// Rounds of work after which a run that does not come to rest has failed.
const PATIENCE: usize = 20_000;

impl World {
    /// Lets everything arrive, and checks that nothing is missing.
    pub(super) fn come_to_rest(&mut self) -> Result<(), String> {
        self.drain()?;
        for round in 0..ROUNDS_MAX {
            let next = self
                .shards
                .iter()
                .filter_map(|shard| shard.engine.poll_timeout())
                .min();
            let Some(next) = next.filter(|_| !self.waiting.is_empty() || round < ROUNDS) else {
                break;
            };
            self.now = self.now.max(next).max(Timestamp(self.now.0 + 1));
            self.drain()?;
        }
        if let Some((ticket, tenant)) = self.waiting.first_key_value() {
            return Err(format!("{tenant} never got an answer to {}", ticket.0));
        }
        for (number, shard) in self.shards.iter().enumerate() {
            let (debt, undurable) = (shard.engine.debt(), shard.engine.undurable());
            if (debt, undurable) != (0, 0) {
                return Err(format!("s{number} owes {debt} and waits for {undurable}"));
            }
            let bytes = shard.engine.undurable_bytes();
            if bytes != 0 {
                return Err(format!(
                    "s{number} still counts {bytes} bytes as on their way"
                ));
            }
        }
        let engines = self.shards.iter().map(|shard| &shard.engine);
        let known = engines.map(|engine| engine.live() + engine.passive()).sum();
        property::at_rest(&self.model, self.now, known)
    }

    fn drain(&mut self) -> Result<(), String> {
        for _ in 0..PATIENCE {
            let mut is_quiet = true;
            for shard in 0..self.shards.len() {
                self.shards[shard].engine.handle_timeout(self.now);
                is_quiet &= self.shards[shard].engine.debt() == 0;
                self.poll(shard, usize::MAX)?;
                is_quiet &= self.shards[shard].inbox.is_empty();
                self.take_from_inbox(shard);
            }
            is_quiet &= self.calls.is_empty() && self.reloads.is_empty();
            is_quiet &= self.recalls.is_empty() && self.rebroadcasts.is_empty();
            is_quiet &= self.links.values().all(VecDeque::is_empty);
            is_quiet &= self.log.waiting() == 0;
            self.take_parcel();
            self.answer_call();
            self.answer_reload();
            self.answer_recall();
            self.commit(usize::MAX)?;
            for shard in 0..self.shards.len() {
                self.tell_durable(shard);
            }
            if is_quiet {
                return Ok(());
            }
        }
        Err("it does not come to rest".to_owned())
    }
}
