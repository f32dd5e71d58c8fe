//! The host is killed, and another goes on with what the log has.

use std::sync::Arc;

use xcomponent_core::{
    definition::OnLive,
    input::Input,
    owed::{Owed, Placement, TakenIn},
    record::Snapshot,
    sabotage::{Sabotage, sabotage},
};

use super::{Shard, World};
use crate::plan::{Bug, Kind};

impl World {
    /// Nothing of what is not durable ever was; engines begin with what is.
    pub(super) fn crash(&mut self) {
        if !self.allows(Kind::Crash) {
            return;
        }
        self.crashes += 1;
        let position = self.log.durable;
        self.log.truncate();
        self.model.truncated(self.shards.len());
        self.model.refusals.crashed();
        self.note(|| format!("crashed after {position}"));
        self.links.clear();
        self.calls.clear();
        self.in_flight.clear();
        self.reloads.clear();
        self.recalls.clear();
        self.rebroadcasts.clear();
        self.waiting.clear();
        let count = self.shards.len();
        for shard in &mut self.shards {
            *shard = Shard::new(&mut self.chance, &self.plan, self.partitions, count);
            if self.plan.bug == Some(Bug::ForgetIndex) {
                sabotage(&mut shard.engine, Sabotage::ForgetIndex);
            }
        }
        self.begin();
    }

    /// Every shard knows every version, and has what the log says is its.
    pub(super) fn begin(&mut self) {
        self.deploy();
        let (now, placement) = (self.now, self.placement());
        for number in 0..self.shards.len() {
            let here = |found: &&Snapshot| placement.shard_of(&found.id) == number;
            let mut instances: Vec<_> = self.log.live().filter(here).cloned().collect();
            if self.has(Bug::FireTwice) {
                instances
                    .iter_mut()
                    .for_each(|found| self.log.rewind(found));
            }
            let own = Input::Own(placement.owned_by(number).collect());
            self.shards[number].engine.handle(own, now);
            self.shards[number]
                .engine
                .handle(Input::Load(instances), now);
        }
        let debts = if self.has(Bug::DropCascade) {
            Vec::new()
        } else {
            self.owed().debts()
        };
        for debt in debts {
            for (number, debt) in debt.addressed(placement) {
                self.note(|| format!("s{number} inherits {:?}", debt.what));
                let redeliver = Input::Redeliver(debt);
                self.shards[number].engine.handle(redeliver, now);
            }
        }
        let last = self.log.durable as u64;
        for shard in &mut self.shards {
            shard.received.fill(last);
            if last > 0 && self.plan.bug != Some(Bug::SkipDedup) {
                shard.engine.handle(Input::Resume, now);
            }
        }
    }

    fn deploy(&mut self) {
        let now = self.now;
        for deployment in &self.deployments {
            let (tenant, definition) = (&deployment.tenant, &deployment.definition);
            let chosen = self.active.get(tenant);
            let chosen = chosen.filter(|_| definition.name.as_str() == "Shop");
            let active = chosen.map_or("1", |(version, _)| version.as_str());
            let is_active = definition.version.as_str() == active;
            for shard in &mut self.shards {
                let deploy = Input::Deploy(Arc::clone(deployment));
                shard.engine.handle(deploy, now);
                if is_active {
                    let activate = Input::Activate {
                        tenant: tenant.clone(),
                        component: definition.name.clone(),
                        version: definition.version.clone(),
                        on_live: chosen.map_or(OnLive::NextEvent, |(_, on_live)| *on_live),
                    };
                    shard.engine.handle(activate, now);
                }
            }
        }
    }

    pub(super) fn placement(&self) -> Placement {
        Placement {
            partitions: self.partitions,
            shards: self.shards.len(),
        }
    }

    /// What the durable log owes.
    fn owed(&self) -> Owed {
        let taken_in = TakenIn {
            placement: self.placement(),
            rows: self.log.taken_in.clone(),
        };
        let mut owed = Owed::new(taken_in.clone());
        for (entry, position) in self.log.entries.iter().zip(1..).take(self.log.durable) {
            owed.note(position, &entry.record);
        }
        owed.taken_in(&taken_in);
        owed
    }
}
