//! What the host before this one left behind, by shard.

use xcomponent_core::{
    id::Partition,
    owed::{Debt, Owed, Placement},
    record::Snapshot,
};

use super::progress::Progress;
use crate::store::{Result, Store};

/// What one shard gets.
#[derive(Default)]
pub(super) struct Will {
    /// The instances of its partitions.
    pub(super) instances: Vec<(Partition, Vec<Snapshot>)>,
    /// What was sent to them and not received, in the order in which it was sent.
    pub(super) debts: Vec<Debt>,
}

/// Reads what there is.
pub(super) fn read(
    placement: Placement,
    store: &dyn Store,
    owed: &Owed,
    progress: &Progress,
) -> Result<Vec<Will>> {
    let mut wills: Vec<Will> = std::iter::repeat_with(Will::default)
        .take(placement.shards)
        .collect();
    let all: Vec<Partition> = (0..placement.shards)
        .flat_map(|shard| placement.owned_by(shard))
        .collect();
    for (partition, instances) in store.load(placement.partitions, &all)? {
        let will = &mut wills[placement.owner(partition)];
        progress.add_instances(instances.len());
        will.instances.push((partition, instances));
    }
    for debt in owed.debts() {
        progress.add_deliveries(1);
        for (shard, debt) in debt.addressed(placement) {
            wills[shard].debts.push(debt);
        }
    }
    Ok(wills)
}
