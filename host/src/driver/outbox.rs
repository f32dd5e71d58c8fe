//! What a turn of a shard led to, until it leaves.

use xcomponent_core::{
    effect::Destination,
    id::TenantId,
    record::{AppendSeq, Outgoing, Record},
};

use super::{gate::Gated, inbox::Message, intake::Intake, shared::Shared};
use crate::store::Position;

/// Records, deliveries and answers of one turn.
pub(super) struct Outbox {
    shard: usize,
    records: Vec<Record>,
    /// Their bytes.
    bytes: usize,
    /// Number of the shard's last record.
    last: AppendSeq,
    /// Position of the shard's last record that left.
    position: Position,
    deliveries: Vec<Delivery>,
    by_target: Vec<Vec<Message>>,
    answers: Vec<Gated>,
}

/// Something for other shards.
struct Delivery {
    tenant: TenantId,
    to: Destination,
    outgoing: Outgoing,
    /// Records of this turn that come before it: the last of them is its cause, or comes later.
    records_before: usize,
}

impl Outbox {
    pub(super) fn new(shard: usize, shards: usize, position: Position) -> Self {
        let by_target = std::iter::repeat_with(Vec::new).take(shards).collect();
        Self {
            shard,
            records: Vec::new(),
            bytes: 0,
            last: AppendSeq(0),
            position,
            deliveries: Vec::new(),
            by_target,
            answers: Vec::new(),
        }
    }

    /// The shard's last record.
    pub(super) fn last(&self) -> AppendSeq {
        self.last
    }

    /// Notes that no record after this position is durable.
    pub(super) fn drop_void(&mut self, position: u64) {
        self.position = self.position.min(Position(position));
    }

    /// Bytes of the records that have not left.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a record.
    pub(super) fn record(&mut self, seq: AppendSeq, record: Record) {
        self.last = seq;
        self.bytes += record.bytes();
        self.records.push(record);
    }

    /// Takes a delivery.
    pub(super) fn deliver(&mut self, tenant: TenantId, to: Destination, outgoing: Outgoing) {
        let records_before = self.records.len();
        self.deliveries.push(Delivery {
            tenant,
            to,
            outgoing,
            records_before,
        });
    }

    /// Takes an answer.
    pub(super) fn answer(&mut self, answer: Gated) {
        self.answers.push(answer);
    }

    /// Lets everything out: records first, since they come before what they cause. Other shards
    /// are woken before the committer: cascades do not wait for it, and cores may be few.
    ///
    /// `intake` is there if all that came in so far has been looked at.
    pub(super) fn let_out(&mut self, shared: &Shared, intake: Option<&mut Intake>) {
        let before = self.position;
        let records = self.records.len();
        let first = if records == 0 {
            if let Some(intake) = intake.filter(|intake| intake.is_news()) {
                shared.log.take_in(self.shard, intake);
            }
            before
        } else {
            let bytes = std::mem::take(&mut self.bytes);
            let first = shared
                .log
                .append(self.shard, &mut self.records, bytes, self.last, intake);
            self.position = Position(first.0 + records as u64 - 1);
            first
        };
        for delivery in self.deliveries.drain(..) {
            let after = match delivery.records_before {
                0 => before.0,
                records => first.0 + records as u64 - 1,
            };
            let Delivery {
                tenant,
                to,
                outgoing,
                ..
            } = delivery;
            for target in shared.targets(self.shard, to) {
                let (tenant, outgoing) = (tenant.clone(), outgoing.clone());
                self.by_target[target].push(Message::Delivery {
                    from: self.shard,
                    tenant,
                    outgoing,
                    after,
                });
            }
        }
        for (post, deliveries) in shared.posts.iter().zip(&mut self.by_target) {
            if !deliveries.is_empty() {
                post.inbox.deliver(deliveries);
            }
        }
        if records > 0 {
            shared.log.wake();
        }
        shared.posts[self.shard].gate.hold(&mut self.answers);
    }
}
