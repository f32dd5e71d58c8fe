//! What the host before this one left behind: read from the store and handed to the shards while
//! it is read, since there may be more of it than fits into memory.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use xcomponent_core::{
    id::{StreamId, TenantId},
    owed::{Debt, Owed, Placement},
    record::Snapshot,
};

use super::{inbox::Message, progress::Progress, shared::Post};
use crate::store::{Position, Result, Store};

/// Instances that are handed over at once.
const CHUNK: usize = 512;

/// Bytes of contexts and of what waits that are handed over at once, and what one instance has on
/// top.
const CHUNK_BYTES: u64 = 4 << 20;

/// Chunks that wait for a shard at most.
const CHUNKS_WAITING_MAX: usize = 4;

/// What one shard gets.
pub(super) struct Will {
    /// The instances of its partitions, chunk by chunk. Without an end they are not all.
    pub(super) instances: Receiver<Chunk>,
    /// What was sent to them and not received, in the order in which it was sent.
    pub(super) debts: Vec<Debt>,
    /// Up to where the streams of other hosts are taken in.
    pub(super) streams: Vec<(TenantId, StreamId, u64)>,
    /// The last record.
    pub(super) last: Position,
}

/// A few of a shard's instances.
pub(super) enum Chunk {
    Some(Vec<Snapshot>),
    End,
}

/// What is to be handed to one shard.
struct Heir {
    waiting: Vec<Snapshot>,
    bytes: u64,
    chunks: SyncSender<Chunk>,
}

impl Heir {
    /// A shard that is gone needs nothing; what it meant to others is found out elsewhere.
    fn hand_over(&mut self) {
        self.bytes = 0;
        let _ = self
            .chunks
            .send(Chunk::Some(std::mem::take(&mut self.waiting)));
    }
}

/// Hands over what there is.
pub(super) fn hand_over(
    placement: Placement,
    posts: &[Post],
    store: &dyn Store,
    owed: &Owed,
    last: Position,
    progress: &Progress,
) -> Result<()> {
    let mut debts: Vec<Vec<Debt>> = vec![Vec::new(); posts.len()];
    for debt in owed.debts() {
        progress.add_deliveries(1);
        for (shard, debt) in debt.addressed(placement) {
            debts[shard].push(debt);
        }
    }
    let streams = store.streams()?;
    let mut heirs: Vec<Heir> = Vec::with_capacity(posts.len());
    for (post, debts) in posts.iter().zip(debts) {
        let (chunks, instances) = sync_channel(CHUNKS_WAITING_MAX);
        post.inbox.put(Message::Inherit(Will {
            instances,
            debts,
            streams: streams.clone(),
            last,
        }));
        heirs.push(Heir {
            waiting: Vec::with_capacity(CHUNK),
            bytes: 0,
            chunks,
        });
    }
    store.load(&|_| true, &mut |snapshot| {
        progress.add_instances(1);
        let heir = &mut heirs[placement.shard_of(&snapshot.id)];
        heir.bytes += snapshot.context.len() as u64 + snapshot.waiting_bytes();
        heir.waiting.push(snapshot);
        if heir.waiting.len() == CHUNK || heir.bytes >= CHUNK_BYTES {
            heir.hand_over();
        }
    })?;
    for heir in &mut heirs {
        heir.hand_over();
        let _ = heir.chunks.send(Chunk::End);
    }
    Ok(())
}
